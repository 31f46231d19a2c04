//! Where registries come from: built in, or a directory of a city's own files.

use std::fs;
use std::path::{Path, PathBuf};

use super::changes::{self, AreaChange};
use super::row::{self, Area, Placed};
use crate::catalogue::LoadProblems;

/// A place whose registry is built in.
struct Builtin {
    name: &'static str,
    rows: &'static [u8],
}

macro_rules! builtin {
    ($($name:literal),*) => {
        const FILES: &[Builtin] =
            &[$(Builtin { name: $name, rows: include_bytes!(concat!("../../areas/", $name, ".csv.zst")) }),*];

        /// Names of the built-in registries.
        pub const BUILTIN: &[&str] = &[$($name),*];
    };
}
builtin!("huzhou", "changzhou", "fuzhou", "beijing", "guangdong");
const CHANGES: &[u8] = include_bytes!("../../areas/area_changes.csv.zst");
const CHANGES_NAME: &str = "area_changes.csv";

/// Where to load the area tree from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AreaSource {
    /// Built-in registries by name, one or several.
    Builtin(Vec<String>),
    /// All `*.csv` (or `*.csv.zst`) of a directory; `area_changes.csv` holds the changes.
    Directory(PathBuf),
}

impl AreaSource {
    /// Built-in registries by name.
    pub fn builtin<S: Into<String>>(names: impl IntoIterator<Item = S>) -> AreaSource {
        AreaSource::Builtin(names.into_iter().map(Into::into).collect())
    }
}

/// Everything that was read, not yet checked against each other.
#[derive(Default)]
pub(super) struct Loaded {
    pub rows: Vec<Placed<Area>>,
    pub changes: Vec<Placed<AreaChange>>,
}

pub(super) fn load(source: &AreaSource, problems: &mut LoadProblems) -> Loaded {
    match source {
        AreaSource::Builtin(names) => load_builtin(names, problems),
        AreaSource::Directory(dir) => load_directory(dir, problems),
    }
}

fn load_builtin(names: &[String], problems: &mut LoadProblems) -> Loaded {
    let mut loaded = Loaded::default();
    let mut seen: Vec<&str> = Vec::new();
    for name in names.iter().filter(|name| !name.is_empty()) {
        let Some(builtin) = FILES.iter().find(|file| file.name == name) else {
            problems.add(
                name,
                0,
                format!(
                    "no built-in registry of this name: expected one of {}",
                    BUILTIN.join(", ")
                ),
            );
            continue;
        };
        if !seen.contains(&builtin.name) {
            seen.push(builtin.name);
            let file = format!("{name}.csv");
            if let Some(bytes) = decompress(&file, builtin.rows, problems) {
                loaded.rows.extend(row::read(&file, &bytes, problems));
            }
        }
    }
    if seen.is_empty() && problems.is_empty() {
        problems.add(
            "areas",
            0,
            format!(
                "no registry named: expected one or more of {}",
                BUILTIN.join(", ")
            ),
        );
    }
    if let Some(bytes) = decompress(CHANGES_NAME, CHANGES, problems) {
        let all = changes::read(CHANGES_NAME, &bytes, problems);
        // The built-in file speaks of all built-in places; keep what concerns the chosen ones.
        let known: std::collections::HashSet<&str> = loaded
            .rows
            .iter()
            .map(|placed| placed.row.code.as_str())
            .collect();
        loaded.changes = all
            .into_iter()
            .filter(|change| known.contains(change.row.from_code.as_str()))
            .collect();
    }
    loaded
}

fn load_directory(dir: &Path, problems: &mut LoadProblems) -> Loaded {
    let mut loaded = Loaded::default();
    let mut files = match list(dir) {
        Ok(files) => files,
        Err(error) => {
            problems.add(
                &dir.display().to_string(),
                0,
                format!("cannot be read: {error}"),
            );
            return loaded;
        }
    };
    files.sort();
    for path in &files {
        let file = path.display().to_string();
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                problems.add(&file, 0, format!("cannot be read: {error}"));
                continue;
            }
        };
        let bytes = if file.ends_with(".zst") {
            decompress(&file, &bytes, problems)
        } else {
            Some(bytes)
        };
        let Some(bytes) = bytes else { continue };
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.starts_with(CHANGES_NAME) {
            loaded
                .changes
                .extend(changes::read(&file, &bytes, problems));
        } else {
            loaded.rows.extend(row::read(&file, &bytes, problems));
        }
    }
    if loaded.rows.is_empty() && problems.is_empty() {
        problems.add(
            &dir.display().to_string(),
            0,
            "holds no area: expected *.csv files with area rows",
        );
    }
    loaded
}

fn list(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if (name.ends_with(".csv") || name.ends_with(".csv.zst")) && path.is_file() {
            files.push(path);
        }
    }
    Ok(files)
}

fn decompress(file: &str, bytes: &[u8], problems: &mut LoadProblems) -> Option<Vec<u8>> {
    match zstd::decode_all(bytes) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            problems.add(file, 0, format!("is no valid zstd file: {error}"));
            None
        }
    }
}
