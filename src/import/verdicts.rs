//! Rows on their way into the ledger, and what it says of them.

use std::collections::VecDeque;

use siji_collector::import::{Row, RowRefusal};
use siji_schemas::Code;

use super::books::{Books, Fate};
use crate::failure::Failure;

/// The ledger's word on one event.
#[derive(Debug, Clone)]
pub struct Verdict {
    pub seq: i64,
    pub disposition: String,
    pub code: Option<String>,
    pub field: Option<String>,
    pub reason: Option<String>,
}

/// A row, or the end of a file, in the order of the input.
#[derive(Debug)]
enum Waiting {
    Row(Box<Sent>),
    End {
        file: usize,
        /// As [`Sent::first`].
        first: i64,
    },
}

impl Waiting {
    fn first(&self) -> i64 {
        match self {
            Waiting::Row(sent) => sent.first,
            Waiting::End { first, .. } => *first,
        }
    }
}

#[derive(Debug)]
struct Sent {
    file: usize,
    row: Row,
    /// Sequence number of its first event; of a row without events, of the next event.
    first: i64,
    /// For each event, whether the ledger has judged it.
    judged: Vec<bool>,
    accepted: bool,
    refusal: Option<RowRefusal>,
}

impl Sent {
    fn is_settled(&self) -> bool {
        self.judged.iter().all(|judged| *judged)
    }
}

/// Rows whose fate is not known yet.
#[derive(Debug, Default)]
pub struct InFlight {
    waiting: VecDeque<Waiting>,
    rows: usize,
    bytes: usize,
    /// Sequence number after the last event sent.
    next: i64,
}

impl InFlight {
    /// Rows that wait.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of memory they take, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A row whose events were spooled under the numbers from `first`.
    pub fn sent(&mut self, file: usize, row: Row, first: i64, events: usize) {
        self.push(file, row, first, events, None);
        self.next = first + i64::try_from(events).unwrap_or(i64::MAX - first);
    }

    /// A row of which nothing was sent.
    pub fn refused(&mut self, file: usize, row: Row, refusal: RowRefusal) {
        self.push(file, row, self.next, 0, Some(refusal));
    }

    fn push(
        &mut self,
        file: usize,
        row: Row,
        first: i64,
        events: usize,
        refusal: Option<RowRefusal>,
    ) {
        self.rows += 1;
        self.bytes += row.size();
        self.waiting.push_back(Waiting::Row(Box::new(Sent {
            file,
            row,
            first,
            judged: vec![false; events],
            accepted: false,
            refusal,
        })));
    }

    /// A file is over.
    pub fn end(&mut self, file: usize) {
        let first = self.next;
        self.waiting.push_back(Waiting::End { file, first });
    }

    /// Sequence numbers that wait, the end excluded; `None` where none does.
    pub fn numbers(&self) -> Option<(i64, i64)> {
        let first = self.waiting.iter().find_map(|waiting| match waiting {
            Waiting::Row(sent) if !sent.is_settled() => Some(sent.first),
            _ => None,
        });
        first.map(|first| (first, self.next))
    }

    /// Takes the ledger's word on an event. One that was delivered twice is judged twice: it counts if it counted once.
    pub fn judge(&mut self, verdict: &Verdict) {
        // The last entry that begins at or before the number; a refused row begins where the next one sent does, and
        // stands before it.
        let after = self
            .waiting
            .partition_point(|waiting| waiting.first() <= verdict.seq);
        let owner = after.checked_sub(1).and_then(|at| self.waiting.get_mut(at));
        let Some(Waiting::Row(sent)) = owner else {
            return;
        };
        let index = usize::try_from(verdict.seq - sent.first).ok();
        let Some(judged) = index.and_then(|index| sent.judged.get_mut(index)) else {
            return;
        };
        *judged = true;
        match verdict.disposition.as_str() {
            "accepted" => sent.accepted = true,
            "duplicate" => {}
            other => {
                sent.refusal.get_or_insert_with(|| refusal(other, verdict));
            }
        }
    }

