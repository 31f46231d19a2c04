use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use proptest::prelude::*;

use super::*;

async fn table(store: &Arc<InMemory>) -> Log<Arc<InMemory>> {
    Log::<Arc<InMemory>>::create("t", store, serde_json::json!({}), serde_json::json!({}))
        .await
        .unwrap();
    Log::open("t", Arc::clone(store)).await.unwrap().unwrap()
}

fn txn(app_id: &str, version: i64) -> Txn {
    Txn {
        app_id: app_id.to_owned(),
        version,
        last_updated: None,
    }
}

fn change(txns: &[(&str, i64)]) -> Change {
    Change {
        txns: txns.iter().map(|(id, version)| txn(id, *version)).collect(),
        ..Change::default()
    }
}

#[tokio::test]
async fn positions_are_read_back_as_committed() {
    let store = Arc::new(InMemory::new());
    let mut log = table(&store).await;
    assert_eq!(log.commit(change(&[("a", 10), ("b", 3)])).await.unwrap(), 1);
    assert_eq!(log.commit(change(&[("a", 12)])).await.unwrap(), 2);
    let again = Log::open("t", store).await.unwrap().unwrap();
    assert_eq!(
        (
            again.version(),
            again.txn("a"),
            again.txn("b"),
            again.txn("c")
        ),
        (2, Some(12), Some(3), None)
    );
}

#[tokio::test]
async fn writers_of_different_partitions_do_not_disturb_each_other() {
    let store = Arc::new(InMemory::new());
    let (mut one, mut two) = (table(&store).await, table(&store).await);
    one.commit(change(&[("a", 1)])).await.unwrap();
    assert_eq!(two.commit(change(&[("b", 1)])).await.unwrap(), 2);
    assert_eq!(two.txn("a"), Some(1));
}

#[tokio::test]
async fn of_two_writers_of_one_partition_the_second_learns_the_winners_position_and_writes_nothing()
{
    let store = Arc::new(InMemory::new());
    let (mut one, mut zombie) = (table(&store).await, table(&store).await);
    one.commit(change(&[("a", 7)])).await.unwrap();
    let refused = zombie.commit(change(&[("a", 5)])).await.unwrap_err();
    assert!(
        matches!(&refused, LakeError::Conflict { app_id, version: 7, .. } if app_id == "a"),
        "{refused}"
    );
    assert_eq!(
        Log::open("t", store).await.unwrap().unwrap().txn("a"),
        Some(7)
    );
}

#[tokio::test]
async fn a_change_of_the_table_by_another_program_stops_the_writer() {
    let store = Arc::new(InMemory::new());
    let mut log = table(&store).await;
    store
        .put(&entry_path(1), r#"{"metaData":{}}"#.into())
        .await
        .unwrap();
    assert!(matches!(
        log.commit(change(&[])).await,
        Err(LakeError::Damaged { .. })
    ));
}

#[tokio::test]
async fn a_missing_entry_is_damage_and_no_log_is_no_table() {
    let store = Arc::new(InMemory::new());
    assert!(Log::open("t", Arc::clone(&store)).await.unwrap().is_none());
    let mut log = table(&store).await;
    for n in 1..4 {
        log.commit(change(&[("a", n)])).await.unwrap();
    }
    store.delete(&entry_path(2)).await.unwrap();
    let error = Log::open("t", store).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("00000000000000000002.json is missing"),
        "{error}"
    );
}

/// Fails a put after it has landed, or before, once.
#[derive(Debug)]
struct LossyReply {
    inner: Arc<InMemory>,
    after: bool,
    armed: AtomicBool,
}

impl std::fmt::Display for LossyReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LossyReply")
    }
}

#[async_trait::async_trait]
impl ObjectStore for LossyReply {
    async fn put_opts(
        &self,
        at: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        let fails = self.armed.swap(false, Ordering::SeqCst);
        if !fails || self.after {
            self.inner.put_opts(at, payload, options).await?;
        }
        if fails {
            return Err(object_store::Error::Generic {
                store: "LossyReply",
                source: "the reply was lost".into(),
            });
        }
        Ok(PutResult {
            e_tag: None,
            version: None,
        })
    }
    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, options).await
    }
    async fn get_opts(&self, at: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.inner.get_opts(at, options).await
    }
    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(locations)
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }
    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn a_commit_whose_reply_was_lost_counts_as_landed_exactly_once() {
    let inner = Arc::new(InMemory::new());
    table(&inner).await;
    let store = LossyReply {
        inner: Arc::clone(&inner),
        after: true,
        armed: AtomicBool::new(true),
    };
    let mut log = Log::open("t", store).await.unwrap().unwrap();
    assert_eq!(log.commit(change(&[("a", 5)])).await.unwrap(), 1);
    assert_eq!(Log::open("t", inner).await.unwrap().unwrap().version(), 1);
}

