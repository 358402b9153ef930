//! A coded body in, as it comes, its plain bytes out at once.

use std::{
    fmt,
    io::{self, Write},
};

use flate2::write::{DeflateDecoder, GzDecoder, ZlibDecoder};

/// What a piece may become at most: more is an attempt at the reader's time.
const LIMIT: usize = 1 << 20;
const RATIO: usize = 1024;
/// RFC 9659, section 3.
const ZSTD_WINDOW_LOG: u32 = 23;
/// Memory of a decoder: its window, and tables.
const WEIGHT: usize = 64 << 10;

/// What removes the coding.
pub(super) struct Coded(Decoder);

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
        Some(Self(match coding.map(String::as_str) {
            None => Decoder::Plain,
            Some("gzip" | "x-gzip") => Decoder::Gzip(Box::new(GzDecoder::new(room()))),
            Some("deflate") => Decoder::Deflate,
            Some("br") => Decoder::Brotli(Box::new(brotli::DecompressorWriter::new(room(), 4096))),
            Some("zstd") => {
                let mut decoder = zstd::stream::write::Decoder::new(room()).ok()?;
                decoder.window_log_max(ZSTD_WINDOW_LOG).ok()?;
                Decoder::Zstd(Box::new(decoder))
            }
            Some(_) => return None,
        }))
    }

    /// Gives what the next bytes become.
    pub(super) fn push(&mut self, bytes: &[u8], plain: &mut impl FnMut(&[u8])) {
        if let (Decoder::Deflate, Some(first)) = (&self.0, bytes.first()) {
            // RFC 1950, section 2.2: the method of the wrapper, which no first block begins with.
            self.0 = if first & 0x0f == 8 {
                Decoder::Zlib(Box::new(ZlibDecoder::new(Room::default())))
            } else {
                Decoder::Raw(Box::new(DeflateDecoder::new(Room::default())))
            };
        }
        let limit = LIMIT.saturating_add(bytes.len().saturating_mul(RATIO));
        let written = match &mut self.0 {
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
            self.0 = Decoder::Over;
        }
    }

    /// Bytes were lost.
    pub(super) fn lose(&mut self) {
        if !matches!(self.0, Decoder::Plain) {
            self.0 = Decoder::Over;
        }
    }

    /// How much memory it holds.
    pub(super) const fn weight(&self) -> usize {
        if matches!(self.0, Decoder::Plain | Decoder::Over) { 0 } else { WEIGHT }
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
