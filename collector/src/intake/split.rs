//! A request body as single events, still as bytes.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use bytes::Bytes;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;
use siji_schemas::json;

use super::cloudevents::CloudEvent;
use super::problem::Problem;

/// How a body is put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One JSON object, or an array of them.
    Json,
    /// One JSON object a line.
    Lines,
    /// To be seen from the body.
    Unsaid,
    /// One CloudEvent as JSON.
    Cloud,
    /// An array of them.
    CloudBatch,
    /// One event, its envelope in the headers of the request.
    Binary,
}

/// Media types of the bodies that are taken, for who sent another.
const ACCEPT_POST: &str = "application/json, application/x-ndjson, application/cloudevents+json, \
                           application/cloudevents-batch+json";

impl Form {
    /// The form that `Content-Type` names, its parameters ignored, and the envelope in the headers if there is one.
    pub fn of(headers: &HeaderMap) -> Result<Form, Problem> {
        let content_type = headers.get(CONTENT_TYPE);
        let text = content_type.map_or(Some(""), |value| value.to_str().ok());
        let essence = text.map(|text| text.split(';').next().unwrap_or_default().trim());
        let essence = essence.map(str::to_ascii_lowercase);
        match essence.as_deref() {
            Some("application/cloudevents+json") => Ok(Form::Cloud),
            Some("application/cloudevents-batch+json") => Ok(Form::CloudBatch),
            Some("application/json" | "") if CloudEvent::is_in(headers) => Ok(Form::Binary),
            Some(json) if json.ends_with("+json") && CloudEvent::is_in(headers) => Ok(Form::Binary),
            _ if CloudEvent::is_in(headers) => Err(unknown_type(
                "expected content-type application/json beside the headers of a CloudEvent",
            )),
            Some("application/json") => Ok(Form::Json),
            Some(
                "application/x-ndjson"
                | "application/ndjson"
                | "application/jsonl"
                | "application/x-jsonlines",
            ) => Ok(Form::Lines),
            Some("") => Ok(Form::Unsaid),
            _ => Err(unknown_type(
                "expected content-type application/json (an event or an array of events), application/x-ndjson (an event a line), application/cloudevents+json or application/cloudevents-batch+json",
            )),
        }
    }
}

fn unknown_type(detail: &str) -> Problem {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).with(
        HeaderName::from_static("accept-post"),
        HeaderValue::from_static(ACCEPT_POST),
    )
}

/// The events of a body, in order.
pub(super) fn events(body: &Bytes, form: Form, max_events: usize) -> Result<Vec<Bytes>, Problem> {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    match (form, first) {
        (_, None) => Err(bad("the body is empty")),
        (Form::Lines, _) => lines(body, max_events),
        (Form::Json | Form::Unsaid | Form::CloudBatch, Some(b'[')) => array(body, max_events),
        (Form::Json | Form::Cloud | Form::Binary, Some(b'{')) => object(body),
        (Form::Unsaid, Some(b'{')) => object(body).or_else(|problem| {
            // Not one object: several, a line each, if the first line is one.
            let first_line = body
                .split(|byte| *byte == b'\n')
                .find(|line| !line.trim_ascii().is_empty());
            match first_line.map(serde_json::from_slice::<&RawValue>) {
                Some(Ok(_)) => lines(body, max_events),
                _ => Err(problem),
            }
        }),
        (Form::Json | Form::Unsaid, _) => Err(bad(
            "expected an event as a JSON object, an array of events, or an event a line",
        )),
        (Form::Cloud, _) => Err(bad(
            "expected a CloudEvent as a JSON object; an array of them is application/cloudevents-batch+json",
        )),
        (Form::CloudBatch, _) => Err(bad("expected an array of CloudEvents")),
        (Form::Binary, _) => Err(bad(
            "expected one event as a JSON object beside the headers of a CloudEvent",
        )),
    }
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

fn too_many(max_events: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("the request holds more than {max_events} events: send smaller batches"),
    )
}

fn unreadable(error: &serde_json::Error) -> Problem {
    bad(format!(
        "the body cannot be read: {}",
        json::describe(error)
    ))
}

fn object(body: &Bytes) -> Result<Vec<Bytes>, Problem> {
    let raw: &RawValue = serde_json::from_slice(body).map_err(|error| unreadable(&error))?;
    Ok(vec![body.slice_ref(raw.get().as_bytes())])
}

