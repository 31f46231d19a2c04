//! Records into blocks, blocks into a transaction.

use super::block::{BlockBuilder, BlockHeader, MAX_BLOCK_BYTES, allocated};
use super::handle::Receipt;
use super::record::{Record, encode};
use super::store::{self, Head};
use crate::clock::now_ms;

/// Memory that is used again for every record.
#[derive(Default)]
pub(super) struct Buffers {
    block: BlockBuilder,
    record: Vec<u8>,
    value: Vec<u8>,
}

/// Puts records into blocks and blocks into the transaction.
pub(super) struct Appender<'t> {
    txn: &'t redb::WriteTransaction,
    pub head: &'t mut Head,
    buffers: &'t mut Buffers,
    started: bool,
    bytes: usize,
}

impl<'t> Appender<'t> {
    pub fn new(
        txn: &'t redb::WriteTransaction,
        head: &'t mut Head,
        buffers: &'t mut Buffers,
    ) -> Self {
        head.last_ms = head.last_ms.max(now_ms());
        Appender {
            txn,
            head,
            buffers,
            started: false,
            bytes: 0,
        }
    }

    pub fn append(&mut self, records: Vec<Record>) -> Result<Receipt, redb::Error> {
        let receipt = Receipt {
            incarnation: self.head.incarnation,
            first_seq: self.head.seq(self.head.next),
            count: records.len() as u64,
        };
        for record in records {
            let seq = self.head.seq(self.head.next);
            let Buffers {
                record: out, value, ..
            } = &mut *self.buffers;
            encode(record, self.head.incarnation, seq, value, out);
            if self.started && !self.buffers.block.has_room(self.buffers.record.len()) {
                self.flush()?;
            }
            if !self.started {
                self.buffers.block.start(BlockHeader {
                    incarnation: self.head.incarnation,
                    first_seq: seq,
                    enqueued_ms: self.head.last_ms,
                    start_bytes: self.head.next_bytes,
                    count: 0,
                });
                self.started = true;
            }
            self.buffers.block.push(&self.buffers.record);
            self.bytes += self.buffers.record.len();
            self.head.next += 1;
        }
        Ok(receipt)
    }

    /// Bytes of the block being built, at most.
    pub fn pending_bytes(&self) -> u64 {
        if self.started {
            allocated(self.bytes.min(MAX_BLOCK_BYTES))
        } else {
            0
        }
    }

    fn flush(&mut self) -> Result<(), redb::Error> {
        let position = self.head.next - u64::from(self.buffers.block.count());
        let block = self.buffers.block.finish();
        store::put_block(self.txn, position, block)?;
        self.head.next_bytes += allocated(block.len());
        (self.started, self.bytes) = (false, 0);
        Ok(())
    }

    pub fn finish(mut self) -> Result<(), redb::Error> {
        if self.started { self.flush() } else { Ok(()) }
    }
}
