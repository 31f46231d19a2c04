//! The event record in Avro: single-object encoding, one event per message.
//!
//! Both ways are written by hand for the layouts there are: an event is judged while its bytes are at hand, so it is
//! read by itself and borrows its texts, and a bad message costs its neighbours nothing. That both agree with the schema
//! is tested against `arrow-avro`.

mod encode;
mod read;

pub use encode::{EncodeError, Unplaced, encode};
pub use read::{ReadError, read};

/// The writer schema of layout 1.
pub const SCHEMA_V1: &str = include_str!("../avro/v1.avsc");

/// CRC-64-AVRO fingerprint of [`SCHEMA_V1`]'s parsing canonical form.
pub const FINGERPRINT_V1: u64 = 0x13d8_26f2_8b03_2a5b;

/// First bytes of a message: the single-object marker and the fingerprint, little endian.
pub const fn prefix_v1() -> [u8; 10] {
    let f = FINGERPRINT_V1.to_le_bytes();
    [0xC3, 0x01, f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7]]
}

#[cfg(test)]
mod tests;
