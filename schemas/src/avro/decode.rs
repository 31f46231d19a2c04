//! Avro bytes to event batches, surviving any bytes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::{Decimal128Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::error::ArrowError;
use arrow_avro::reader::{Decoder, ReaderBuilder};
use arrow_avro::schema::{AvroSchema, SchemaStore};

use super::{SCHEMA_V1, prefix_v1};
use crate::arrow::{VALUE_PRECISION, conform, event_schema};

/// What became of a run of messages.
#[derive(Debug)]
pub struct Decoded {
    /// The readable events, in order of the messages.
    pub batch: RecordBatch,
    /// The unreadable messages, in order. The others are the rows of `batch`.
    pub faults: Vec<Fault>,
}

/// A message that is no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Index of the message in the run.
    pub index: usize,
    /// What is wrong, without quoting the message.
    pub reason: String,
}

/// The decoder itself is broken (a build problem, not a matter of input).
#[derive(Debug, thiserror::Error)]
#[error("the avro decoder does not work: {0}")]
pub struct DecoderError(#[from] ArrowError);

/// Decodes runs of messages into batches.
#[derive(Debug)]
pub struct BatchDecoder {
    decoder: Option<Decoder>,
}

impl BatchDecoder {
    /// Messages that the decoder takes at once.
    const MAX_RUN: usize = 8192;

    /// A decoder for all known layouts.
    pub fn new() -> Result<Self, DecoderError> {
        Ok(Self {
            decoder: Some(build()?),
        })
    }

    /// Decodes single-object messages.
    pub fn decode(&mut self, messages: &[&[u8]]) -> Result<Decoded, DecoderError> {
        // Of another schema is told by the first bytes: one producer that is ahead of us must not cost a search each.
        let (mut places, mut known) = (Vec::new(), Vec::new());
        let mut faults = Vec::new();
        for (index, message) in messages.iter().enumerate() {
            match of_version_1(message) {
                Ok(()) => {
                    places.push(index);
                    known.push(*message);
                }
                Err(reason) => faults.push(Fault {
                    index,
                    reason: reason.to_owned(),
                }),
            }
        }
        let mut batches = Vec::new();
        let mut found = Vec::new();
        for (start, run) in known.chunks(Self::MAX_RUN).enumerate() {
            self.halve(start * Self::MAX_RUN, run, &mut batches, &mut found)?;
        }
        if !found.is_empty() {
            faults.extend(found.into_iter().map(|fault| Fault {
                index: places[fault.index],
                ..fault
            }));
            faults.sort_by_key(|fault| fault.index);
        }
        let batch = match batches.len() {
            1 => batches.swap_remove(0),
            _ => concat_batches(&event_schema(), &batches)?,
        };
        Ok(Decoded { batch, faults })
    }

    /// All of `messages` at once, or else each half by itself, down to the messages that are at fault.
    fn halve(
        &mut self,
        first: usize,
        messages: &[&[u8]],
        batches: &mut Vec<RecordBatch>,
        faults: &mut Vec<Fault>,
    ) -> Result<(), DecoderError> {
        if messages.is_empty() {
            return Ok(());
        }
        match self.all_or_nothing(messages)? {
            Ok(batch) => batches.push(batch),
            Err(reason) if messages.len() == 1 => faults.push(Fault {
                index: first,
                reason,
            }),
            Err(_) => {
                let (left, right) = messages.split_at(messages.len() / 2);
                self.halve(first, left, batches, faults)?;
                self.halve(first + left.len(), right, batches, faults)?;
            }
        }
        Ok(())
    }

    /// The inner result is about the messages, the outer about the decoder. After a fault the decoder is rebuilt: it
    /// keeps half-read rows (arrow-avro has no rollback), and bad UTF-8 shows only when the batch is flushed.
    fn all_or_nothing(
        &mut self,
        messages: &[&[u8]],
    ) -> Result<Result<RecordBatch, String>, DecoderError> {
        let mut decoder = match self.decoder.take() {
            Some(decoder) => decoder,
            None => build()?,
        };
        let decoded = catch_unwind(AssertUnwindSafe(|| run(&mut decoder, messages)))
            .unwrap_or_else(|_| Err("the bytes make the decoder fail".to_owned()));
        if decoded.is_ok() {
            self.decoder = Some(decoder);
        }
        decoded.map_or_else(|reason| Ok(Err(reason)), |batch| Ok(Ok(conform(&batch)?)))
    }
}

fn build() -> Result<Decoder, DecoderError> {
    let mut store = SchemaStore::new();
    store.register(AvroSchema::new(SCHEMA_V1.to_owned()))?;
    let decoder = ReaderBuilder::new()
        .with_writer_schema_store(store)
        .with_reader_schema(AvroSchema::new(SCHEMA_V1.to_owned()))
        .with_tz(arrow_avro::codec::Tz::Utc)
        .with_batch_size(BatchDecoder::MAX_RUN)
        .build_decoder()?;
    Ok(decoder)
}

fn of_version_1(message: &[u8]) -> Result<(), &'static str> {
    if message.starts_with(&prefix_v1()) {
        return Ok(());
    }
    Err(
        if message.starts_with(&[0xC3, 0x01]) && message.len() >= 10 {
            "written with an unknown schema (fingerprint)"
        } else {
            "no avro single-object message"
        },
    )
}

fn run(decoder: &mut Decoder, messages: &[&[u8]]) -> Result<RecordBatch, String> {
    for message in messages {
        let before = decoder.capacity();
        // The library's own messages may quote input, so they are not passed on.
        match decoder.decode(message) {
            Ok(used) if used == message.len() && decoder.capacity() + 1 == before => {}
            Ok(_) => return Err("truncated, or followed by further bytes".to_owned()),
            Err(_) => return Err("the body does not follow the schema".to_owned()),
        }
    }
    match decoder.flush() {
        Ok(Some(batch)) if batch.num_rows() == messages.len() => within_precision(batch),
        Ok(_) => Err("the body does not follow the schema".to_owned()),
        Err(_) => Err("not valid UTF-8, or a value out of range".to_owned()),
    }
}

/// The bytes of a decimal may say more than 18 digits; storage would cut them.
fn within_precision(batch: RecordBatch) -> Result<RecordBatch, String> {
    let decimals = batch
        .columns()
        .iter()
        .filter_map(|column| column.as_any().downcast_ref::<Decimal128Array>());
    for column in decimals {
        if column.validate_decimal_precision(VALUE_PRECISION).is_err() {
            return Err("a value of more than 18 digits".to_owned());
        }
    }
    Ok(batch)
}
