//! Events that a client sends again because it did not hear the answer.

use super::dice::Dice;
use super::{Emission, Fate};

/// Events kept to be sent again.
const KEPT: usize = 64;

/// A few accepted events of the near and far past.
#[derive(Debug, Clone, Default)]
pub(super) struct Echo {
    kept: Vec<Kept>,
}

#[derive(Debug, Clone)]
struct Kept {
    /// Which emission it was.
    n: u64,
    place: u32,
    emission: Emission,
}

impl Echo {
    /// Shows the n-th emission, an accepted one; it may be kept.
    pub fn show(&mut self, n: u64, place: u32, emission: &Emission, dice: &mut Dice) {
        // Early ones are kept readily, later ones replace others now and then: ages from minutes to days.
        if self.kept.len() < KEPT {
            if dice.chance(0.25) {
                self.kept.push(Kept {
                    n,
                    place,
                    emission: emission.clone(),
                });
            }
        } else if dice.below(128) == 0 {
            self.kept[dice.below(KEPT as u64) as usize] = Kept {
                n,
                place,
                emission: emission.clone(),
            };
        }
    }

    /// One to send again as the n-th emission: not right behind itself.
    pub fn again(&self, n: u64, dice: &mut Dice) -> Option<(u32, Emission)> {
        let first = dice.below(self.kept.len() as u64) as usize;
        let kept = (0..self.kept.len())
            .map(|i| &self.kept[(first + i) % self.kept.len()])
            .find(|kept| kept.n + 1 < n)?;
        Some((
            kept.place,
            Emission {
                fate: Fate::Duplicate,
                ..kept.emission.clone()
            },
        ))
    }
}
