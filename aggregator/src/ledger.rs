//! Ledger rows: a chunk's records with what was decided about each, and the offsets nobody has seen.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, Date32Builder, Int32Array, Int32Builder, Int64Array,
    Int64Builder, RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray,
    new_null_array,
};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{DataType, TimestampMillisecondType};
use arrow::error::ArrowError;
use sha2::{Digest, Sha256};
use siji_lake::schema::ledger_schema;
use siji_schemas::area::LineageCodes;
use siji_schemas::arrow::{EventBatchBuilder, EventColumns};
use siji_schemas::personal::contains_raw_personal;
use siji_schemas::validate::{Judged, Reference};
use siji_schemas::{Event, EventRef};

use crate::consume::{Chunk, RefusedBy};
use crate::judge::{Disposition, PARKED_REASON, Verdict};

/// Of a quarantined record at most so many bytes are kept; beyond, a prefix and the digest.
pub const KEPT_PAYLOAD_BYTES: usize = 64 * 1024;

/// What all rows of a batch have in common.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Life of the topic.
    pub epoch: i32,
    /// When it was decided, milliseconds UTC.
    pub now_ms: i64,
    /// The reference data it was decided by.
    pub reference: &'a Reference,
}

/// The rows of a chunk.
pub fn rows(
    chunk: &Chunk,
    events: &RecordBatch,
    verdicts: &[Verdict<'_>],
    context: Context<'_>,
) -> Result<RecordBatch, ArrowError> {
    let rows = chunk.len();
    let events = stored_events(chunk, events, verdicts)?;
    let offsets = Int64Array::from_iter_values(chunk.records().map(|record| record.offset));
    let broker_at = chunk.records().map(|record| {
        record
            .timestamp_ms
            .filter(|ms| *ms >= 0)
            .and_then(|ms| ms.checked_mul(1000))
    });
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_value(context.epoch, rows)),
        Arc::new(Int32Array::from_value(chunk.partition, rows)),
        Arc::new(offsets.clone()),
        Arc::new(offsets),
        Arc::new(StringArray::from_iter_values(
            verdicts.iter().map(|verdict| verdict.disposition.as_str()),
        )),
    ];
    columns.extend(refusals(verdicts));
    columns.push(new_null_array(&DataType::Utf8, rows));
    columns.push(instants(std::iter::repeat_n(
        Some(context.now_ms * 1000),
        rows,
    )));
    columns.push(instants(broker_at));
    columns.push(Arc::new(StringArray::from_iter_values(
        std::iter::repeat_n(context.reference.version(), rows),
    )));
    columns.extend(places(verdicts, context.reference));
    for (index, field) in events.schema().fields().iter().enumerate() {
        columns.push(match field.data_type() {
            DataType::Timestamp(..) => micros(events.column(index)),
            _ => Arc::clone(events.column(index)),
        });
    }
    columns.extend(payloads(chunk, verdicts));
    RecordBatch::try_new(ledger_schema(), columns)
}

/// One row for offsets without a record.
pub fn gap(
    partition: i32,
    from: i64,
    to: i64,
    reason: &str,
    epoch: i32,
    now_ms: i64,
) -> Result<RecordBatch, ArrowError> {
    let schema = ledger_schema();
    let columns = schema
        .fields()
        .iter()
        .map(|field| match field.name().as_str() {
            "topic_epoch" => Arc::new(Int32Array::from(vec![epoch])) as ArrayRef,
            "partition" => Arc::new(Int32Array::from(vec![partition])),
            "offset" => Arc::new(Int64Array::from(vec![from])),
            "offset_last" => Arc::new(Int64Array::from(vec![to])),
            "disposition" => Arc::new(StringArray::from(vec![Disposition::Gap.as_str()])),
            "reason" => Arc::new(StringArray::from(vec![reason])),
            "ingested_at" => instants(std::iter::once(Some(now_ms * 1000))),
            _ => new_null_array(field.data_type(), 1),
        })
        .collect();
    RecordBatch::try_new(schema, columns)
}

