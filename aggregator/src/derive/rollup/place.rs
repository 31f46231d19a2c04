//! Where an event counts at each tier (D6), from the ancestors that the ledger stored with it.

use siji_schemas::area::{Placement, Tier};

use super::texts::NULL;

/// Tiers from street up: those that a place may have an ancestor at.
const ABOVE_COMMUNITY: usize = Tier::ALL.len() - 1;

/// An event's own area and its ancestors, as texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// `area_tier`
    pub tier: i32,
    /// `area_code`
    pub area: u32,
    /// Ancestors from street up.
    pub ancestors: [u32; ABOVE_COMMUNITY],
}

/// What stands in a tier's row for a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct PlaceAt {
    /// `area_code`
    pub area: u32,
    /// `placement`
    pub placement: Placement,
    /// Ancestors from the tier up; below it there is nothing left to tell apart.
    pub ancestors: [u32; ABOVE_COMMUNITY],
}

impl Place {
    /// The one area a place counts under at a tier.
    pub(super) fn at(&self, tier: Tier) -> PlaceAt {
        let (area, placement) = self.area_at(tier);
        let mut ancestors = self.ancestors;
        for (ancestor_tier, code) in Tier::ALL[1..].iter().zip(&mut ancestors) {
            if *ancestor_tier < tier {
                *code = NULL;
            }
        }
        PlaceAt {
            area,
            placement,
            ancestors,
        }
    }

    fn area_at(&self, tier: Tier) -> (u32, Placement) {
        let wanted = i32::from(tier.number());
        if self.tier == wanted {
            return (self.area, Placement::Placed);
        }
        if self.tier > wanted {
            return (self.area, Placement::Unallocated);
        }
        if let Some(code) = self.ancestor(tier) {
            return (code, Placement::Placed);
        }
        let above = Tier::ALL
            .iter()
            .filter(|t| **t > tier)
            .find_map(|t| self.ancestor(*t));
        let root = || Tier::ALL.iter().rev().find_map(|t| self.ancestor(*t));
        (
            above.or_else(root).unwrap_or(self.area),
            Placement::PassThrough,
        )
    }

    fn ancestor(&self, tier: Tier) -> Option<u32> {
        let index = usize::from(tier.number()).checked_sub(2)?;
        self.ancestors
            .get(index)
            .copied()
            .filter(|code| *code != NULL)
    }
}
