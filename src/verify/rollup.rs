//! Every tier of the roll-up against a recomputation from accepted ledger rows, in SQL.

use siji_query::Session;

use super::derived::{IN_ROLLUP, SIGN};
use super::rows::query;
use super::slices::Slice;
use super::{Report, VerifyError};

mod durations;

pub(super) use durations::recompute as recompute_durations;

/// A tier: its name, its number, and its column of ancestors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tier {
    pub(super) name: &'static str,
    number: u8,
}

pub(super) const TIERS: [Tier; 5] = [
    Tier {
        name: "community",
        number: 1,
    },
    Tier {
        name: "street",
        number: 2,
    },
    Tier {
        name: "district",
        number: 3,
    },
    Tier {
        name: "city",
        number: 4,
    },
    Tier {
        name: "province",
        number: 5,
    },
];

/// Ancestor columns with their tiers, lowest first.
const ANCESTORS: [(&str, u8); 4] = [
    ("street_code", 2),
    ("district_code", 3),
    ("city_code", 4),
    ("province_code", 5),
];

/// Columns of the roll-up that are taken from the event as they are.
pub(super) const WORDS: &str = "event_type, service_code, channel, case_kind, outcome, fund_source, fee_mode, unit, qualifier, handler_code, \
                     handler_street_code, handler_district_code, handler_city_code, handler_province_code";

/// Measures: name in the roll-up, and how one accepted event adds to it.
pub(super) const MEASURES: [(&str, &str); 14] = [
    ("events", "1"),
    (
        "count_n",
        "CASE WHEN counts AND count IS NOT NULL THEN 1 END",
    ),
    ("count_sum", "CASE WHEN counts THEN count END"),
    (
        "amount_n",
        "CASE WHEN counts AND amount_fen IS NOT NULL THEN 1 END",
    ),
    ("amount_fen_sum", "CASE WHEN counts THEN amount_fen END"),
    (
        "minutes_n",
        "CASE WHEN counts AND minutes IS NOT NULL THEN 1 END",
    ),
    ("minutes_sum", "CASE WHEN counts THEN minutes END"),
    (
        "value_n",
        "CASE WHEN counts AND NOT level AND value IS NOT NULL THEN 1 END",
    ),
    ("value_sum", "CASE WHEN counts AND NOT level THEN value END"),
    ("rating_1", "CASE WHEN counts AND rating = 1 THEN 1 END"),
    ("rating_2", "CASE WHEN counts AND rating = 2 THEN 1 END"),
    ("rating_3", "CASE WHEN counts AND rating = 3 THEN 1 END"),
    ("rating_4", "CASE WHEN counts AND rating = 4 THEN 1 END"),
    ("rating_5", "CASE WHEN counts AND rating = 5 THEN 1 END"),
];

/// Adds what the ledger says to what the roll-up says with the sign turned: whatever is not zero is a difference.
pub(super) async fn recompute(
    session: &Session,
    tier: Tier,
    levels: &[&str],
    days: &Slice,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let sql = recompute_sql(tier, levels, days);
    let rows = query(session, "the rollup", &sql).await?;
    for row in 0..rows.len() {
        report.difference(format!(
            "rollup, tier {}: ledger minus rollup at {}",
            tier.name,
            rows.line(row)
        ));
    }
    Ok(())
}

/// What rows of a tier are kept apart by.
struct Keys {
    /// The columns' names.
    names: String,
    /// The columns of a ledger row, under these names.
    of_ledger: String,
}

