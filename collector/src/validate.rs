//! From one submitted event to a spool record: read it, replace people by pseudonyms, stamp it, judge it.
//!
//! The rules are those of [`siji_schemas::validate`]; added here is what only the collector knows: the sender's areas
//! (V14), the limits of size and depth (V01), and that a person was named although there is no key (V12).

use std::borrow::Cow;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use siji_schemas::avro::Unplaced;
use siji_schemas::catalogue::{Column, Sensitivity};
use siji_schemas::event::SCHEMA_VERSION;
use siji_schemas::json::Parsed;
use siji_schemas::personal::{contains_raw_personal, event_holds_personal};
use siji_schemas::validate::{Reference, validate};
use siji_schemas::{Code, Event, Refusal, json, wire};
use uuid::Uuid;

use crate::intake::{CloudEvent, Envelope, IntakeLimits, Principal, Right};
use crate::pseudonymise::{ACTOR, CityKey, Person, RESIDENT, Sanitised, without_people};
use crate::spool::{Record, Value};

/// Most bytes of a refused event that are kept.
const MAX_REFUSED_BYTES: usize = 64 << 10;
/// Most bytes of a reason that travel in a header.
const MAX_REASON_BYTES: usize = 1024;

/// What events are judged by.
pub(crate) struct Judge<'a> {
    pub reference: &'a Reference,
    pub limits: &'a IntakeLimits,
    pub key: Option<&'a CityKey>,
    pub source_id: &'a str,
    pub principal: &'a Principal,
    /// Time of receipt, milliseconds UTC.
    pub now_ms: i64,
    /// Trace context of the request, if it had any.
    pub traceparent: Option<String>,
}

/// A judged event: its record, and why it was refused if it was.
pub(crate) struct Verdict {
    pub record: Record,
    pub refused: Option<Refused>,
}

/// A refusal as the sender may see it.
pub(crate) struct Refused {
    pub refusal: Refusal,
    pub event_id: Option<String>,
}

/// The bytes of a refused event.
enum Content<'b> {
    /// Without people: kept.
    Kept(Vec<u8>),
    /// As received: only their digest is kept.
    Withheld(&'b [u8]),
}

/// People named by an event, before they become pseudonyms.
#[derive(Default)]
struct People {
    resident: Option<Person>,
    actor: Option<Person>,
}

