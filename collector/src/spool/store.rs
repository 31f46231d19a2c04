//! The database file of the spool: its tables, its head, and what one transaction may change.

use std::ops::ControlFlow;
use std::path::Path;

use redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
    WriteTransaction,
};

use super::block::{Block, Damage, peek};
use super::error::SpoolError;

/// Layout of the database; another one is refused.
pub(super) const FORMAT: u64 = 1;

const BLOCKS: TableDefinition<u64, &[u8]> = TableDefinition::new("blocks");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// When (milliseconds UTC) everything before which position was delivered.
const DELIVERIES: TableDefinition<u64, u64> = TableDefinition::new("deliveries");
/// Blocks that cannot be delivered: refused by the broker for good, or damaged.
const STUCK: TableDefinition<u64, &[u8]> = TableDefinition::new("stuck");

/// How the database file is opened; `check` reads all of it and verifies every checksum.
pub(super) type OpenDatabase =
    Box<dyn Fn(&Path, bool) -> Result<Database, redb::DatabaseError> + Send>;

/// Opens the file of the path, with a page cache of that size.
pub(super) fn open_file(cache_bytes: usize) -> OpenDatabase {
    Box::new(move |path, check| {
        Database::builder()
            .set_cache_size(cache_bytes)
            .set_check_integrity_on_open(check)
            .create(path)
    })
}

/// Where the spool stands, as of the last commit. Positions count every record ever spooled, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Position of the next record.
    pub next: u64,
    /// Bytes allocated to all blocks ever written.
    pub next_bytes: u64,
    /// The same before the oldest block still kept.
    pub first_bytes: u64,
    /// Position of the first record not known to be delivered.
    pub delivered: u64,
    /// Bytes allocated to all blocks before the one that holds it.
    pub delivered_bytes: u64,
    /// When the block that holds it was written; none if all is delivered.
    pub oldest_ms: Option<i64>,
    /// When the last block was written.
    pub last_ms: i64,
    /// This opening.
    pub incarnation: i64,
    /// Position of its sequence number 1.
    pub incarnation_first: u64,
    /// The opening before it that wrote anything, and its last sequence number.
    pub previous: Option<(i64, i64)>,
}

impl Head {
    /// Bytes of all blocks kept, delivered ones included.
    pub fn kept_bytes(&self) -> u64 {
        self.next_bytes.saturating_sub(self.first_bytes)
    }

    /// Bytes of the blocks that wait for delivery.
    pub fn waiting_bytes(&self) -> u64 {
        self.next_bytes.saturating_sub(self.delivered_bytes)
    }

    /// Sequence number of a position in this opening.
    pub fn seq(&self, position: u64) -> i64 {
        (position - self.incarnation_first) as i64 + 1
    }
}

/// Part of the spool, in order.
#[derive(Debug)]
pub enum Stretch {
    /// A block that reads as it was written.
    Block(Block),
    /// Records that cannot be read.
    Lost {
        /// What is wrong.
        damage: Damage,
        /// One past the last of them.
        end: u64,
        /// The bytes found.
        bytes: Vec<u8>,
    },
}

/// What was set aside as undeliverable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// Position of the first record.
    pub position: u64,
    /// The block as it was found: whole, or made for the one record.
    pub bytes: Vec<u8>,
}

/// The open database.
#[derive(Debug)]
pub(super) struct Store {
    db: Database,
}

impl Store {
    /// Opens the file, creates the tables if it is new, and refuses another format.
    pub fn open(path: &Path, open: &OpenDatabase, check: bool) -> Result<Store, SpoolError> {
        let db = open(path, check).map_err(|e| SpoolError::of(path, e.into()))?;
        let store = Store { db };
        let found = store
            .write(|txn| {
                let (_, _, _) = (
                    txn.open_table(BLOCKS)?,
                    txn.open_table(DELIVERIES)?,
                    txn.open_table(STUCK)?,
                );
                let mut meta = txn.open_table(META)?;
                let found = meta.get("format")?.map(|format| format.value());
                if found.is_none() {
                    meta.insert("format", FORMAT)?;
                }
                Ok(found.unwrap_or(FORMAT))
            })
            .map_err(|e| SpoolError::of(path, e))?;
        if found != FORMAT {
            return Err(SpoolError::Format {
                path: path.to_owned(),
                found: found.to_string(),
            });
        }
        Ok(store)
    }

