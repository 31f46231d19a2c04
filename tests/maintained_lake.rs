//! A lake that is folded while it is written to: readers see the same figures before, during and after.

mod harness;

use std::time::Duration;

use harness::{Role, Site, siji, wait_for};
use serde_json::Value;

/// Rounds of maintenance every second, folding as soon as two files of a kind are there.
const MAINTAIN: &str = "[maintain]\ninterval_s = 1\nfan_in = 2\n";

fn maintained_site() -> Site {
    let site = Site::new();
    let config = std::fs::read_to_string(site.config()).unwrap();
    std::fs::write(site.config(), format!("{config}\n{MAINTAIN}")).unwrap();
    site
}

/// Sums that days can answer, and the same by way of the hour.
const BY_DAY: &str = "SELECT local_date, area_code, event_type, sum(events) AS e, sum(minutes_sum) AS m, sum(minutes_n) AS n \
                      FROM rollup_district GROUP BY 1, 2, 3 ORDER BY 1, 2, 3";
const BY_HOUR: &str = "SELECT local_date, area_code, event_type, sum(e) AS e, sum(m) AS m, sum(n) AS n FROM ( \
                       SELECT hour, local_date, area_code, event_type, sum(events) AS e, sum(minutes_sum) AS m, \
                       sum(minutes_n) AS n FROM rollup_district GROUP BY 1, 2, 3, 4) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3";

fn siji_lake(site: &Site, args: &[&str]) -> Value {
    let output = siji()
        .arg("--config")
        .arg(site.config())
        .arg("lake")
        .args(args)
        .args(["--output", "json"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Data files in a table's folder, whether live or not.
fn commits(site: &Site, table: &str) -> usize {
    let log = site.path("lake").join(table).join("_delta_log");
    let entries = std::fs::read_dir(log).map(|entries| entries.flatten().collect::<Vec<_>>());
    let names = entries
        .unwrap_or_default()
        .into_iter()
        .map(|entry| entry.file_name());
    names
        .filter(|name| name.to_string_lossy().ends_with(".json"))
        .count()
}

fn same_by_both_grains(site: &Site) {
    wait_for("both grains agree at one look each", || {
        // Two queries see two moments: while rows come in only equal moments can be compared.
        let before = site.sql(BY_HOUR);
        let days = site.sql(BY_DAY);
        let after = site.sql(BY_HOUR);
        if before != after {
            return None;
        }
        assert_eq!(days, before);
        Some(())
    });
}

fn write_in_waves(site: &Site, waves: usize) {
    for _ in 0..waves {
        site.write_to_topic(40);
        std::thread::sleep(Duration::from_millis(250));
    }
}

#[test]
fn figures_stay_the_same_while_a_lake_is_folded_under_load() {
    let site = maintained_site();
    let aggregator: Role = site.start_aggregator();
    write_in_waves(&site, 20);
    same_by_both_grains(&site);
    write_in_waves(&site, 8);
    site.wait_for_records(28 * 40);
    wait_for("the days have followed", || {
        (commits(&site, "rollup_day") > 1).then_some(())
    });
    let (code, report) = site.verify();
    assert_eq!(code, Some(0), "{report}");
    same_by_both_grains(&site);
    let before = site.sql(BY_DAY);

    // By hand beside the running maintainer.
    let folded = siji_lake(&site, &["compact"]);
    for table in ["ledger", "rollup", "rollup_day"] {
        let files = folded["tables"][table]["files"].as_u64().unwrap();
        assert!(files < 15, "{table} still has {files} files: {folded}");
    }
    assert_eq!(site.sql(BY_DAY), before);
    assert_eq!(site.sql(BY_HOUR), before);
    let dry = siji_lake(&site, &["vacuum", "--dry-run"]);
    assert_eq!(
        dry["tables"]["ledger"]["files"], 0,
        "everything is younger than a day: {dry}"
    );
    assert_eq!(site.verify().0, Some(0));

    // Derived tables anew, under the running aggregator, which goes on afterwards.
    for table in ["rollup", "rollup_day", "registers"] {
        siji_lake(&site, &["rebuild", "--table", table]);
        let (code, report) = site.verify();
        assert_eq!(code, Some(0), "{table}: {report}");
        assert_eq!(site.sql(BY_DAY), before);
    }
    write_in_waves(&site, 4);
    site.wait_for_records(32 * 40);
    let (code, report) = site.verify();
    assert_eq!(code, Some(0), "{report}");
    same_by_both_grains(&site);
    let (code, took) = aggregator.terminate();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn a_short_retention_and_an_unknown_table_are_refused_in_one_line() {
    let site = maintained_site();
    site.start_aggregator().terminate();
    for (args, said) in [
        (&["vacuum", "--retain-hours", "0"][..], "allow it expressly"),
        (&["compact", "--table", "areas"], "is not folded"),
    ] {
        let output = siji()
            .arg("--config")
            .arg(site.config())
            .arg("lake")
            .args(args)
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(
            error.contains(said) && error.lines().count() == 1,
            "{error}"
        );
    }
}
