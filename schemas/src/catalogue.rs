//! The catalogue: event types, words, registers and services, read from files (`schemas/catalogue/`, built in, or a
//! city's own). Adding one of them is a change of data; the code only knows how to read and apply them.

mod column;
mod document;
mod event_type;
mod files;
pub(crate) mod lookup;
mod problem;
mod records;
mod register;
mod service;
mod words;

pub use column::{Column, Columns};
pub use event_type::{AttrKey, EventType, Range, Requirement};
pub use files::{CatalogueSource, FILES};
pub use problem::{LoadProblems, Problem};
pub use register::{AreaOp, Register, TimeOp};
pub use service::{Domain, Provision, Sensitivity, Service};
pub use words::{Word, WordList};

pub(crate) use lookup::short_hash;
pub(crate) use records::each_record;
pub(crate) use words::dictionary_texts;

use sha2::{Digest, Sha256};

use crate::area::Day;
use files::Text;

/// Which words, types, registers and services an event may use. Read-only; look-ups allocate nothing.
#[derive(Debug, Clone)]
pub struct Catalogue {
    words: words::Words,
    types: event_type::EventTypes,
    registers: register::Registers,
    services: service::Services,
    version: String,
}

impl Catalogue {
    /// Loads and checks a catalogue. Of a directory, each file that is there replaces the built-in one of its name.
    ///
    /// # Errors
    /// Everything that is wrong with the files, with file, line and reason.
    pub fn load(source: &CatalogueSource) -> Result<Catalogue, LoadProblems> {
        let mut problems = LoadProblems::default();
        let texts = files::read(source, &mut problems);
        let words = words::read(&texts.words, &mut problems);
        let types = event_type::read(&texts.event_types, &words, &mut problems);
        let registers = register::read(&texts.registers, &words, &mut problems);
        let services = service::read(&texts.services, &mut problems);
        let version = version_of([
            &texts.words,
            &texts.event_types,
            &texts.registers,
            &texts.services,
        ]);
        problems.or(Catalogue {
            words,
            types,
            registers,
            services,
            version,
        })
    }

    /// The words of a dictionary column; `None` where the column is none.
    pub fn words(&self, column: Column) -> Option<&WordList> {
        self.words.of(column)
    }

    /// Every dictionary column with its words.
    pub fn dictionaries(&self) -> impl Iterator<Item = &WordList> {
        self.words.iter()
    }

    /// The event type of a name.
    pub fn event_type(&self, name: &str) -> Option<&EventType> {
        self.types.get(name)
    }

    /// Every event type, in the order of the file.
    pub fn event_types(&self) -> &[EventType] {
        self.types.all()
    }

    /// The register of a code, by its own entry or that of its open family.
    pub fn register(&self, code: &str) -> Option<&Register> {
        self.registers.get(code)
    }

    /// Every register and open family, in the order of the file.
    pub fn registers(&self) -> impl Iterator<Item = &Register> {
        self.registers.iter()
    }

    /// The service of a code.
    pub fn service(&self, code: &str) -> Option<&Service> {
        self.services.get(code)
    }

    /// Every service, groups included, in the order of the file.
    pub fn services(&self) -> &[Service] {
        self.services.all()
    }

    /// First 12 hex digits of the SHA-256 over the files.
    pub fn version(&self) -> &str {
        &self.version
    }
}

/// Whether something valid from one day and up to another holds on a day.
fn holds_on(from: Option<Day>, to: Option<Day>, day: Day) -> bool {
    from.is_none_or(|from| from <= day) && to.is_none_or(|to| day < to)
}

fn version_of(texts: [&Text; 4]) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        // The lengths keep one file's end from passing as the next one's beginning.
        hash.update((text.text.len() as u64).to_le_bytes());
        hash.update(text.text.as_bytes());
    }
    short_hash(hash)
}

#[cfg(test)]
mod tests;
