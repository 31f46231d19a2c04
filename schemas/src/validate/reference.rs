//! The reference data an event is judged by.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::given;
use super::shown::shown;
use crate::area::{AreaId, AreaSource, AreaTree, Lineage, Zone};
use crate::catalogue::lookup::Table;
use crate::catalogue::{Catalogue, CatalogueSource, LoadProblems, short_hash};
use crate::lock::Locks;
use crate::{Code, EventRef, Refusal};

/// Areas, catalogue, zone and registered sources, as one version.
#[derive(Debug, Clone)]
pub struct Reference {
    /// The area tree.
    pub areas: AreaTree,
    /// Event types, words, registers, services.
    pub catalogue: Catalogue,
    /// Zone of local days.
    pub zone: Zone,
    /// Registered sources; `None` = V14 is not judged.
    pub sources: Option<Sources>,
    /// Locked months.
    pub locks: Locks,
    version: String,
}

impl Reference {
    /// Joins what was loaded, without sources and locks.
    pub fn new(areas: AreaTree, catalogue: Catalogue, zone: Zone) -> Reference {
        let parts = [areas.version(), catalogue.version(), &zone.to_string()];
        let version = version_of(&parts);
        Reference {
            areas,
            catalogue,
            zone,
            sources: None,
            locks: Locks::default(),
            version,
        }
    }

    /// Loads a city's directory: its catalogue files replace the built-in ones of the same name, its `areas/*.csv`
    /// replace the built-in registries, its `locks.csv` locks months. Without a directory, or without `areas` in it, `cities` names built-in ones.
    ///
    /// # Errors
    /// Everything that is wrong with any of the files, with file, line and reason.
    pub fn load<S: AsRef<str>>(
        dir: Option<&Path>,
        cities: &[S],
        zone: Zone,
    ) -> Result<Reference, LoadProblems> {
        let own_areas = dir
            .map(|dir| dir.join("areas"))
            .filter(|areas| areas.is_dir());
        let area_source = match own_areas {
            Some(areas) => AreaSource::Directory(areas),
            None => AreaSource::builtin(cities.iter().map(AsRef::as_ref)),
        };
        let catalogue_source = match dir {
            Some(dir) => CatalogueSource::Directory(dir.to_owned()),
            None => CatalogueSource::Builtin,
        };
        match (
            AreaTree::load(&area_source),
            Catalogue::load(&catalogue_source),
        ) {
            (Ok(areas), Ok(catalogue)) => {
                let locks = Locks::load(dir, &areas)?;
                Ok(Reference::new(areas, catalogue, zone).with_locks(locks))
            }
            (areas, catalogue) => {
                let mut problems = areas.err().unwrap_or_default();
                problems.extend(catalogue.err().unwrap_or_default());
                Err(problems)
            }
        }
    }

    /// The same with registered sources, so that V14 is judged.
    #[must_use]
    pub fn with_sources(mut self, sources: Sources) -> Reference {
        self.sources = Some(sources);
        self
    }

    /// The same with locked months, which are part of the version.
    #[must_use]
    pub fn with_locks(mut self, locks: Locks) -> Reference {
        if !locks.is_empty() {
            self.version = version_of(&[&self.version, locks.version()]);
        }
        self.locks = locks;
        self
    }

    /// 12 hex digits that change with areas, catalogue, zone or locks: the column `ref_version`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// V14.
    pub(super) fn check_source(
        &self,
        event: &EventRef<'_>,
        place: &Lineage,
    ) -> Result<(), Refusal> {
        let Some(sources) = &self.sources else {
            return Ok(());
        };
        let refuse = |reason: String| Err(Refusal::of(Code::V14, "source_id", reason));
        let Some(source) = given(event.source_id) else {
            return refuse("source_id is missing: send through a registered collector".to_owned());
        };
        match sources.areas.get(source) {
            None => refuse(format!("source{} is not registered", shown(source))),
            Some(areas) if areas.iter().any(|area| place.is_within(*area)) => Ok(()),
            Some(_) => refuse(format!(
                "source{} is not registered for the area of this event",
                shown(source)
            )),
        }
    }
}

fn version_of(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    short_hash(hash)
}

/// Registered sources and the areas each may report for, everything below them included.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    areas: Table<Box<str>, Vec<AreaId>>,
}

impl Sources {
    /// Registers sources, each with area codes of `tree`.
    ///
    /// # Errors
    /// Every source with a code that is in no registry.
    pub fn new<'s>(
        sources: impl IntoIterator<Item = (&'s str, Vec<&'s str>)>,
        tree: &AreaTree,
    ) -> Result<Sources, LoadProblems> {
        let mut problems = LoadProblems::default();
        let mut areas: Table<Box<str>, Vec<AreaId>> = Table::default();
        for (source, codes) in sources {
            for code in codes {
                match tree.id(code) {
                    Some(id) => areas.entry(source.into()).or_default().push(id),
                    None => problems.add(
                        "sources",
                        0,
                        format!("source {source}: area {code} is in no registry"),
                    ),
                }
            }
        }
        problems.or(Sources { areas })
    }
}
