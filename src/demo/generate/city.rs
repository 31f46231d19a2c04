//! The city as the generator sees it: its areas, how busy and how quick each is, and the collectors they report through.

use std::collections::{BTreeMap, HashMap};

use siji_schemas::area::{Area, AreaId, AreaTree, Day, Tier};

use super::dice::{Dice, Lottery, mix, of_text};
use super::{GeneratorError, Source};

/// Most collectors besides the centre's own.
const MAX_LOCAL_SOURCES: usize = 24;

/// An area and what sets it apart.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub code: String,
    pub tier: Tier,
    /// Position of the area above; `None` for the root.
    pub above: Option<u32>,
    /// Position of the collector it reports through.
    pub source: usize,
    /// How long work takes here, 1 as everywhere.
    pub pace: f64,
    /// Whether the registry knows it for all times.
    pub always: bool,
    /// Position of its district among [`City::districts`], as long as nothing in [`City::moves`] says otherwise.
    district: u32,
}

/// An area that stands for itself in tables by district.
#[derive(Debug, Clone)]
pub(super) struct District {
    pub code: String,
    pub name: String,
}

/// All areas of the city during the days of the run.
#[derive(Debug, Clone)]
pub(super) struct City {
    /// The root first, then tier by tier.
    pub places: Vec<Place>,
    pub districts: Vec<District>,
    pub sources: Vec<Source>,
    leaves: Vec<u32>,
    crowd: Lottery,
    /// Districts of the few areas that change theirs during the run: from which day on.
    moves: BTreeMap<u32, Vec<(Day, u32)>>,
}

/// What the rows of the registry say, before weights.
struct Survey<'t> {
    tree: &'t AreaTree,
    root: AreaId,
    /// The first day, and every later one on which something changes.
    days: Vec<Day>,
    last: Day,
    seed: u64,
    places: Vec<Place>,
    children: Vec<u32>,
    districts: Vec<District>,
    slots: HashMap<AreaId, u32>,
    moves: BTreeMap<u32, Vec<(Day, u32)>>,
    /// How busy each place is by itself.
    weights: Vec<f64>,
}

impl City {
    /// The areas at and below `root` that are valid on every day from `first` to `last`.
    ///
    /// # Errors
    /// If the root is unknown or not valid on one of those days.
    pub fn new(
        tree: &AreaTree,
        root: &str,
        first: Day,
        last: Day,
        seed: u64,
    ) -> Result<City, GeneratorError> {
        let unknown = || GeneratorError::UnknownCity {
            code: root.to_owned(),
            first,
            last,
        };
        let id = tree.id(root).ok_or_else(unknown)?;
        let mut days: Vec<Day> = tree
            .rows()
            .iter()
            .flat_map(|row| [row.from(), row.to()])
            .collect();
        days.retain(|day| first < *day && *day <= last);
        days.push(first);
        days.sort_unstable();
        days.dedup();
        let survey = Survey {
            tree,
            root: id,
            days,
            last,
            seed,
            places: Vec::new(),
            children: Vec::new(),
            districts: Vec::new(),
            slots: HashMap::new(),
            moves: BTreeMap::new(),
            weights: Vec::new(),
        };
        survey.run().ok_or_else(unknown)
    }

    /// A lowest area, busy ones more often.
    pub fn leaf(&self, dice: &mut Dice) -> u32 {
        self.leaves[self.crowd.draw(dice) as usize]
    }

    /// The area at a position.
    pub fn place(&self, at: u32) -> &Place {
        &self.places[at as usize]
    }

    /// The area itself or the lowest above it that is at least of a tier.
    pub fn up_to(&self, mut at: u32, tier: Tier) -> u32 {
        while self.place(at).tier < tier
            && let Some(above) = self.place(at).above
        {
            at = above;
        }
        at
    }

    /// Position of an area's district on a day.
    pub fn district(&self, at: u32, day: Day) -> usize {
        let moved = self
            .moves
            .get(&at)
            .and_then(|steps| steps.iter().rev().find(|(from, _)| *from <= day));
        moved.map_or(self.place(at).district, |(_, district)| *district) as usize
    }
}

