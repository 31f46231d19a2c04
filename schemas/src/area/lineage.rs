//! Ancestors of an area during a period, and the one area an event counts under at a tier.

use super::{AreaId, Day, Tier};

/// An area and its ancestors, one slot a tier, as they stand during one period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lineage {
    /// Tier of the area itself.
    pub tier: Tier,
    /// The area itself.
    pub own: AreaId,
    at: [Option<AreaId>; 5],
}

impl Lineage {
    /// An area below nothing.
    pub(super) fn root(own: AreaId, tier: Tier) -> Lineage {
        let mut at = [None; 5];
        at[tier.index()] = Some(own);
        Lineage { tier, own, at }
    }

    /// An area below the area of this lineage.
    pub(super) fn child(&self, own: AreaId, tier: Tier) -> Lineage {
        let mut at = self.at;
        at[tier.index()] = Some(own);
        Lineage { tier, own, at }
    }

    /// The area itself or its ancestor of a tier; `None` below the area and where the tree has no such tier.
    pub fn at(&self, tier: Tier) -> Option<AreaId> {
        self.at[tier.index()]
    }

    /// Whether `area` is the area itself or one of its ancestors.
    pub fn is_within(&self, area: AreaId) -> bool {
        self.at.contains(&Some(area))
    }

    /// The area under which something here counts at a tier, so that every tier counts everything exactly once.
    pub fn place_at(&self, tier: Tier) -> (AreaId, Placement) {
        if let Some(area) = self.at(tier) {
            return (area, Placement::Placed);
        }
        if self.tier > tier {
            return (self.own, Placement::Unallocated);
        }
        let above = self.at[tier.index()..].iter().flatten().next();
        let root = || self.at.iter().rev().flatten().next();
        (
            above.or_else(root).copied().unwrap_or(self.own),
            Placement::PassThrough,
        )
    }
}

/// How an event stands at a tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Placement {
    /// Under its own area or ancestor of that tier.
    Placed,
    /// The event lies above the tier: under its own area.
    Unallocated,
    /// The tree lacks the tier here: under the next ancestor up, or the root.
    PassThrough,
}

impl Placement {
    /// All, in the order of their numbers.
    pub const ALL: [Placement; 3] = [
        Placement::Placed,
        Placement::Unallocated,
        Placement::PassThrough,
    ];

    /// The word in the column `placement`.
    pub fn as_str(self) -> &'static str {
        match self {
            Placement::Placed => "placed",
            Placement::Unallocated => "unallocated",
            Placement::PassThrough => "pass_through",
        }
    }
}

/// The codes of a lineage, as the ledger stores them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineageCodes<'t> {
    /// Community, when the area is one.
    pub community: Option<&'t str>,
    /// Street or the like.
    pub street: Option<&'t str>,
    /// District or county.
    pub district: Option<&'t str>,
    /// City.
    pub city: Option<&'t str>,
    /// Province.
    pub province: Option<&'t str>,
}

/// A lineage and the days it holds for, half-open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub from: Day,
    pub to: Day,
    pub lineage: Lineage,
}

impl Span {
    /// The part of this span inside a period.
    pub fn within(&self, from: Day, to: Day) -> Option<Span> {
        let (from, to) = (self.from.max(from), self.to.min(to));
        (from < to).then_some(Span {
            from,
            to,
            lineage: self.lineage,
        })
    }
}
