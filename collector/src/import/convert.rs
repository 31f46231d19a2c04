//! A row into its events, each judged as the collector will judge it.

use siji_schemas::catalogue::{Column, EventType};
use siji_schemas::event::SCHEMA_VERSION;
use siji_schemas::validate::{Reference, validate};
use siji_schemas::{Event, json};

use super::condition::all_hold;
use super::ids::Keys;
use super::mapping::{EventRule, Mapping, PersonRule, is_instant};
use super::numbers;
use super::row::{Row, RowRefusal};
use super::value::{Context, ValueRule};
use crate::clock::now_ms;
use crate::pseudonymise::{ACTOR, Person, RESIDENT};

/// What a row becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The mapping says that it is no row.
    Skipped,
    /// Nothing of it is sent.
    Refused(RowRefusal),
    /// Its events, in the order of the mapping; at least one.
    Made(Vec<Made>),
}

/// One event.
#[derive(Clone, PartialEq, Eq)]
pub struct Made {
    /// As it is sent: may name people by `resident` and `actor`.
    pub json: Vec<u8>,
    /// The same, people left out: to be shown.
    pub event: Event,
    /// Whether people are named.
    pub people: bool,
}

impl std::fmt::Debug for Made {
    /// Without `json`, which may name people.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Made")
            .field("event", &self.event)
            .field("people", &self.people)
            .finish_non_exhaustive()
    }
}

/// Makes events of the rows of one file, in their order.
#[derive(Debug)]
pub struct Converter<'m> {
    mapping: &'m Mapping,
    reference: &'m Reference,
    /// For each rule, its type in the catalogue.
    types: Vec<Option<&'m EventType>>,
    keys: Keys,
}