    /// Books the rows whose fate is known, in their order.
    pub fn settle(&mut self, books: &mut Books) -> Result<(), Failure> {
        while let Some(waiting) = self.waiting.pop_front() {
            match waiting {
                Waiting::End { file, .. } => books.end(file)?,
                Waiting::Row(sent) if sent.is_settled() => {
                    self.rows -= 1;
                    self.bytes -= sent.row.size();
                    let events = sent.judged.len() as u64;
                    let fate = match (sent.refusal, sent.accepted) {
                        (Some(refusal), _) => Fate::Refused(refusal),
                        (None, true) => Fate::Accepted,
                        (None, false) => Fate::Duplicate,
                    };
                    books.settle(sent.file, &sent.row, events, &fate)?;
                }
                waiting @ Waiting::Row(_) => {
                    self.waiting.push_front(waiting);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Whether every row is booked.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

fn refusal(disposition: &str, verdict: &Verdict) -> RowRefusal {
    let code = verdict.code.as_deref().and_then(Code::parse);
    RowRefusal {
        code: code.map_or("", Code::as_str),
        field: verdict.field.clone().unwrap_or_default(),
        reason: format!(
            "{disposition} by the ledger: {}",
            verdict.reason.as_deref().unwrap_or("it gives no reason")
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn verdict(seq: i64, disposition: &str) -> Verdict {
        Verdict {
            seq,
            disposition: disposition.to_owned(),
            code: (disposition == "quarantined").then(|| "V10".to_owned()),
            field: Some("event_id".to_owned()),
            reason: Some("another body".to_owned()),
        }
    }

    /// Rows of a real file, so that they are rows.
    fn rows(numbers: usize) -> (tempfile::TempDir, PathBuf, Vec<Row>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.csv");
        let lines: String = (0..numbers).map(|n| format!("{n}\n")).collect();
        std::fs::write(&path, format!("no\n{lines}")).unwrap();
        let text = "[ids]\nnamespace='x'\ncolumns='no'\n[[event]]\ntype='visit.made'";
        let draft = siji_collector::import::Mapping::draft_of(&path, text);
        let mut source =
            siji_collector::import::open(&path, &draft.into_unchecked().input).unwrap();
        let all = std::iter::from_fn(|| source.next_row().unwrap()).collect();
        (directory, path, all)
    }

    #[test]
    fn every_row_gets_the_word_on_its_own_events_in_whatever_order_it_comes() {
        let (_directory, path, rows) = rows(6);
        let mut rows = rows.into_iter();
        let mut row = || rows.next().unwrap();
        let by_mapping = RowRefusal {
            code: "M04",
            field: "occurred_at".to_owned(),
            reason: "no time".to_owned(),
        };
        let mut in_flight = InFlight::default();
        in_flight.refused(0, row(), by_mapping.clone());
        in_flight.sent(0, row(), 2, 2);
        in_flight.sent(0, row(), 4, 1);
        in_flight.refused(0, row(), by_mapping);
        in_flight.sent(0, row(), 5, 2);
        in_flight.sent(0, row(), 7, 2);
        in_flight.end(0);
        assert_eq!(in_flight.numbers(), Some((2, 9)));
        let mut books = Books::without_rejects(&[path]);
        for (seq, disposition) in [
            (8, "duplicate"),
            (4, "duplicate"),
            (6, "quarantined"),
            (2, "duplicate"),
            (7, "duplicate"),
            (5, "accepted"),
        ] {
            in_flight.judge(&verdict(seq, disposition));
            in_flight.settle(&mut books).unwrap();
        }
        assert_eq!(
            books.total().rows,
            1,
            "the second row waits for its second event"
        );
        in_flight.judge(&verdict(3, "accepted"));
        // Of another import, and already settled: nobody's.
        in_flight.judge(&verdict(1, "accepted"));
        in_flight.judge(&verdict(99, "accepted"));
        in_flight.settle(&mut books).unwrap();
        assert!(in_flight.is_empty());
        let total = books.total();
        assert_eq!(
            (total.rows, total.accepted, total.duplicate, total.refused),
            (6, 1, 2, 3)
        );
    }
}
