use std::sync::Arc;

use futures::TryStreamExt;
use object_store::{ObjectStoreExt, PutMode};

use super::*;

fn at(directory: &tempfile::TempDir, name: &str) -> Path {
    Path::from_absolute_path(directory.path().join(name)).unwrap()
}

fn files(directory: &tempfile::TempDir) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn an_object_is_written_whole_and_leaves_no_temporary_file() {
    let directory = tempfile::tempdir().unwrap();
    let store = DurableLocal::new();
    store.put(&at(&directory, "a"), "one".into()).await.unwrap();
    store.put(&at(&directory, "a"), "two".into()).await.unwrap();
    let read = store
        .get(&at(&directory, "a"))
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    assert_eq!(
        (read.as_ref(), files(&directory)),
        (b"two".as_ref(), vec!["a".to_owned()])
    );
}

#[tokio::test]
async fn of_many_writers_that_create_one_object_exactly_one_wins() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(DurableLocal::new());
    let writers = (0..16).map(|n| {
        let (store, path) = (Arc::clone(&store), at(&directory, "log/0.json"));
        tokio::spawn(async move {
            store
                .put_opts(&path, format!("{n}").into(), PutMode::Create.into())
                .await
        })
    });
    let mut wins = 0;
    for writer in writers.collect::<Vec<_>>() {
        match writer.await.unwrap() {
            Ok(_) => wins += 1,
            Err(error) => assert!(matches!(error, Error::AlreadyExists { .. }), "{error}"),
        }
    }
    assert_eq!(wins, 1);
}

#[tokio::test]
async fn parts_land_in_order_and_nothing_shows_before_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let store = DurableLocal::new();
    let mut upload = store.put_multipart(&at(&directory, "big")).await.unwrap();
    let parts = ["abc", "", "defg", "h"].map(|part| upload.put_part(part.into()));
    for part in parts.into_iter().rev() {
        part.await.unwrap();
    }
    let prefix = Path::from_absolute_path(directory.path()).unwrap();
    assert!(
        store
            .list(Some(&prefix))
            .try_collect::<Vec<_>>()
            .await
            .unwrap()
            .is_empty()
    );
    upload.complete().await.unwrap();
    assert_eq!(fs::read(directory.path().join("big")).unwrap(), b"abcdefgh");
    assert!(upload.complete().await.is_err());
}

#[tokio::test]
async fn an_abandoned_upload_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = DurableLocal::new();
    drop(store.put_multipart(&at(&directory, "x")).await.unwrap());
    let mut upload = store.put_multipart(&at(&directory, "y")).await.unwrap();
    upload.abort().await.unwrap();
    assert!(files(&directory).is_empty());
}

#[tokio::test]
async fn an_error_names_the_path() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("file"), b"").unwrap();
    let error = DurableLocal::new()
        .put(&at(&directory, "file/below"), "x".into())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("file/below"), "{error}");
}

/// Without the look for holes nearly every listing has some.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_grows_is_listed_without_holes() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("_delta_log");
    fs::create_dir(&log).unwrap();
    let entry = move |version: i64| log.join(format!("{version:020}.json"));
    (0..3000).for_each(|version| fs::write(entry(version), "").unwrap());
    let writing = std::thread::spawn(move || {
        for version in 3000..8000 {
            fs::write(entry(version), "").unwrap();
            std::thread::sleep(std::time::Duration::from_micros(100));
        }
    });
    let store = DurableLocal::new();
    let log = at(&directory, "_delta_log");
    // All of it, and what comes behind the last entry that is known.
    let (mut listings, mut next) = (0, 0);
    while !writing.is_finished() {
        let objects = match listings % 2 {
            0 => store.list(Some(&log)),
            _ => store.list_with_offset(Some(&log), &log.clone().join(format!("{next:020}"))),
        };
        let objects: Vec<ObjectMeta> = objects.try_collect().await.unwrap();
        let mut versions: Vec<i64> = objects
            .iter()
            .map(|object| object.location.filename().unwrap()[..20].parse().unwrap())
            .collect();
        versions.sort_unstable();
        let first = if listings % 2 == 0 { 0 } else { next };
        let until = first + versions.len() as i64;
        assert!(versions.into_iter().eq(first..until), "listing {listings}");
        next = until;
        listings += 1;
    }
    writing.join().unwrap();
    assert!(listings > 10);
}
