//! The service tree (`services.csv`): what communities offer, who provides it, how fast, how sensitive.

use super::files::Text;
use super::lookup::Table;
use super::{LoadProblems, each_record, holds_on};
use crate::area::{Day, Tier};

const HEADER: [&str; 16] = [
    "code",
    "parent",
    "zh",
    "en",
    "domain",
    "provision",
    "lowest_tier",
    "sign_hours",
    "respond_hours",
    "close_hours",
    "calendar",
    "callback",
    "sensitivity",
    "open311_group",
    "valid_from",
    "valid_to",
];

macro_rules! vocabulary {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// The word in the file.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            const WORDS: &[&str] = &[$($text,)*];

            fn parse(text: &str) -> Option<$name> {
                match text { $($text => Some($name::$variant),)* _ => None }
            }
        }
    };
}

vocabulary! {
    /// Whose business a service is (政居分离: government affairs apart from residents' affairs).
    Domain {
        /// Government affairs.
        Gov = "gov",
        /// Residents' affairs.
        Resident = "resident",
        /// Party affairs.
        Party = "party",
    }
}
vocabulary! {
    /// How a service comes about.
    Provision {
        /// Basic public service.
        Gov = "gov",
        /// Voluntary and mutual help.
        Mutual = "mutual",
        /// Paid convenience service.
        Market = "market",
    }
}
vocabulary! {
    /// How carefully a service's data is kept.
    Sensitivity {
        /// As everything else.
        Normal = "normal",
        /// No resident reference above the community, published from street up.
        Sensitive = "sensitive",
    }
}

/// A service or a group of services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The `service_code` of events.
    pub code: String,
    /// Code of the group it belongs to.
    pub parent: Option<String>,
    /// Codes from the top group down to this one, joined by `/`.
    pub path: String,
    /// Whether nothing is below it: only leaves stand in events.
    pub leaf: bool,
    /// Chinese label.
    pub zh: String,
    /// English label.
    pub en: String,
    /// Whose business it is.
    pub domain: Domain,
    /// How it comes about.
    pub provision: Provision,
    /// Lowest tier at which it can be had.
    pub lowest_tier: Tier,
    /// Hours until the handler must have signed for a case.
    pub sign_hours: Option<u32>,
    /// Hours until the resident must have been contacted.
    pub respond_hours: Option<u32>,
    /// Hours until the case must be closed.
    pub close_hours: Option<u32>,
    /// Calendar in which the hours run, `natural` or `working`.
    pub calendar: String,
    /// Whether residents are called back.
    pub callback: bool,
    /// How carefully its data is kept.
    pub sensitivity: Sensitivity,
    /// Group under which it appears in Open311; empty = not published there.
    pub open311_group: String,
    /// First local day on which it may be used; `None` = always.
    pub valid_from: Option<Day>,
    /// First local day on which it may be used no more.
    pub valid_to: Option<Day>,
}

impl Service {
    /// Whether it may be used on a day.
    pub fn holds_on(&self, day: Day) -> bool {
        holds_on(self.valid_from, self.valid_to, day)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Services {
    all: Vec<Service>,
    index: Table<Box<str>, usize>,
}

impl Services {
    pub fn get(&self, code: &str) -> Option<&Service> {
        self.all.get(*self.index.get(code)?)
    }

    pub fn all(&self) -> &[Service] {
        &self.all
    }
}

pub(super) fn read(file: &Text, problems: &mut LoadProblems) -> Services {
    let mut all: Vec<Service> = Vec::new();
    let mut lines: Vec<u64> = Vec::new();
    let mut index: Table<Box<str>, usize> = Table::default();
    each_record(
        &file.name,
        file.text.as_bytes(),
        &HEADER,
        problems,
        |line, fields, problems| {
            let Some(service) = parse(&file.name, line, fields, problems) else {
                return;
            };
            if let Some(first) = index.insert(service.code.clone().into_boxed_str(), all.len()) {
                problems.add(
                    &file.name,
                    line,
                    format!("{} stands also on line {}", service.code, lines[first]),
                );
            }
            all.push(service);
            lines.push(line);
        },
    );
    connect(&file.name, &mut all, &lines, &index, problems);
    Services { all, index }
}

/// Fills in paths and leaves; a parent must stand above its children, which also rules out cycles.
fn connect(
    file: &str,
    all: &mut [Service],
    lines: &[u64],
    index: &Table<Box<str>, usize>,
    problems: &mut LoadProblems,
) {
    for i in 0..all.len() {
        let Some(parent) = all[i].parent.clone() else {
            continue;
        };
        match index.get(parent.as_str()).copied() {
            Some(above) if above < i => {
                all[above].leaf = false;
                all[i].path = format!("{}/{}", all[above].path, all[i].code);
            }
            Some(_) => problems.add(
                file,
                lines[i],
                format!("parent {parent} must stand above its services"),
            ),
            None => problems.add(
                file,
                lines[i],
                format!("parent {parent} is not in the file"),
            ),
        }
    }
}

fn parse(
    file: &str,
    line: u64,
    fields: &csv::StringRecord,
    problems: &mut LoadProblems,
) -> Option<Service> {
    let before = problems.len();
    let field = |i: usize| fields.get(i).unwrap_or_default();
    let mut wrong = |i: usize, expected: &str| {
        problems.add(
            file,
            line,
            format!("{} {:?}: expected {expected}", HEADER[i], field(i)),
        );
    };
    if !field(0).split('.').all(super::words::is_name) {
        wrong(0, "words of a-z, 0-9 and _ joined by dots");
    }
    for i in [2, 3] {
        if field(i).trim().is_empty() {
            wrong(i, "a label");
        }
    }
    let domain = Domain::parse(field(4));
    if domain.is_none() {
        wrong(4, &Domain::WORDS.join(", "));
    }
    let provision = Provision::parse(field(5));
    if provision.is_none() {
        wrong(5, &Provision::WORDS.join(", "));
    }
    let lowest_tier = Tier::parse(field(6));
    if lowest_tier.is_none() {
        wrong(6, "community, street, district, city or province");
    }
    let mut hours = [None; 3];
    for (slot, i) in hours.iter_mut().zip(7..) {
        *slot = field(i).parse::<u32>().ok();
        if slot.is_none() && !field(i).is_empty() {
            wrong(i, "whole hours or nothing");
        }
    }
    if !["natural", "working"].contains(&field(10)) {
        wrong(10, "natural or working");
    }
    if !["yes", "no"].contains(&field(11)) {
        wrong(11, "yes or no");
    }
    let sensitivity = Sensitivity::parse(field(12));
    if sensitivity.is_none() {
        wrong(12, &Sensitivity::WORDS.join(", "));
    }
    let mut days = [None; 2];
    for (slot, i) in days.iter_mut().zip(14..) {
        *slot = Day::parse(field(i));
        if slot.is_none() && !field(i).is_empty() {
            wrong(i, "a date like 2020-01-31 or nothing");
        }
    }
    if problems.len() > before {
        return None;
    }
    Some(Service {
        code: field(0).to_owned(),
        parent: (!field(1).is_empty()).then(|| field(1).to_owned()),
        path: field(0).to_owned(),
        leaf: true,
        zh: field(2).to_owned(),
        en: field(3).to_owned(),
        domain: domain?,
        provision: provision?,
        lowest_tier: lowest_tier?,
        sign_hours: hours[0],
        respond_hours: hours[1],
        close_hours: hours[2],
        calendar: field(10).to_owned(),
        callback: field(11) == "yes",
        sensitivity: sensitivity?,
        open311_group: field(13).to_owned(),
        valid_from: days[0],
        valid_to: days[1],
    })
}
