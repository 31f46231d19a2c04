//! The figures that reports about a city have published, as register statements with source and qualifier.
//!
//! They are copied from five policy reports, damage included: a figure that cannot be read stands without a value and
//! with its possible readings. One that cannot be true stands in the file as it is printed, with the rule that refuses
//! it, and is left out.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use siji_schemas::area::{Day, Zone};
use siji_schemas::event::SCHEMA_VERSION;
use siji_schemas::json::parse_decimal;
use siji_schemas::{Code, Event};

use super::generate::uuid;

const FIGURES: &str = include_str!("data/published.csv");

/// Columns before the keys of attrs. `city` is its area code, `refused` the rule that refuses an impossible figure.
const COLUMNS: [&str; 8] = [
    "city",
    "register",
    "area",
    "as_of",
    "value",
    "unit",
    "qualifier",
    "refused",
];
const MINUTE: i64 = 60_000;
const NOON: i64 = 12 * 60 * MINUTE;

/// The published figures of a city by its area code, all of which count; none for a place without any. A figure of a
/// day counts from noon, local time; its event id follows from its content, so that sending it again changes nothing.
pub fn published(city: &str) -> Vec<Event> {
    figures(city)
        .into_iter()
        .filter(|(_, refused)| refused.is_none())
        .map(|(event, _)| event)
        .collect()
}

/// All figures of a city, with the rule that refuses those that cannot be true.
fn figures(city: &str) -> Vec<(Event, Option<Code>)> {
    let mut figures = read(FIGURES).expect("the built-in file is sound: a test reads it");
    figures.retain(|figure| figure.city == city);
    figures
        .into_iter()
        .map(|figure| (figure.event, figure.refused))
        .collect()
}

/// One line of the file.
struct Figure {
    city: String,
    event: Event,
    refused: Option<Code>,
}

fn read(text: &str) -> Result<Vec<Figure>, String> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| error.to_string())?.clone();
    if !header.iter().take(COLUMNS.len()).eq(COLUMNS) {
        return Err(format!(
            "line 1: expected the columns {}",
            COLUMNS.join(", ")
        ));
    }
    let mut figures = Vec::new();
    for row in reader.records() {
        let row = row.map_err(|error| error.to_string())?;
        let line = row.position().map_or(0, csv::Position::line);
        figures.push(figure(&header, &row).map_err(|reason| format!("line {line}: {reason}"))?);
    }
    Ok(figures)
}

fn figure(header: &csv::StringRecord, row: &csv::StringRecord) -> Result<Figure, String> {
    let [city, register, area, as_of, value, unit, qualifier, refused] =
        std::array::from_fn(|i| row.get(i).unwrap_or_default());
    let day = Day::parse(as_of).ok_or("as_of is no date")?;
    let refused = match refused {
        "" => None,
        code => Some(Code::parse(code).ok_or("refused is no code")?),
    };
    let attrs: BTreeMap<String, String> = header
        .iter()
        .zip(row)
        .skip(COLUMNS.len())
        .filter(|(_, text)| !text.is_empty())
        .map(|(key, text)| (key.to_owned(), text.to_owned()))
        .collect();
    let occurred_at = Zone::CHINA.start_of(day) + NOON;
    let text = |text: &str| Some(text.to_owned());
    let event = Event {
        event_id: Some(id(row)),
        schema_version: Some(SCHEMA_VERSION),
        event_type: text("stock.reported"),
        op: text("assert"),
        occurred_at: Some(occurred_at),
        recorded_at: Some(occurred_at + MINUTE),
        area_code: text(area),
        subject_kind: text("register"),
        subject_id: text(register),
        value: if value.is_empty() {
            None
        } else {
            Some(parse_decimal(value)?)
        },
        unit: text(unit),
        qualifier: text(qualifier),
        attrs,
        ..Event::default()
    };
    Ok(Figure {
        city: city.to_owned(),
        event,
        refused,
    })
}

/// A UUID of version 8 made of the whole row.
fn id(row: &csv::StringRecord) -> String {
    let mut hash = Sha256::new();
    for field in row {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field.as_bytes());
    }
    let digest = hash.finalize();
    let half = |from: usize| {
        digest
            .iter()
            .skip(from)
            .take(8)
            .fold(0u64, |bits, byte| bits << 8 | u64::from(*byte))
    };
    uuid(half(0), half(8))
}

#[cfg(test)]
mod tests;
