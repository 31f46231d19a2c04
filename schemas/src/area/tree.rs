//! The area tree: checked rows, interned codes, and lineages worked out in advance.

use std::ops::Range;

use sha2::{Digest, Sha256};

use super::lineage::{Lineage, LineageCodes, Placement, Span};
use super::registry::{self, AreaSource};
use super::row::{Area, Placed};
use super::{AreaChange, AreaId, Day, Tier, check, code};
use crate::catalogue::{LoadProblems, lookup::Table, short_hash};

/// Which areas exist, under whom, when. Read-only; look-ups allocate nothing.
#[derive(Debug, Clone)]
pub struct AreaTree {
    /// Sorted by code, then by period.
    rows: Vec<Area>,
    entries: Vec<Entry>,
    /// By id: what the look-ups of every event need, close together.
    compact: Vec<Compact>,
    spans: Vec<Span>,
    /// Packed code, registry form and padded form, to entry.
    index: Table<u64, AreaId>,
    changes: Vec<AreaChange>,
    version: String,
}

/// The code and the place of the lineages of one area, in 20 bytes.
#[derive(Debug, Clone, Copy)]
struct Compact {
    first_span: u32,
    spans: u16,
    code: code::Short,
}

/// What is known of one code.
#[derive(Debug, Clone)]
struct Entry {
    tier: Tier,
    rows: Range<usize>,
    spans: Range<usize>,
    /// Every area that is or was directly below, by code.
    children: Vec<AreaId>,
}

impl AreaTree {
    /// Loads and checks registries.
    ///
    /// # Errors
    /// Everything that is wrong with the files, with file, line and reason.
    pub fn load(source: &AreaSource) -> Result<AreaTree, LoadProblems> {
        let mut problems = LoadProblems::default();
        let loaded = registry::load(source, &mut problems);
        Self::build(loaded.rows, loaded.changes, problems)
    }

    /// Builds the tree of rows that are already in memory; problems name the position, from 1, as the line.
    ///
    /// # Errors
    /// Everything that is wrong between the rows.
    pub fn from_rows(rows: Vec<Area>, changes: Vec<AreaChange>) -> Result<AreaTree, LoadProblems> {
        fn place<T>(name: &str, rows: Vec<T>) -> Vec<Placed<T>> {
            rows.into_iter()
                .zip(1..)
                .map(|(row, line)| Placed {
                    file: name.to_owned(),
                    line,
                    row,
                })
                .collect()
        }
        Self::build(
            place("area rows", rows),
            place("area changes", changes),
            LoadProblems::default(),
        )
    }

    fn build(
        mut rows: Vec<Placed<Area>>,
        changes: Vec<Placed<AreaChange>>,
        mut problems: LoadProblems,
    ) -> Result<AreaTree, LoadProblems> {
        rows.sort_by(|a, b| (&a.row.code, a.row.from()).cmp(&(&b.row.code, b.row.from())));
        check::check(&rows, &changes, &mut problems);
        problems.or(())?;
        let rows: Vec<Area> = rows.into_iter().map(|placed| placed.row).collect();
        let changes: Vec<AreaChange> = changes.into_iter().map(|placed| placed.row).collect();
        let version = version_of(&rows, &changes);
        let mut tree = AreaTree {
            rows,
            entries: Vec::new(),
            compact: Vec::new(),
            spans: Vec::new(),
            index: Table::default(),
            changes,
            version,
        };
        tree.intern();
        tree.trace();
        tree.compact();
        Ok(tree)
    }

    /// One entry a code, found by both of its forms.
    fn intern(&mut self) {
        let mut start = 0;
        for group in self.rows.chunk_by(|a, b| a.code == b.code) {
            let rows = start..start + group.len();
            start = rows.end;
            let Some(id) = AreaId::from_index(self.entries.len()) else {
                break;
            };
            self.entries.push(Entry {
                tier: group[0].tier,
                rows,
                spans: 0..0,
                children: Vec::new(),
            });
            let forms = [Some(group[0].code.clone()), code::padded(&group[0].code)];
            self.index.extend(
                forms
                    .iter()
                    .flatten()
                    .filter_map(|form| code::pack(form))
                    .map(|packed| (packed, id)),
            );
        }
    }

    /// Lineages from the top down: a parent's tier is above its child's, so its spans are there already.
    fn trace(&mut self) {
        for tier in Tier::ALL.into_iter().rev() {
            for index in 0..self.entries.len() {
                let Some(own) = AreaId::from_index(index) else {
                    break;
                };
                if self.entries[index].tier != tier {
                    continue;
                }
                let first = self.spans.len();
                for row in self.entries[index].rows.clone() {
                    self.trace_row(row, own, tier);
                }
                self.entries[index].spans = first..self.spans.len();
            }
        }
        for entry in &mut self.entries {
            entry.children.sort_unstable();
            entry.children.dedup();
        }
    }

    fn trace_row(&mut self, row: usize, own: AreaId, tier: Tier) {
        let (from, to) = (self.rows[row].from(), self.rows[row].to());
        match self.rows[row]
            .parent
            .as_deref()
            .and_then(|parent| self.id(parent))
        {
            None => self.spans.push(Span {
                from,
                to,
                lineage: Lineage::root(own, tier),
            }),
            Some(parent) => {
                self.entries[parent.index()].children.push(own);
                for above in self.entries[parent.index()].spans.clone() {
                    if let Some(span) = self.spans[above].within(from, to) {
                        self.spans.push(Span {
                            lineage: span.lineage.child(own, tier),
                            ..span
                        });
                    }
                }
            }
        }
    }

