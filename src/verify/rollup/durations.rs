//! The buckets of durations, recomputed from the minutes in the ledger.

use siji_query::Session;

use super::super::derived::{IN_ROLLUP, SIGN};
use super::super::rows::query;
use super::super::slices::Slice;
use super::super::{Report, VerifyError};
use super::{Keys, Tier, keys};

/// Largest power of two that minutes, a 32-bit integer, can hold.
const LARGEST: u32 = 30;

/// Every bucket of every row of a tier against the ledger: a duration in a wrong bucket, or in the row of another area, is
/// one too many there and one too few where it belongs.
pub(in super::super) async fn recompute(
    session: &Session,
    tier: Tier,
    days: &Slice,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let rows = query(session, "the duration buckets", &sql(tier, days)).await?;
    for row in 0..rows.len() {
        report.difference(format!(
            "durations, tier {}: ledger minus rollup at (hour, area, placement, type, bucket, events) {}",
            tier.name,
            rows.line(row)
        ));
    }
    Ok(())
}

fn sql(tier: Tier, days: &Slice) -> String {
    let Tier { name, .. } = tier;
    let Keys { names, of_ledger } = keys(tier);
    let bucket = bucket();
    format!(
        "SELECT hour, area_code, placement, event_type, bucket, sum(n) FROM ( \
           SELECT {of_ledger}, CAST({bucket} AS BIGINT) AS bucket, CAST({SIGN} AS BIGINT) AS n \
           FROM (SELECT * FROM {IN_ROLLUP} AND {days} AND minutes >= 0 AND qualifier <> 'damaged') \
           UNION ALL \
           SELECT {names}, CAST(bucket AS BIGINT) AS bucket, -n AS n FROM ( \
             SELECT {names}, unnest(map_keys(minutes_hist)) AS bucket, unnest(map_values(minutes_hist)) AS n FROM rollup \
             WHERE tier = '{name}' AND {days} AND minutes_hist IS NOT NULL)) \
         GROUP BY {names}, bucket HAVING sum(n) <> 0 ORDER BY 1, 2, 5 LIMIT 20"
    )
}

/// The bucket of `minutes`, as `schemas/src/buckets.rs` documents it and not by its code: one each below 32, then 16 of
/// equal width to each power of two.
fn bucket() -> String {
    let powers: Vec<String> = (5..=LARGEST)
        .map(|power| {
            let (next, first, width) = (1u64 << (power + 1), 16 * (power - 4), 1u64 << (power - 4));
            format!("WHEN minutes < {next} THEN {first} + minutes / {width}")
        })
        .collect();
    format!(
        "CASE WHEN minutes < 32 THEN minutes {} END",
        powers.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use siji_schemas::buckets::bounds;

    /// Both ends of every bucket, by the same arithmetic as the SQL.
    #[test]
    fn the_audits_buckets_are_those_that_are_documented() {
        let bucket = |minutes: u64| match minutes {
            0..32 => minutes,
            _ => {
                let power = u64::from(minutes.ilog2());
                16 * (power - 4) + minutes / (1 << (power - 4))
            }
        };
        for number in 0..=448 {
            let (low, high) = bounds(number).unwrap();
            for minutes in [low, high].into_iter().filter(|n| *n <= i32::MAX as u64) {
                assert_eq!(bucket(minutes), number as u64, "{minutes}");
            }
        }
    }
}
