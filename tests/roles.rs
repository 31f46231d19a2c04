//! Every role tells how it is, and ends in order when asked.

mod harness;

use std::time::Duration;

use harness::{Role, Site, free_port, new_id, siji, visit, wait_for};
use serde_json::json;

async fn get(url: &str) -> (u16, String) {
    match reqwest::get(url).await {
        Ok(answer) => (
            answer.status().as_u16(),
            answer.text().await.unwrap_or_default(),
        ),
        Err(_) => (0, String::new()),
    }
}

/// Samples of a metric, by name, whatever its labels.
fn samples(metrics: &str, name: &str) -> Vec<f64> {
    metrics
        .lines()
        .filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        })
        .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_has_metrics_health_and_readiness_and_ends_within_ten_seconds_of_sigterm() {
    let site = Site::new();
    let aggregator = site.start_aggregator();
    let collector = site.start_collector();
    let port = free_port();
    let mut command = site.command("server");
    command.args(["--listen", &format!("127.0.0.1:{port}")]);
    let mut server = Role::start("server", site.directory.path(), command);
    server.wait_for_log("query server listening");
    let client = reqwest::Client::new();
    let events: Vec<_> = (1..=50).map(|minutes| visit(&new_id(), minutes)).collect();
    site.send(&client, json!(events).to_string().into_bytes())
        .await
        .unwrap();
    tokio::task::block_in_place(|| site.wait_for_records(51));

    let roles = [
        (
            "aggregator",
            format!("http://127.0.0.1:{}", site.aggregator_port),
        ),
        (
            "collector",
            format!("http://127.0.0.1:{}", site.collector_port),
        ),
        ("server", format!("http://127.0.0.1:{port}")),
    ];
    for (role, url) in &roles {
        for path in ["healthz", "readyz"] {
            let (status, text) = get(&format!("{url}/{path}")).await;
            assert_eq!(status, 200, "{role} /{path}: {text}");
        }
    }
    let (_, metrics) = get(&format!("{}/metrics", roles[0].1)).await;
    assert_eq!(
        samples(&metrics, "siji_ledger_records_total")
            .iter()
            .sum::<f64>(),
        51.0,
        "{metrics}"
    );
    assert!(
        samples(&metrics, "siji_commit_seconds_count")
            .iter()
            .all(|n| *n >= 1.0),
        "{metrics}"
    );
    assert_eq!(
        samples(&metrics, "siji_partition_lag_seconds")
            .iter()
            .copied()
            .fold(0.0, f64::max),
        0.0,
        "{metrics}"
    );
    assert_eq!(
        samples(&metrics, "siji_partition_stopped"),
        [0.0; 3],
        "{metrics}"
    );
    let (_, metrics) = get(&format!("{}/metrics", roles[1].1)).await;
    for name in [
        "siji_spool_bytes",
        "siji_spool_depth_events",
        "siji_spool_oldest_age_seconds",
    ] {
        assert!(
            !samples(&metrics, name).is_empty(),
            "{name} is not in:\n{metrics}"
        );
    }
    let (_, metrics) = get(&format!("{}/metrics", roles[2].1)).await;
    assert!(metrics.contains("siji_build_info"), "{metrics}");

    tokio::task::block_in_place(|| {
        for role in [collector, aggregator, server] {
            let (code, took) = role.terminate();
            assert!(
                code == Some(0) && took < Duration::from_secs(10),
                "{code:?} after {took:?}"
            );
        }
    });
    let (code, report) = site.verify();
    assert_eq!(code, Some(0), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_answers_sql_over_http_in_every_format_and_lists_its_tables() {
    let site = Site::new();
    let _aggregator = site.start_aggregator();
    let _collector = site.start_collector();
    let client = reqwest::Client::new();
    site.send(&client, visit(&new_id(), 7).to_string().into_bytes())
        .await
        .unwrap();
    tokio::task::block_in_place(|| site.wait_for_records(2));
    let port = free_port();
    let mut command = site.command("server");
    command.args(["--listen", &format!("127.0.0.1:{port}")]);
    let mut server = Role::start("server", site.directory.path(), command);
    server.wait_for_log("query server listening");
    let url = format!("http://127.0.0.1:{port}");

    let answer = client
        .post(format!("{url}/v1/sql"))
        .json(&json!({ "sql": "SELECT sum(minutes_sum) AS m FROM rollup_street WHERE event_type = $1", "params": ["visit.made"] }))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let answer: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(answer["rows"], json!([{ "m": 7 }]), "{answer}");
    let (status, csv) = get(&format!(
        "{url}/v1/sql?format=csv&q=SELECT+event_type,minutes+FROM+events+ORDER+BY+1"
    ))
    .await;
    assert_eq!(
        (status, csv.replace('\r', "").as_str()),
        (200, "event_type,minutes\nsource.heartbeat,\nvisit.made,7\n")
    );
    let parquet = client
        .get(format!(
            "{url}/v1/sql?format=parquet&q=SELECT+*+FROM+events"
        ))
        .send()
        .await
        .unwrap();
    assert!(parquet.bytes().await.unwrap().starts_with(b"PAR1"));
    let (status, tables) = get(&format!("{url}/v1/tables")).await;
    assert_eq!(status, 200);
    for table in [
        "ledger",
        "events",
        "quarantine",
        "rollup_community",
        "rollup_city",
        "registers",
        "areas",
        "sources",
    ] {
        assert!(
            tables.contains(&format!("\"{table}\"")),
            "{table} is not in {tables}"
        );
    }
    let (status, columns) = get(&format!("{url}/v1/tables/rollup_street")).await;
    assert!(
        status == 200 && columns.contains("minutes_sum"),
        "{status} {columns}"
    );
    // The same through the command line.
    let remote = siji()
        .args([
            "sql",
            "SELECT count(*) AS n FROM events",
            "--output",
            "json",
            "--server",
            &url,
        ])
        .output()
        .unwrap();
    let remote: serde_json::Value = serde_json::from_slice(&remote.stdout).unwrap();
    assert_eq!(remote["rows"], json!([{ "n": 2 }]));
    // A lake that goes away shows in readiness, and comes back.
    let (away, lake) = (site.path("away"), site.path("lake"));
    std::fs::rename(&lake, &away).unwrap();
    let readyz = format!("{url}/readyz");
    let mut status = 0;
    for _ in 0..100 {
        status = get(&readyz).await.0;
        if status == 503 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(status, 503);
    std::fs::rename(&away, &lake).unwrap();
}

#[test]
fn sql_that_writes_reads_files_or_runs_away_is_refused_or_stopped_with_advice() {
    let site = Site::new();
    site.start_aggregator().terminate();
    let before = std::fs::read_dir(site.path("lake")).unwrap().count();
    for query in [
        "CREATE TABLE t AS SELECT 1",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "INSERT INTO ledger SELECT * FROM ledger",
        "DELETE FROM ledger",
        "UPDATE ledger SET code = 'V01'",
        "DROP TABLE ledger",
        "COPY (SELECT 1) TO '/tmp/siji-out.csv'",
        "SET datafusion.execution.batch_size = 1",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT 1; SELECT 2",
    ] {
        let output = site.run("sql", &[query]);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{query}: {}",
            String::from_utf8_lossy(&output.stdout)
        );
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(
            text.starts_with("siji: ") && text.lines().count() <= 3,
            "{query}: {text}"
        );
    }
    assert_eq!(
        std::fs::read_dir(site.path("lake")).unwrap().count(),
        before
    );
    assert!(!std::path::Path::new("/tmp/siji-out.csv").exists());
    // Ten areas to the tenth power.
    let cross = "SELECT count(*) FROM areas a, areas b, areas c, areas d WHERE a.name < b.name AND c.name < d.name";
    let began = std::time::Instant::now();
    let output = site
        .command("sql")
        .arg(cross)
        .env("SIJI_SERVER_DEADLINE_MS", "2000")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "stopped only after {:?}",
        began.elapsed()
    );
    wait_for("a message about the limit", || {
        text.contains("siji: ").then_some(())
    });
}
