//! What the writer does between requests: it stores the mark, deletes what is old, and reopens what has failed.

use std::sync::PoisonError;

use super::handle::Shared;
use super::limits::SpoolLimits;
use super::opening::{forget_cached_pages, open_and_greet};
use super::store::{self, Head, Store};
use super::writer::Writer;
use crate::clock::now_ms;
use crate::metrics;

/// Most blocks deleted by one transaction.
const MAX_DELETIONS: usize = 2048;
/// How often the log of deliveries gets a line.
const DELIVERY_LOG_MS: i64 = 60_000;

impl Writer {
    /// Stores the delivery mark, deletes what is old, reopens what has failed.
    pub(super) fn tick(&mut self) {
        let Some(head) = self.head else {
            self.reopen();
            return;
        };
        let mark = *self.shared.mark();
        let now = now_ms();
        let log = mark.position > 1 && now - self.logged_ms >= DELIVERY_LOG_MS;
        let crowded = head.kept_bytes() > self.shared.limits.crowded_at();
        if mark.position == head.delivered && !log && !crowded {
            return;
        }
        let limits = &self.shared.limits;
        let result = with_store(&self.shared, |store| {
            store.write(|txn| {
                let mut head = head;
                store::mark(txn, &mut head, mark.position)?;
                if log {
                    store::log_delivery(txn, now, head.delivered)?;
                }
                if let Some(cutoff) =
                    store::delivered_by(txn, now.saturating_sub(limits.retention_ms()), true)?
                {
                    let cutoff = cutoff.min(head.delivered);
                    store::delete_before(txn, &mut head, cutoff, MAX_DELETIONS, |_| false)?;
                }
                make_room(txn, &mut head, limits)?;
                store::put_head(txn, &head)?;
                Ok(head)
            })
        });
        match result {
            Ok(head) => {
                if log {
                    self.logged_ms = now;
                }
                self.publish(head);
            }
            Err(error) => self.fail(error),
        }
    }

    /// After an error of the disk nothing written may be trusted until it was read back.
    pub(super) fn fail(&mut self, error: redb::Error) {
        tracing::error!(spool = %self.shared.path.display(), error = %error, "writing the spool failed, intake stops until it is reopened and checked");
        metrics::spool_failure();
        self.head = None;
        self.shared.view().failing = Some(error.to_string());
        drop(self.take_store());
    }

    fn reopen(&mut self) {
        let path = self.shared.path.clone();
        forget_cached_pages(&path);
        match open_and_greet(&path, &self.open, true, &self.greeting, &mut self.buffers) {
            Ok((store, head, stuck)) => {
                *self
                    .shared
                    .store
                    .write()
                    .unwrap_or_else(PoisonError::into_inner) = Some(store);
                self.publish(head);
                let mut view = self.shared.view();
                (view.failing, view.stuck) = (None, stuck);
                drop(view);
                tracing::info!(spool = %path.display(), incarnation = head.incarnation, "spool reopened and checked, intake goes on");
            }
            Err(error) => {
                tracing::warn!(error = %error, "spool cannot be used yet");
                self.shared.view().failing = Some(error.to_string());
            }
        }
    }

    pub(super) fn take_store(&self) -> Option<Store> {
        self.shared
            .store
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

/// Acts on the database, if it is trusted.
pub(super) fn with_store<T>(
    shared: &Shared,
    act: impl FnOnce(&Store) -> Result<T, redb::Error>,
) -> Result<T, redb::Error> {
    let store = shared.store.read().unwrap_or_else(PoisonError::into_inner);
    act(store.as_ref().ok_or(redb::Error::DatabaseClosed)?)
}

/// Deletes delivered blocks before their time where the cap asks for it.
pub(super) fn make_room(
    txn: &redb::WriteTransaction,
    head: &mut Head,
    limits: &SpoolLimits,
) -> Result<(), redb::Error> {
    let crowded = limits.crowded_at();
    if head.kept_bytes() > crowded {
        let cutoff = head.delivered;
        store::delete_before(txn, head, cutoff, MAX_DELETIONS, |head| {
            head.kept_bytes() <= crowded
        })?;
    }
    Ok(())
}