impl Survey<'_> {
    fn run(mut self) -> Option<City> {
        let row = self.tree.row(self.root, self.last)?;
        if !self.add(row, None) {
            return None;
        }
        let mut next = 0;
        while next < self.places.len() {
            let above = u32::try_from(next).ok()?;
            let code = self.places[next].code.clone();
            for row in self.tree.children(&code, self.last) {
                self.add(row, Some(above));
            }
            next += 1;
        }
        let leaves: Vec<u32> = (0..self.places.len())
            .filter(|i| self.children[*i] == 0)
            .filter_map(|i| u32::try_from(i).ok())
            .collect();
        let weights: Vec<f64> = leaves.iter().map(|leaf| self.crowd(*leaf)).collect();
        let sources = self.share_out_sources();
        let crowd = Lottery::new(&weights)?;
        Some(City {
            places: self.places,
            districts: self.districts,
            sources,
            leaves,
            crowd,
            moves: self.moves,
        })
    }

    /// Takes an area in, if it is there all the time.
    fn add(&mut self, row: &Area, above: Option<u32>) -> bool {
        let Some(id) = self.tree.id(&row.code) else {
            return false;
        };
        let mut slots: Vec<(Day, u32)> = Vec::new();
        for i in 0..self.days.len() {
            let day = self.days[i];
            let Some(lineage) = self
                .tree
                .lineage_of(id, day)
                .filter(|lineage| lineage.is_within(self.root))
            else {
                return false;
            };
            let slot = self.slot(lineage.place_at(Tier::District).0, day);
            if slots.last().is_none_or(|(_, before)| *before != slot) {
                slots.push((day, slot));
            }
        }
        let Some((_, district)) = slots.first().copied() else {
            return false;
        };
        let at = self.places.len() as u32;
        if slots.len() > 1 {
            self.moves.insert(at, slots);
        }
        let mut dice = Dice::new(mix(self.seed, of_text(&row.code)));
        // Districts differ more than streets, streets more than communities.
        let (busy, slow) = match row.tier {
            Tier::Province => (0.0, 0.0),
            Tier::City | Tier::District => (0.6, 0.3),
            Tier::Street => (0.5, 0.25),
            Tier::Community => (0.9, 0.15),
        };
        let kind = match row.kind.as_str() {
            "urban" | "new" => 3.0,
            "rural" => 1.0,
            _ => 2.0,
        };
        let pace = above.map_or(1.0, |above| self.places[above as usize].pace) * dice.factor(slow);
        let always = self
            .tree
            .rows()
            .partition_point(|other| other.code < row.code);
        let always = self
            .tree
            .rows()
            .get(always)
            .is_some_and(|first| first.valid_from.is_none());
        self.places.push(Place {
            code: row.code.clone(),
            tier: row.tier,
            above,
            source: 0,
            pace,
            always,
            district,
        });
        self.weights.push(
            dice.factor(busy)
                * if row.tier == Tier::Community {
                    kind
                } else {
                    1.0
                },
        );
        self.children.push(0);
        if let Some(above) = above {
            self.children[above as usize] += 1;
        }
        true
    }

    fn slot(&mut self, district: AreaId, day: Day) -> u32 {
        let next = self.districts.len() as u32;
        let slot = *self.slots.entry(district).or_insert(next);
        if slot == next {
            let name = self
                .tree
                .row(district, day)
                .map(|row| row.name.clone())
                .unwrap_or_default();
            self.districts.push(District {
                code: self.tree.code(district).to_owned(),
                name,
            });
        }
        slot
    }

    /// How busy a leaf is: its own weight times those above. Cities without districts (Dongguan, Zhongshan) are crowded
    /// places of few, large communities.
    fn crowd(&self, leaf: u32) -> f64 {
        let mut weight = 1.0;
        let mut has_district = false;
        let mut at = Some(leaf);
        while let Some(i) = at {
            let place = &self.places[i as usize];
            has_district |= place.tier == Tier::District;
            weight *= self.weights[i as usize];
            at = place.above;
        }
        if !has_district
            && self
                .places
                .first()
                .is_some_and(|root| root.tier > Tier::District)
        {
            weight * 3.0
        } else {
            weight
        }
    }

    /// One collector for the centre and one for each area directly below the root, or for a few neighbours together.
    fn share_out_sources(&mut self) -> Vec<Source> {
        let root = self
            .places
            .first()
            .map(|root| root.code.clone())
            .unwrap_or_default();
        let below: Vec<usize> = (1..self.places.len())
            .filter(|i| self.places[*i].above == Some(0))
            .collect();
        let groups = below.len().min(MAX_LOCAL_SOURCES);
        let mut sources = vec![Source {
            id: format!("centre-{root}"),
            areas: vec![root],
        }];
        for (n, at) in below.iter().enumerate() {
            let code = self.places[*at].code.clone();
            let source = 1 + n * groups / below.len();
            self.places[*at].source = source;
            match sources.get_mut(source) {
                Some(shared) => shared.areas.push(code),
                None => sources.push(Source {
                    id: format!("site-{code}"),
                    areas: vec![code],
                }),
            }
        }
        for i in 1..self.places.len() {
            if let Some(above) = self.places[i].above.filter(|above| *above != 0) {
                self.places[i].source = self.places[above as usize].source;
            }
        }
        sources
    }
}
