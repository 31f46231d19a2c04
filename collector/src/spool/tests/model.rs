//! The spool against a model: any order of appends, deliveries, clean reopenings and power cuts.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<usize>),
    Deliver(usize),
    Reopen,
    /// The power goes after that many disk changes; bits say which unsynced changes survive.
    PowerCut(usize, u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(prop_oneof![1usize..200, 60_000usize..70_000], 1..8).prop_map(Step::Append),
        2 => (0usize..20).prop_map(Step::Deliver),
        1 => Just(Step::Reopen),
        2 => ((0usize..12), any::<u64>()).prop_map(|(changes, survivors)| Step::PowerCut(changes, survivors)),
    ]
}

/// What must be in the spool: acknowledged records, and where unacknowledged ones may stand between them.
#[derive(Debug, Default)]
struct Model {
    acknowledged: Vec<String>,
    unacknowledged: Vec<String>,
    openings: usize,
}

fn check(spool: &Spool, model: &Model) {
    let found = read_from(spool, 1);
    // Gap-free numbers in each incarnation, each named once, in order.
    let mut expected = (0, 0);
    let mut before = None;
    for (incarnation, seq, value) in &found {
        if *incarnation != expected.0 {
            let previous = before.map(|(incarnation, seq): (i64, i64)| (incarnation, seq));
            assert_eq!(*value, format!("greeting {incarnation:?} {previous:?}"));
            expected = (*incarnation, 0);
        }
        assert_eq!(*seq, expected.1 + 1, "a gap in incarnation {incarnation}");
        expected.1 = *seq;
        before = Some(expected);
    }
    let values: Vec<_> = found
        .iter()
        .map(|(_, _, value)| value)
        .filter(|value| !value.starts_with("greeting"))
        .collect();
    let mut rest = values.iter();
    for acknowledged in &model.acknowledged {
        // Everything between must be a record nobody was told about.
        for value in rest.by_ref() {
            if *value == acknowledged {
                break;
            }
            assert!(
                model.unacknowledged.contains(value),
                "`{}` is out of place",
                &value[..value.len().min(20)]
            );
        }
    }
    let missing = model
        .acknowledged
        .iter()
        .filter(|value| !values.contains(value))
        .count();
    assert_eq!(missing, 0, "acknowledged records are missing");
}

async fn run(steps: Vec<Step>) {
    // Nothing is deleted, so that the whole history can be compared.
    let limits = SpoolLimits {
        max_bytes: 1 << 30,
        cache_bytes: 1 << 20,
        ..SpoolLimits::default()
    };
    let mut disk = Disk::default();
    let mut spool = on_disk(&disk, limits.clone());
    let mut model = Model {
        openings: 1,
        ..Model::default()
    };
    let mut number = 0;
    for step in steps {
        match step {
            Step::Append(lengths) => {
                let values: Vec<String> = lengths
                    .into_iter()
                    .map(|length| {
                        number += 1;
                        format!("{number} {}", "x".repeat(length))
                    })
                    .collect();
                let receipt = spool
                    .append(values.iter().map(|value| refused(value.clone())).collect())
                    .await
                    .unwrap();
                assert_eq!(receipt.count, values.len() as u64);
                model.acknowledged.extend(values);
            }
            Step::Deliver(records) => {
                let mark = spool.mark();
                let position = (mark.position + records as u64).min(spool.gauges().next);
                spool.delivered(Mark { position, ..mark });
                assert_eq!(spool.gauges().depth, spool.gauges().next - position);
            }
            Step::Reopen => {
                let mark = spool.mark().position;
                spool.close();
                spool = on_disk(&disk, limits.clone());
                assert_eq!(spool.mark().position, mark, "a clean close stores the mark");
                model.openings += 1;
            }
            Step::PowerCut(changes, mut survivors) => {
                let mark = spool.mark().position;
                disk.cut_after(changes);
                number += 1;
                let value = format!("{number} in the moment of the cut");
                match spool.append(vec![refused(value.clone())]).await {
                    Ok(_) => model.acknowledged.push(value),
                    Err(_) => model.unacknowledged.push(value),
                }
                let next = disk.after_power_cut(|| {
                    survivors = survivors.rotate_left(1);
                    survivors & 1 == 1
                });
                drop(spool);
                disk = next;
                spool = on_disk(&disk, limits.clone());
                assert!(
                    spool.mark().position <= mark,
                    "a mark may be lost, but never made up"
                );
                model.openings += 1;
            }
        }
    }
    check(&spool, &model);
    let incarnations: std::collections::HashSet<_> =
        read_from(&spool, 1).iter().map(|(i, ..)| *i).collect();
    assert_eq!(incarnations.len(), model.openings);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn nothing_acknowledged_is_ever_missing_or_out_of_order(steps in prop::collection::vec(step(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(run(steps));
    }
}