#[tokio::test]
async fn a_commit_that_did_not_land_is_an_error_and_may_be_tried_again() {
    let inner = Arc::new(InMemory::new());
    table(&inner).await;
    let store = LossyReply {
        inner,
        after: false,
        armed: AtomicBool::new(true),
    };
    let mut log = Log::open("t", store).await.unwrap().unwrap();
    assert!(matches!(
        log.commit(change(&[("a", 5)])).await,
        Err(LakeError::Store(_))
    ));
    assert_eq!((log.version(), log.txn("a")), (0, None));
    assert_eq!(log.commit(change(&[("a", 5)])).await.unwrap(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Writers take turns at random, each moving a partition on from where it believes it stands, and reading again
    /// when told that it is wrong. However they interleave, every step is taken exactly once.
    #[test]
    fn positions_move_by_one_step_at_a_time_whoever_moves_them(turns in proptest::collection::vec((0usize..3, 0usize..2), 1..60)) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            let store = Arc::new(InMemory::new());
            let mut writers = [table(&store).await, table(&store).await, table(&store).await];
            let apps = ["a", "b"];
            let mut steps = [0i64; 2];
            for (writer, app) in turns {
                let log = &mut writers[writer];
                let next = log.txn(apps[app]).unwrap_or(0) + 1;
                match log.commit(change(&[(apps[app], next)])).await {
                    Ok(_) => {
                        steps[app] += 1;
                        prop_assert_eq!(next, steps[app]);
                    }
                    Err(LakeError::Conflict { version, .. }) => {
                        prop_assert!(version <= steps[app] && log.txn(apps[app]) == Some(version));
                    }
                    Err(other) => return Err(TestCaseError::fail(other.to_string())),
                }
            }
            Ok(())
        })?;
    }
}

fn removal(path: &str, txns: &[(&str, i64)]) -> Change {
    let remove = Remove {
        path: path.to_owned(),
        deletion_timestamp: Some(1),
        data_change: false,
    };
    Change {
        removes: vec![remove],
        ..change(txns)
    }
}

#[tokio::test]
async fn a_fold_fails_if_a_file_it_replaces_was_removed_meanwhile() {
    let store = Arc::new(InMemory::new());
    let (mut fold, mut other) = (table(&store).await, table(&store).await);
    other.commit(removal("part-1", &[])).await.unwrap();
    let error = fold.commit(removal("part-1", &[])).await.unwrap_err();
    assert!(
        matches!(&error, LakeError::Removed { path, .. } if path == "part-1"),
        "{error}"
    );
    assert_eq!(Log::open("t", store).await.unwrap().unwrap().version(), 1);
}

#[tokio::test]
async fn of_two_folds_from_one_state_one_fails_and_appends_never_do() {
    let store = Arc::new(InMemory::new());
    let (mut one, mut two) = (table(&store).await, table(&store).await);
    let mut appending = table(&store).await;
    one.commit(removal("a", &[("maintainer", 1)]))
        .await
        .unwrap();
    let error = two
        .commit(removal("b", &[("maintainer", 1)]))
        .await
        .unwrap_err();
    assert!(matches!(error, LakeError::Conflict { .. }), "{error}");
    assert_eq!(appending.commit(change(&[("p", 7)])).await.unwrap(), 2);
    // And the other way round: an append in between is no obstacle to a fold.
    assert_eq!(
        two.commit(removal("b", &[("maintainer", 2)]))
            .await
            .unwrap(),
        3
    );
}

#[tokio::test]
async fn an_entry_that_was_cut_off_at_any_byte_is_found_damaged() {
    let store = Arc::new(InMemory::new());
    let mut log = table(&store).await;
    let add = Add {
        path: "part-1.parquet".to_owned(),
        partition_values: HashMap::new(),
        size: 1,
        modification_time: 0,
        data_change: true,
        stats: None,
    };
    let whole = Change {
        adds: vec![add],
        ..change(&[("a", 1), ("b", 2)])
    };
    let version = log.commit(whole).await.unwrap();
    let path = entry_path(version);
    let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
    // Without its last line break an entry says all it has to say.
    let complete = bytes.len() - 1;
    for length in 0..complete {
        store
            .put(&path, bytes.slice(..length).into())
            .await
            .unwrap();
        match Log::open("t", Arc::clone(&store)).await {
            Err(LakeError::Damaged { reason, .. }) => {
                assert!(reason.contains(path.as_ref()), "{reason}");
            }
            other => panic!("cut at {length}: {other:?}"),
        }
    }
    store
        .put(&path, bytes.slice(..complete).into())
        .await
        .unwrap();
    let whole = Log::open("t", store).await.unwrap().unwrap();
    assert_eq!((whole.txn("a"), whole.txn("b")), (Some(1), Some(2)));
}
