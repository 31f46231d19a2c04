//! From the events' own areas up, tier by tier.

use siji_schemas::area::Tier;

use super::super::Measure;
use super::super::numbered::Numbered;
use super::Key;
use super::place::{Place, PlaceAt};

/// The sums of one tier. The `place` of a key is a number in `places`.
pub(super) struct Folded<'t> {
    pub places: Vec<PlaceAt>,
    pub keys: &'t [Key],
    pub measures: &'t [Measure],
}

/// Folds each tier from the one below.
pub(super) struct Tiers {
    /// Where each class of places counts at every tier from the next on.
    ahead: Vec<[PlaceAt; Tier::ALL.len()]>,
    keys: Vec<Key>,
    measures: Vec<Measure>,
}

impl Tiers {
    pub(super) fn new(
        places: &Numbered<Place>,
        groups: &Numbered<Key>,
        measures: Vec<Measure>,
    ) -> Self {
        Tiers {
            ahead: places
                .keys()
                .iter()
                .map(|place| Tier::ALL.map(|tier| place.at(tier)))
                .collect(),
            keys: groups.keys().to_vec(),
            measures,
        }
    }

    /// The next tier; call once for each of [`Tier::ALL`], in order.
    pub(super) fn next(&mut self, tier: Tier) -> Folded<'_> {
        let index = usize::from(tier.number()) - 1;
        // Places that count alike here and at all tiers above are one class from now on. Two that are alike here but
        // part further up, as after a change of the tree, stay two rows: partial sums may.
        let mut classes: Numbered<[PlaceAt; Tier::ALL.len()]> = Numbered::default();
        let class_of: Vec<u32> = self
            .ahead
            .iter()
            .map(|ahead| {
                let mut ahead = *ahead;
                let here = ahead[index];
                ahead[..index].fill(here);
                classes.number(ahead)
            })
            .collect();
        // Otherwise each place is a class of its own, under the number it has.
        if classes.len() < self.ahead.len() {
            self.merge(&class_of);
        }
        self.ahead = classes.keys().to_vec();
        Folded {
            places: self.ahead.iter().map(|ahead| ahead[index]).collect(),
            keys: &self.keys,
            measures: &self.measures,
        }
    }

    fn merge(&mut self, class_of: &[u32]) {
        let mut groups: Numbered<Key> = Numbered::with_capacity(self.keys.len());
        let mut measures: Vec<Measure> = Vec::with_capacity(self.keys.len());
        for (key, measure) in self.keys.iter().zip(self.measures.drain(..)) {
            let group = groups.number(Key {
                place: class_of[key.place as usize],
                ..*key
            });
            match measures.get_mut(group as usize) {
                Some(sum) => sum.merge(&measure),
                None => measures.push(measure),
            }
        }
        self.keys = groups.into_keys();
        self.measures = measures;
    }
}
