//! The window, against a model of it.

use proptest::prelude::*;

use crate::ship::window::Window;

/// The simplest thing a window could be: a state per position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Due,
    Sent,
    Done,
}

proptest! {
    #[test]
    fn a_window_is_a_state_per_position_and_its_edge_the_first_that_is_not_done(
        steps in prop::collection::vec((0u8..5, 0usize..40), 0..200)
    ) {
        const START: u64 = 7;
        let mut window = Window::new(START);
        let mut fates: Vec<Fate> = Vec::new();
        for (step, index) in steps {
            let position = START + index as u64;
            match step {
                0 | 1 => {
                    let due = window.next_due();
                    prop_assert!(window.is_due(due));
                    window.sent(due);
                    let index = (due - START) as usize;
                    if index == fates.len() {
                        fates.push(Fate::Sent);
                    } else {
                        fates[index] = Fate::Sent;
                    }
                }
                2 => {
                    window.done(position);
                    if let Some(fate) = fates.get_mut(index) {
                        *fate = Fate::Done;
                    }
                }
                3 => {
                    window.failed(position);
                    if let Some(fate) = fates.get_mut(index).filter(|fate| **fate != Fate::Done) {
                        *fate = Fate::Due;
                    }
                }
                _ if index == 0 => {
                    window.forget_sent();
                    fates.iter_mut().filter(|fate| **fate == Fate::Sent).for_each(|fate| *fate = Fate::Due);
                }
                _ => {}
            }
            let place = |wanted: fn(Fate) -> bool| fates.iter().position(|f| wanted(*f)).unwrap_or(fates.len());
            prop_assert_eq!(window.edge(), START + place(|fate| fate != Fate::Done) as u64);
            prop_assert_eq!(window.next_due(), START + place(|fate| fate == Fate::Due) as u64);
            prop_assert_eq!(window.in_flight(), fates.iter().filter(|fate| **fate == Fate::Sent).count());
        }
    }
}
