//! Names that follow from numbers: event ids, pseudonyms, subjects. The same run gives the same names again.

use super::dice::mix;

/// Makes the names of one run. Two runs that differ in seed, size, time or place share none.
#[derive(Debug, Clone)]
pub(super) struct Ident {
    key: u64,
}

/// Whom a pseudonym stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Person {
    /// A resident, `r_…`; volunteers and account holders are residents.
    Resident,
    /// A member of staff, `w_…`.
    Worker,
}

const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const HEX: &[u8; 16] = b"0123456789abcdef";

impl Ident {
    /// The names of a run with this key.
    pub fn new(key: u64) -> Ident {
        Ident { key }
    }

    /// The id of the n-th event.
    pub fn event(&self, n: u64) -> String {
        uuid(mix(self.key, n), mix(self.key ^ 1, n))
    }

    /// The n-th thing of its own.
    pub fn number(&self, n: u64) -> u64 {
        mix(self.key ^ 2, n)
    }

    /// `kind:` and 13 letters and digits.
    pub fn subject(&self, kind: &str, number: u64) -> String {
        let mut text = String::with_capacity(kind.len() + 14);
        text.push_str(kind);
        text.push(':');
        push_base32(&mut text, number, 13);
        text
    }

    /// The pseudonym of a person, in the form collectors give: 128 bits in base32.
    pub fn person(&self, person: Person, number: u64) -> String {
        let mut text = String::with_capacity(28);
        text.push_str(match person {
            Person::Resident => "r_",
            Person::Worker => "w_",
        });
        push_base32(&mut text, mix(self.key ^ 3, number), 13);
        push_base32(&mut text, mix(self.key ^ 4, number), 13);
        text
    }
}

/// A UUID of version 8 (RFC 9562, custom) with these bits, but for those that tell version and variant.
pub(in crate::demo) fn uuid(high: u64, low: u64) -> String {
    let (high, low) = (high & !0xf000 | 0x8000, low & (u64::MAX >> 2) | 1 << 63);
    let bits = u128::from(high) << 64 | u128::from(low);
    let mut text = String::with_capacity(36);
    for i in 0..32 {
        if matches!(i, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(char::from(HEX[(bits >> (124 - 4 * i)) as usize & 15]));
    }
    text
}

fn push_base32(text: &mut String, bits: u64, letters: u32) {
    for i in 0..letters {
        text.push(char::from(BASE32[(bits >> (5 * i).min(59)) as usize & 31]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_ids_are_uuids_of_version_8() {
        let id = Ident::new(9).event(4);
        assert_eq!(id.len(), 36);
        assert_eq!(id.as_bytes()[14], b'8');
        assert!(
            matches!(id.as_bytes()[19], b'8' | b'9' | b'a' | b'b'),
            "{id}"
        );
        assert_ne!(id, Ident::new(9).event(5));
        assert_ne!(id, Ident::new(10).event(4));
    }

    #[test]
    fn people_have_pseudonyms_as_collectors_make_them() {
        let names = Ident::new(1);
        for n in 0..100 {
            assert!(siji_schemas::validate::is_pseudonym(
                &names.person(Person::Resident, n)
            ));
            assert!(siji_schemas::validate::is_pseudonym(
                &names.person(Person::Worker, n)
            ));
        }
        assert_eq!(
            names.person(Person::Worker, 3),
            names.person(Person::Worker, 3)
        );
    }
}
