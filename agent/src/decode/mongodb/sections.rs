//! The body of a message in, the documents in it out.

use super::{
    bson::{self, Elements, End},
    wire::{KEEP, Opcode, Packet},
};
use crate::decode::coding;

const CHECKSUM_PRESENT: u32 = 1;
pub(super) const MORE_TO_COME: u32 = 2;
const EXHAUST_ALLOWED: u32 = 1 << 16;
/// "Parsers MUST error if an unknown bit is set" among the first 16. No other of them is in use.
pub(super) const KNOWN_FLAGS: u32 = CHECKSUM_PRESENT | MORE_TO_COME | EXHAUST_ALLOWED;
/// noop, snappy, zlib, zstd.
pub(super) const COMPRESSORS: usize = 4;
/// More sections than this are no message of a driver: `bulkWrite` has two of kind 1.
const SEQUENCES_LIMIT: usize = 16;

/// A body without its compression.
#[derive(Debug)]
pub(super) struct Body<'a> {
    pub(super) opcode: Opcode,
    bytes: std::borrow::Cow<'a, [u8]>,
    /// Its size, where `bytes` may be the beginning only.
    size: u64,
}

/// What a message says: a document, and rows of others that belong to it.
#[derive(Debug, Default)]
pub(super) struct Documents<'a> {
    pub(super) flags: u32,
    /// The whole name of the collection, in messages that are older than `OP_MSG`.
    pub(super) collection: Option<&'a [u8]>,
    pub(super) command: Option<&'a [u8]>,
    pub(super) sequences: Vec<Sequence<'a>>,
    /// Whether all is there.
    pub(super) whole: bool,
}

/// A section of kind 1: what would be an array of documents in the command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sequence<'a> {
    pub(super) name: &'a str,
    pub(super) documents: &'a [u8],
    pub(super) whole: bool,
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Its compression is not known, or needs bytes that are not there.
    Compressed,
    Malformed,
}

impl<'a> Body<'a> {
    pub(super) fn of(packet: &'a Packet) -> Result<Self, Wrong> {
        let bytes = packet.frame.body.as_slice();
        let opcode = packet.header.opcode;
        if opcode != Opcode::Compressed {
            let size = u64::from(packet.header.length).saturating_sub(16);
            return Ok(Self { opcode, bytes: bytes.into(), size });
        }
        // A compressed message that is not whole may have lost any of these.
        let (code, rest) = bytes.split_first_chunk().ok_or(Wrong::Compressed)?;
        let opcode = Opcode::of(u32::from_le_bytes(*code)).ok_or(Wrong::Malformed)?;
        let (size, rest) = rest.split_first_chunk().ok_or(Wrong::Compressed)?;
        let size = usize::try_from(i32::from_le_bytes(*size)).or(Err(Wrong::Malformed))?;
        let (&compressor, rest) = rest.split_first().ok_or(Wrong::Compressed)?;
        let bytes = match compressor {
            0 => rest.to_vec(),
            1 if packet.frame.whole => snappy(rest, size)?,
            2 => inflate("deflate", rest, packet)?,
            3 => inflate("zstd", rest, packet)?,
            _ => return Err(Wrong::Compressed),
        };
        if bytes.len() > size || (packet.frame.whole && bytes.len() < size.min(KEEP)) {
            return Err(Wrong::Malformed);
        }
        Ok(Self { opcode, bytes: bytes.into(), size: size as u64 })
    }

