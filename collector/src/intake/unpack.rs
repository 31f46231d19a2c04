//! `Content-Encoding`: compressed bodies, unpacked as they arrive, within the limits of size, expansion and memory.
//!
//! Only what was unpacked is held. A gzip stream needs 32 KiB beside it; a zstd window fills as the output does, so
//! that the output is charged twice. What is still needed is taken without waiting: two requests that wait for each
//! other's memory would both wait in vain.

use std::io::{self, Write};

use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use bytes::{Bytes, BytesMut};
use flate2::write::MultiGzDecoder;
use tokio::sync::OwnedSemaphorePermit;
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::memory::Memory;
use super::problem::Problem;

/// Compressed bytes unpacked at a time; they may become a thousand times as many.
pub(super) const STEP: usize = 4 << 10;
/// Largest window of a zstd frame, as a power of two: the 8 MiB that RFC 9659 allows in HTTP.
const ZSTD_WINDOW_LOG: u32 = 23;
/// Events compress to a tenth; what comes out larger than this beside what went in is made to be large.
const MAX_RATIO: usize = 200;
/// Smaller bodies are not asked for their ratio.
const RATIO_FROM: usize = 1 << 20;
/// Unpacked bytes for which there is room from the beginning.
const FIRST_ROOM: usize = 64 << 10;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    /// What `Content-Encoding` names.
    pub fn of(headers: &HeaderMap) -> Result<Encoding, Problem> {
        let mut named = headers.get_all(CONTENT_ENCODING).iter();
        let (first, more) = (named.next(), named.next());
        let Some(first) = first else {
            return Ok(Encoding::Identity);
        };
        let name = first.to_str().unwrap_or_default().trim();
        match name.to_ascii_lowercase().as_str() {
            "" | "identity" if more.is_none() => Ok(Encoding::Identity),
            "gzip" | "x-gzip" if more.is_none() => Ok(Encoding::Gzip),
            "zstd" if more.is_none() => Ok(Encoding::Zstd),
            _ => Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "expected content-encoding gzip or zstd, once, or none",
            )
            .with(ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd"))),
        }
    }

    /// Bytes held for one that was unpacked.
    fn weight(self) -> usize {
        match self {
            Encoding::Zstd => 2,
            Encoding::Identity | Encoding::Gzip => 1,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Encoding::Identity => "plain",
            Encoding::Gzip => "gzip",
            Encoding::Zstd => "zstd",
        }
    }
}

/// Why unpacking ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    TooLarge,
    Expands,
    NoMemory,
}

/// What comes out, no more than allowed.
struct Unpacked<'m> {
    bytes: BytesMut,
    encoding: Encoding,
    max: usize,
    memory: &'m Memory,
    share: OwnedSemaphorePermit,
    room: usize,
    /// Compressed bytes so far.
    packed: usize,
    fault: Option<Fault>,
}

impl Unpacked<'_> {
    fn add(&mut self, part: &[u8]) -> Result<(), Fault> {
        let len = self.bytes.len() + part.len();
        if len > self.max {
            return Err(Fault::TooLarge);
        }
        if len > RATIO_FROM && len / MAX_RATIO > self.packed {
            return Err(Fault::Expands);
        }
        if len > self.room {
            let room = (self.room * 2).max(len).min(self.max);
            let more = (room - self.room) * self.encoding.weight();
            if !self.memory.add_at_once(&mut self.share, more) {
                return Err(Fault::NoMemory);
            }
            self.bytes.reserve(room - self.bytes.len());
            self.room = room;
        }
        self.bytes.extend_from_slice(part);
        Ok(())
    }
}