    /// Runs `change` in one durable transaction: when this returns `Ok`, it is on disk.
    pub fn write<T>(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        let txn = self.db.begin_write()?;
        let result = change(&txn)?;
        txn.commit()?;
        Ok(result)
    }

    /// The head as stored, for a new opening with that incarnation.
    pub fn head(&self, incarnation: i64) -> Result<Head, redb::Error> {
        let txn = self.db.begin_read()?;
        let meta = txn.open_table(META)?;
        let stored = |name: &str| Ok::<_, redb::Error>(meta.get(name)?.map(|value| value.value()));
        let next = stored("next")?.unwrap_or(1);
        let next_bytes = stored("next_bytes")?.unwrap_or(0);
        let previous = match (stored("incarnation")?, stored("incarnation_first")?) {
            (Some(before), Some(first)) => Some((before as i64, next.saturating_sub(first) as i64)),
            _ => None,
        };
        let blocks = txn.open_table(BLOCKS)?;
        let last_ms = match blocks.last()? {
            Some((position, block)) => {
                peek(position.value(), block.value()).map_or(0, |h| h.enqueued_ms)
            }
            None => 0,
        };
        let mut head = Head {
            next,
            next_bytes,
            first_bytes: first_bytes(&blocks, next_bytes)?,
            delivered: stored("delivered")?.unwrap_or(1).min(next),
            delivered_bytes: next_bytes,
            oldest_ms: None,
            last_ms,
            incarnation,
            incarnation_first: next,
            previous,
        };
        locate(&blocks, &mut head)?;
        Ok(head)
    }

    /// Blocks from the one that holds `from` on, as many as fit into `max_bytes`, at least one.
    pub fn read(&self, from: u64, max_bytes: usize) -> Result<Vec<Stretch>, redb::Error> {
        let txn = self.db.begin_read()?;
        let blocks = txn.open_table(BLOCKS)?;
        let start = blocks
            .range(..=from)?
            .next_back()
            .transpose()?
            .map_or(from, |(key, _)| key.value());
        let mut stretches = Vec::new();
        let mut size = 0;
        for row in blocks.range(start..)? {
            let (position, bytes) = row?;
            if size > 0 && size + bytes.value().len() > max_bytes {
                break;
            }
            size += bytes.value().len();
            let position = position.value();
            match Block::parse(position, bytes.value()) {
                Ok(block) if block.end() <= from => {}
                Ok(block) => stretches.push(Stretch::Block(block)),
                Err(damage) => {
                    let end = match blocks.range(position + 1..)?.next().transpose()? {
                        Some((next, _)) => next.value(),
                        None => txn
                            .open_table(META)?
                            .get("next")?
                            .map_or(position + 1, |next| next.value()),
                    };
                    stretches.push(Stretch::Lost {
                        damage,
                        end,
                        bytes: bytes.value().to_vec(),
                    });
                }
            }
        }
        Ok(stretches)
    }

    /// Number of blocks and records that were set aside.
    pub fn stuck(&self) -> Result<u64, redb::Error> {
        Ok(self.db.begin_read()?.open_table(STUCK)?.len()?)
    }

    /// What was set aside from a position on, as much as fits into `max_bytes`, and at least one.
    pub fn read_stuck(&self, from: u64, max_bytes: usize) -> Result<Vec<Stuck>, redb::Error> {
        let mut found = Vec::new();
        let mut size = 0;
        for row in self.db.begin_read()?.open_table(STUCK)?.range(from..)? {
            let (position, bytes) = row?;
            let bytes = bytes.value().to_vec();
            size += bytes.len();
            if !found.is_empty() && size > max_bytes {
                break;
            }
            let position = position.value();
            found.push(Stuck { position, bytes });
        }
        Ok(found)
    }
}

/// Appends a block.
pub(super) fn put_block(
    txn: &WriteTransaction,
    position: u64,
    block: &[u8],
) -> Result<(), redb::Error> {
    txn.open_table(BLOCKS)?.insert(position, block)?;
    Ok(())
}

/// Stores the head, with the opening it belongs to.
pub(super) fn put_head(txn: &WriteTransaction, head: &Head) -> Result<(), redb::Error> {
    let mut meta = txn.open_table(META)?;
    meta.insert("next", head.next)?;
    meta.insert("next_bytes", head.next_bytes)?;
    meta.insert("delivered", head.delivered)?;
    meta.insert("incarnation", head.incarnation as u64)?;
    meta.insert("incarnation_first", head.incarnation_first)?;
    Ok(())
}

