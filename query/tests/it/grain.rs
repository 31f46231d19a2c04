//! Days and hours give the same answer, and days are used where they may be.

use proptest::prelude::*;
use serde_json::{Value, json};
use siji_lake::schema::{ROLLUP, ROLLUP_DAY};
use siji_query::{Engine, Parameters, Principal, QueryOptions};

use super::lake::{TestLake, rollup_row, rows};

/// A row of a tier on one of three days.
fn row(n: u32) -> Value {
    let (area, hour) = (format!("33050200{}", n % 3), n % 5);
    let day = 1 + n % 3;
    let mut row = rollup_row(
        "street",
        &area,
        hour,
        json!({
            "district_code": format!("33050{}", 2 + n % 2), "channel": format!("c{}", n % 4), "events": i64::from(n % 7) - 1,
            "count_n": 1, "amount_n": 0, "minutes_n": n % 2, "value_n": 0, "rating_1": n % 3, "rating_2": 0, "rating_3": 1,
            "rating_4": 0, "rating_5": 2, "value_sum": "1.5",
        }),
    );
    row["hour"] = format!("2026-10-{day:02}T{hour:02}:00:00Z").into();
    row["local_date"] = format!("2026-10-{day:02}").into();
    if n % 2 == 1 {
        row["minutes_sum"] = json!(n % 50);
        row["minutes_hist"] = json!({ (n % 50).to_string(): 1 });
    }
    row
}

fn by_day(mut row: Value) -> Value {
    row.as_object_mut().unwrap().remove("hour");
    row
}

/// Hours in four commits, of which the days have followed the first `followed`.
async fn lake(followed: u32) -> TestLake {
    let mut lake = TestLake::empty().await;
    let parts: Vec<Vec<Value>> = (0..4)
        .map(|part| (part * 10..part * 10 + 10).map(row).collect())
        .collect();
    for part in &parts {
        lake.commit(&ROLLUP, std::slice::from_ref(part)).await;
    }
    let days: Vec<Value> = parts[..followed as usize]
        .concat()
        .into_iter()
        .map(by_day)
        .collect();
    let files = if days.is_empty() {
        Vec::new()
    } else {
        vec![days]
    };
    lake.commit_following(&ROLLUP_DAY, &files, i64::from(followed))
        .await;
    lake
}

/// Whether a query read days.
async fn reads_days(engine: &Engine, sql: &str) -> bool {
    let session = engine.session(Principal::local());
    let result = session
        .query(sql, Parameters::none(), QueryOptions::default())
        .await
        .unwrap();
    result.versions.contains_key("rollup_day")
}

const SUMS: &str =
    "sum(events) AS e, sum(rating_4 + rating_5) AS r, sum(minutes_sum) AS m, sum(value_sum) AS v";

