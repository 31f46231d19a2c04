//! What becomes of each record: accepted, a duplicate, quarantined or parked (D1). Derived tables never decide again.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use siji_schemas::arrow::EventBatchBuilder;
use siji_schemas::body::{body_hash, id_hash};
use siji_schemas::personal::{contains_raw_personal, event_holds_personal};
use siji_schemas::validate::{Judged, Reference, validate};
use siji_schemas::wire::partition_of;
use siji_schemas::{Code, EventRef, Refusal};

use crate::amend::{Amends, Op, Rank};
use crate::consume::{Chunk, Record, RefusedBy};
use crate::decode::decode;

mod kept;

use kept::kept_of_refused;

/// The word in the ledger's column `disposition`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// Counted, once.
    Accepted,
    /// Sent again; counted before.
    Duplicate,
    /// Refused and kept.
    Quarantined,
    /// Good, but it names an event that has not arrived: to be judged later.
    Parked,
    /// Offsets without a record.
    Gap,
    /// Takes back an accepted row that counts no more; never said of a record itself.
    Reversed,
}

impl Disposition {
    /// As [`Self::Parked`] stands in the ledger.
    pub const PARKED: &'static str = "parked";

    /// As it stands in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Disposition::Accepted => "accepted",
            Disposition::Duplicate => "duplicate",
            Disposition::Quarantined => "quarantined",
            Disposition::Parked => Disposition::PARKED,
            Disposition::Gap => "gap",
            Disposition::Reversed => "reversed",
        }
    }
}

/// What was decided about one record.
#[derive(Debug, Clone)]
pub struct Verdict<'r> {
    /// The decision.
    pub disposition: Disposition,
    /// Why, unless accepted; of an accepted one, that its month was locked.
    pub refusal: Option<Refusal>,
    /// What the reference data says of the event, if it is good.
    pub judged: Option<Judged<'r>>,
    /// Hashes of id and body, if it is good.
    pub hashes: Option<(u64, i64)>,
    /// The event it corrects or retracts, if it is good and does.
    pub amends: Option<Box<Amends>>,
    /// Whether the record holds raw personal data, so that neither bytes nor free columns may be kept.
    pub personal: bool,
    /// Of an accepted one, the last lock of its month that it came after, milliseconds UTC.
    pub after_lock: Option<i64>,
}

impl<'r> Verdict<'r> {
    fn refused(refusal: Refusal, personal: bool) -> Self {
        Verdict {
            disposition: Disposition::Quarantined,
            refusal: Some(refusal),
            judged: None,
            hashes: None,
            amends: None,
            personal,
            after_lock: None,
        }
    }
}

/// A chunk's events as columns, and what is to be thought of each.
pub type JudgedChunk<'r> = (RecordBatch, Vec<Verdict<'r>>);

/// Judges records by themselves: all but duplicates. An event is read, judged and put into columns while its bytes are
/// at hand.
#[derive(Debug)]
pub struct Judge<'r> {
    reference: &'r Reference,
    partitions: i32,
    columns: EventBatchBuilder,
    /// Canonical form of an event; kept for its memory.
    scratch: Vec<u8>,
}

impl<'r> Judge<'r> {
    /// A judge of records of a topic with so many partitions.
    pub fn new(reference: &'r Reference, partitions: i32) -> Self {
        Judge {
            reference,
            partitions,
            columns: EventBatchBuilder::default(),
            scratch: Vec::new(),
        }
    }

    /// One row and one verdict a record, in order. A row is as it is to be stored: what is no event has no columns.
    pub fn judge(&mut self, chunk: &Chunk, now_ms: i64) -> Result<JudgedChunk<'r>, ArrowError> {
        let verdicts = chunk
            .records()
            .map(|record| self.record(&record, chunk.partition, now_ms))
            .collect::<Result<Vec<_>, _>>()?;
        Ok((self.columns.finish()?, verdicts))
    }

    fn record(
        &mut self,
        record: &Record<'_>,
        partition: i32,
        now_ms: i64,
    ) -> Result<Verdict<'r>, ArrowError> {
        let decoded = decode(record.value.unwrap_or_default());
        // What a collector refused is looked into as well: what can be read of it helps whoever looks at the quarantine.
        let mut event = match &decoded {
            Ok(decoded) => decoded.event(),
            Err(_) => EventRef::default(),
        };
        let refusal = match (record.refused, &decoded) {
            (Some(refused), _) => told(refused),
            (None, Err(refusal)) => refusal.clone(),
            (None, Ok(_)) => match self.good(&event, record, partition, now_ms) {
                Ok(judged) => return self.accept(&mut event, judged),
                Err(refusal) => refusal,
            },
        };
        let personal = holds_personal(record, &event);
        if personal || record.refused.is_some() {
            let kept = kept_of_refused(&event, record.refused, personal);
            self.columns.append(&kept.as_ref())?;
        } else {
            self.columns.append(&event)?;
        }
        Ok(Verdict::refused(refusal, personal))
    }

    /// A good event, with its areas as the registry writes them.
    fn accept<'e>(
        &mut self,
        event: &mut EventRef<'e>,
        judged: Judged<'r>,
    ) -> Result<Verdict<'r>, ArrowError>
    where
        'r: 'e,
    {
        event.area_code = Some(judged.area_code);
        event.home_area_code = Some(judged.home_area_code);
        self.columns.append(event)?;
        let id = id_hash(event.event_id.unwrap_or_default());
        let body = body_hash(event, &judged, &mut self.scratch);
        Ok(Verdict {
            disposition: Disposition::Accepted,
            refusal: None,
            judged: Some(judged),
            hashes: Some((id, body)),
            amends: self.amends(event),
            personal: false,
            after_lock: None,
        })
    }

    fn amends(&self, event: &EventRef<'_>) -> Option<Box<Amends>> {
        let op = Op::parse(event.op?).filter(|op| *op != Op::Assert)?;
        let target_at = event.target_occurred_at?;
        Some(Box::new(Amends {
            op,
            target_id: id_hash(event.target_event_id?),
            target_day: self.reference.zone.day_of(target_at).0,
            rank: Rank::new(
                event.recorded_at.unwrap_or_default(),
                event.event_id.unwrap_or_default(),
            ),
        }))
    }

    fn good(
        &self,
        event: &EventRef<'_>,
        record: &Record<'_>,
        partition: i32,
        now_ms: i64,
    ) -> Result<Judged<'r>, Refusal> {
        let judged = validate(event, self.reference, record.received_ms(now_ms))?;
        // What is judged and folded together must meet in one partition, so the key is part of the record.
        if record.key != Some(judged.home_area_code.as_bytes()) {
            let reason = format!(
                "the kafka key must be the home_area_code, {}",
                judged.home_area_code
            );
            return Err(Refusal::of(Code::V01, "key", reason));
        }
        let expected = partition_of(judged.home_area_code.as_bytes(), self.partitions);
        if expected != partition {
            let reason = format!(
                "its key belongs in partition {expected}: produce with partitioner=murmur2_random"
            );
            return Err(Refusal::of(Code::V01, "key", reason));
        }
        Ok(judged)
    }
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
