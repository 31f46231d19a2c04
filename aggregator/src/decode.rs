//! Records to event columns: Avro and JSON, surviving any bytes.

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;
use arrow::error::ArrowError;
use siji_schemas::arrow::{EventBatchBuilder, event_schema};
use siji_schemas::avro::{BatchDecoder, DecoderError};
use siji_schemas::wire::Framing;
use siji_schemas::{Code, EventRef, Refusal, json};

use crate::consume::Chunk;

/// Larger values are not looked into: the limit of a collector.
pub const MAX_EVENT_BYTES: usize = 256 << 10;

/// A chunk's records as events: one row a record, in order.
#[derive(Debug)]
pub struct Decoded {
    /// One row a record; all null where the record is no event.
    pub events: RecordBatch,
    /// Why a record is no event, by row; rising.
    pub faults: Vec<(usize, Refusal)>,
}

/// Decoding failed for a reason that is not in the records.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The Avro decoder.
    #[error(transparent)]
    Decoder(#[from] DecoderError),
    /// Arrow.
    #[error("cannot build an event batch: {0}")]
    Arrow(#[from] ArrowError),
}

/// Decodes chunks. Keeps its decoder and builder between them.
#[derive(Debug)]
pub struct Decode {
    avro: BatchDecoder,
    json: EventBatchBuilder,
}

/// Where the row of a record comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Avro,
    Json,
    None,
}

impl Decode {
    /// A decoder.
    pub fn new() -> Result<Self, DecodeError> {
        Ok(Self {
            avro: BatchDecoder::new()?,
            json: EventBatchBuilder::default(),
        })
    }

    /// Decodes one chunk. Records that a collector refused are looked into as well: what can be read of them helps
    /// whoever looks at the quarantine.
    pub fn decode(&mut self, chunk: &Chunk) -> Result<Decoded, DecodeError> {
        let mut origins = Vec::with_capacity(chunk.len());
        let mut faults = Vec::new();
        let mut avro_rows = Vec::new();
        let mut avro_values = Vec::new();
        for (row, record) in chunk.records().enumerate() {
            let value = record.value.unwrap_or_default();
            let fault = |reason: &str| (row, Refusal::whole(Code::V01, reason));
            let origin = match Framing::of(value) {
                _ if value.len() > MAX_EVENT_BYTES => {
                    faults.push(fault("larger than 256 KiB"));
                    Origin::None
                }
                Framing::AvroSingleObject => {
                    avro_rows.push(row);
                    avro_values.push(value);
                    Origin::Avro
                }
                Framing::Json => match json::read(value, &mut |_, _| Ok(false)) {
                    Ok(event) => {
                        self.json.append(&with_defaults(event.as_ref()))?;
                        Origin::Json
                    }
                    Err(refusal) => {
                        faults.push((row, refusal));
                        Origin::None
                    }
                },
                Framing::Empty => {
                    faults.push(fault("the record has no value"));
                    Origin::None
                }
                Framing::Confluent => {
                    faults.push(fault(
                        "Confluent framing is not read; send Avro single objects or JSON",
                    ));
                    Origin::None
                }
                Framing::Unknown => {
                    faults.push(fault("neither an Avro single object (C3 01) nor JSON"));
                    Origin::None
                }
            };
            origins.push(origin);
        }
        let avro = self.avro.decode(&avro_values)?;
        for fault in avro.faults {
            let row = avro_rows[fault.index];
            origins[row] = Origin::None;
            faults.push((row, Refusal::whole(Code::V01, fault.reason)));
        }
        faults.sort_by_key(|(row, _)| *row);
        let json = self.json.finish()?;
        Ok(Decoded {
            events: weave(&origins, avro.batch, json)?,
            faults,
        })
    }
}

/// A foreign producer of JSON may leave out what the collector would have filled in.
fn with_defaults(mut event: EventRef<'_>) -> EventRef<'_> {
    event
        .schema_version
        .get_or_insert(siji_schemas::event::SCHEMA_VERSION);
    event
}

/// One row a record, from the two batches and nulls. Copies nothing when all records are of one kind.
fn weave(
    origins: &[Origin],
    avro: RecordBatch,
    json: RecordBatch,
) -> Result<RecordBatch, ArrowError> {
    if avro.num_rows() == origins.len() {
        return Ok(avro);
    }
    if json.num_rows() == origins.len() {
        return Ok(json);
    }
    let nothing = nulls()?;
    let (mut from_avro, mut from_json) = (0, 0);
    let indices: Vec<(usize, usize)> = origins
        .iter()
        .map(|origin| match origin {
            Origin::Avro => (0, post_increment(&mut from_avro)),
            Origin::Json => (1, post_increment(&mut from_json)),
            Origin::None => (2, 0),
        })
        .collect();
    interleave_record_batch(&[&avro, &json, &nothing], &indices)
}

fn post_increment(counter: &mut usize) -> usize {
    *counter += 1;
    *counter - 1
}

fn nulls() -> Result<RecordBatch, ArrowError> {
    let schema = event_schema();
    let columns = schema
        .fields()
        .iter()
        .map(|field| arrow::array::new_null_array(field.data_type(), 1))
        .collect();
    RecordBatch::try_new(schema, columns)
}

#[cfg(test)]
mod tests;
