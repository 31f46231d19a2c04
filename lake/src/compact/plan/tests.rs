use proptest::prelude::*;

use super::*;

const POLICY: Policy = Policy {
    target_bytes: 128 << 20,
    job_bytes: 512 << 20,
    job_files: 256,
    fan_in: 8,
    everything: false,
    by_month: true,
};

fn file(file: usize, bytes: u64, days: (i32, i32)) -> Candidate {
    Candidate {
        file,
        partition: Some("street".into()),
        bytes,
        days: Some(days),
        rank: file as i64,
    }
}

/// 2026-11-01.
const NOVEMBER: i32 = 20_758;

#[test]
fn small_files_wait_until_there_are_enough_and_large_ones_are_left_alone() {
    let small = |n: usize| (0..n).map(|i| file(i, 10_000, (NOVEMBER, NOVEMBER + 1)));
    assert_eq!(jobs(&small(7).collect::<Vec<_>>(), &POLICY), []);
    let mut files: Vec<Candidate> = small(8).collect();
    files.push(file(8, 64 << 20, (NOVEMBER, NOVEMBER)));
    let jobs = jobs(&files, &POLICY);
    assert_eq!(jobs.len(), 1);
    assert_eq!(jobs[0].files, (0..8).collect::<Vec<_>>());
    assert_eq!(jobs[0].shelf, Shelf::Month(2026, 11));
}

#[test]
fn what_one_fold_can_make_is_not_folded_again() {
    let policy = Policy {
        job_bytes: 64 << 20,
        ..POLICY
    };
    let days = (NOVEMBER, NOVEMBER);
    let made: Vec<Candidate> = (0..20).map(|i| file(i, 33 << 20, days)).collect();
    assert_eq!(jobs(&made, &policy), []);
    let by_hand = Policy {
        everything: true,
        ..policy
    };
    assert_eq!(jobs(&made, &by_hand), []);
}

#[test]
fn a_month_that_is_done_is_not_rewritten_for_a_late_row() {
    let mut files = vec![file(0, 40 << 20, (NOVEMBER - 300, NOVEMBER - 300))];
    files.extend((1..8).map(|i| file(i, 9_000, (NOVEMBER - 300, NOVEMBER - 300))));
    assert_eq!(jobs(&files, &POLICY), []);
    files.push(file(8, 9_000, (NOVEMBER - 300, NOVEMBER - 300)));
    let jobs = jobs(&files, &POLICY);
    assert_eq!(jobs.len(), 1, "the late rows are folded with each other");
    assert_eq!(jobs[0].files, (1..9).collect::<Vec<_>>());
}

#[test]
fn files_of_several_months_are_sorted_out_and_what_comes_of_them_is_not_again() {
    let mixed: Vec<Candidate> = (0..8)
        .map(|i| file(i, 600_000, (NOVEMBER - 5000, NOVEMBER)))
        .collect();
    let planned = jobs(&mixed, &POLICY);
    assert_eq!(planned.len(), 1);
    assert_eq!(
        (planned[0].shelf, planned[0].last_day),
        (Shelf::Mixed, Some(NOVEMBER))
    );
    assert_eq!(shelf_of(NOVEMBER, NOVEMBER), Shelf::Month(2026, 11));
    assert_eq!(shelf_of(NOVEMBER - 31, NOVEMBER), Shelf::Month(2026, 10));
    assert_eq!(shelf_of(NOVEMBER - 5000, NOVEMBER), Shelf::Year(2013));
    // As long as there is little of them they stay together.
    let little: Vec<Candidate> = (0..8)
        .map(|i| file(i, 60_000, (NOVEMBER - 5000, NOVEMBER)))
        .collect();
    assert_eq!(jobs(&little, &POLICY)[0].shelf, Shelf::Whole);
    // A large one is sorted out although it is alone.
    let large = file(0, 100 << 20, (NOVEMBER - 5000, NOVEMBER));
    assert_eq!(jobs(&[large], &POLICY)[0].shelf, Shelf::Mixed);
    // A file of many months of an old year, beside a new one.
    let old = [
        file(0, 9_000, (NOVEMBER - 4950, NOVEMBER - 4800)),
        file(1, 9_000, (NOVEMBER, NOVEMBER)),
    ];
    let everything = Policy {
        everything: true,
        ..POLICY
    };
    assert_eq!(jobs(&old, &everything), []);
}

#[test]
fn partitions_are_never_mixed() {
    let mut files: Vec<Candidate> = (0..16)
        .map(|i| file(i, 9_000, (NOVEMBER, NOVEMBER)))
        .collect();
    for file in &mut files[8..] {
        file.partition = Some("city".into());
    }
    let jobs = jobs(&files, &POLICY);
    assert_eq!(jobs.len(), 2);
    for job in jobs {
        assert!(
            job.files
                .iter()
                .all(|file| files[*file].partition == job.partition)
        );
    }
}

proptest! {
    /// Each file is in one job at most, jobs keep their limits, and doing what is planned again and again ends.
    #[test]
    fn folding_ends_and_keeps_its_limits(
        files in proptest::collection::vec((1u64..200_000_000, -4000i32..0, 0i32..800), 0..120),
        everything in any::<bool>(),
        by_month in any::<bool>(),
        fan_in in 2usize..10,
        job_mb in prop_oneof![Just(16u64), Just(64), Just(512)],
    ) {
        let policy = Policy { everything, by_month, fan_in, job_files: 20, job_bytes: job_mb << 20, ..POLICY };
        let mut live: Vec<Candidate> = files
            .into_iter()
            .enumerate()
            .map(|(i, (bytes, back, span))| {
                let first = NOVEMBER + back;
                file(i, bytes, (first, (first + span).min(NOVEMBER)))
            })
            .collect();
        let total: u64 = live.iter().map(|file| file.bytes).sum();
        let mut next = live.len();
        for round in 0.. {
            prop_assert!(round < 200, "folding does not end");
            let planned = jobs(&live, &policy);
            if planned.is_empty() {
                break;
            }
            let mut seen = std::collections::HashSet::new();
            for job in planned {
                prop_assert!(job.files.len() <= 20);
                prop_assert!(job.files.len() <= 2 || job.bytes <= policy.job_bytes);
                prop_assert!(job.files.iter().all(|file| seen.insert(*file)));
                let (gone, kept): (Vec<_>, Vec<_>) =
                    live.into_iter().partition(|file| job.files.contains(&file.file));
                live = kept;
                // Rows spread evenly over the days of their files; sorted out by shelf; cut at the target.
                let mut shelves: BTreeMap<Shelf, (u64, (i32, i32))> = BTreeMap::new();
                for gone in gone {
                    let (first, last) = gone.days.unwrap();
                    let days = (last - first + 1) as u64;
                    for (n, day) in (first..=last).enumerate() {
                        let shelf = match job.shelf {
                            Shelf::Mixed => shelf_of(day, job.last_day.unwrap()),
                            other => other,
                        };
                        let part = gone.bytes / days + u64::from((n as u64) < gone.bytes % days);
                        let on = shelves.entry(shelf).or_insert((0, (day, day)));
                        on.0 += part;
                        on.1 = (on.1.0.min(day), on.1.1.max(day));
                    }
                }
                for (mut bytes, days) in shelves.into_values() {
                    while bytes > 0 {
                        let part = bytes.min(policy.target_bytes);
                        live.push(file(next, part, days));
                        next += 1;
                        bytes -= part;
                    }
                }
            }
        }
        prop_assert_eq!(live.iter().map(|file| file.bytes).sum::<u64>(), total);
    }
}
