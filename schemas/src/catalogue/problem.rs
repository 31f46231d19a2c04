//! What is wrong with reference files: every finding, with file, line and reason.

use std::fmt;

/// One thing that is wrong in a reference file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// File as the user knows it.
    pub file: String,
    /// Line, from 1; 0 where the whole file is at fault.
    pub line: u64,
    /// What is wrong and what was expected.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.reason),
            line => write!(f, "{}:{line}: {}", self.file, self.reason),
        }
    }
}

/// All that is wrong with a set of reference files, sorted by file and line. Printed one a line, at most
/// [`LoadProblems::SHOWN`] of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, thiserror::Error)]
pub struct LoadProblems(Vec<Problem>);

impl LoadProblems {
    /// How many problems [`fmt::Display`] prints before it only counts.
    pub const SHOWN: usize = 50;

    pub(crate) fn add(&mut self, file: &str, line: u64, reason: impl Into<String>) {
        self.0.push(Problem {
            file: file.to_owned(),
            line,
            reason: reason.into(),
        });
    }

    /// Number of problems.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every problem.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// Joins another set.
    pub fn extend(&mut self, other: LoadProblems) {
        self.0.extend(other.0);
    }

    /// `value` when nothing is wrong, else the problems, sorted.
    pub(crate) fn or<T>(mut self, value: T) -> Result<T, LoadProblems> {
        if self.0.is_empty() {
            return Ok(value);
        }
        self.0
            .sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        Err(self)
    }
}

impl fmt::Display for LoadProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.0.len() == 1 {
            "problem"
        } else {
            "problems"
        };
        write!(f, "{} {noun} in reference files", self.0.len())?;
        for problem in self.0.iter().take(Self::SHOWN) {
            write!(f, "\n  {problem}")?;
        }
        if self.0.len() > Self::SHOWN {
            write!(f, "\n  … and {} more", self.0.len() - Self::SHOWN)?;
        }
        Ok(())
    }
}
