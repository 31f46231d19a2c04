//! The administrative tiers.

use std::fmt;

/// An administrative tier, lowest first; the number is the one of the event column `handler_tier`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Tier {
    /// 社区, 村: residents' or villagers' committee.
    Community = 1,
    /// 街道, 镇, 乡.
    Street = 2,
    /// 区, 县.
    District = 3,
    /// 市.
    City = 4,
    /// 省.
    Province = 5,
}

impl Tier {
    /// All tiers, lowest first.
    pub const ALL: [Tier; 5] = [
        Tier::Community,
        Tier::Street,
        Tier::District,
        Tier::City,
        Tier::Province,
    ];

    /// 1 for community up to 5 for province.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The tier of that number.
    pub fn from_number(number: i32) -> Option<Tier> {
        Tier::ALL
            .into_iter()
            .find(|tier| i32::from(tier.number()) == number)
    }

    /// Position in [`Tier::ALL`].
    pub(crate) fn index(self) -> usize {
        usize::from(self.number()) - 1
    }

    /// The word used in registries, tables and partition names.
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::Community => "community",
            Tier::Street => "street",
            Tier::District => "district",
            Tier::City => "city",
            Tier::Province => "province",
        }
    }

    /// The tier of that word.
    pub fn parse(text: &str) -> Option<Tier> {
        Tier::ALL.into_iter().find(|tier| tier.as_str() == text)
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
