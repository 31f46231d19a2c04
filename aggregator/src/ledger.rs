//! Ledger rows: a chunk's records with what was decided about each, and the offsets nobody has seen.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, Date32Array, DictionaryArray, Int32Array,
    Int32Builder, Int64Array, Int64Builder, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::{
    DataType, Fields, Int32Type, Schema, SchemaRef, TimeUnit, TimestampMillisecondType,
};
use arrow::error::ArrowError;
use sha2::{Digest, Sha256};
use siji_lake::schema::ledger_schema;
use siji_schemas::area::{Lineage, Tier};
use siji_schemas::arrow::{absent, word_type};
use siji_schemas::validate::Reference;
use siji_schemas::vocabulary::Vocabulary;

use crate::consume::Chunk;
use crate::judge::{Disposition, Verdict};

mod later;

pub use later::{NoRow, later_rows, place_of, records_of, reference};

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

/// Makes ledger rows, chunk after chunk.
#[derive(Debug)]
pub struct LedgerRows {
    /// Codes of all areas, by [`AreaId::index`](siji_schemas::area::AreaId::index).
    areas: ArrayRef,
    /// The ledger's own words: dispositions, codes, versions.
    words: Vocabulary,
}

impl LedgerRows {
    /// For rows that are judged by this reference data.
    pub fn new(reference: &Reference) -> Self {
        LedgerRows {
            areas: Arc::new(StringArray::from_iter_values(reference.areas.codes_by_id())),
            words: Vocabulary::default(),
        }
    }

    /// The rows of a chunk. Texts that repeat are numbered: [`datafile::encode`](siji_lake::datafile::encode) stores
    /// them as texts.
    pub fn rows(
        &mut self,
        chunk: &Chunk,
        events: &RecordBatch,
        verdicts: &[Verdict<'_>],
        context: Context<'_>,
    ) -> Result<RecordBatch, ArrowError> {
        let rows = chunk.len();
        let offsets: ArrayRef = Arc::new(Int64Array::from_iter_values(
            chunk.records().map(|record| record.offset),
        ));
        let broker_at = chunk.records().map(|record| {
            record
                .timestamp_ms
                .filter(|ms| *ms >= 0)
                .and_then(|ms| ms.checked_mul(1000))
        });
        let disposition = self.words(
            verdicts
                .iter()
                .map(|verdict| Some(verdict.disposition.as_str())),
        )?;
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(same(context.epoch, rows)),
            Arc::new(same(chunk.partition, rows)),
            Arc::clone(&offsets),
            offsets,
            disposition,
        ];
        columns.extend(self.refusals(verdicts)?);
        columns.push(absent(&DataType::Utf8, rows));
        columns.push(instants(std::iter::repeat_n(
            Some(context.now_ms * 1000),
            rows,
        )));
        columns.push(instants(broker_at));
        let version = context.reference.version();
        columns.push(self.words(std::iter::repeat_n(Some(version), rows))?);
        columns.push(after_locks(verdicts));
        columns.extend(self.places(verdicts)?);
        for (index, field) in events.schema().fields().iter().enumerate() {
            columns.push(match field.data_type() {
                DataType::Timestamp(..) => micros(events.column(index)),
                _ => Arc::clone(events.column(index)),
            });
        }
        columns.extend(payloads(chunk, verdicts));
        RecordBatch::try_new(numbered_schema(&columns), columns)
    }

