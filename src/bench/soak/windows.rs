//! Parts of a soak, and whether what they show stays the same.

use std::fmt;

use serde::Serialize;

/// A sixteenth of the run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Window {
    /// Last commit of it.
    pub commit: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// Time on a core for a commit, with its share of maintenance.
    pub cpu_ms: f64,
    /// Live files of all maintained tables at the end.
    pub files: u64,
    pub log_objects: u64,
    pub log_kb: u64,
    pub rss_mb: u64,
    /// Seconds the maintainer was at work, and what it wrote.
    pub maintained_s: f64,
    pub folded_mb: u64,
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>6} commits  p50 {:>6.1} ms  p99 {:>6.1} ms  {:>5.1} CPU-ms each  {:>4} files  log {:>5} objects {:>6} kB  \
             {:>4} MB resident  maintained {:>6.1} s, {:>5} MB",
            self.commit,
            self.p50_ms,
            self.p99_ms,
            self.cpu_ms,
            self.files,
            self.log_objects,
            self.log_kb,
            self.rss_mb,
            self.maintained_s,
            self.folded_mb
        )
    }
}

/// How much the last quarter may be above the second. The first fills caches and writes the first large files.
const GROWTH: f64 = 1.25;

/// What grew from the second quarter to the last, if anything did. Files and log move in steps between folds and
/// clean-ups: their most counts, of the others the mean.
pub(super) fn flat(windows: &[Window]) -> Option<String> {
    let quarter = windows.len() / 4;
    if quarter == 0 {
        return Some("too few commits to tell".to_owned());
    }
    let (second, last) = (
        &windows[quarter..2 * quarter],
        &windows[windows.len() - quarter..],
    );
    let mean = |of: fn(&Window) -> f64, part: &[Window]| {
        part.iter().map(of).sum::<f64>() / part.len() as f64
    };
    let most = |of: fn(&Window) -> f64, part: &[Window]| part.iter().map(of).fold(0.0, f64::max);
    let grew = [
        (
            "commit time p50 (ms)",
            mean(|w| w.p50_ms, second),
            mean(|w| w.p50_ms, last),
        ),
        (
            "CPU time of a commit (ms)",
            mean(|w| w.cpu_ms, second),
            mean(|w| w.cpu_ms, last),
        ),
        (
            "live files",
            most(|w| w.files as f64, second),
            most(|w| w.files as f64, last),
        ),
        (
            "log objects",
            most(|w| w.log_objects as f64, second),
            most(|w| w.log_objects as f64, last),
        ),
        (
            "resident memory (MB)",
            most(|w| w.rss_mb as f64, second),
            most(|w| w.rss_mb as f64, last),
        ),
    ];
    let grew: Vec<String> = grew
        .into_iter()
        .filter(|(_, before, after)| *after > before * GROWTH)
        .map(|(what, before, after)| format!("{what} grew from {before:.1} to {after:.1}"))
        .collect();
    (!grew.is_empty()).then(|| grew.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(p50_ms: impl Fn(u64) -> f64, files: impl Fn(u64) -> u64) -> Vec<Window> {
        (0..16)
            .map(|n| Window {
                p50_ms: p50_ms(n),
                files: files(n),
                rss_mb: 300,
                ..Window::default()
            })
            .collect()
    }

    #[test]
    fn noise_and_saw_teeth_are_flat() {
        let noisy = windows(|n| 20.0 + (n % 3) as f64, |n| 300 + n % 4 * 40);
        assert_eq!(flat(&noisy), None);
    }

    #[test]
    fn what_grows_with_every_commit_is_told() {
        let grows = windows(|n| 20.0 + n as f64, |n| 300 + n * 40);
        let why = flat(&grows).unwrap();
        assert!(
            why.contains("commit time") && why.contains("live files"),
            "{why}"
        );
        assert!(!why.contains("memory"), "{why}");
    }

    #[test]
    fn a_short_run_is_not_called_flat() {
        assert!(flat(&windows(|_| 1.0, |_| 1)[..3]).is_some());
    }
}