fn lines(body: &Bytes, max_events: usize) -> Result<Vec<Bytes>, Problem> {
    let lines = body
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty());
    let mut events = Vec::new();
    for line in lines {
        if events.len() == max_events {
            return Err(too_many(max_events));
        }
        events.push(body.slice_ref(line));
    }
    Ok(events)
}

fn array(body: &Bytes, max_events: usize) -> Result<Vec<Bytes>, Problem> {
    let mut input = serde_json::Deserializer::from_slice(body);
    let mut events = Events {
        body,
        max_events,
        found: Vec::new(),
        more: false,
    };
    let read = input
        .deserialize_seq(&mut events)
        .and_then(|()| input.end());
    match read {
        _ if events.more => Err(too_many(max_events)),
        Ok(()) => Ok(events.found),
        Err(error) => Err(unreadable(&error)),
    }
}

struct Events<'b> {
    body: &'b Bytes,
    max_events: usize,
    found: Vec<Bytes>,
    more: bool,
}

impl<'de> Visitor<'de> for &mut Events<'de> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while self.found.len() < self.max_events {
            let Some(raw) = seq.next_element::<&RawValue>()? else {
                return Ok(());
            };
            self.found.push(self.body.slice_ref(raw.get().as_bytes()));
        }
        self.more = seq.next_element::<IgnoredAny>()?.is_some();
        Ok(())
    }
}

/// Whether JSON text is nested deeper than allowed. Says nothing about whether it is valid.
pub(crate) fn is_deeper_than(json: &[u8], max_depth: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > max_depth {
                    return true;
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(body: &str, form: Form) -> Result<Vec<String>, u16> {
        let events = events(&Bytes::from(body.to_owned()), form, 3);
        let text = |event: &Bytes| String::from_utf8(event.to_vec()).unwrap();
        events
            .map(|events| events.iter().map(text).collect())
            .map_err(|problem| problem.status.as_u16())
    }

    #[test]
    fn a_body_is_an_object_an_array_or_lines() {
        let events = |all: &[&str]| {
            Ok(all
                .iter()
                .map(|event| (*event).to_owned())
                .collect::<Vec<_>>())
        };
        assert_eq!(
            split(" {\"a\": [1]}\n", Form::Json),
            events(&["{\"a\": [1]}"])
        );
        assert_eq!(
            split("[{\"a\":1}, 2 ,\"]\"]", Form::Json),
            events(&["{\"a\":1}", "2", "\"]\""])
        );
        assert_eq!(split("[]", Form::Json), events(&[]));
        assert_eq!(
            split("{\"a\":1}\r\n\n not json \n[3]", Form::Lines),
            events(&["{\"a\":1}", "not json", "[3]"])
        );
        assert_eq!(
            split("{\"a\":1}\n{\"b\":2}\nbroken", Form::Unsaid),
            events(&["{\"a\":1}", "{\"b\":2}", "broken"])
        );
        assert_eq!(
            split("{\n\"a\":1\n}", Form::Unsaid),
            events(&["{\n\"a\":1\n}"])
        );
        assert_eq!(split("[1]", Form::Unsaid), events(&["1"]));
    }

    #[test]
    fn a_body_that_cannot_be_read_or_is_too_much_is_refused_as_a_whole() {
        for (body, form, status) in [
            ("", Form::Unsaid, 400),
            (" \n ", Form::Lines, 400),
            ("{\"a\":1", Form::Json, 400),
            ("{\"a\":1} {\"b\":2}", Form::Json, 400),
            ("[1,2", Form::Json, 400),
            ("[1] 2", Form::Json, 400),
            ("17", Form::Json, 400),
            ("{broken\n{\"a\":1}", Form::Unsaid, 400),
            ("[{}]", Form::Cloud, 400),
            ("{}", Form::CloudBatch, 400),
            ("[{}]", Form::Binary, 400),
            ("{}\n{}", Form::Binary, 400),
            ("[1,2,3,4]", Form::Json, 413),
            ("1\n2\n3\n4", Form::Lines, 413),
        ] {
            assert_eq!(split(body, form), Err(status), "{body:?}");
        }
    }

    #[test]
    fn depth_is_counted_outside_of_strings() {
        assert!(!is_deeper_than(br#"{"a":{"b":"[[[[\"[["}}"#, 2));
        assert!(is_deeper_than(br#"{"a":{"b":[]}}"#, 2));
        assert!(is_deeper_than("[".repeat(1 << 20).as_bytes(), 32));
    }
}