    /// A column of few different texts.
    fn words<'t>(
        &mut self,
        texts: impl Iterator<Item = Option<&'t str>>,
    ) -> Result<ArrayRef, ArrowError> {
        let mut keys = Int32Builder::with_capacity(texts.size_hint().0);
        let mut last: Option<(&str, i32)> = None;
        for text in texts {
            let key = text.map(|text| match last {
                Some((same, key)) if same == text => key,
                _ => {
                    let key = self.words.number(text);
                    last = Some((text, key));
                    key
                }
            });
            keys.append_option(key);
        }
        numbered(keys, &self.words.texts())
    }

    /// `code`, `field`, `reason`.
    fn refusals(&mut self, verdicts: &[Verdict<'_>]) -> Result<[ArrayRef; 3], ArrowError> {
        let refusals = || verdicts.iter().map(|verdict| verdict.refusal.as_ref());
        if refusals().all(|refusal| refusal.is_none()) {
            return Ok([DataType::Utf8, DataType::Utf8, DataType::Utf8]
                .map(|kind| absent(&kind, verdicts.len())));
        }
        let codes = self.words(refusals().map(|refusal| refusal.map(|it| it.code.as_str())))?;
        let fields: StringArray = refusals()
            .map(|refusal| refusal.and_then(|it| it.field.as_deref()))
            .collect();
        let reasons: StringArray = refusals()
            .map(|refusal| refusal.map(|it| it.reason.as_str()))
            .collect();
        Ok([codes, Arc::new(fields), Arc::new(reasons)])
    }

    /// `local_date`, `body_hash`, `area_tier` and the ancestors of place and handler.
    fn places(&self, verdicts: &[Verdict<'_>]) -> Result<Vec<ArrayRef>, ArrowError> {
        let judged = || verdicts.iter().map(|verdict| verdict.judged);
        let days: Date32Array = judged().map(|it| it.map(|it| it.day.0)).collect();
        let bodies: Int64Array = verdicts
            .iter()
            .map(|verdict| verdict.hashes.map(|(_, body)| body))
            .collect();
        let tiers: Int32Array = judged()
            .map(|it| it.map(|it| i32::from(it.place.tier.number())))
            .collect();
        let mut columns: Vec<ArrayRef> = vec![Arc::new(days), Arc::new(bodies), Arc::new(tiers)];
        for tier in &Tier::ALL[1..] {
            let lineages = judged().map(|it| it.map(|it| it.place));
            columns.push(self.ancestors(lineages, *tier, verdicts.len())?);
        }
        let handlers = || judged().map(|it| it.and_then(|it| it.handler));
        let handled = handlers().any(|it| it.is_some());
        for tier in &Tier::ALL[1..] {
            columns.push(match handled {
                true => self.ancestors(handlers(), *tier, verdicts.len())?,
                false => absent(&word_type(), verdicts.len()),
            });
        }
        Ok(columns)
    }

    fn ancestors<'r>(
        &self,
        lineages: impl Iterator<Item = Option<&'r Lineage>>,
        tier: Tier,
        rows: usize,
    ) -> Result<ArrayRef, ArrowError> {
        let mut keys = Int32Builder::with_capacity(rows);
        for lineage in lineages {
            let area = lineage.and_then(|lineage| lineage.at(tier));
            keys.append_option(area.map(|area| area.index() as i32));
        }
        numbered(keys, &self.areas)
    }
}

fn numbered(mut keys: Int32Builder, texts: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let keys = keys.finish();
    let numbered = DictionaryArray::<Int32Type>::try_new(keys, Arc::clone(texts))?;
    Ok(Arc::new(numbered))
}

/// The ledger's schema with the types that its columns have in memory.
fn numbered_schema(columns: &[ArrayRef]) -> SchemaRef {
    let stored = ledger_schema();
    let fields = stored.fields().iter().zip(columns);
    let fields = fields.map(|(field, column)| {
        if field.data_type() == column.data_type() {
            Arc::clone(field)
        } else {
            Arc::new(
                field
                    .as_ref()
                    .clone()
                    .with_data_type(column.data_type().clone()),
            )
        }
    });
    Arc::new(Schema::new(fields.collect::<Fields>()))
}

/// `after_lock`
fn after_locks(verdicts: &[Verdict<'_>]) -> ArrayRef {
    let locks = || verdicts.iter().map(|verdict| verdict.after_lock);
    match locks().any(|at| at.is_some()) {
        true => instants(locks().map(|at| at.and_then(|ms| ms.checked_mul(1000)))),
        false => absent(&ledger_instant(), verdicts.len()),
    }
}

/// One number in all rows. (`from_value` asks for zeroed memory if it is 0, see [`absent`].)
fn same(number: i32, rows: usize) -> Int32Array {
    Int32Array::from_iter_values(std::iter::repeat_n(number, rows))
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

/// `payload`, `payload_bytes`, `payload_sha256`: of what was quarantined.
fn payloads(chunk: &Chunk, verdicts: &[Verdict<'_>]) -> [ArrayRef; 3] {
    let kept = |verdict: &Verdict<'_>| verdict.disposition == Disposition::Quarantined;
    if !verdicts.iter().any(kept) {
        return [DataType::Binary, DataType::Int64, DataType::Utf8]
            .map(|kind| absent(&kind, verdicts.len()));
    }
    let (mut bytes, mut sizes, mut digests) = (
        BinaryBuilder::new(),
        Int64Builder::new(),
        StringBuilder::new(),
    );
    for (row, verdict) in verdicts.iter().enumerate() {
        let record = chunk.get(row);
        if !kept(verdict) {
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
    if millis.null_count() == millis.len() {
        return absent(&ledger_instant(), millis.len());
    }
    let millis = millis.as_primitive::<TimestampMillisecondType>();
    let micros: TimestampMicrosecondArray = millis.unary_opt(|ms| ms.checked_mul(1000));
    Arc::new(micros.with_timezone("UTC"))
}

fn ledger_instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}
