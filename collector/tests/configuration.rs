//! A collector that does not start says why, in one line, and starts nothing.

mod site;

use std::sync::Arc;

use siji_collector::{CollectorConfig, Right, Secret, StartError};
use site::*;

async fn start(config: CollectorConfig) -> Result<siji_collector::RunningCollector, StartError> {
    siji_collector::start(config, Arc::clone(&REFERENCE), axum::Router::new()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_is_told_completely_and_nothing_starts() {
    let directory = tempfile::tempdir().unwrap();
    let mut wrong = config(directory.path(), "127.0.0.1:1");
    wrong.source_id = "no spaces".to_owned();
    wrong.area = "999999".to_owned();
    wrong.tokens[0].sha256 = "the token itself".to_owned();
    wrong.tokens[1].areas = vec!["330502".to_owned(), "nowhere".to_owned()];
    wrong.pseudonym_key = Some(Secret("abcd".to_owned()));
    wrong.limits.max_event_bytes = 10 << 20;
    wrong
        .kafka
        .properties
        .insert("acks".to_owned(), "0".to_owned());
    let Err(error) = start(wrong).await else {
        panic!("it started")
    };
    let line = error.to_string();
    for part in [
        "source_id",
        "area: \"999999\"",
        "tokens writer: sha256",
        "tokens importer: areas: \"nowhere\"",
        "pseudonym_key",
        "max_event_bytes",
        "`acks`",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(
        !line.contains('\n') && !line.contains("abcd") && !line.contains("the token itself"),
        "{line}"
    );
    assert!(!directory.path().join("spool.redb").exists());

    let unknown: Result<CollectorConfig, _> = toml::from_str("source_id = \"a\"\nspol = 3");
    assert!(unknown.unwrap_err().to_string().contains("spol"));
    let full: CollectorConfig = toml::from_str(
        r#"
        listen = "0.0.0.0:8471"
        source_id = "wuxing-01"
        area = "330502"
        data_dir = "/var/lib/siji/collector"
        heartbeat_seconds = 10
        pseudonym_key_file = "/etc/siji/city.key"
        [[tokens]]
        name = "street-office"
        sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
        areas = ["330502"]
        rights = ["write", "import"]
        [limits]
        max_batch_events = 500
        [spool]
        max_bytes = 1073741824
        [kafka]
        brokers = "kafka-1:9093"
        properties = { "security.protocol" = "ssl" }
        "#,
    )
    .unwrap();
    assert_eq!(
        (
            full.tokens[0].rights.as_slice(),
            full.limits.max_batch_events
        ),
        ([Right::Write, Right::Import].as_slice(), 500)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_use_already_is_named() {
    let site = Site::start().await;
    let brokers = site.cluster.bootstrap_servers();
    let other = tempfile::tempdir().unwrap();
    let mut same_port = config(other.path(), &brokers);
    same_port.listen = site.collector.local_addr().unwrap().to_string();
    let Err(error) = start(same_port.clone()).await else {
        panic!("it started")
    };
    assert!(
        error
            .to_string()
            .starts_with(&format!("listen {}: ", same_port.listen)),
        "{error}"
    );
    let Err(error) = start(config(site.directory.path(), &brokers)).await else {
        panic!("it started")
    };
    assert!(
        error
            .to_string()
            .ends_with("spool.redb is in use by another process"),
        "{error}"
    );
    let mut property = config(other.path(), &brokers);
    property
        .kafka
        .properties
        .insert("no.such.property".to_owned(), "1".to_owned());
    let Err(error) = start(property).await else {
        panic!("it started")
    };
    assert!(error.to_string().contains("no.such.property"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_librdkafka_does_not_take_is_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    for property in ["sasl.pasword", "security.protocol"] {
        let mut wrong = config(directory.path(), "127.0.0.1:1");
        wrong
            .kafka
            .properties
            .insert(property.to_owned(), "open sesame".to_owned());
        let Err(error) = start(wrong).await else {
            panic!("it started")
        };
        let shown = format!("{error} {error:?}");
        assert!(
            shown.contains(property) && !shown.contains("sesame"),
            "{shown}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resend_without_a_spool_says_so_and_makes_none() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), "127.0.0.1:1");
    let error = siji_collector::resend(config, Arc::clone(&REFERENCE), 0)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("check data_dir"), "{error}");
    assert!(!directory.path().join("spool.redb").exists());
}
