use std::fs;

use super::clients::*;
use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_broker_on_the_directory_is_refused_until_the_first_has_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let first = broker_in(directory.path()).await;
    let refused = try_broker_in(directory.path())
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("in use by another broker"), "{refused}");
    first.shutdown().await.unwrap();
    broker_in(directory.path()).await.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_directory_of_another_format_is_refused_in_one_line_that_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(
        directory.path().join("siji-broker.json"),
        r#"{"format":2,"cluster_id":"x"}"#,
    )
    .unwrap();
    let refused = try_broker_in(directory.path())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("has format 2, this siji reads format 1"),
        "{refused}"
    );
    assert!(
        refused.contains("empty directory") && !refused.contains('\n'),
        "{refused}"
    );
}

#[tokio::test]
async fn a_damaged_marker_or_someone_elses_database_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let marker = directory.path().join("siji-broker.json");
    for damaged in [
        "",
        "{",
        r#"{"format":1}"#,
        r#"{"format":"1","cluster_id":"x"}"#,
    ] {
        fs::write(&marker, damaged).unwrap();
        let refused = try_broker_in(directory.path())
            .await
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("siji-broker.json"),
            "{damaged:?}: {refused}"
        );
    }
    fs::remove_file(&marker).unwrap();
    fs::write(directory.path().join("broker.db"), b"something").unwrap();
    let refused = try_broker_in(directory.path())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("not a directory of siji's broker"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(
        directory.path().join("siji-broker.json"),
        r#"{"format":1,"cluster_id":"x"}"#,
    )
    .unwrap();
    fs::write(directory.path().join("broker.db"), vec![7; 8192]).unwrap();
    let refused = try_broker_in(directory.path()).await.unwrap_err();
    assert!(matches!(refused, BrokerError::Engine { .. }), "{refused}");
    assert!(
        refused
            .to_string()
            .contains(directory.path().to_str().unwrap()),
        "{refused}"
    );
}

#[tokio::test]
async fn a_file_in_the_directorys_place_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, b"").unwrap();
    let refused = try_broker_in(&file).await.unwrap_err().to_string();
    assert!(refused.contains(file.to_str().unwrap()), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_is_in_the_directory_whatever_its_name_and_the_current_directory() {
    let here = std::env::current_dir().unwrap();
    let before = fs::read_dir(&here).unwrap().count();
    for name in ["plain", "湖州 数据", "a#b?c%20d"] {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join(name);
        let broker = broker_in(&directory).await;
        create_topic(broker.bootstrap(), "t", 1).await;
        assert!(
            directory.join("broker.db").is_file(),
            "no database in {name:?}"
        );
        assert!(
            directory.join("broker.db-wal").is_file(),
            "no write-ahead log in {name:?}"
        );
        broker.shutdown().await.unwrap();

        let broker = broker_in(&directory).await;
        let bootstrap = broker.bootstrap().to_owned();
        let read = blocking(move || read_all(&bootstrap, "t", 1)).await;
        assert_eq!(read, vec![Vec::new()], "the topic in {name:?} is gone");
        broker.shutdown().await.unwrap();
    }
    assert_eq!(
        fs::read_dir(&here).unwrap().count(),
        before,
        "something was written to {}",
        here.display()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_taken_is_named() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let broker = broker_in(one.path()).await;
    let listen: SocketAddr = broker.bootstrap().parse().unwrap();
    let config = BrokerConfig {
        listen,
        advertised: None,
        data_dir: other.path().to_owned(),
    };
    let refused = start(config).await.unwrap_err().to_string();
    assert!(refused.contains(broker.bootstrap()), "{refused}");
    broker.shutdown().await.unwrap();
}