impl Judge<'_> {
    /// Judges an event given as JSON text.
    pub fn json(&self, bytes: &[u8]) -> Verdict {
        self.read(bytes, None)
    }

    /// Judges an event in an envelope.
    pub fn cloud_event(&self, event: &CloudEvent) -> Verdict {
        let opened = self.readable(event.received()).and_then(|()| event.open());
        match opened {
            Ok((envelope, data)) => self.read(&data, Some(&envelope)),
            Err(refusal) => self.refuse_unread(event.received(), refusal),
        }
    }

    fn read(&self, bytes: &[u8], envelope: Option<&Envelope>) -> Verdict {
        if let Err(refusal) = self.readable(bytes) {
            return self.refuse_unread(bytes, refusal);
        }
        let (mut people, mut seen) = (People::default(), [false; 2]);
        let event = json::read(bytes, &mut |name, raw| {
            let (person, seen) = match name {
                RESIDENT => (&mut people.resident, &mut seen[0]),
                ACTOR => (&mut people.actor, &mut seen[1]),
                _ => return Ok(false),
            };
            if std::mem::replace(seen, true) {
                return Err(Refusal::of(Code::V01, name, "the member stands twice"));
            }
            *person = Person::parse(name, raw)?;
            Ok(true)
        });
        let event = event.and_then(|mut event| {
            if let Some(envelope) = envelope {
                envelope.complete(&mut event, &self.reference.catalogue)?;
            }
            Ok(event)
        });
        match event {
            Ok(event) => self.judge(event, people, Some(bytes)),
            Err(refusal) => self.refuse_unread(bytes, refusal),
        }
    }

    /// Judges an event that is already a record.
    pub fn event(&self, event: Event) -> Verdict {
        self.judge(Parsed::from(event), People::default(), None)
    }

    /// Size and depth, before anything is parsed.
    fn readable(&self, bytes: &[u8]) -> Result<(), Refusal> {
        let IntakeLimits {
            max_event_bytes,
            max_json_depth,
            ..
        } = *self.limits;
        if bytes.len() > max_event_bytes {
            let reason = format!(
                "the event has {} bytes, at most {max_event_bytes} are allowed",
                bytes.len()
            );
            return Err(Refusal::whole(Code::V01, reason));
        }
        if crate::intake::is_deeper_than(bytes, max_json_depth) {
            return Err(Refusal::whole(
                Code::V01,
                format!("the event is nested deeper than {max_json_depth} levels"),
            ));
        }
        Ok(())
    }

    /// `received` are the bytes it came as, if it came as bytes.
    fn judge<'e>(
        &'e self,
        mut event: Parsed<'e>,
        people: People,
        received: Option<&[u8]>,
    ) -> Verdict {
        let judged = self.pseudonymise(&mut event, people).and_then(|()| {
            self.stamp(&mut event);
            self.small(&event)?;
            self.place(&event)
        });
        match judged {
            Ok((key, encoded)) => {
                let headers = self.trace().into_iter().collect();
                let record = Record {
                    key,
                    headers,
                    value: Value::Encoded(encoded),
                };
                Verdict {
                    record,
                    refused: None,
                }
            }
            Err(refusal) => {
                self.stamp(&mut event);
                let withheld = refusal.code == Code::V12 || event_holds_personal(&event.as_ref());
                let event = event.as_ref().to_event();
                let bytes = if withheld && received.is_some() {
                    Vec::new()
                } else {
                    to_json(&event)
                };
                let content = if withheld {
                    Content::Withheld(received.unwrap_or(&bytes))
                } else {
                    Content::Kept(bytes)
                };
                self.refuse(refusal, event.event_id, event.area_code.as_deref(), content)
            }
        }
    }

    /// Size, for an event that did not come as bytes.
    fn small(&self, event: &Parsed<'_>) -> Result<(), Refusal> {
        let event = event.as_ref();
        let texts = Column::ALL
            .iter()
            .filter_map(|column| column.text(&event))
            .map(str::len)
            .sum::<usize>();
        let size = texts
            + event
                .attrs
                .iter()
                .map(|(key, value)| key.len() + value.len())
                .sum::<usize>();
        if size > self.limits.max_event_bytes {
            let reason = format!(
                "the event has {size} bytes of text, at most {} are allowed",
                self.limits.max_event_bytes
            );
            return Err(Refusal::whole(Code::V01, reason));
        }
        Ok(())
    }

    /// The rules, and the sender's areas. Returns the Kafka key and the event as Avro, with area and home area in the
    /// registry's form.
    fn place(&self, event: &Parsed<'_>) -> Result<(String, Unplaced), Refusal> {
        let mut event = event.as_ref();
        let judged = validate(&event, self.reference, self.now_ms)?;
        let places = [
            ("area_code", Some(judged.place)),
            ("home_area_code", judged.target_place),
        ];
        for (field, place) in places {
            if place.is_some_and(|place| !self.principal.covers(place)) {
                let reason = format!(
                    "the token may report for {} and what lies below",
                    self.principal.area_list()
                );
                return Err(Refusal::of(Code::V14, field, reason));
            }
        }
        event.area_code = Some(judged.area_code);
        event.home_area_code = Some(judged.home_area_code);
        let encoded = Unplaced::encode(&event)
            .map_err(|error| Refusal::of(Code::V02, error.0, error.to_string()))?;
        Ok((judged.home_area_code.to_owned(), encoded))
    }

    fn pseudonymise(&self, event: &mut Parsed<'_>, people: People) -> Result<(), Refusal> {
        let People { resident, actor } = people;
        replace(self.key, RESIDENT, "r_", resident, &mut event.resident_ref)?;
        replace(self.key, ACTOR, "w_", actor, &mut event.actor_ref)?;
        let service = event
            .service_code
            .as_deref()
            .and_then(|code| self.reference.catalogue.service(code));
        if service.is_some_and(|service| service.sensitivity == Sensitivity::Sensitive) {
            event.resident_ref = None;
        }
        Ok(())
    }

    /// What a collector says and a sender does not, and what a sender may leave out.
    fn stamp<'e>(&'e self, event: &mut Parsed<'e>) {
        event.source_id = Some(Cow::Borrowed(self.source_id));
        (event.incarnation, event.source_seq) = (None, None);
        if !self.principal.may(Right::Import) || event.recorded_at.is_none() {
            event.recorded_at = Some(self.now_ms);
        }
        event.schema_version.get_or_insert(SCHEMA_VERSION);
        event.op.get_or_insert(Cow::Borrowed("assert"));
        event.qualifier.get_or_insert(Cow::Borrowed("exact"));
        canonical_uuid(&mut event.event_id);
        canonical_uuid(&mut event.target_event_id);
    }

    /// An event that could not be read far enough to know its columns.
    fn refuse_unread(&self, bytes: &[u8], refusal: Refusal) -> Verdict {
        let Sanitised { text, value } = without_people(bytes);
        // Of an envelope that could not be opened, the event stands in its data.
        let member = |name: &str| {
            let value = value.get(name).or_else(|| value.get("data")?.get(name));
            value?.as_str().map(str::to_owned)
        };
        let mut event_id = member("event_id").or_else(|| member("id")).map(Cow::Owned);
        canonical_uuid(&mut event_id);
        let event_id = event_id.map(Cow::into_owned);
        let content = match text {
            Some(text) if refusal.code != Code::V12 => Content::Kept(text),
            _ => Content::Withheld(bytes),
        };
        self.refuse(refusal, event_id, member("area_code").as_deref(), content)
    }

    /// The record of a refused event: with its bytes where they hold no people, else with their digest alone.
    fn refuse(
        &self,
        refusal: Refusal,
        event_id: Option<String>,
        area: Option<&str>,
        content: Content<'_>,
    ) -> Verdict {
        let refusal = Refusal {
            field: refusal
                .field
                .filter(|field| !contains_raw_personal(field.as_bytes())),
            reason: showable(refusal.reason),
            code: refusal.code,
        };
        let mut headers = vec![
            (wire::HEADER_CODE, refusal.code.as_str().as_bytes().to_vec()),
            (wire::HEADER_REASON, refusal.reason.clone().into_bytes()),
            (wire::HEADER_SOURCE, self.source_id.as_bytes().to_vec()),
        ];
        headers.extend(
            refusal
                .field
                .as_ref()
                .map(|field| (wire::HEADER_FIELD, field.clone().into_bytes())),
        );
        let value = match content {
            Content::Kept(bytes) if bytes.len() <= MAX_REFUSED_BYTES => bytes,
            Content::Kept(mut bytes) => {
                headers.push((wire::HEADER_SHA256, digest(&bytes)));
                headers.push((wire::HEADER_LENGTH, length(&bytes)));
                bytes.truncate(MAX_REFUSED_BYTES);
                bytes
            }
            Content::Withheld(bytes) => {
                headers.push((wire::HEADER_SHA256, digest(bytes)));
                headers.push((wire::HEADER_LENGTH, length(bytes)));
                Vec::new()
            }
        };
        headers.extend(self.trace());
        let key = area
            .and_then(|area| self.reference.areas.canonical(area))
            .unwrap_or(self.principal.first_area());
        let record = Record {
            key: key.to_owned(),
            headers,
            value: Value::Refused(value),
        };
        let event_id = event_id.filter(|id| Uuid::try_parse(id).is_ok());
        Verdict {
            record,
            refused: Some(Refused { refusal, event_id }),
        }
    }

    fn trace(&self) -> Option<(&'static str, Vec<u8>)> {
        self.traceparent
            .as_ref()
            .map(|trace| (wire::HEADER_TRACEPARENT, trace.as_bytes().to_vec()))
    }
}