#[tokio::test(flavor = "multi_thread")]
async fn sums_that_do_not_name_the_hour_are_answered_from_days() {
    let lake = lake(2).await;
    let engine = lake.engine();
    for sql in [
        format!("SELECT district_code, {SUMS} FROM rollup_street GROUP BY 1"),
        format!("SELECT local_date, {SUMS} FROM rollup WHERE local_date >= DATE '2026-10-02' AND tier = 'street' GROUP BY 1"),
        "SELECT date_trunc('month', local_date) AS mon, sum(events) FROM rollup_street GROUP BY 1".to_owned(),
        "SELECT a.name, sum(r.events) FROM rollup_street r JOIN areas a ON a.area_code = r.district_code GROUP BY 1".to_owned(),
        "SELECT sum(CASE WHEN channel = 'c1' THEN events ELSE 0 END) AS c1, sum(events) FILTER (WHERE channel = 'c2') AS c2 \
         FROM rollup_street"
            .to_owned(),
        "SELECT hist_quantile(minutes_hist, 0.5) FROM rollup_street".to_owned(),
        "SELECT max(local_date), sum(coalesce(minutes_sum, 0)) FROM rollup_street".to_owned(),
        "SELECT sum(e) FROM (SELECT area_code, sum(events) AS e FROM rollup_street GROUP BY 1) WHERE e > 2".to_owned(),
        "SELECT local_date, events FROM rollup_day".to_owned(),
    ] {
        assert!(reads_days(&engine, &sql).await, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_tell_one_row_from_two_reads_hours() {
    let lake = lake(2).await;
    let engine = lake.engine();
    for sql in [
        "SELECT hour, sum(events) FROM rollup_street GROUP BY 1",
        "SELECT sum(events) FROM rollup_street WHERE hour >= TIMESTAMP '2026-10-01T03:00:00Z'",
        "SELECT count(*) FROM rollup_street",
        "SELECT count(area_code), sum(events) FROM rollup_street",
        "SELECT max(events) FROM rollup_street",
        "SELECT avg(minutes_sum) FROM rollup_street",
        "SELECT sum(events) FROM rollup_street WHERE events > 1",
        "SELECT sum(events * events) FROM rollup_street",
        "SELECT sum(events + minutes_sum) FROM rollup_street",
        "SELECT sum(events) FILTER (WHERE minutes_n > 0) FROM rollup_street",
        "SELECT events, count(DISTINCT area_code) FROM rollup_street GROUP BY 1",
        "SELECT sum(a.events) FROM rollup_street a JOIN rollup_street b ON a.area_code = b.area_code",
        "SELECT area_code, events FROM rollup_street",
        "SELECT sum(events) FROM (SELECT events FROM rollup_street LIMIT 3)",
        "SELECT sum(e) FROM (SELECT events AS e FROM rollup_street UNION ALL SELECT events FROM rollup_street)",
    ] {
        assert!(!reads_days(&engine, sql).await, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn days_that_lost_touch_with_the_hours_are_not_used() {
    // They have followed further than the hours have come: the hours were restored to an older version.
    let lake = lake(4).await;
    let mut ahead = TestLake::empty().await;
    ahead.commit(&ROLLUP, &[vec![row(1)]]).await;
    ahead
        .commit_following(&ROLLUP_DAY, &[vec![by_day(row(1)), by_day(row(2))]], 2)
        .await;
    let sum = "SELECT sum(events) AS e FROM rollup_street";
    assert!(reads_days(&lake.engine(), sum).await);
    let engine = ahead.engine();
    assert!(!reads_days(&engine, sum).await);
    assert_eq!(rows(&engine, sum).await.unwrap(), [json!({"e": 0})]);
}

fn query(group: &[&str], day: Option<u32>, channel: Option<u32>, table: &str) -> String {
    let mut conditions = vec!["TRUE".to_owned()];
    conditions.extend(day.map(|day| format!("local_date <> DATE '2026-10-{day:02}'")));
    conditions.extend(channel.map(|channel| format!("channel <= 'c{channel}'")));
    let columns: String = group.iter().map(|column| format!("{column}, ")).collect();
    let by = if group.is_empty() {
        String::new()
    } else {
        format!(" GROUP BY {}", group.join(", "))
    };
    format!(
        "SELECT {columns}{SUMS}, sum(count_n) AS n, hist_quantile(minutes_hist, 0.9) AS q FROM {table} WHERE {}{by} ORDER BY {}",
        conditions.join(" AND "),
        (1..=group.len() + 1)
            .map(|n| n.to_string())
            .collect::<Vec<_>>()
            .join(", ")
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn both_grains_give_the_same_answer(
        followed in 0u32..=4, group in proptest::sample::subsequence(vec!["local_date", "area_code", "district_code", "channel"], 0..=4),
        day in proptest::option::of(1u32..4), channel in proptest::option::of(0u32..4),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let lake = lake(followed).await;
            let (days, hours) = (lake.engine(), lake.engine_without("rollup_day"));
            for table in ["rollup_street", "rollup"] {
                let sql = query(&group, day, channel, table);
                assert!(reads_days(&days, &sql).await, "{sql}");
                assert!(!reads_days(&hours, &sql).await, "{sql}");
                assert_eq!(rows(&days, &sql).await.unwrap(), rows(&hours, &sql).await.unwrap(), "{sql}");
            }
        });
    }
}