/// Moves the delivery mark of the head, and what follows from it.
pub(super) fn mark(
    txn: &WriteTransaction,
    head: &mut Head,
    delivered: u64,
) -> Result<(), redb::Error> {
    head.delivered = delivered.min(head.next);
    locate(&txn.open_table(BLOCKS)?, head)
}

/// Notes when everything before `delivered` was delivered.
pub(super) fn log_delivery(
    txn: &WriteTransaction,
    now_ms: i64,
    delivered: u64,
) -> Result<(), redb::Error> {
    txn.open_table(DELIVERIES)?
        .insert(now_ms.max(0) as u64, delivered)?;
    Ok(())
}

/// The position up to which all had been delivered at a time, as far as the log goes back; older lines are dropped
/// from it when `forget` is set.
pub(super) fn delivered_by(
    txn: &WriteTransaction,
    time_ms: i64,
    forget: bool,
) -> Result<Option<u64>, redb::Error> {
    let mut log = txn.open_table(DELIVERIES)?;
    let Ok(time) = u64::try_from(time_ms) else {
        return Ok(None);
    };
    let found = log
        .range(..=time)?
        .next_back()
        .transpose()?
        .map(|(ms, position)| (ms.value(), position.value()));
    if let Some((ms, _)) = found.filter(|_| forget) {
        log.retain_in(..ms, |_, _| false)?;
    }
    Ok(found.map(|(_, position)| position))
}

/// Position of the oldest block kept, or of the next record if none is.
pub(super) fn oldest_kept(txn: &WriteTransaction, head: &Head) -> Result<u64, redb::Error> {
    Ok(txn
        .open_table(BLOCKS)?
        .first()?
        .map_or(head.next, |(position, _)| position.value()))
}

/// Deletes blocks whose records all stand before `cutoff`, oldest first, until `enough` says so; at most `limit`.
/// Returns how many.
pub(super) fn delete_before(
    txn: &WriteTransaction,
    head: &mut Head,
    cutoff: u64,
    limit: usize,
    enough: impl Fn(&Head) -> bool,
) -> Result<usize, redb::Error> {
    let mut blocks = txn.open_table(BLOCKS)?;
    let mut deleted = 0;
    while deleted < limit && !enough(head) {
        let step = match blocks.first()? {
            Some((position, bytes)) if position.value() < cutoff => {
                let position = position.value();
                match peek(position, bytes.value()) {
                    Ok(header) if position + u64::from(header.count) > cutoff => {
                        ControlFlow::Break(())
                    }
                    _ => ControlFlow::Continue(position),
                }
            }
            _ => ControlFlow::Break(()),
        };
        let ControlFlow::Continue(position) = step else {
            break;
        };
        blocks.remove(position)?;
        deleted += 1;
        head.first_bytes = first_bytes(&blocks, head.next_bytes)?;
    }
    Ok(deleted)
}

/// Keeps a block that cannot be delivered where no clean-up finds it.
pub(super) fn put_stuck(
    txn: &WriteTransaction,
    position: u64,
    block: &[u8],
) -> Result<u64, redb::Error> {
    let mut stuck = txn.open_table(STUCK)?;
    stuck.insert(position, block)?;
    Ok(stuck.len()?)
}

/// Bytes before the oldest readable block.
fn first_bytes(
    blocks: &impl ReadableTable<u64, &'static [u8]>,
    next_bytes: u64,
) -> Result<u64, redb::Error> {
    for row in blocks.iter()? {
        let (position, bytes) = row?;
        if let Ok(header) = peek(position.value(), bytes.value()) {
            return Ok(header.start_bytes.min(next_bytes));
        }
    }
    Ok(next_bytes)
}

/// Fills in what is known of the block that holds the first undelivered record.
fn locate(
    blocks: &impl ReadableTable<u64, &'static [u8]>,
    head: &mut Head,
) -> Result<(), redb::Error> {
    (head.delivered_bytes, head.oldest_ms) = (head.next_bytes, None);
    if head.delivered >= head.next {
        return Ok(());
    }
    if let Some((position, bytes)) = blocks.range(..=head.delivered)?.next_back().transpose()? {
        match peek(position.value(), bytes.value()) {
            Ok(header) => {
                (head.delivered_bytes, head.oldest_ms) =
                    (header.start_bytes, Some(header.enqueued_ms))
            }
            Err(_) => head.delivered_bytes = head.first_bytes,
        }
    }
    Ok(())
}
