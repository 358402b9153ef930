//! A coded body in, as it comes, its plain bytes out at once.

use std::{
    fmt,
    io::{self, Write},
};

use flate2::write::{DeflateDecoder, GzDecoder, ZlibDecoder};

/// What a piece may become at most: more is an attempt at the reader's time.
const LIMIT: usize = 1 << 20;
const RATIO: usize = 1024;
/// Larger windows are refused: each open response has one. RFC 9659, section 3, allows twice as much;
/// encoders take it for what is large.
const WINDOW_LOG: u32 = 22;
/// Memory of a decoder: tables, and a small window.
const WEIGHT: usize = 64 << 10;
/// Of a window only what was filled takes memory.
const WINDOW: usize = 1 << WINDOW_LOG;

/// What removes the coding.
pub(super) struct Coded {
    decoder: Decoder,
    /// Bytes that came out.
    out: usize,
}

enum Decoder {
    Plain,
    Gzip(Box<GzDecoder<Room>>),
    /// The first byte tells whether it has a wrapper.
    Deflate,
    Zlib(Box<ZlibDecoder<Room>>),
    Raw(Box<DeflateDecoder<Room>>),
    Brotli(Box<brotli::DecompressorWriter<Room>>),
    Zstd(Box<zstd::stream::write::Decoder<'static, Room>>),
    /// It is not in the coding, or some of it was lost.
    Over,
}

/// Where plain bytes go.
#[derive(Default)]
struct Room {
    bytes: Vec<u8>,
    limit: usize,
}

impl Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.limit.saturating_sub(self.bytes.len()) {
            return Err(io::Error::from(io::ErrorKind::OutOfMemory));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Coded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Coded")
    }
}

impl Coded {
    /// `None` when a coding is unknown, or there are several.
    pub(super) fn new(codings: &[String]) -> Option<Self> {
        let mut applied = codings.iter().filter(|coding| *coding != "identity");
        let (coding, others) = (applied.next(), applied.next());
        if others.is_some() {
            return None;
        }
        let room = Room::default;
        let decoder = match coding.map(String::as_str) {
            None => Decoder::Plain,
            Some("gzip" | "x-gzip") => Decoder::Gzip(Box::new(GzDecoder::new(room()))),
            Some("deflate") => Decoder::Deflate,
            Some("br") => Decoder::Brotli(Box::new(brotli::DecompressorWriter::new(room(), 4096))),
            Some("zstd") => {
                let mut decoder = zstd::stream::write::Decoder::new(room()).ok()?;
                decoder.window_log_max(WINDOW_LOG).ok()?;
                Decoder::Zstd(Box::new(decoder))
            }
            Some(_) => return None,
        };
        Some(Self { decoder, out: 0 })
    }

    /// Gives what the next bytes become.
    pub(super) fn push(&mut self, bytes: &[u8], plain: &mut impl FnMut(&[u8])) {
        if let (Decoder::Deflate, Some(first)) = (&self.decoder, bytes.first()) {
            // RFC 1950, section 2.2: the method of the wrapper, which no first block begins with.
            self.decoder = if first & 0x0f == 8 {
                Decoder::Zlib(Box::new(ZlibDecoder::new(Room::default())))
            } else {
                Decoder::Raw(Box::new(DeflateDecoder::new(Room::default())))
            };
        }
        let begins = self.out == 0 && matches!(self.decoder, Decoder::Brotli(_));
        if begins && bytes.first().is_some_and(|first| window_log(*first) > WINDOW_LOG) {
            self.decoder = Decoder::Over;
        }
        let limit = LIMIT.saturating_add(bytes.len().saturating_mul(RATIO));
        let out = &mut self.out;
        let plain = &mut |bytes: &[u8]| {
            *out = out.saturating_add(bytes.len());
            plain(bytes);
        };
        let written = match &mut self.decoder {
            Decoder::Plain => return plain(bytes),
            Decoder::Over | Decoder::Deflate => return,
            Decoder::Gzip(to) => write(&mut **to, bytes, limit, GzDecoder::get_mut, plain),
            Decoder::Zlib(to) => write(&mut **to, bytes, limit, ZlibDecoder::get_mut, plain),
            Decoder::Raw(to) => write(&mut **to, bytes, limit, DeflateDecoder::get_mut, plain),
            Decoder::Brotli(to) => {
                write(&mut **to, bytes, limit, brotli::DecompressorWriter::get_mut, plain)
            }
            Decoder::Zstd(to) => {
                write(&mut **to, bytes, limit, zstd::stream::write::Decoder::get_mut, plain)
            }
        };
        if written.is_err() {
            self.decoder = Decoder::Over;
        }
    }

    /// Bytes were lost.
    pub(super) fn lose(&mut self) {
        if !matches!(self.decoder, Decoder::Plain) {
            self.decoder = Decoder::Over;
        }
    }

    /// How much memory it holds.
    pub(super) fn weight(&self) -> usize {
        match self.decoder {
            Decoder::Plain | Decoder::Over | Decoder::Deflate => 0,
            Decoder::Brotli(_) | Decoder::Zstd(_) => WEIGHT + self.out.min(WINDOW),
            Decoder::Gzip(_) | Decoder::Zlib(_) | Decoder::Raw(_) => WEIGHT,
        }
    }
}

/// Of brotli, by the first byte (RFC 7932, section 9.1).
const fn window_log(first: u8) -> u32 {
    match (first & 1, first >> 1 & 7, first >> 4 & 7) {
        (0, ..) => 16,
        (_, 0, 0) => 17,
        // No window of this specification.
        (_, 0, 1) => u32::MAX,
        (_, 0, small) => 8 + small as u32,
        (_, large, _) => 17 + large as u32,
    }
}

fn write<D: Write>(
    decoder: &mut D,
    bytes: &[u8],
    limit: usize,
    room: impl Fn(&mut D) -> &mut Room,
    plain: &mut impl FnMut(&[u8]),
) -> io::Result<()> {
    room(decoder).limit = limit;
    let written = decoder.write_all(bytes).and_then(|()| decoder.flush());
    let room = room(decoder);
    plain(&room.bytes);
    room.bytes.clear();
    written
}
