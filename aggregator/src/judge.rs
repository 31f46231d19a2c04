//! What becomes of each record: accepted, a duplicate, quarantined or parked (D1). Derived tables never decide again.

use siji_schemas::arrow::EventColumns;
use siji_schemas::body::{body_hash, id_hash};
use siji_schemas::personal::{contains_raw_personal, event_holds_personal};
use siji_schemas::validate::{Judged, Reference, validate};
use siji_schemas::wire::partition_of;
use siji_schemas::{Code, EventRef, Refusal};

use crate::consume::{Chunk, Record, RefusedBy};
use crate::decode::Decoded;
use crate::dedup::{Day, DedupIndex, Seen, Turn};
use crate::position::Partition;

/// The word in the ledger's column `disposition`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// Counted, once.
    Accepted,
    /// Sent again; counted before.
    Duplicate,
    /// Refused and kept.
    Quarantined,
    /// Good, but to be judged later.
    Parked,
    /// Offsets without a record.
    Gap,
}

impl Disposition {
    /// As it stands in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Disposition::Accepted => "accepted",
            Disposition::Duplicate => "duplicate",
            Disposition::Quarantined => "quarantined",
            Disposition::Parked => "parked",
            Disposition::Gap => "gap",
        }
    }
}

/// What was decided about one record.
#[derive(Debug, Clone)]
pub struct Verdict<'r> {
    /// The decision.
    pub disposition: Disposition,
    /// Why, unless accepted.
    pub refusal: Option<Refusal>,
    /// What the reference data says of the event, if it is good.
    pub judged: Option<Judged<'r>>,
    /// Hashes of id and body, if it is good.
    pub hashes: Option<(u64, i64)>,
    /// Whether the record holds raw personal data, so that neither bytes nor free columns may be kept.
    pub personal: bool,
}

impl<'r> Verdict<'r> {
    fn refused(refusal: Refusal, personal: bool) -> Self {
        Verdict {
            disposition: Disposition::Quarantined,
            refusal: Some(refusal),
            judged: None,
            hashes: None,
            personal,
        }
    }
}

/// Reason on events that are good but wait for a judgement this version does not make.
pub const PARKED_REASON: &str =
    "corrections and retractions are kept until they can be applied to their target";

/// Judges every record of a chunk by itself: all but duplicates.
pub fn validate_chunk<'r>(
    chunk: &Chunk,
    decoded: &Decoded,
    columns: &EventColumns<'_>,
    reference: &'r Reference,
    partitions: i32,
    now_ms: i64,
) -> Vec<Verdict<'r>> {
    let mut faults = decoded.faults.iter().peekable();
    let mut scratch = Vec::new();
    chunk
        .records()
        .enumerate()
        .map(|(row, record)| {
            let fault = faults
                .next_if(|(at, _)| *at == row)
                .map(|(_, refusal)| refusal.clone());
            let event = columns.row(row);
            match (record.refused, fault) {
                (Some(refused), _) => {
                    Verdict::refused(told(refused), holds_personal(&record, &event))
                }
                (None, Some(refusal)) => Verdict::refused(refusal, holds_personal(&record, &event)),
                (None, None) => match good(
                    &event,
                    &record,
                    reference,
                    chunk.partition,
                    partitions,
                    now_ms,
                ) {
                    Err(refusal) => Verdict::refused(refusal, holds_personal(&record, &event)),
                    Ok(judged) => {
                        let asserts = event.op == Some("assert");
                        let id = id_hash(event.event_id.unwrap_or_default());
                        Verdict {
                            disposition: if asserts {
                                Disposition::Accepted
                            } else {
                                Disposition::Parked
                            },
                            refusal: None,
                            hashes: Some((id, body_hash(&event, &judged, &mut scratch))),
                            judged: Some(judged),
                            personal: false,
                        }
                    }
                },
            }
        })
        .collect()
}

/// A day that should have been loaded was not: a fault of the program, not of the data.
#[derive(Debug, thiserror::Error)]
#[error(
    "the duplicates of partition {partition}, day {day} (days since 1970) were judged before they were loaded"
)]
pub struct NotLoaded {
    partition: i32,
    day: Day,
}

/// Judges duplicates among the good events of a chunk, in order. Their days must be loaded.
pub fn judge_duplicates(
    partition: Partition,
    verdicts: &mut [Verdict<'_>],
    index: &mut DedupIndex,
    turn: Turn,
) -> Result<(), NotLoaded> {
    for verdict in verdicts
        .iter_mut()
        .filter(|verdict| verdict.disposition == Disposition::Accepted)
    {
        let (Some(judged), Some((id, body))) = (verdict.judged, verdict.hashes) else {
            continue;
        };
        let day = judged.day.0;
        match index
            .judge(partition, day, id, body, turn)
            .ok_or(NotLoaded {
                partition: partition.0,
                day,
            })? {
            Seen::New => {}
            Seen::Same => verdict.disposition = Disposition::Duplicate,
            Seen::Other => {
                verdict.disposition = Disposition::Quarantined;
                let reason = "the id was used before with another body; to change an event send op=correct with a new id";
                verdict.refusal = Some(Refusal::of(Code::V10, "event_id", reason));
            }
        }
    }
    Ok(())
}

fn good<'r>(
    event: &EventRef<'_>,
    record: &Record<'_>,
    reference: &'r Reference,
    partition: i32,
    partitions: i32,
    now_ms: i64,
) -> Result<Judged<'r>, Refusal> {
    let judged = validate(event, reference, record.received_ms(now_ms))?;
    // What is judged and folded together must meet in one partition, so the key is part of the record.
    if record.key != Some(judged.home_area_code.as_bytes()) {
        let reason = format!(
            "the kafka key must be the home_area_code, {}",
            judged.home_area_code
        );
        return Err(Refusal::of(Code::V01, "key", reason));
    }
    let expected = partition_of(judged.home_area_code.as_bytes(), partitions);
    if expected != partition {
        let reason = format!(
            "its key belongs in partition {expected}: produce with partitioner=murmur2_random"
        );
        return Err(Refusal::of(Code::V01, "key", reason));
    }
    Ok(judged)
}

/// A collector's refusal, as its headers tell it. An unknown code is shown as V01, and what looks like personal data is
/// not repeated: collectors never write any, but anybody may write headers.
fn told(refused: &RefusedBy) -> Refusal {
    let harmless = |text: &str| !contains_raw_personal(text.as_bytes());
    Refusal {
        code: Code::parse(&refused.code).unwrap_or(Code::V01),
        field: refused.field.clone().filter(|field| harmless(field)),
        reason: if harmless(&refused.reason) {
            refused.reason.clone()
        } else {
            "(withheld: the reason given holds personal data)".to_owned()
        },
    }
}

fn holds_personal(record: &Record<'_>, event: &EventRef<'_>) -> bool {
    record.value.is_some_and(contains_raw_personal) || event_holds_personal(event)
}
