//! Where the files of a catalogue come from.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use super::LoadProblems;

/// Names of the files of a catalogue.
pub const FILES: [&str; 4] = [
    "words.toml",
    "event_types.toml",
    "registers.toml",
    "services.csv",
];

const BUILTIN: [&str; 4] = [
    include_str!("../../catalogue/words.toml"),
    include_str!("../../catalogue/event_types.toml"),
    include_str!("../../catalogue/registers.toml"),
    include_str!("../../catalogue/services.csv"),
];

/// Where to load the catalogue from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CatalogueSource {
    /// What is built in.
    #[default]
    Builtin,
    /// A city's directory: a file of [`FILES`] that is there replaces the built-in one.
    Directory(PathBuf),
}

/// One file: how to name it to people, and its text.
pub(super) struct Text {
    pub name: String,
    pub text: Cow<'static, str>,
}

/// The files of a catalogue.
pub(super) struct Texts {
    pub words: Text,
    pub event_types: Text,
    pub registers: Text,
    pub services: Text,
}

pub(super) fn read(source: &CatalogueSource, problems: &mut LoadProblems) -> Texts {
    let dir = match source {
        CatalogueSource::Builtin => None,
        CatalogueSource::Directory(dir) => Some(dir.as_path()),
    };
    if let Some(dir) = dir.filter(|dir| !dir.is_dir()) {
        problems.add(
            &dir.display().to_string(),
            0,
            "is no directory: expected the directory of a catalogue",
        );
    }
    let mut text = |index: usize| read_one(dir, FILES[index], BUILTIN[index], problems);
    Texts {
        words: text(0),
        event_types: text(1),
        registers: text(2),
        services: text(3),
    }
}

fn read_one(
    dir: Option<&Path>,
    name: &str,
    builtin: &'static str,
    problems: &mut LoadProblems,
) -> Text {
    let fallback = || Text {
        name: name.to_owned(),
        text: Cow::Borrowed(builtin),
    };
    let Some(path) = dir.map(|dir| dir.join(name)).filter(|path| path.exists()) else {
        return fallback();
    };
    let file = path.display().to_string();
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) => {
            problems.add(&file, 0, format!("cannot be read: {error}"));
            return fallback();
        }
    };
    match String::from_utf8(bytes) {
        Ok(text) => Text {
            name: file,
            text: Cow::Owned(text),
        },
        Err(error) => {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + good.iter().filter(|byte| **byte == b'\n').count() as u64;
            problems.add(&file, line, "is not UTF-8: save the file as UTF-8");
            fallback()
        }
    }
}
