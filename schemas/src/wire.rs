//! How an event travels through Kafka: topic, key, framing, headers, partition.

/// The topic all service events go through.
pub const TOPIC: &str = "siji.events";

/// Partitions of the topic when siji creates it.
pub const DEFAULT_PARTITIONS: i32 = 12;

/// W3C trace context.
pub const HEADER_TRACEPARENT: &str = "traceparent";
/// On a record that the collector refused: the code.
pub const HEADER_CODE: &str = "siji-code";
/// On a record that the collector refused: the reason.
pub const HEADER_REASON: &str = "siji-reason";
/// On a record that the collector refused: the column.
pub const HEADER_FIELD: &str = "siji-field";
/// On a record that the collector refused: the source.
pub const HEADER_SOURCE: &str = "siji-source";
/// On a record that the collector refused: the spool opening, decimal.
pub const HEADER_INCARNATION: &str = "siji-incarnation";
/// On a record that the collector refused: the sequence number, decimal.
pub const HEADER_SEQ: &str = "siji-seq";
/// On a record whose bytes were withheld: their SHA-256, hex.
pub const HEADER_SHA256: &str = "siji-sha256";
/// On a record whose bytes the collector withheld or cut: how many they were, decimal.
pub const HEADER_LENGTH: &str = "siji-length";

/// How the value of a Kafka record is to be read, told by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Avro single-object encoding: `C3 01`, 8 bytes of fingerprint, body.
    AvroSingleObject,
    /// A JSON object.
    Json,
    /// Confluent framing: `00`, schema id. Not read yet.
    Confluent,
    /// No bytes at all.
    Empty,
    /// Something else.
    Unknown,
}

impl Framing {
    /// The framing of a value.
    pub fn of(value: &[u8]) -> Framing {
        match value {
            [] => Framing::Empty,
            [0xC3, 0x01, ..] => Framing::AvroSingleObject,
            [b'{', ..] => Framing::Json,
            [0x00, ..] => Framing::Confluent,
            _ => Framing::Unknown,
        }
    }
}

/// The partition Java's default partitioner (librdkafka's `murmur2_random`) gives a key.
///
/// Every producer must agree on it: events that are judged together must meet in one partition.
pub fn partition_of(key: &[u8], partitions: i32) -> i32 {
    let partitions = partitions.max(1);
    (murmur2(key) as i32 & 0x7fff_ffff) % partitions
}

/// MurmurHash2, 32 bits, seed and mixing as in Apache Kafka's `Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c_u32 ^ data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in words.by_ref() {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let tail = words.remainder();
    if !tail.is_empty() {
        for (i, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * i);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_agrees_with_apache_kafkas_own_test_values() {
        // From Apache Kafka's UtilsTest.testMurmur2.
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }

    #[test]
    fn the_first_bytes_tell_the_framing() {
        assert_eq!(Framing::of(b""), Framing::Empty);
        assert_eq!(Framing::of(&[0xC3, 0x01, 7]), Framing::AvroSingleObject);
        assert_eq!(Framing::of(&[0xC3]), Framing::Unknown);
        assert_eq!(Framing::of(b"{}"), Framing::Json);
        assert_eq!(Framing::of(&[0, 0, 0, 0, 1]), Framing::Confluent);
    }
}
