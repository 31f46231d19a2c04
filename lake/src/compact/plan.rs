//! Which files to fold together: a pure decision from what the log says of them.
//!
//! Files lie on **shelves**: one for each partition and, where rows belong to days, for each month. On a shelf they are
//! in **classes** by size, each eight times as large as the one below, up to the size that is left alone. A class that
//! has gathered enough files is folded into one of the next class, with everything smaller. So a row is rewritten once a
//! class, whatever the table holds, and a month that gets one late row a day is not rewritten every day.
//!
//! Files that span months lie on a shelf of their own. They are folded with each other until there is enough of them
//! to be sorted onto the shelves of months: a small table is not cut into hundreds of tiny files.

use std::collections::BTreeMap;

use chrono::{Datelike, NaiveDate};

/// A live file, as far as the decision goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Position among the snapshot's files.
    pub file: usize,
    /// Value of the partition column, if there is one.
    pub partition: Option<String>,
    /// Bytes.
    pub bytes: u64,
    /// First and last local day in it, days since 1970; `None`: not known.
    pub days: Option<(i32, i32)>,
    /// What files are taken in the order of, where it matters.
    pub rank: i64,
}

/// How to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Larger files are not made.
    pub target_bytes: u64,
    /// Bytes read by one job at most, unless its first two files have more.
    pub job_bytes: u64,
    /// Files read by one job at most.
    pub job_files: usize,
    /// Files that a class gathers before it is folded; also the factor between two classes. At least 2.
    pub fan_in: usize,
    /// Fold whatever is below the target at once, in one class.
    pub everything: bool,
    /// Keep months apart.
    pub by_month: bool,
}

impl Policy {
    /// Files of this size are left alone: half of the largest that a fold makes.
    pub fn large_enough(&self) -> u64 {
        (self.target_bytes.min(self.job_bytes) / 2).max(1)
    }

    /// Files of several months are sorted out once a job holds this many bytes of them.
    pub fn sorting_bytes(&self) -> u64 {
        (self.target_bytes / 32).max(1)
    }
}

/// Where rows of like age lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shelf {
    /// Not kept apart by days.
    Whole,
    /// Of one year, from before [`SINGLE_MONTHS`].
    Year(i32),
    /// Of one month.
    Month(i32, u32),
    /// Of several years or months: to be sorted onto the others.
    Mixed,
}

/// Files that are read together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Value of the partition column.
    pub partition: Option<String>,
    /// Whose rows they are; [`Shelf::Mixed`] is sorted out on the way, [`Shelf::Whole`] stays together.
    pub shelf: Shelf,
    /// Positions among the snapshot's files.
    pub files: Vec<usize>,
    /// Their bytes.
    pub bytes: u64,
    /// Last day in any of them, if known.
    pub last_day: Option<i32>,
}

/// Months that get a shelf of their own when mixed files are sorted out, counted back from the last one in them; older
/// ones share a shelf by year. So few files are open at once, whatever comes in.
pub const SINGLE_MONTHS: i32 = 24;
/// Classes below the size that is left alone.
const CLASSES: u32 = 5;

/// The shelf of a day, in a job whose last day is `last_day`.
pub fn shelf_of(day: i32, last_day: i32) -> Shelf {
    let (year, month) = month_of(day);
    let (last_year, last_month) = month_of(last_day);
    let back = (last_year - year) * 12 + last_month as i32 - month as i32;
    if back < SINGLE_MONTHS {
        Shelf::Month(year, month)
    } else {
        Shelf::Year(year)
    }
}

fn month_of(day: i32) -> (i32, u32) {
    let date = NaiveDate::from_num_days_from_ce_opt(day.saturating_add(719_163));
    date.map_or((i32::MIN / 64, 1), |date| (date.year(), date.month()))
}

fn shelf(candidate: &Candidate, by_month: bool) -> Shelf {
    match candidate.days {
        _ if !by_month => Shelf::Whole,
        None => Shelf::Mixed,
        Some((first, last)) => {
            let (first, last) = (month_of(first), month_of(last));
            if first == last {
                Shelf::Month(first.0, first.1)
            } else if first.0 == last.0 {
                Shelf::Year(first.0)
            } else {
                Shelf::Mixed
            }
        }
    }
}

