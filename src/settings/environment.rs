//! `SIJI_SECTION_KEY` over the configuration file.

use serde::Deserialize;
use toml::{Table, Value};

use super::message::without_values;
use crate::failure::Failure;

/// Tables that keys can stand in; a longer name wins.
const SECTIONS: [&[&str]; 17] = [
    &["reference"],
    &["lake"],
    &["lake", "options"],
    &["kafka"],
    &["kafka", "properties"],
    &["collector"],
    &["collector", "limits"],
    &["collector", "spool"],
    &["collector", "kafka"],
    &["collector", "kafka", "properties"],
    &["aggregator"],
    &["maintain"],
    &["broker"],
    &["server"],
    &["admin"],
    &["log"],
    &["telemetry"],
];

/// Variables that are read elsewhere: by the command line, or by tests.
const OTHERS: [&str; 5] = ["CONFIG", "TOKEN", "TEST", "CHAOS", "KILL"];

/// `SIJI_…` variables that name no section and that nobody else reads: most likely a slip.
pub(super) fn strangers(names: impl Iterator<Item = String>) -> Vec<String> {
    let unknown = |name: &String| {
        name.strip_prefix("SIJI_").is_some_and(|rest| {
            let word = rest.split('_').next().unwrap_or(rest);
            !OTHERS.contains(&word) && place(name).is_none()
        })
    };
    names.filter(unknown).collect()
}

/// Lays every `SIJI_…` variable that names a section over `table`. A value is taken as text where text fits, else as
/// the TOML value it spells.
pub(super) fn overlay<T: for<'de> Deserialize<'de>>(
    mut table: Table,
    variables: impl Iterator<Item = (String, String)>,
) -> Result<T, Failure> {
    let mut variables: Vec<_> = variables
        .filter_map(|(name, text)| Some((place(&name)?, name, text)))
        .collect();
    variables.sort();
    for ((section, key), name, text) in variables {
        let mut with_text = table.clone();
        put(&mut with_text, section, &key, Value::String(text.clone()));
        if T::deserialize(with_text.clone()).is_ok() {
            table = with_text;
            continue;
        }
        let spelled = format!("value = {text}")
            .parse::<Table>()
            .ok()
            .and_then(|mut table| table.remove("value"));
        if let Some(value) = spelled {
            put(&mut table, section, &key, value);
        } else {
            table = with_text;
        }
        if let Err(error) = T::deserialize(table.clone()) {
            return Err(Failure::usage(format!(
                "environment variable {name}: {}",
                without_values(error.message())
            )));
        }
    }
    T::deserialize(table).map_err(|error| {
        let why = without_values(error.message());
        Failure::usage(format!("configuration: {why}"))
    })
}

/// Section and key that a variable names; `None` for variables of others.
pub(super) fn place(name: &str) -> Option<(&'static [&'static str], String)> {
    let rest = name.strip_prefix("SIJI_")?.to_ascii_lowercase();
    let fits = |section: &&&[&str]| {
        let prefix = section.join("_");
        rest.strip_prefix(&prefix)
            .is_some_and(|key| key.starts_with('_') && key.len() > 1)
    };
    let section = SECTIONS
        .iter()
        .filter(fits)
        .max_by_key(|section| section.join("_").len())?;
    let key = rest[section.join("_").len() + 1..].to_owned();
    // librdkafka's properties are written with points.
    let key = if section.last() == Some(&"properties") {
        key.replace('_', ".")
    } else {
        key
    };
    Some((section, key))
}

fn put(table: &mut Table, section: &[&str], key: &str, value: Value) {
    let mut at = table;
    for name in section {
        let next = at
            .entry(*name)
            .or_insert_with(|| Value::Table(Table::new()));
        match next {
            Value::Table(next) => at = next,
            _ => return,
        }
    }
    at.insert(key.to_owned(), value);
}