    fn compact(&mut self) {
        let compact = |entry: &Entry| Compact {
            first_span: u32::try_from(entry.spans.start).unwrap_or(u32::MAX),
            spans: u16::try_from(entry.spans.len()).unwrap_or(u16::MAX),
            code: code::Short::of(&self.rows[entry.rows.start].code),
        };
        self.compact = self.entries.iter().map(compact).collect();
    }

    /// The area of a code, in registry form or padded to 12 digits, whenever it is valid.
    #[inline]
    pub fn id(&self, code: &str) -> Option<AreaId> {
        self.index.get(&code::pack(code)?).copied()
    }

    /// The registry form of a code.
    pub fn canonical(&self, code: &str) -> Option<&str> {
        self.id(code).map(|id| self.code(id))
    }

    /// The registry form of an interned code.
    ///
    /// # Panics
    /// If the id is of a larger tree.
    #[inline]
    pub fn code(&self, id: AreaId) -> &str {
        self.compact[id.index()].code.as_str()
    }

    /// The row of a code that holds on a day.
    pub fn get(&self, code: &str, day: Day) -> Option<&Area> {
        self.row(self.id(code)?, day)
    }

    /// The row of an interned code that holds on a day.
    pub fn row(&self, id: AreaId, day: Day) -> Option<&Area> {
        let entry = self.entries.get(id.index())?;
        self.rows[entry.rows.clone()]
            .iter()
            .find(|row| row.holds_on(day))
    }

    /// A code's ancestors on a day. `None` where the code is unknown or not valid on that day.
    pub fn lineage(&self, code: &str, day: Day) -> Option<&Lineage> {
        self.lineage_of(self.id(code)?, day)
    }

    /// An interned code's ancestors on a day.
    #[inline]
    pub fn lineage_of(&self, id: AreaId, day: Day) -> Option<&Lineage> {
        let compact = self.compact.get(id.index())?;
        let spans = self
            .spans
            .get(compact.first_span as usize..)?
            .get(..usize::from(compact.spans))?;
        spans
            .iter()
            .find(|span| span.from <= day && day < span.to)
            .map(|span| &span.lineage)
    }

    /// The codes of a lineage.
    pub fn codes(&self, lineage: &Lineage) -> LineageCodes<'_> {
        let at = |tier| lineage.at(tier).map(|id| self.code(id));
        LineageCodes {
            community: at(Tier::Community),
            street: at(Tier::Street),
            district: at(Tier::District),
            city: at(Tier::City),
            province: at(Tier::Province),
        }
    }

    /// The code under which something with this lineage counts at a tier.
    pub fn tier_area(&self, lineage: &Lineage, tier: Tier) -> (&str, Placement) {
        let (id, placement) = lineage.place_at(tier);
        (self.code(id), placement)
    }

    /// Number of distinct codes; ids go from 0 to this in [`AreaId::index`].
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no area.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Areas without a parent on a day, by code.
    pub fn roots(&self, day: Day) -> impl Iterator<Item = &Area> {
        self.rows
            .iter()
            .filter(move |row| row.parent.is_none() && row.holds_on(day))
    }

    /// Areas directly below a code on a day, by code.
    pub fn children<'t>(
        &'t self,
        code: &str,
        day: Day,
    ) -> impl Iterator<Item = &'t Area> + use<'t> {
        let parent = self.id(code);
        let below = parent
            .and_then(|id| self.entries.get(id.index()))
            .map_or(&[][..], |entry| &entry.children);
        below
            .iter()
            .filter_map(move |child| self.row(*child, day))
            .filter(move |row| {
                // Both are in the tree, so comparing ids compares codes.
                row.parent.as_deref().and_then(|code| self.id(code)) == parent
            })
    }

    /// The codes of all areas, each at its [`AreaId::index`].
    pub fn codes_by_id(&self) -> impl Iterator<Item = &str> {
        self.compact.iter().map(|compact| compact.code.as_str())
    }

    /// Areas of a tier on a day, by code.
    pub fn of_tier(&self, tier: Tier, day: Day) -> impl Iterator<Item = &Area> {
        self.rows
            .iter()
            .filter(move |row| row.tier == tier && row.holds_on(day))
    }

    /// Every row, sorted by code, then by period: the content of `ref_areas`.
    pub fn rows(&self) -> &[Area] {
        &self.rows
    }

    /// Recorded renames, moves, splits and merges, in the order of their files.
    pub fn changes(&self) -> &[AreaChange] {
        &self.changes
    }

    /// First 12 hex digits of the SHA-256 over all rows and changes in canonical order: the same content has the same
    /// version, whatever files it came from.
    pub fn version(&self) -> &str {
        &self.version
    }
}

fn version_of(rows: &[Area], changes: &[AreaChange]) -> String {
    let mut hash = Sha256::new();
    let day = |day: Option<Day>| day.map(|day| day.to_string()).unwrap_or_default();
    for Area {
        code,
        parent,
        tier,
        name,
        kind,
        valid_from,
        valid_to,
    } in rows
    {
        let parent = parent.as_deref().unwrap_or_default();
        let (from, to) = (day(*valid_from), day(*valid_to));
        hash.update(format!(
            "{code}\u{1f}{parent}\u{1f}{tier}\u{1f}{name}\u{1f}{kind}\u{1f}{from}\u{1f}{to}\u{1e}"
        ));
    }
    let mut lines: Vec<String> = changes
        .iter()
        .map(|change| {
            let AreaChange { date, kind, from_code, to_code, share_micros, note } = change;
            format!("{date}\u{1f}{}\u{1f}{from_code}\u{1f}{to_code}\u{1f}{share_micros}\u{1f}{note}\u{1e}", kind.as_str())
        })
        .collect();
    lines.sort();
    lines.iter().for_each(|line| hash.update(line.as_bytes()));
    short_hash(hash)
}
