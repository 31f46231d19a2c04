//! The reference data an event is judged by.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::given;
use super::shown::shown;
use crate::area::{AreaId, AreaSource, AreaTree, Lineage, Zone};
use crate::catalogue::lookup::Table;
use crate::catalogue::{Catalogue, CatalogueSource, LoadProblems, short_hash};
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
    version: String,
}

impl Reference {
    /// Joins what was loaded, without sources.
    pub fn new(areas: AreaTree, catalogue: Catalogue, zone: Zone) -> Reference {
        let mut hash = Sha256::new();
        for part in [areas.version(), catalogue.version(), &zone.to_string()] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        Reference {
            areas,
            catalogue,
            zone,
            sources: None,
            version: short_hash(hash),
        }
    }

    /// Loads a city's directory: its catalogue files replace the built-in ones of the same name, its `areas/*.csv`
    /// replace the built-in registries. Without a directory, or without `areas` in it, `cities` names built-in ones.
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
            (Ok(areas), Ok(catalogue)) => Ok(Reference::new(areas, catalogue, zone)),
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

    /// 12 hex digits that change with areas, catalogue or zone: the column `ref_version`.
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
