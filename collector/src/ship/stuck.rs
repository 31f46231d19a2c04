//! What cannot be delivered is kept apart, so that the rest can be.

use super::sender::Sender;
use crate::metrics;
use crate::spool::{Block, Damage, Mark, SpoolError, Stretch};

impl Sender {
    /// The broker will never take this record: keep it apart and go on.
    pub(super) fn set_aside(&mut self, position: u64, why: &str) {
        match self.keep_apart(position, why) {
            Ok(true) => {
                metrics::stuck();
                self.window.done(position);
            }
            Ok(false) => {
                // The next look at the spool finds the damage and keeps the whole block.
                self.window.failed(position);
                self.failed = true;
            }
            Err(error) => {
                tracing::warn!(error = %error, position, "a refused record cannot be set aside yet");
                self.window.failed(position);
                self.careful_until = self.careful_until.max(position + 1);
                self.failed = true;
                self.back_off();
            }
        }
    }

    /// Returns false if the record does not read any more.
    fn keep_apart(&self, position: u64, why: &str) -> Result<bool, SpoolError> {
        let page = self.spool.read(position, 1)?;
        let Some(Stretch::Block(block)) = page.into_iter().next() else {
            return Ok(false);
        };
        let Some(bytes) = block.only(position) else {
            return Ok(false);
        };
        let seq = block.header.first_seq + (position - block.position) as i64;
        tracing::error!(
            incarnation = block.header.incarnation,
            seq,
            position,
            reason = why,
            "the broker refuses a record for good, it is set aside"
        );
        self.spool.set_aside(position, bytes)?;
        Ok(true)
    }

    /// Records of a block that do not read although its checksum is right.
    pub(super) fn give_up_rest(&mut self, damage: &Damage, block: &Block) -> bool {
        self.give_up(damage, block.end(), block.stored())
    }

    /// Records that cannot be read any more must not stop those that can. They were acknowledged, so their bytes are
    /// set aside first: returns false if that did not work, and then they wait.
    pub(super) fn give_up(&mut self, damage: &Damage, end: u64, bytes: Vec<u8>) -> bool {
        let from = self.window.next_due().max(damage.position);
        if !bytes.is_empty()
            && let Err(error) = self.spool.set_aside(damage.position, bytes)
        {
            tracing::warn!(damage = %damage, error = %error, "a damaged block cannot be set aside yet, shipping waits");
            self.back_off();
            return false;
        }
        tracing::error!(damage = %damage, records = end.saturating_sub(from), "spooled records cannot be read, they are set aside and shipping goes on behind them");
        for position in from..end {
            if self.window.is_due(position) {
                self.window.sent(position);
                self.window.done(position);
                metrics::stuck();
            }
        }
        self.spool.delivered(Mark {
            epoch: self.epoch,
            position: self.window.edge(),
        });
        true
    }
}
