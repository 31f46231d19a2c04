use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const P: Partition = Partition(0);

#[test]
fn the_same_id_with_another_body_is_neither_new_nor_a_duplicate() {
    let mut index = DedupIndex::new(usize::MAX);
    assert_eq!(
        index.judge(P, 1, 7, 70, 0),
        None,
        "a day that is not loaded is not judged"
    );
    index.load(P, 1, [(7, 70)], 0);
    assert_eq!(index.judge(P, 1, 7, 70, 0), Some(Seen::Same));
    assert_eq!(index.judge(P, 1, 7, 71, 0), Some(Seen::Other));
    assert_eq!(index.judge(P, 1, 8, 71, 0), Some(Seen::New));
    assert_eq!(index.judge(P, 1, 8, 71, 0), Some(Seen::Same));
}

#[test]
fn a_set_that_the_ledger_does_not_hold_yet_is_not_dropped() {
    let mut index = DedupIndex::new(0);
    index.load(P, 1, [], 1);
    index.load(P, 2, [], 5);
    index.shrink(4);
    assert!(!index.holds(P, 1) && index.holds(P, 2));
    index.shrink(5);
    assert_eq!(index.bytes(), 0);
}

proptest! {
    /// Against a model that remembers everything: with sets dropped at any time and loaded again from what has been
    /// committed, the verdicts are the same.
    #[test]
    fn dropping_sets_changes_no_verdict(
        steps in proptest::collection::vec((0i32..2, 0i32..3, 0u64..20, 0i64..2, 0usize..4), 1..300),
    ) {
        let mut index = DedupIndex::new(0);
        let mut truth: BTreeMap<(i32, i32, u64), i64> = BTreeMap::new();
        let mut ledger: BTreeMap<(i32, i32, u64), i64> = BTreeMap::new();
        let (mut turn, mut committed) = (1, 0);
        for (partition, day, id, body, then) in steps {
            if !index.holds(Partition(partition), day) {
                let accepted: Vec<_> =
                    ledger.iter().filter(|((p, d, _), _)| (*p, *d) == (partition, day)).map(|((_, _, id), b)| (*id, *b)).collect();
                index.load(Partition(partition), day, accepted, turn);
            }
            let expected = match truth.get(&(partition, day, id)) {
                None => Seen::New,
                Some(known) if *known == body => Seen::Same,
                Some(_) => Seen::Other,
            };
            prop_assert_eq!(index.judge(Partition(partition), day, id, body, turn), Some(expected));
            truth.entry((partition, day, id)).or_insert(body);
            if then == 0 {
                // A batch is sealed and its commit lands.
                committed = turn;
                turn += 1;
                ledger = truth.clone();
            }
            if then <= 1 {
                index.shrink(committed);
            }
        }
    }
}
