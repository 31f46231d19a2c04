//! Rows into the spool of a collector of the same process, each row as a whole.

use std::sync::Arc;

use super::convert::Made;
use super::row::RowRefusal;
use crate::clock::now_ms;
use crate::intake::{Intake, Principal};
use crate::metrics;
use crate::spool::{AppendError, Receipt, Record};
use crate::validate::Judge;

/// The way into a collector for rows.
#[derive(Debug)]
pub struct InPlace {
    intake: Arc<Intake>,
    principal: Principal,
}

impl InPlace {
    /// On behalf of `principal`.
    pub fn new(intake: Arc<Intake>, principal: Principal) -> InPlace {
        InPlace { intake, principal }
    }

    /// The name the ledger will know them by.
    pub fn source_id(&self) -> &str {
        &self.intake.source_id
    }

    /// Judges the events of a row as the collector does. Where one is refused, none is to be sent.
    ///
    /// # Errors
    /// The first refusal.
    pub fn judge(&self, events: &[Made]) -> Result<Vec<Record>, RowRefusal> {
        let judge = Judge {
            reference: &self.intake.reference,
            limits: &self.intake.limits,
            key: self.intake.key.as_ref(),
            source_id: &self.intake.source_id,
            principal: &self.principal,
            now_ms: now_ms(),
            traceparent: None,
        };
        let mut records = Vec::with_capacity(events.len());
        for event in events {
            let verdict = judge.json(&event.json);
            if let Some(refused) = verdict.refused {
                let refusal = refused.refusal;
                let field = refusal.field.unwrap_or_default();
                return Err(RowRefusal::new(
                    refusal.code.as_str(),
                    field,
                    refusal.reason,
                ));
            }
            records.push(verdict.record);
        }
        Ok(records)
    }

    /// Puts records into the spool, in their order and by one append. When this returns `Ok`, they are on disk, and the
    /// receipt says under which sequence numbers the ledger will know them.
    ///
    /// # Errors
    /// The spool took nothing, or (`Failing`) does not know what it took.
    pub async fn append(&self, records: Vec<Record>) -> Result<Receipt, AppendError> {
        self.intake.spool.admits()?;
        metrics::received("import", records.len() as u64);
        self.intake.spool.append(records).await
    }
}
