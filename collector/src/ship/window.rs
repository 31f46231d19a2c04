//! Which records are under way: a window over spool positions.

use std::collections::VecDeque;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    /// Has to be sent (again).
    Due,
    /// Given to the producer, no report yet.
    Sent,
    /// Delivered, or set aside.
    Done,
}

/// The records from the first one not delivered to the last one ever given to the producer.
///
/// Everything before [`Window::edge`] is delivered; the edge only moves forward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    edge: u64,
    slots: VecDeque<Slot>,
    sent: usize,
    due: usize,
}

impl Window {
    /// A window in which nothing is under way.
    pub fn new(edge: u64) -> Window {
        Window {
            edge,
            slots: VecDeque::new(),
            sent: 0,
            due: 0,
        }
    }

    /// Position of the first record not delivered.
    pub fn edge(&self) -> u64 {
        self.edge
    }

    /// Records between the edge and the last one sent: what the window holds in memory.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Records given to the producer without a report yet.
    pub fn in_flight(&self) -> usize {
        self.sent
    }

    /// The first record to be sent: one that failed, or the one after the last sent.
    pub fn next_due(&self) -> u64 {
        let failed = if self.due == 0 {
            None
        } else {
            self.slots.iter().position(|slot| *slot == Slot::Due)
        };
        self.edge + failed.unwrap_or(self.slots.len()) as u64
    }

    /// Whether a record at or behind [`Window::next_due`] has to be sent.
    pub fn is_due(&self, position: u64) -> bool {
        match position.checked_sub(self.edge) {
            Some(index) => self
                .slots
                .get(index as usize)
                .is_none_or(|slot| *slot == Slot::Due),
            None => false,
        }
    }

    /// Whether the window reaches over a position, so that sending it does not make the window longer.
    pub fn holds(&self, position: u64) -> bool {
        (self.edge..self.edge + self.slots.len() as u64).contains(&position)
    }

    /// A record was given to the producer. Positions must be due, and new ones come in order without a gap.
    pub fn sent(&mut self, position: u64) {
        if self.set(position, Slot::Sent).is_none() {
            debug_assert_eq!(
                position,
                self.edge + self.slots.len() as u64,
                "records are sent in order"
            );
            self.slots.push_back(Slot::Sent);
            self.sent += 1;
        }
    }

    /// A record was delivered, or set aside for good. Reports about records outside the window are of no interest.
    pub fn done(&mut self, position: u64) {
        self.set(position, Slot::Done);
        while self.slots.front() == Some(&Slot::Done) {
            self.slots.pop_front();
            self.edge += 1;
        }
    }

    /// A record has to be sent again.
    pub fn failed(&mut self, position: u64) {
        self.set(position, Slot::Due);
    }

    /// The producer is gone: all that is under way has to be sent again.
    pub fn forget_sent(&mut self) {
        for slot in &mut self.slots {
            if *slot == Slot::Sent {
                *slot = Slot::Due;
            }
        }
        (self.due, self.sent) = (self.due + self.sent, 0);
    }

    /// Moves a known slot that is not done; `None` if there is no slot at the position.
    fn set(&mut self, position: u64, to: Slot) -> Option<()> {
        let index = usize::try_from(position.checked_sub(self.edge)?).ok()?;
        let slot = self.slots.get_mut(index)?;
        if *slot != Slot::Done {
            let from = std::mem::replace(slot, to);
            self.sent = self.sent + usize::from(to == Slot::Sent) - usize::from(from == Slot::Sent);
            self.due = self.due + usize::from(to == Slot::Due) - usize::from(from == Slot::Due);
        }
        Some(())
    }
}