    /// The documents, as far as they are there.
    pub(super) fn documents(&self) -> Result<Documents<'_>, Wrong> {
        let whole = self.bytes.len() as u64 >= self.size;
        let mut documents = match self.opcode {
            Opcode::Message => self.sections(),
            Opcode::Query => self.query(),
            Opcode::Reply => self.reply(),
            _ => self.named(),
        };
        match &mut documents {
            Some(documents) => documents.whole &= whole,
            // The end of what is there may be anywhere.
            None if !whole => return Ok(Documents::default()),
            None => return Err(Wrong::Malformed),
        }
        documents.ok_or(Wrong::Malformed)
    }

    fn sections(&self) -> Option<Documents<'_>> {
        let (flags, mut rest) = self.bytes.split_first_chunk()?;
        let flags = u32::from_le_bytes(*flags);
        if flags & !KNOWN_FLAGS & 0xffff != 0 {
            return None;
        }
        // The flags, and a checksum at the end.
        let around = if flags & CHECKSUM_PRESENT == 0 { 4 } else { 8 };
        let size = usize::try_from(self.size).ok()?.checked_sub(around)?;
        rest = rest.get(..size).unwrap_or(rest);
        let mut documents = Documents { flags, whole: true, ..Documents::default() };
        let all = self.bytes.len() as u64 >= self.size;
        while !rest.is_empty() {
            match documents.section(&mut rest) {
                Some(()) => {}
                None if all => return None,
                None => break,
            }
        }
        // "There is exactly one" section of kind 0.
        let complete = documents.whole && documents.command.is_some();
        (complete || !all).then_some(documents)
    }

    fn query(&self) -> Option<Documents<'_>> {
        let mut rest = self.bytes.get(4..)?;
        let collection = Some(bson::cstring(&mut rest)?);
        // numberToSkip and numberToReturn.
        rest = rest.get(8..)?;
        let (command, whole) = bson::split(&mut rest)?;
        Some(Documents { collection, command: Some(command), whole, ..Documents::default() })
    }

    fn reply(&self) -> Option<Documents<'_>> {
        let mut rest = self.bytes.get(20..)?;
        let (command, whole) = if rest.is_empty() {
            (None, true)
        } else {
            let (command, whole) = bson::split(&mut rest)?;
            (Some(command), whole)
        };
        Some(Documents { command, whole, ..Documents::default() })
    }

    /// A message that is older than commands, of which the collection is told.
    fn named(&self) -> Option<Documents<'_>> {
        let mut rest = self.bytes.get(4..)?;
        let collection = match self.opcode {
            Opcode::KillCursors => None,
            _ => Some(bson::cstring(&mut rest)?),
        };
        Some(Documents { collection, whole: true, ..Documents::default() })
    }
}

impl<'a> Documents<'a> {
    /// Splits off the next section.
    fn section(&mut self, rest: &mut &'a [u8]) -> Option<()> {
        let (&kind, mut section) = rest.split_first()?;
        match kind {
            0 if self.command.is_none() => {
                let (command, whole) = bson::split(&mut section)?;
                self.command = Some(command);
                self.whole &= whole;
            }
            1 if self.sequences.len() < SEQUENCES_LIMIT => {
                let sequence = sequence(&mut section)?;
                self.whole &= sequence.whole;
                self.sequences.push(sequence);
            }
            _ => return None,
        }
        *rest = section;
        Some(())
    }
}

fn sequence<'a>(section: &mut &'a [u8]) -> Option<Sequence<'a>> {
    // The length counts itself.
    let length = bson::int(section).filter(|&length| length >= 5)?;
    let (bytes, rest) = section.split_at_checked(length).unwrap_or((section, &[]));
    *section = rest;
    let mut documents = bytes.get(4..)?;
    let name = str::from_utf8(bson::cstring(&mut documents)?).ok()?;
    Some(Sequence { name, documents, whole: bytes.len() == length })
}

/// The size that it says is believed only up to the limit.
fn snappy(bytes: &[u8], size: usize) -> Result<Vec<u8>, Wrong> {
    let length = snap::raw::decompress_len(bytes).or(Err(Wrong::Malformed))?;
    if length != size {
        return Err(Wrong::Malformed);
    }
    if length > KEEP {
        return Err(Wrong::Compressed);
    }
    snap::raw::Decoder::new().decompress_vec(bytes).or(Err(Wrong::Malformed))
}

fn inflate(coding: &str, bytes: &[u8], packet: &Packet) -> Result<Vec<u8>, Wrong> {
    let wrong = if packet.frame.whole { Wrong::Malformed } else { Wrong::Compressed };
    coding::decode(coding, bytes, KEEP).map(|decoded| decoded.bytes).ok_or(wrong)
}

impl<'a> Sequence<'a> {
    /// Its documents, and whether these are all of them.
    pub(super) fn each(&self) -> (Vec<&'a [u8]>, bool) {
        let mut rest = self.documents;
        let mut documents = Vec::new();
        while !rest.is_empty() {
            match bson::split(&mut rest) {
                Some((document, true)) => documents.push(document),
                Some((_, false)) | None => return (documents, false),
            }
        }
        (documents, self.whole)
    }
}

/// The elements of an array, and whether these are all of them.
pub(super) fn elements<'a>(array: Elements<'a>) -> (Vec<&'a [u8]>, bool) {
    let mut array = array;
    let documents = array.by_ref().filter(|element| element.whole);
    let documents: Vec<_> = documents.map(|element| element.value).collect();
    (documents, array.end == End::Whole)
}