/// Puts the pseudonym of a named person into the column for it.
fn replace(
    key: Option<&CityKey>,
    member: &str,
    prefix: &str,
    person: Option<Person>,
    column: &mut Option<Cow<'_, str>>,
) -> Result<(), Refusal> {
    let Some(person) = person else { return Ok(()) };
    if column.is_some() {
        return Err(Refusal::of(
            Code::V01,
            member,
            format!("{member} and {member}_ref exclude each other: send one"),
        ));
    }
    let Some(key) = key else {
        let reason = format!(
            "{member} names a person, and this collector has no pseudonym key: set pseudonym_key_file, or send {member}_ref"
        );
        return Err(Refusal::of(Code::V12, member, reason));
    };
    *column = Some(Cow::Owned(key.pseudonym(prefix, &person)));
    Ok(())
}

/// Lower case with hyphens, where it is a UUID in any of the usual forms; anything else is left to the rules.
fn canonical_uuid(id: &mut Option<Cow<'_, str>>) {
    let canonical = |text: &str| {
        text.len() == 36
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f' | b'-'))
    };
    if let Some(text) = id.as_deref().filter(|text| !canonical(text))
        && let Ok(uuid) = Uuid::try_parse(text)
    {
        *id = Some(Cow::Owned(uuid.hyphenated().to_string()));
    }
}

fn to_json(event: &Event) -> Vec<u8> {
    serde_json::to_vec(event).unwrap_or_else(|error| {
        tracing::error!(error = %error, "a refused event cannot be written as JSON, its bytes are not kept");
        Vec::new()
    })
}

fn length(bytes: &[u8]) -> Vec<u8> {
    bytes.len().to_string().into_bytes()
}

fn digest(bytes: &[u8]) -> Vec<u8> {
    HEXLOWER.encode(&Sha256::digest(bytes)).into_bytes()
}

/// Reasons quote no people; should one, it is not shown.
fn showable(mut reason: String) -> String {
    if contains_raw_personal(reason.as_bytes()) {
        return "the reason is withheld: it would quote what looks like personal data".to_owned();
    }
    if reason.len() > MAX_REASON_BYTES {
        reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
    }
    reason
}
