use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

const MAX: usize = 2 << 20;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

/// Text that compresses to about a third.
fn text(len: usize) -> Vec<u8> {
    let mut seed = 1u32;
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b'a' + (seed >> 28) as u8
    };
    (0..len).map(|_| next()).collect()
}

async fn unpack_with(
    memory: &Memory,
    encoding: Encoding,
    packed: &[u8],
) -> Result<Vec<u8>, (u16, String)> {
    let told = |problem: Problem| (problem.status.as_u16(), problem.detail);
    let unpacker = Unpacker::new(encoding, MAX, memory).await.map_err(told)?;
    let mut unpacker = unpacker.expect("memory");
    for part in packed.chunks(STEP) {
        unpacker.add(part).map_err(told)?;
    }
    let (bytes, _) = unpacker.finish().map_err(told)?;
    Ok(bytes.to_vec())
}

async fn unpack(encoding: Encoding, packed: &[u8]) -> Result<Vec<u8>, (u16, String)> {
    let memory = Memory::new(8 << 20, Duration::from_millis(20));
    unpack_with(&memory, encoding, packed).await
}

type Pack = fn(&[u8]) -> Vec<u8>;
const WAYS: [(Encoding, Pack); 2] = [(Encoding::Gzip, gzip), (Encoding::Zstd, zstd)];

#[tokio::test]
async fn what_was_packed_comes_out_and_so_do_several_streams_in_a_row() {
    for (encoding, pack) in WAYS {
        for len in [0, 1, 20, STEP, 70_000, MAX] {
            let text = text(len);
            let unpacked = unpack(encoding, &pack(&text)).await;
            assert_eq!(unpacked.as_ref(), Ok(&text), "{encoding:?} {len}");
        }
        let two = [pack(b"one, "), pack(b""), pack(b"two")].concat();
        assert_eq!(unpack(encoding, &two).await, Ok(b"one, two".to_vec()));
    }
}

#[tokio::test]
async fn a_stream_that_is_cut_off_or_goes_on_after_its_end_is_refused() {
    for (encoding, pack) in WAYS {
        let packed = pack(&text(9_000));
        for cut in 1..packed.len() {
            let unpacked = unpack(encoding, &packed[..cut]).await;
            assert_eq!(unpacked.map_err(|(status, _)| status), Err(400), "{cut}");
        }
        for trailing in ["x", "\0\0\0\0", "trailing bytes that are no stream"] {
            let more = [packed.as_slice(), trailing.as_bytes()].concat();
            let unpacked = unpack(encoding, &more).await;
            assert_eq!(unpacked.map_err(|(status, _)| status), Err(400));
        }
        let mut damaged = packed.clone();
        let at = damaged.len() - 3;
        damaged[at] ^= 1;
        let unpacked = unpack(encoding, &damaged).await;
        // A zstd frame carries no checksum unless its writer asks for one.
        if encoding == Encoding::Gzip {
            assert_eq!(unpacked.map_err(|(status, _)| status), Err(400));
        }
    }
}

#[tokio::test]
async fn what_becomes_too_large_is_refused_before_it_is_held() {
    for (encoding, pack) in WAYS {
        let (status, why) = unpack(encoding, &pack(&text(MAX + 1))).await.unwrap_err();
        assert_eq!(status, 413);
        assert!(why.contains("larger than 2097152"), "{why}");
        let (status, why) = unpack(encoding, &pack(&vec![b' '; MAX])).await.unwrap_err();
        assert_eq!(status, 413);
        assert!(why.contains("200 times"), "{why}");
    }
}

#[tokio::test]
async fn a_window_beyond_what_http_allows_is_refused() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(24).unwrap();
    encoder.write_all(&text(1000)).unwrap();
    let packed = encoder.finish().unwrap();
    let (status, _) = unpack(Encoding::Zstd, &packed).await.unwrap_err();
    assert_eq!(status, 400);
}

#[tokio::test]
async fn who_needs_more_memory_than_there_is_comes_again_later() {
    let memory = Memory::new(1 << 20, Duration::from_millis(20));
    for (encoding, pack) in WAYS {
        let held = memory.share(700 << 10).await;
        let packed = pack(&text(400 << 10));
        let (status, _) = unpack_with(&memory, encoding, &packed).await.unwrap_err();
        assert_eq!(status, 503, "{encoding:?}");
        drop(held);
        let unpacked = unpack_with(&memory, encoding, &packed).await;
        assert_eq!(unpacked.map(|bytes| bytes.len()), Ok(400 << 10));
    }
}
