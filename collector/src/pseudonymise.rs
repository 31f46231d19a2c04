//! People become pseudonyms before anything is written: HMAC-SHA-256 under the city's key over `kind|normalised id`,
//! the first 128 bits in base32, after `r_` (resident) or `w_` (worker).

use std::path::{Path, PathBuf};

use data_encoding::{BASE32_NOPAD, HEXLOWER_PERMISSIVE};
use hmac::{Hmac, Mac};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::Sha256;
use siji_schemas::personal::contains_raw_personal;
use siji_schemas::validate::is_pseudonym;
use siji_schemas::{Code, Refusal};

/// Shortest city key, in bytes.
const MIN_KEY_BYTES: usize = 32;
const MAX_KIND_BYTES: usize = 32;
const MAX_ID_BYTES: usize = 256;

/// Members of an input event that name a person and are never stored as they come.
pub(crate) const RESIDENT: &str = "resident";
/// The same for whoever acted.
pub(crate) const ACTOR: &str = "actor";
/// How the columns for pseudonyms end.
const REFERENCE: &str = "_ref";

/// Why a city key cannot be used. Never shows the key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Both ways to give it were used.
    #[error("pseudonym_key and pseudonym_key_file are both set: keep one")]
    Twice,
    /// The file cannot be read.
    #[error("pseudonym_key_file {}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// Not hexadecimal, or too short.
    #[error("{0}: expected at least {MIN_KEY_BYTES} bytes as hex digits")]
    Form(String),
}

/// The city's key. Pseudonyms can be linked only by who holds it.
#[derive(Clone)]
pub struct CityKey(Hmac<Sha256>);

impl CityKey {
    /// Reads hex digits; `name` is where they came from.
    pub fn from_hex(name: &str, hex: &str) -> Result<CityKey, KeyError> {
        let form = || KeyError::Form(name.to_owned());
        let bytes = HEXLOWER_PERMISSIVE
            .decode(hex.trim().as_bytes())
            .map_err(|_| form())?;
        if bytes.len() < MIN_KEY_BYTES {
            return Err(form());
        }
        Hmac::new_from_slice(&bytes)
            .map(CityKey)
            .map_err(|_| form())
    }

    /// Reads a file of hex digits.
    pub fn from_file(path: &Path) -> Result<CityKey, KeyError> {
        let hex = std::fs::read_to_string(path).map_err(|source| KeyError::File {
            path: path.to_owned(),
            source,
        })?;
        CityKey::from_hex(&format!("pseudonym_key_file {}", path.display()), &hex)
    }

    /// The pseudonym of a person.
    pub(crate) fn pseudonym(&self, prefix: &str, person: &Person) -> String {
        let mut mac = self.0.clone();
        mac.update(person.kind.as_bytes());
        mac.update(b"|");
        mac.update(person.id.as_bytes());
        let digest = mac.finalize().into_bytes();
        format!(
            "{prefix}{}",
            BASE32_NOPAD.encode(&digest[..16]).to_ascii_lowercase()
        )
    }
}

impl std::fmt::Debug for CityKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CityKey(…)")
    }
}

/// A person as a client names one, normalised. Has no `Debug` and no `Display` on purpose.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Person {
    kind: String,
    id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given<'j> {
    #[serde(borrow)]
    kind: std::borrow::Cow<'j, str>,
    #[serde(borrow)]
    id: std::borrow::Cow<'j, str>,
}

impl Person {
    /// Reads `{"kind": .., "id": ..}`. A refusal names the member and quotes nothing.
    pub fn parse(member: &str, raw: &RawValue) -> Result<Option<Person>, Refusal> {
        if raw.get() == "null" {
            return Ok(None);
        }
        let form = || {
            Refusal::of(
                Code::V01,
                member,
                "expected {\"kind\": \"..\", \"id\": \"..\"}, both strings, and nothing else",
            )
        };
        let given: Given<'_> = serde_json::from_str(raw.get()).map_err(|_| form())?;
        Person::new(&given.kind, &given.id).map(Some).ok_or_else(|| {
            let reason = format!("expected a kind of lower-case letters (id, phone, ..) and an id that is not empty nor longer than {MAX_ID_BYTES} bytes");
            Refusal::of(Code::V01, member, reason)
        })
    }

    fn new(kind: &str, id: &str) -> Option<Person> {
        let kind_is_word = kind.len() <= MAX_KIND_BYTES
            && kind.starts_with(|c: char| c.is_ascii_lowercase())
            && kind
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !kind_is_word || id.len() > MAX_ID_BYTES {
            return None;
        }
        let id = normalise(kind, id);
        (!id.is_empty()).then(|| Person {
            kind: kind.to_owned(),
            id,
        })
    }
}

/// The same person must get the same pseudonym however the number was typed.
fn normalise(kind: &str, id: &str) -> String {
    let narrow = id.trim().chars().map(|c| match c {
        '\u{3000}' => ' ',
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        c => c,
    });
    match kind {
        "id" => narrow
            .filter(|c| !matches!(c, ' ' | '-'))
            .flat_map(char::to_uppercase)
            .collect(),
        "phone" => {
            let digits: String = narrow.filter(char::is_ascii_digit).collect();
            let national = digits
                .strip_prefix("0086")
                .or_else(|| digits.strip_prefix("86").filter(|rest| rest.len() == 11));
            national.map_or(digits.clone(), str::to_owned)
        }
        _ => narrow.collect::<String>().trim().to_owned(),
    }
}

/// A refused JSON text without anything that names a person.
pub(crate) struct Sanitised {
    /// The text that may be kept; `None` where it cannot be ensured that nobody is named in it.
    pub text: Option<Vec<u8>>,
    /// The members, people left out; null where they could not be read. To look up codes, not to be kept.
    pub value: Value,
}

/// Removes people from a refused JSON text.
pub(crate) fn without_people(bytes: &[u8]) -> Sanitised {
    match serde_json::from_slice::<Value>(bytes) {
        Ok(mut value) => {
            remove_people(&mut value);
            let text = serde_json::to_vec(&value)
                .ok()
                .filter(|text| !contains_raw_personal(text));
            Sanitised { text, value }
        }
        // Not readable, so its members cannot be told apart; escapes and other encodings could hide anything.
        Err(_) => {
            let suspicious = [RESIDENT, ACTOR, REFERENCE, "\\u", "\0"]
                .iter()
                .any(|word| contains(bytes, word.as_bytes()));
            let text = (!suspicious && !contains_raw_personal(bytes)).then(|| bytes.to_vec());
            Sanitised {
                text,
                value: Value::Null,
            }
        }
    }
}

/// Removes the members that name people, however deep; pseudonyms stay. The parser has limited the depth.
fn remove_people(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, value| !is_about_a_person(name) || names_nobody(value));
            members.values_mut().for_each(remove_people);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_people),
        _ => {}
    }
}

/// Whether a member is one that people are named in, or could be meant as one (`Resident`, `actor_name`, `owner_ref`).
fn is_about_a_person(name: &str) -> bool {
    let name = name.trim().to_ascii_lowercase();
    name.starts_with(RESIDENT) || name.starts_with(ACTOR) || name.ends_with(REFERENCE)
}

fn names_nobody(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => is_pseudonym(text),
        _ => false,
    }
}

/// Looks for an ASCII word, upper or lower case.
fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes
        .windows(word.len())
        .any(|window| window.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests;