/// What to fold now. Running the plan until it is empty ends.
pub fn jobs(candidates: &[Candidate], policy: &Policy) -> Vec<Job> {
    let mut shelves: BTreeMap<(Option<&str>, Shelf), Vec<&Candidate>> = BTreeMap::new();
    let newest = candidates.iter().filter_map(|c| c.days).map(|d| d.1).max();
    for candidate in candidates {
        let mut shelf = shelf(candidate, policy.by_month);
        // A file of several months of a recent year comes straight from the writer and is sorted out; one of an old
        // year stays on the shelf of that year.
        if let (Shelf::Year(year), Some((_, last)), Some(newest)) = (shelf, candidate.days, newest)
            && shelf_of(last, newest) != Shelf::Year(year)
        {
            shelf = Shelf::Mixed;
        }
        let of = (candidate.partition.as_deref(), shelf);
        shelves.entry(of).or_default().push(candidate);
    }
    let mut jobs = Vec::new();
    for ((partition, shelf), files) in shelves {
        for files in split(due(files, shelf, policy), shelf, policy) {
            let bytes = files.iter().map(|file| file.bytes).sum();
            let stays = shelf == Shelf::Mixed && bytes < policy.sorting_bytes();
            jobs.push(Job {
                partition: partition.map(str::to_owned),
                shelf: if stays { Shelf::Whole } else { shelf },
                bytes,
                last_day: files.iter().filter_map(|file| file.days).map(|d| d.1).max(),
                files: files.iter().map(|file| file.file).collect(),
            });
        }
    }
    jobs
}

/// The class of a file; `None`: it is left alone.
fn class(bytes: u64, policy: &Policy) -> Option<u32> {
    let factor = policy.fan_in.max(2) as u64;
    let mut limit = policy.large_enough();
    if bytes >= limit {
        return None;
    }
    if policy.everything {
        return Some(0);
    }
    for class in (1..CLASSES).rev() {
        limit /= factor;
        if bytes >= limit {
            return Some(class);
        }
    }
    Some(0)
}

/// The files of a shelf that are folded now.
fn due<'c>(files: Vec<&'c Candidate>, shelf: Shelf, policy: &Policy) -> Vec<&'c Candidate> {
    let enough = if policy.everything {
        2
    } else {
        policy.fan_in.max(2)
    };
    let mut counts = [0usize; CLASSES as usize];
    for file in &files {
        if let Some(class) = class(file.bytes, policy) {
            counts[class as usize] += 1;
        }
    }
    let highest = counts.iter().rposition(|count| *count >= enough);
    files
        .into_iter()
        .filter(|file| {
            let gathered = class(file.bytes, policy).zip(highest);
            gathered.is_some_and(|(class, highest)| class as usize <= highest)
                || is_sorted_out(file, shelf, policy)
        })
        .collect()
}

/// Whether a file is rewritten although it is alone: it would stay in the way of every month in it.
fn is_sorted_out(file: &Candidate, shelf: Shelf, policy: &Policy) -> bool {
    shelf == Shelf::Mixed && file.bytes >= policy.sorting_bytes()
}

/// Cuts what is due into jobs, the small files first, each job in the order of ranks.
fn split<'c>(
    mut due: Vec<&'c Candidate>,
    shelf: Shelf,
    policy: &Policy,
) -> Vec<Vec<&'c Candidate>> {
    due.sort_by_key(|file| (class(file.bytes, policy), file.rank, file.file));
    let mut jobs: Vec<(u64, Vec<&Candidate>)> = Vec::new();
    for file in due {
        match jobs.last_mut() {
            Some((bytes, job))
                if job.len() < policy.job_files.max(2)
                    && (job.len() < 2 || *bytes + file.bytes <= policy.job_bytes) =>
            {
                *bytes += file.bytes;
                job.push(file);
            }
            _ => jobs.push((file.bytes, vec![file])),
        }
    }
    let mut jobs: Vec<Vec<&Candidate>> = jobs.into_iter().map(|(_, job)| job).collect();
    // One file alone is only rewritten to be sorted out.
    jobs.retain(|job| job.len() > 1 || is_sorted_out(job[0], shelf, policy));
    for job in &mut jobs {
        job.sort_by_key(|file| (file.rank, file.file));
    }
    jobs
}

#[cfg(test)]
mod tests;
