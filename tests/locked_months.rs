//! What comes after its month was locked is counted, and stays out of what was published.

mod harness;

use std::time::Instant;

use harness::{PATIENCE, Role, Site, new_id, visit};
use serde_json::{Value, json};

/// March, long over.
const MARCH: &str = "2026-03-02T09:30:00+08:00";
const APRIL: &str = "2026-04-02T09:30:00+08:00";

fn event(minutes: i64, at: &str) -> Value {
    let mut event = visit(&new_id(), minutes);
    event["occurred_at"] = json!(at);
    event
}

/// `op` on `target`.
fn about(op: &str, target: &Value, minutes: i64) -> Value {
    let mut event = event(minutes, target["occurred_at"].as_str().unwrap());
    event["op"] = json!(op);
    event["target_event_id"] = target["event_id"].clone();
    event["target_occurred_at"] = target["occurred_at"].clone();
    event
}

async fn send(site: &Site, events: &[&Value]) {
    let client = reqwest::Client::new();
    let (status, answer) = site
        .send(&client, json!(events).to_string().into_bytes())
        .await
        .unwrap();
    assert_eq!((status, &answer["rejected"]), (202, &json!([])), "{answer}");
}

fn start_with_locks(site: &Site, lines: &str) -> Role {
    let catalogue = site.path("catalogue");
    std::fs::create_dir_all(&catalogue).unwrap();
    let text = format!("month,area_code,locked_at\n{lines}");
    std::fs::write(catalogue.join("locks.csv"), text).unwrap();
    let mut command = site.command("aggregator");
    command.env("SIJI_REFERENCE_CATALOGUE", &catalogue);
    let mut role = Role::start("aggregator", &site.path(""), command);
    role.wait_for_log("health and metrics");
    role
}

fn becomes(site: &Site, query: &str, expected: &[Value]) {
    let mut last = Vec::new();
    let until = Instant::now() + PATIENCE;
    while last != expected && Instant::now() < until {
        last = site.sql(query);
    }
    assert_eq!(last, expected, "{query}");
}

/// Visits and their minutes by month, at every tier alike.
fn by_month(condition: &str) -> String {
    format!(
        "SELECT tier, date_part('month', local_date) AS month, sum(events) AS n, sum(minutes_sum) AS minutes FROM rollup \
         WHERE event_type = 'visit.made' AND tier IN ('street', 'city') AND ({condition}) GROUP BY 1, 2 \
         HAVING sum(events) <> 0 OR sum(minutes_sum) <> 0 ORDER BY 1, 2"
    )
}

fn both_tiers(rows: &[(i64, i64, i64)]) -> Vec<Value> {
    let tiers = ["city", "street"].iter();
    tiers
        .flat_map(|tier| {
            rows.iter().map(move |(month, n, minutes)| {
                json!({ "tier": tier, "month": month, "n": n, "minutes": minutes })
            })
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_month_is_read_as_it_was_published_and_as_it_is_now() {
    let site = Site::new();
    let aggregator = site.start_aggregator();
    let _collector = site.start_collector();
    let (kept, corrected, retracted) = (event(1, MARCH), event(10, MARCH), event(100, MARCH));
    let early = event(2000, MARCH);
    // It waits until its target comes, after the lock.
    let hasty = about("correct", &early, 3000);
    send(&site, &[&kept, &corrected, &retracted, &hasty]).await;
    site.wait_for_records(5);
    becomes(&site, &by_month("true"), &both_tiers(&[(3, 3, 111)]));
    assert_eq!(aggregator.terminate().0, Some(0));

    let lock = chrono::Utc::now();
    let locked_at = lock.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    let first = format!("2026-03,3305,{locked_at}\n");
    let aggregator = start_with_locks(&site, &first);
    let late = event(5, MARCH);
    let in_time = event(7, APRIL);
    send(&site, &[&late, &in_time, &about("correct", &corrected, 20)]).await;
    send(&site, &[&about("retract", &retracted, 100), &early]).await;
    site.wait_for_records(10);
    let now = both_tiers(&[(3, 4, 3026), (4, 1, 7)]);
    becomes(&site, &by_month("true"), &now);
    // What was published is what it was.
    let published = both_tiers(&[(3, 3, 111), (4, 1, 7)]);
    becomes(&site, &by_month("after_lock IS NULL"), &published);
    let before_it = format!("after_lock IS NULL OR after_lock < '{locked_at}'");
    becomes(&site, &by_month(&before_it), &published);
    let late_rows = site.sql(
        "SELECT disposition, code, minutes FROM ledger WHERE after_lock IS NOT NULL ORDER BY disposition, minutes",
    );
    let marked = |disposition: &str, minutes: i64| json!({ "disposition": disposition, "code": "V15", "minutes": minutes });
    assert_eq!(
        late_rows,
        [
            marked("accepted", 5),
            marked("accepted", 20),
            marked("accepted", 2000),
            marked("accepted", 3000),
            marked("reversed", 10),
            marked("reversed", 100),
            marked("reversed", 2000),
        ]
    );
    assert_eq!(aggregator.terminate().0, Some(0));

    // Restated, and locked again: the second publication holds what came after the first.
    let again = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    let _aggregator = start_with_locks(&site, &format!("{first}2026-03,330502,{again}\n"));
    send(&site, &[&event(40_000, MARCH)]).await;
    site.wait_for_records(11);
    becomes(
        &site,
        &by_month("true"),
        &both_tiers(&[(3, 5, 43_026), (4, 1, 7)]),
    );
    let second = format!("after_lock IS NULL OR after_lock < '{again}'");
    becomes(&site, &by_month(&second), &now);
    becomes(&site, &by_month(&before_it), &published);
    let (code, report) = site.verify();
    assert_eq!(code, Some(0), "{report}");
}