impl<'m> Converter<'m> {
    /// For the rows of one file.
    pub fn new(mapping: &'m Mapping, reference: &'m Reference) -> Converter<'m> {
        let types = mapping
            .events
            .iter()
            .map(|rule| reference.catalogue.event_type(&rule.event_type))
            .collect();
        Converter {
            mapping,
            reference,
            types,
            keys: Keys::new(&mapping.ids),
        }
    }

    /// The events of the next row.
    ///
    /// # Errors
    /// The file cannot be imported with this mapping, whatever the row.
    pub fn convert(&mut self, row: &Row) -> Result<Outcome, String> {
        if let Err(refusal) = &row.cells {
            return Ok(Outcome::Refused(refusal.clone()));
        }
        match self.is_none(row) {
            Ok(true) => return Ok(Outcome::Skipped),
            Ok(false) => {}
            Err(refusal) => return Ok(Outcome::Refused(refusal)),
        }
        if self.mapping.ids.is_empty_for(row) {
            let reason = "nothing stands in the columns that make the row's id ([ids] columns)";
            return Ok(Outcome::Refused(RowRefusal::new("M06", "event_id", reason)));
        }
        let key = self.keys.next(row)?;
        let row_id = key.text();
        let context = self.context(row, &row_id);
        let mut made = Vec::new();
        for (rule, event_type) in self.mapping.events.iter().zip(&self.types) {
            let id = || key.event_id(&rule.name, rule.id_columns.iter().map(|name| row.get(name)));
            match self.make(rule, *event_type, &context, id) {
                Ok(event) => made.extend(event),
                Err(refusal) => return Ok(Outcome::Refused(refusal)),
            }
        }
        if made.is_empty() {
            let reason = "no event of the mapping has a `when` that holds for the row: add one, or a [[skip]]";
            return Ok(Outcome::Refused(RowRefusal::new("M07", "", reason)));
        }
        Ok(Outcome::Made(made))
    }

    fn context<'r>(&self, row: &'r Row, row_id: &'r str) -> Context<'r>
    where
        'm: 'r,
    {
        Context {
            row,
            row_id,
            values: &self.mapping.values,
        }
    }

    fn is_none(&self, row: &Row) -> Result<bool, RowRefusal> {
        let context = self.context(row, "");
        for conditions in &self.mapping.skip {
            if all_hold(conditions, &context)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// One event, if its conditions hold.
    fn make(
        &self,
        rule: &EventRule,
        event_type: Option<&EventType>,
        context: &Context<'_>,
        id: impl FnOnce() -> String,
    ) -> Result<Option<Made>, RowRefusal> {
        if !all_hold(&rule.when, context)? {
            return Ok(None);
        }
        let mut members = Members::new();
        members.text("event_id", &id());
        members.text("event_type", &rule.event_type);
        let kinds = event_type.map(|event_type| &event_type.subject_kinds);
        let sets_kind = rule
            .set
            .iter()
            .any(|(column, _)| *column == Column::subject_kind);
        if let (false, Some(kind)) = (sets_kind, kinds.and_then(|kinds| kinds.first())) {
            members.text("subject_kind", kind);
        }
        for (column, value) in &rule.set {
            let text = value.text(column.name(), context)?;
            if !text.is_empty() {
                self.put(&mut members, *column, value, &text)?;
            }
        }
        let mut attrs = serde_json::Map::new();
        for (key, value) in &rule.attrs {
            let text = value.text(&format!("attrs.{key}"), context)?;
            if !text.is_empty() {
                attrs.insert(key.clone(), text.into());
            }
        }
        if !attrs.is_empty() {
            members.raw("attrs", &serde_json::Value::Object(attrs).to_string());
        }
        let event = self.judge(members.bytes())?;
        let resident = members.person(RESIDENT, rule.resident.as_ref(), context)?;
        let actor = members.person(ACTOR, rule.actor.as_ref(), context)?;
        Ok(Some(Made {
            json: members.bytes(),
            event,
            people: resident || actor,
        }))
    }

    fn put(
        &self,
        members: &mut Members,
        column: Column,
        value: &ValueRule,
        text: &str,
    ) -> Result<(), RowRefusal> {
        let name = column.name();
        if is_instant(column) {
            let clock = value.clock.as_ref().unwrap_or(&self.mapping.clock);
            let ms = clock.read(name, text)?;
            // The calendar ends somewhere; what lies beyond is left to the rules as a number.
            match json::format_instant(ms) {
                far if far.bytes().all(|b| b.is_ascii_digit() || b == b'-') => {
                    members.raw(name, &far);
                }
                instant => members.text(name, &instant),
            }
        } else if column == Column::value {
            members.raw(name, &numbers::decimal(name, text, value.multiply)?);
        } else if column.is_number() {
            members.raw(name, &numbers::whole(name, text, value.multiply)?);
        } else {
            members.text(name, text);
        }
        Ok(())
    }

    /// The rules of the event model, people left out.
    fn judge(&self, bytes: Vec<u8>) -> Result<Event, RowRefusal> {
        let refused = |refusal: siji_schemas::Refusal| {
            let field = refusal.field.unwrap_or_default();
            RowRefusal::new(refusal.code.as_str(), field, refusal.reason)
        };
        let mut event = json::parse(&bytes, &mut |_, _| Ok(false)).map_err(refused)?;
        let now = now_ms();
        event.recorded_at.get_or_insert(now);
        event.schema_version.get_or_insert(SCHEMA_VERSION);
        event.op.get_or_insert_with(|| "assert".to_owned());
        event.qualifier.get_or_insert_with(|| "exact".to_owned());
        validate(&event.as_ref(), self.reference, now).map_err(refused)?;
        Ok(event)
    }
}

/// A JSON object that grows.
struct Members(String);

impl Members {
    fn new() -> Members {
        Members("{".to_owned())
    }

    fn raw(&mut self, name: &str, json: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(&format!("\"{name}\":{json}"));
    }

    fn text(&mut self, name: &str, text: &str) {
        self.raw(name, &serde_json::Value::from(text).to_string());
    }

    /// Adds a person, where the row names one.
    fn person(
        &mut self,
        member: &str,
        rule: Option<&PersonRule>,
        context: &Context<'_>,
    ) -> Result<bool, RowRefusal> {
        let Some(rule) = rule else { return Ok(false) };
        let id = rule.id.text(member, context)?;
        if id.is_empty() {
            return Ok(false);
        }
        let person = serde_json::json!({"kind": rule.kind, "id": id}).to_string();
        let raw = serde_json::value::RawValue::from_string(person)
            .map_err(|_| RowRefusal::new("V01", member, "the number cannot be written as JSON"))?;
        Person::parse(member, &raw)
            .map_err(|refusal| RowRefusal::new(refusal.code.as_str(), member, refusal.reason))?;
        self.raw(member, raw.get());
        Ok(true)
    }

    fn bytes(&self) -> Vec<u8> {
        format!("{}}}", self.0).into_bytes()
    }
}
