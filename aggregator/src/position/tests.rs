use proptest::prelude::*;

use super::*;

const P: Partition = Partition(3);

#[test]
fn a_position_reads_back_from_its_transactions() {
    let position = Position {
        epoch: 1,
        next: Some(10),
        last: Some(LastRecord {
            offset: 8,
            check: -5,
        }),
        parked: Some(Place {
            epoch: 0,
            offset: 7,
        }),
    };
    let mut txns: HashMap<String, i64> = [("siji.events/0/3".to_owned(), 99)].into();
    txns.extend(
        position
            .txns("siji.events", P, 0)
            .into_iter()
            .map(|txn| (txn.app_id, txn.version)),
    );
    assert_eq!(Position::read(&txns, "siji.events", P), position);
    let none = Position {
        epoch: 0,
        next: None,
        last: None,
        parked: None,
    };
    assert_eq!(Position::read(&txns, "siji.events", Partition(4)), none);
}

#[test]
fn the_names_of_positions_are_pinned() {
    assert_eq!(app_id("siji.events", 0, P), "siji.events/0/3");
    assert_eq!(
        record_check(Some(1), Some(b"k"), Some(b"v")),
        1_807_729_547_150_928_583
    );
}

#[test]
fn key_value_and_time_cannot_be_mistaken_for_each_other() {
    let checks = [
        record_check(Some(1), Some(b"ab"), Some(b"c")),
        record_check(Some(1), Some(b"a"), Some(b"bc")),
        record_check(Some(1), None, Some(b"abc")),
        record_check(Some(1), Some(b""), Some(b"abc")),
        record_check(None, Some(b"ab"), Some(b"c")),
    ];
    let different: std::collections::BTreeSet<_> = checks.iter().collect();
    assert_eq!(different.len(), checks.len());
}

#[test]
fn a_log_that_ends_before_or_begins_after_the_position_stops_the_partition() {
    let last = LastRecord {
        offset: 9,
        check: 1,
    };
    let at_10 = Position {
        epoch: 0,
        next: Some(10),
        last: Some(last),
        parked: None,
    };
    assert_eq!(
        standing(
            &Position {
                next: None,
                last: None,
                ..at_10
            },
            5,
            7
        ),
        Standing::Fresh
    );
    assert_eq!(standing(&at_10, 0, 10), Standing::Resume { verify: last });
    assert_eq!(standing(&at_10, 0, 50), Standing::Resume { verify: last });
    assert_eq!(standing(&at_10, 10, 50), Standing::ResumeUnverified);
    assert_eq!(standing(&at_10, 0, 9), Standing::Lost);
    assert_eq!(standing(&at_10, 0, 0), Standing::Lost);
    assert_eq!(standing(&at_10, 11, 50), Standing::Deleted);
}

proptest! {
    /// Whatever arrives, in whatever order and however often, the offsets taken and the gaps recorded are disjoint
    /// and cover exactly what lies between the first offset and the next: the ledger's invariant.
    #[test]
    fn taken_offsets_and_gaps_cover_the_log_exactly_once(arrivals in proptest::collection::vec(0i64..200, 1..300)) {
        let mut next = None;
        let mut covered = std::collections::BTreeMap::new();
        for offset in &arrivals {
            if let Step::Gap { from, to } = step(next, *offset) {
                for missing in from..=to {
                    prop_assert!(covered.insert(missing, "gap").is_none());
                }
            }
            if step(next, *offset) != Step::Seen {
                prop_assert!(covered.insert(*offset, "row").is_none());
                next = Some(offset + 1);
            }
        }
        let (first, last) = (*covered.keys().next().unwrap(), *covered.keys().last().unwrap());
        prop_assert_eq!(covered.len() as i64, last - first + 1);
        prop_assert_eq!((first, next), (arrivals[0], Some(last + 1)));
    }
}

#[test]
fn the_topic_of_a_position_is_told_by_its_name() {
    let id = app_id("a/b.c", 2, Partition(11));
    assert_eq!(topic_of(&id), Some("a/b.c"));
    assert_eq!(topic_of(&format!("{id}#check")), Some("a/b.c"));
    assert_eq!(topic_of("siji.events#partitions"), None);
    assert_eq!(topic_of("compaction/3"), None);
}