fn keys(tier: Tier) -> Keys {
    let Tier { number, .. } = tier;
    // The one area an event counts under (D6).
    let ancestor = ANCESTORS
        .iter()
        .find(|(_, n)| *n == number)
        .map_or("NULL", |(column, _)| column);
    let above: Vec<&str> = ANCESTORS
        .iter()
        .filter(|(_, n)| *n > number)
        .map(|(column, _)| *column)
        .collect();
    let up = |columns: &[&str]| {
        let mut all = columns.to_vec();
        all.extend([
            "province_code",
            "city_code",
            "district_code",
            "street_code",
            "area_code",
        ]);
        format!("coalesce({})", all.join(", "))
    };
    let area = format!(
        "CASE WHEN area_tier >= {number} THEN area_code WHEN {ancestor} IS NOT NULL THEN {ancestor} ELSE {} END",
        up(&above)
    );
    let placement = format!(
        "CASE WHEN area_tier = {number} THEN 'placed' WHEN area_tier > {number} THEN 'unallocated' \
         WHEN {ancestor} IS NOT NULL THEN 'placed' ELSE 'pass_through' END"
    );
    let kept: Vec<String> = ANCESTORS
        .iter()
        .map(|(column, n)| {
            if *n >= number {
                (*column).to_owned()
            } else {
                format!("CAST(NULL AS VARCHAR) AS {column}")
            }
        })
        .collect();
    Keys {
        names: format!(
            "hour, local_date, after_lock, area_code, placement, street_code, district_code, city_code, province_code, {WORDS}"
        ),
        of_ledger: format!(
            "date_trunc('hour', occurred_at) AS hour, local_date, after_lock, {area} AS area_code, {placement} AS placement, {}, {WORDS}",
            kept.join(", ")
        ),
    }
}

fn recompute_sql(tier: Tier, levels: &[&str], days: &Slice) -> String {
    let Tier { name, .. } = tier;
    let Keys { names, of_ledger } = keys(tier);
    let from_ledger: Vec<String> = MEASURES
        .iter()
        .map(|(name, add)| format!("sign * CAST({add} AS DECIMAL(38, 6)) AS {name}"))
        .collect();
    let from_rollup: Vec<String> = MEASURES
        .iter()
        .map(|(name, _)| format!("-CAST({name} AS DECIMAL(38, 6)) AS {name}"))
        .collect();
    let sums: Vec<String> = MEASURES
        .iter()
        .map(|(name, _)| format!("sum({name}) AS {name}_difference"))
        .collect();
    let differs: Vec<String> = MEASURES
        .iter()
        .map(|(name, _)| format!("sum({name}) <> 0"))
        .collect();
    format!(
        "SELECT hour, area_code, placement, event_type, {sums} FROM ( \
           SELECT {of_ledger}, {from_ledger} \
           FROM (SELECT *, {SIGN} AS sign, qualifier <> 'damaged' AS counts, event_type IN ({levels}) AS level FROM {IN_ROLLUP} AND {days}) \
           UNION ALL \
           SELECT {names}, {from_rollup} FROM rollup WHERE tier = '{name}' AND {days}) \
         GROUP BY {names} HAVING {differs} ORDER BY 1, 2 LIMIT 20",
        levels = quoted(levels),
        sums = sums.join(", "),
        from_ledger = from_ledger.join(", "),
        from_rollup = from_rollup.join(", "),
        differs = differs.join(" OR "),
    )
}

/// Names as SQL text; at least one, for `IN` needs one.
fn quoted(names: &[&str]) -> String {
    let quoted: Vec<String> = names
        .iter()
        .map(|name| format!("'{}'", name.replace('\'', "''")))
        .collect();
    if quoted.is_empty() {
        "''".to_owned()
    } else {
        quoted.join(", ")
    }
}

/// In one snapshot, every tier counts the same events. A tier whose rows of a day and type cancelled out and were folded
/// away has none.
pub(super) async fn tiers_agree(session: &Session, report: &mut Report) -> Result<(), VerifyError> {
    let rows = query(
        session,
        "the tiers",
        "SELECT local_date, event_type, min(n), max(n), count(*) FROM ( \
           SELECT tier, local_date, event_type, sum(events) AS n FROM rollup GROUP BY 1, 2, 3) \
         GROUP BY 1, 2 HAVING min(n) <> max(n) OR (count(*) <> 5 AND max(n) <> 0) ORDER BY 1, 2 LIMIT 20",
    )
    .await?;
    for row in 0..rows.len() {
        report.difference(format!(
            "tiers disagree (day, type, least, most, tiers): {}",
            rows.line(row)
        ));
    }
    Ok(())
}