/// The event columns as they are kept: in the registry's form, with the collector's word on what it refused, and
/// without anything free where there is personal data. What needs no change is not touched.
fn stored_events(
    chunk: &Chunk,
    events: &RecordBatch,
    verdicts: &[Verdict<'_>],
) -> Result<RecordBatch, ArrowError> {
    in_registry_form(&without_personal(chunk, events, verdicts)?, verdicts)
}

/// Good events with area codes as the registry writes them, the home area filled in.
fn in_registry_form(
    events: &RecordBatch,
    verdicts: &[Verdict<'_>],
) -> Result<RecordBatch, ArrowError> {
    let columns = EventColumns::of(events)?;
    let mut given = verdicts.iter().enumerate();
    let canonical = given.all(|(row, verdict)| {
        verdict.judged.is_none_or(|judged| {
            columns.area_code.value(row) == judged.area_code
                && columns.home_area_code.value(row) == judged.home_area_code
        })
    });
    if canonical {
        return Ok(events.clone());
    }
    let rewritten = |column: &StringArray, code: fn(Judged<'_>) -> &str| -> ArrayRef {
        let codes = verdicts.iter().enumerate().map(|(row, verdict)| {
            let kept = || column.is_valid(row).then(|| column.value(row));
            verdict.judged.map(code).or_else(kept)
        });
        Arc::new(codes.collect::<StringArray>())
    };
    let area = rewritten(columns.area_code, |judged| judged.area_code);
    let home = rewritten(columns.home_area_code, |judged| judged.home_area_code);
    let schema = events.schema();
    let replaced = schema.fields().iter().zip(events.columns());
    let replaced = replaced.map(|(field, column)| match field.name().as_str() {
        "area_code" => Arc::clone(&area),
        "home_area_code" => Arc::clone(&home),
        _ => Arc::clone(column),
    });
    RecordBatch::try_new(Arc::clone(&schema), replaced.collect())
}

/// Refused events with the collector's word on them, without free text where there is personal data.
fn without_personal(
    chunk: &Chunk,
    events: &RecordBatch,
    verdicts: &[Verdict<'_>],
) -> Result<RecordBatch, ArrowError> {
    let touched = |row: usize, verdict: &Verdict<'_>| {
        verdict.judged.is_none() && (verdict.personal || chunk.get(row).refused.is_some())
    };
    if !verdicts
        .iter()
        .enumerate()
        .any(|(row, verdict)| touched(row, verdict))
    {
        return Ok(events.clone());
    }
    let columns = EventColumns::of(events)?;
    let mut changed = EventBatchBuilder::default();
    let mut indices = Vec::with_capacity(verdicts.len());
    for (row, verdict) in verdicts.iter().enumerate() {
        if touched(row, verdict) {
            indices.push((1, changed.len()));
            let refused = chunk.get(row).refused;
            let stored = refused_event(&columns.row(row), refused, verdict.personal);
            changed.append(&stored.as_ref())?;
        } else {
            indices.push((0, row));
        }
    }
    interleave_record_batch(&[events, &changed.finish()?], &indices)
}

fn refused_event(event: &EventRef<'_>, refused: Option<&RefusedBy>, personal: bool) -> Event {
    let mut stored = if personal {
        without_free_text(event)
    } else {
        event.to_event()
    };
    if let Some(refused) = refused {
        let source = refused
            .source
            .clone()
            .filter(|source| !contains_raw_personal(source.as_bytes()));
        stored.source_id = source.or(stored.source_id);
        stored.incarnation = refused.incarnation.or(stored.incarnation);
        stored.source_seq = refused.seq.or(stored.source_seq);
    }
    stored
}

/// What of an event cannot hold personal data: numbers, times, and words of fixed form.
fn without_free_text(event: &EventRef<'_>) -> Event {
    let word = |text: Option<&str>| {
        text.filter(|text| {
            text.len() <= 64
                && text
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b".-_".contains(&b))
        })
        .map(str::to_owned)
    };
    let id = |text: Option<&str>| {
        text.filter(|text| {
            text.len() == 36 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
        })
        .map(str::to_owned)
    };
    let area = |text: Option<&str>| {
        text.filter(|text| {
            text.len() <= 12 && text.len() != 11 && text.bytes().all(|b| b.is_ascii_digit())
        })
        .map(str::to_owned)
    };
    Event {
        event_id: id(event.event_id),
        schema_version: event.schema_version,
        event_type: word(event.event_type),
        op: word(event.op),
        occurred_at: event.occurred_at,
        recorded_at: event.recorded_at,
        incarnation: event.incarnation,
        source_seq: event.source_seq,
        area_code: area(event.area_code),
        home_area_code: area(event.home_area_code),
        subject_kind: word(event.subject_kind),
        ..Event::default()
    }
}

/// `code`, `field`, `reason`.
fn refusals(verdicts: &[Verdict<'_>]) -> [ArrayRef; 3] {
    let (mut codes, mut fields, mut reasons) = (
        StringBuilder::new(),
        StringBuilder::new(),
        StringBuilder::new(),
    );
    for verdict in verdicts {
        let refusal = verdict.refusal.as_ref();
        codes.append_option(refusal.map(|refusal| refusal.code.as_str()));
        fields.append_option(refusal.and_then(|refusal| refusal.field.as_deref()));
        let parked = (verdict.disposition == Disposition::Parked).then_some(PARKED_REASON);
        reasons.append_option(refusal.map(|refusal| refusal.reason.as_str()).or(parked));
    }
    [
        Arc::new(codes.finish()),
        Arc::new(fields.finish()),
        Arc::new(reasons.finish()),
    ]
}

/// `local_date`, `body_hash`, `area_tier` and the ancestors of place and handler.
fn places(verdicts: &[Verdict<'_>], reference: &Reference) -> Vec<ArrayRef> {
    let (mut days, mut bodies, mut tiers) = (
        Date32Builder::new(),
        Int64Builder::new(),
        Int32Builder::new(),
    );
    let mut ancestors: [StringBuilder; 8] = Default::default();
    for verdict in verdicts {
        let judged = verdict.judged;
        days.append_option(judged.map(|judged| judged.day.0));
        bodies.append_option(verdict.hashes.map(|(_, body)| body));
        tiers.append_option(judged.map(|judged| i32::from(judged.place.tier.number())));
        let place = judged.map(|judged| reference.areas.codes(judged.place));
        let handler = judged
            .and_then(|judged| judged.handler)
            .map(|lineage| reference.areas.codes(lineage));
        let codes = upper(place).into_iter().chain(upper(handler));
        for (builder, code) in ancestors.iter_mut().zip(codes) {
            builder.append_option(code);
        }
    }
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(days.finish()),
        Arc::new(bodies.finish()),
        Arc::new(tiers.finish()),
    ];
    columns.extend(
        ancestors
            .iter_mut()
            .map(|builder| Arc::new(builder.finish()) as ArrayRef),
    );
    columns
}

fn upper(codes: Option<LineageCodes<'_>>) -> [Option<&str>; 4] {
    match codes {
        Some(codes) => [codes.street, codes.district, codes.city, codes.province],
        None => [None; 4],
    }
}

/// `payload`, `payload_bytes`, `payload_sha256`: of what was quarantined.
fn payloads(chunk: &Chunk, verdicts: &[Verdict<'_>]) -> [ArrayRef; 3] {
    let (mut bytes, mut sizes, mut digests) = (
        BinaryBuilder::new(),
        Int64Builder::new(),
        StringBuilder::new(),
    );
    for (row, verdict) in verdicts.iter().enumerate() {
        let record = chunk.get(row);
        if verdict.disposition != Disposition::Quarantined {
            bytes.append_null();
            sizes.append_null();
            digests.append_null();
            continue;
        }
        let value = record.value.unwrap_or_default();
        let withheld = record.refused.and_then(|refused| refused.sha256.as_deref());
        bytes.append_option(
            (!verdict.personal).then(|| &value[..value.len().min(KEPT_PAYLOAD_BYTES)]),
        );
        let length = record.refused.and_then(|refused| refused.length);
        sizes.append_value(length.unwrap_or(value.len() as i64));
        match withheld {
            Some(digest) => digests.append_value(digest),
            None => digests.append_value(hex(&Sha256::digest(value))),
        }
    }
    [
        Arc::new(bytes.finish()),
        Arc::new(sizes.finish()),
        Arc::new(digests.finish()),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn instants(micros: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(
        micros
            .collect::<TimestampMicrosecondArray>()
            .with_timezone("UTC"),
    )
}

/// Milliseconds of memory to microseconds of storage. A time too large for microseconds becomes null: no good event has
/// one (V05), and of the others the record itself is kept.
fn micros(millis: &ArrayRef) -> ArrayRef {
    let millis = millis.as_primitive::<TimestampMillisecondType>();
    instants(
        millis
            .iter()
            .map(|ms| ms.and_then(|ms| ms.checked_mul(1000))),
    )
}
