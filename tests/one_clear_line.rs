//! What cannot work says so in one line that names what to do, and the exit code tells scripts.

mod harness;

use std::process::Output;

use harness::{Site, free_port, siji};

fn line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("siji: "))
        .collect();
    assert_eq!(lines.len(), 1, "one line for people, found:\n{text}");
    lines[0].to_owned()
}

#[test]
fn a_broker_that_is_down_is_named_with_its_address() {
    let directory = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let output = siji()
        .args([
            "aggregator",
            "--brokers",
            &address,
            "--cities",
            "huzhou",
            "--admin",
            "127.0.0.1:0",
            "--lake",
        ])
        .arg(directory.path().join("lake"))
        .env("SIJI_AGGREGATOR_PATIENCE_MS", "2000")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(line(&output).contains(&address), "{}", line(&output));
}

#[test]
fn a_lake_that_is_not_there_or_of_another_version_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let lake = directory.path().join("lake");
    for command in ["sql", "verify"] {
        let mut siji = siji();
        siji.arg(command);
        if command == "sql" {
            siji.arg("SELECT 1 FROM ledger");
        }
        let output = siji.arg("--lake").arg(&lake).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(
            line(&output).contains(lake.to_str().unwrap()),
            "{}",
            line(&output)
        );
    }
    std::fs::create_dir_all(&lake).unwrap();
    std::fs::write(lake.join("_siji.json"), r#"{"format":7,"zone":"+08:00"}"#).unwrap();
    let output = siji()
        .args(["verify", "--lake"])
        .arg(&lake)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(line(&output).contains("format 7"), "{}", line(&output));
}

#[test]
fn a_data_directory_of_another_version_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("siji-data.json"), r#"{"format":9}"#).unwrap();
    let output = siji()
        .args(["demo", "--exit", "--events", "10", "--data-dir"])
        .arg(directory.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let line = line(&output);
    assert!(
        line.contains("format 9") && line.contains(directory.path().to_str().unwrap()),
        "{line}"
    );
}

#[test]
fn a_topic_of_another_shape_is_refused() {
    let site = Site::new();
    site.start_aggregator().terminate();
    let output = site
        .command("aggregator")
        .args(["--partitions", "7", "--admin", "127.0.0.1:0"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let line = line(&output);
    assert!(
        line.contains("7") && line.contains("partitions") && line.contains(&site.kafka.topic),
        "{line}"
    );
}

#[test]
fn wrong_usage_and_wrong_configuration_exit_2_and_name_the_place() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("siji.toml");
    std::fs::write(&config, "[kafka]\nbroker = \"x\"\n").unwrap();
    let output = siji()
        .args(["check", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("siji.toml:2: ") && text.contains("broker"),
        "{text}"
    );
    assert_eq!(
        siji()
            .args(["demo", "--city", "atlantis"])
            .output()
            .unwrap()
            .status
            .code(),
        Some(2)
    );
    assert_eq!(
        siji().arg("nothing").output().unwrap().status.code(),
        Some(2)
    );
}

#[test]
fn everything_wrong_with_a_registry_is_listed_with_file_and_line() {
    let directory = tempfile::tempdir().unwrap();
    let areas = directory.path().join("areas");
    std::fs::create_dir(&areas).unwrap();
    std::fs::write(
        areas.join("town.csv"),
        "area_code,parent_code,tier,name,kind,valid_from,valid_to\n\
         9901,,city,Town,,,\n990101,9999,district,East,,,\n990102,9901,county,West,,,\n990103,9901,district,North,,2020-13-01,\n",
    )
    .unwrap();
    let output = siji()
        .args(["check", "--catalogue"])
        .arg(directory.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    for place in ["town.csv:3", "town.csv:4", "town.csv:5"] {
        assert!(text.contains(place), "{place} is not in:\n{text}");
    }
}

#[test]
fn a_check_names_settings_that_no_role_could_start_with() {
    for (name, value, said) in [
        ("SIJI_TELEMETRY_ENDPOINT", "notaurl", "telemetry.endpoint"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://x", "http://"),
        (
            "SIJI_TELEMETRY_METRICS_INTERVAL_SECONDS",
            "0",
            "metrics_interval_seconds",
        ),
        (
            "SIJI_KAFKA_PROPERTIES_NO_SUCH_PROPERTY",
            "secret",
            "no.such.property",
        ),
        (
            "SIJI_KAFKA_PROPERTIES_FETCH_WAIT_MAX_MS",
            "secret",
            "fetch.wait.max.ms",
        ),
    ] {
        let output = siji().arg("check").env(name, value).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}");
        let line = line(&output);
        assert!(line.contains(said) && !line.contains("secret"), "{line}");
    }
    assert_eq!(siji().arg("check").output().unwrap().status.code(), Some(0));
}

#[test]
fn a_files_name_and_the_format_of_its_rows_must_agree() {
    let directory = tempfile::tempdir().unwrap();
    let (csv, parquet) = (
        directory.path().join("x.csv"),
        directory.path().join("x.PARQUET"),
    );
    for (file, format) in [
        (&csv, "--format=parquet"),
        (&csv, "--output=json"),
        (&parquet, "--format=csv"),
    ] {
        let mut siji = siji();
        siji.args(["sql", "SELECT 1", "--lake", "nowhere", format, "-o"]);
        let output = siji.arg(file).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{format}");
        assert!(line(&output).contains("change one"), "{}", line(&output));
        assert!(!file.exists());
    }
}
