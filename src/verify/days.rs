//! The day grain against the hour grain: what `rollup_day` has followed, with the hours since, is what `rollup` holds.

use siji_query::Session;

use super::pins::Tables;
use super::rollup::{MEASURES, TIERS, Tier, WORDS};
use super::rows::query;
use super::slices::Slice;
use super::{Report, VerifyError};

/// The days have not followed further than the hours have come.
pub(super) fn not_ahead(tables: &Tables, report: &mut Report) {
    let Some(days) = &tables.rollup_day else {
        return;
    };
    let hours = tables.rollup.as_ref().map(|hours| hours.snapshot.version());
    let hours = hours.and_then(|version| i64::try_from(version).ok());
    if let Some(followed) = days.snapshot.followed()
        && hours.is_none_or(|hours| hours < followed)
    {
        report.difference(format!(
            "rollup_day has followed rollup to version {followed}, rollup stands at {hours:?}: commits of rollup are missing; \
             restore it, or run `siji lake rebuild --table rollup`"
        ));
    }
}

/// Every sum and every bucket of every day, at every tier.
pub(super) async fn recompute(
    session: &Session,
    tables: &Tables,
    days: &Slice,
    report: &mut Report,
) -> Result<(), VerifyError> {
    if tables.rollup_day.is_none() {
        return Ok(());
    }
    for tier in TIERS {
        for sql in [sums(tier, days), buckets(tier, days)] {
            let rows = query(session, "the day grain", &sql).await?;
            for row in 0..rows.len() {
                report.difference(format!(
                    "rollup_day, tier {}: hours minus days at {}; `siji lake rebuild --table rollup_day` makes it anew",
                    tier.name,
                    rows.line(row)
                ));
            }
        }
    }
    Ok(())
}

fn keys() -> String {
    format!(
        "local_date, after_lock, area_code, placement, street_code, district_code, city_code, province_code, {WORDS}"
    )
}

fn sums(tier: Tier, slice: &Slice) -> String {
    let list = |make: &dyn Fn(&str) -> String| -> String {
        let made: Vec<String> = MEASURES.iter().map(|(name, _)| make(name)).collect();
        made.join(", ")
    };
    let signed =
        |sign: &str| list(&|name| format!("{sign}CAST({name} AS DECIMAL(38, 6)) AS {name}"));
    let differs: Vec<String> = MEASURES
        .iter()
        .map(|(name, _)| format!("sum({name}) <> 0"))
        .collect();
    format!(
        "SELECT local_date, area_code, placement, event_type, {shown} FROM ( \
           SELECT {keys}, {hours} FROM rollup WHERE tier = '{tier}' AND {slice} \
           UNION ALL SELECT {keys}, {days} FROM rollup_day WHERE tier = '{tier}' AND {slice}) \
         GROUP BY {keys} HAVING {differs} ORDER BY 1, 2 LIMIT 20",
        shown = list(&|name| format!("sum({name}) AS {name}_difference")),
        hours = signed(""),
        days = signed("-"),
        keys = keys(),
        tier = tier.name,
        differs = differs.join(" OR "),
    )
}

fn buckets(tier: Tier, slice: &Slice) -> String {
    let of = |table: &str, sign: &str| {
        format!(
            "SELECT {keys}, CAST(bucket AS BIGINT) AS bucket, {sign}n AS n FROM ( \
               SELECT {keys}, unnest(map_keys(minutes_hist)) AS bucket, unnest(map_values(minutes_hist)) AS n FROM {table} \
               WHERE tier = '{tier}' AND {slice} AND minutes_hist IS NOT NULL)",
            keys = keys(),
            tier = tier.name,
        )
    };
    format!(
        "SELECT local_date, area_code, placement, event_type, bucket, sum(n) FROM ({hours} UNION ALL {days}) \
         GROUP BY {keys}, bucket HAVING sum(n) <> 0 ORDER BY 1, 2, 5 LIMIT 20",
        hours = of("rollup", ""),
        days = of("rollup_day", "-"),
        keys = keys(),
    )
}