impl Write for Unpacked<'_> {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        let added = match self.fault {
            Some(fault) => Err(fault),
            None => self.add(part),
        };
        match added {
            Ok(()) => Ok(part.len()),
            Err(fault) => {
                self.fault = Some(fault);
                Err(io::ErrorKind::StorageFull.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Way<'m> {
    Gzip(Box<MultiGzDecoder<Unpacked<'m>>>),
    Zstd {
        decoder: Decoder<'static>,
        out: Unpacked<'m>,
        /// Whether a frame ended where the input did.
        ended: bool,
        scratch: Vec<u8>,
    },
}

/// Unpacks a body part by part.
pub(super) struct Unpacker<'m> {
    encoding: Encoding,
    max: usize,
    way: Way<'m>,
}

impl<'m> Unpacker<'m> {
    /// Waits for the memory of a small body. `None`: there was none in time.
    pub async fn new(
        encoding: Encoding,
        max: usize,
        memory: &'m Memory,
    ) -> Result<Option<Unpacker<'m>>, Problem> {
        let room = FIRST_ROOM.min(max);
        // Beside what comes out: the decoder itself, and its buffers.
        let Some(share) = memory.share(room * encoding.weight() + FIRST_ROOM).await else {
            return Ok(None);
        };
        let out = Unpacked {
            bytes: BytesMut::with_capacity(room),
            encoding,
            max,
            memory,
            share,
            room,
            packed: 0,
            fault: None,
        };
        let way = match encoding {
            Encoding::Identity | Encoding::Gzip => Way::Gzip(Box::new(MultiGzDecoder::new(out))),
            Encoding::Zstd => Way::Zstd {
                decoder: zstd_decoder().map_err(|_| super::body::too_much_at_a_time())?,
                out,
                ended: true,
                scratch: vec![0; 16 << 10],
            },
        };
        Ok(Some(Unpacker { encoding, max, way }))
    }

    /// Unpacks the next part, at most [`STEP`] bytes of it at a time for the sake of others on the thread.
    pub fn add(&mut self, part: &[u8]) -> Result<(), Problem> {
        let done = match &mut self.way {
            Way::Gzip(decoder) => {
                decoder.get_mut().packed += part.len();
                decoder.write_all(part)
            }
            Way::Zstd {
                decoder,
                out,
                ended,
                scratch,
            } => {
                out.packed += part.len();
                unpack_zstd(decoder, part, out, ended, scratch)
            }
        };
        done.map_err(|_| self.problem())
    }

    /// What was unpacked, if the input ended where a stream did.
    pub fn finish(mut self) -> Result<(Bytes, OwnedSemaphorePermit), Problem> {
        // The last of the output comes only now, and may be too much as well.
        let failed = match &mut self.way {
            Way::Gzip(decoder) => decoder.try_finish().is_err(),
            Way::Zstd { .. } => false,
        };
        if failed {
            return Err(self.problem());
        }
        let damaged = damaged(self.encoding);
        let out = match self.way {
            Way::Gzip(decoder) => decoder.finish().map_err(|_| damaged)?,
            Way::Zstd {
                out, ended: true, ..
            } => out,
            Way::Zstd { .. } => return Err(damaged),
        };
        Ok((out.bytes.freeze(), out.share))
    }

    fn problem(&self) -> Problem {
        let fault = match &self.way {
            Way::Gzip(decoder) => decoder.get_ref().fault,
            Way::Zstd { out, .. } => out.fault,
        };
        match fault {
            Some(Fault::TooLarge) => too_large(self.max),
            Some(Fault::Expands) => Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!(
                    "the body unpacks to more than {MAX_RATIO} times its size: send it less packed"
                ),
            ),
            Some(Fault::NoMemory) => super::body::too_much_at_a_time(),
            None => damaged(self.encoding),
        }
    }
}

/// The answer to a body that is too large, or becomes so.
pub(super) fn too_large(max: usize) -> Problem {
    let detail = format!("the body is larger than {max} bytes: send smaller batches");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

fn damaged(encoding: Encoding) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        format!(
            "the body is no whole {} stream: it is damaged, cut off, or goes on after its end",
            encoding.name()
        ),
    )
}

fn zstd_decoder() -> io::Result<Decoder<'static>> {
    let mut decoder = Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
    Ok(decoder)
}

fn unpack_zstd(
    decoder: &mut Decoder<'static>,
    part: &[u8],
    out: &mut Unpacked<'_>,
    ended: &mut bool,
    scratch: &mut [u8],
) -> io::Result<()> {
    let mut input = InBuffer::around(part);
    loop {
        let mut output = OutBuffer::around(&mut scratch[..]);
        // Nothing is asked of a decoder between two frames when there is no more input: it would wait for a frame.
        if input.pos() == part.len() && *ended {
            return Ok(());
        }
        *ended = decoder.run(&mut input, &mut output)? == 0;
        let full = output.pos() == output.capacity();
        out.write_all(output.as_slice())?;
        if input.pos() == part.len() && !full {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
