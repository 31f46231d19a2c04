//! Which files are there to follow.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use siji_collector::import::InputOptions;

/// Endings of our own files.
const OURS: [&str; 2] = [".rejects.csv", ".partial"];

/// A file, or a directory whose files are followed. What is wrong with it is told when that changes.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    /// Why there is nothing to follow now.
    away: Option<String>,
    /// Links that are not followed.
    outside: BTreeSet<PathBuf>,
}

impl Root {
    pub fn new(path: &Path) -> Root {
        Root {
            path: path.to_owned(),
            away: None,
            outside: BTreeSet::new(),
        }
    }

    /// The files to follow, in the order of their names; `None` where that cannot be said now: what is not there yet may
    /// be made, and a share that is away comes back.
    pub fn look(&mut self, input: &InputOptions) -> Option<Vec<PathBuf>> {
        match self.files(input) {
            Ok(files) => {
                if self.away.take().is_some() {
                    tracing::info!(path = %self.path.display(), "it is there now");
                }
                Some(files)
            }
            Err(error) => {
                let reason = error.to_string();
                if self.away.as_ref() != Some(&reason) {
                    tracing::warn!(path = %self.path.display(), reason, "there is nothing to follow now; it may still come");
                    self.away = Some(reason);
                }
                None
            }
        }
    }

    fn files(&mut self, input: &InputOptions) -> io::Result<Vec<PathBuf>> {
        let found = std::fs::metadata(&self.path)?;
        if found.is_file() {
            return Ok(vec![self.path.clone()]);
        }
        if !found.is_dir() {
            return Err(io::Error::other("is no plain file and no directory"));
        }
        let inside = self.path.canonicalize()?;
        let (mut files, mut outside) = (Vec::new(), BTreeSet::new());
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            let file = entry.path();
            let known = input.format_of(&file).is_some() && file.extension().is_some();
            if !known || is_ours(&file) {
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                files.push(file);
            } else if file.is_file() {
                // Whoever may drop files here need not be allowed to read all that we may.
                let target = file.canonicalize();
                if target.is_ok_and(|target| target.starts_with(&inside)) {
                    files.push(file);
                } else {
                    outside.insert(file);
                }
            }
        }
        for link in outside.difference(&self.outside) {
            tracing::warn!(link = %link.display(), "leads out of the followed directory: it is not followed");
        }
        self.outside = outside;
        files.sort();
        Ok(files)
    }
}

/// Whether a file is one of ours, or hidden, or the mark of an open spreadsheet.
pub fn is_ours(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    OURS.iter().any(|ending| name.ends_with(ending))
        || name.starts_with('.')
        || name.starts_with("~$")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn input() -> InputOptions {
        let text = "[ids]\nnamespace='x'\ncolumns='no'\n[[event]]\ntype='visit.made'";
        let draft = siji_collector::import::Mapping::draft_of(Path::new("map.toml"), text);
        draft.into_unchecked().input
    }

    #[test]
    fn links_are_followed_within_the_directory_and_not_out_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let drop = directory.path().join("drop");
        std::fs::create_dir(&drop).unwrap();
        let (log, secret) = (drop.join("log.csv"), directory.path().join("secret.csv"));
        std::fs::write(&log, "no\n1\n").unwrap();
        std::fs::write(&secret, "no\n1\n").unwrap();
        let (within, out) = (drop.join("within.csv"), drop.join("out.csv"));
        symlink(&log, &within).unwrap();
        symlink(&secret, &out).unwrap();
        symlink("../secret.csv", drop.join("relative.csv")).unwrap();
        symlink("nowhere.csv", drop.join("dangling.csv")).unwrap();
        // The directory itself may be reached by a link.
        let named = directory.path().join("named");
        symlink(&drop, &named).unwrap();

        let mut root = Root::new(&drop);
        assert_eq!(root.look(&input()).unwrap(), [log, within]);
        assert_eq!(root.outside.len(), 2);
        let found = Root::new(&named).look(&input()).unwrap();
        assert_eq!(found, [named.join("log.csv"), named.join("within.csv")]);
        let chosen = Root::new(&out).look(&input()).unwrap();
        assert_eq!(chosen, [out], "it was named by who started us");
    }

    #[test]
    fn what_is_not_there_is_told_once_and_followed_when_it_comes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("later");
        let mut root = Root::new(&path);
        assert!(root.look(&input()).is_none());
        let told = root.away.clone();
        assert!(told.is_some());
        assert!(root.look(&input()).is_none());
        assert_eq!(root.away, told);
        std::fs::create_dir(&path).unwrap();
        assert!(root.look(&input()).unwrap().is_empty());
        assert!(root.away.is_none());
    }
}
