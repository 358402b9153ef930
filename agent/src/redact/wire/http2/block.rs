//! Header blocks (HPACK, RFC 7541) of one direction in, however they are split, what must change in
//! them out. Of the dynamic table only that is known that tells secrets: what the names are.

use std::{collections::VecDeque, ops::Range};

use super::{Edits, huffman};
use crate::{
    decode::http2::TABLE,
    redact::{
        MASK, Patterns, field_places,
        names::{self, Kind},
        word::Word,
    },
};

/// Entries of the dynamic table that are remembered; others are unknown.
const ENTRIES: usize = 4096;
/// A longer name is no name of a field that is known.
const NAME: usize = 256;

/// What a name says of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Secret(Kind),
    /// `host`, whose port is no value of a name.
    Host,
    Other,
    /// From before the agent came, or too long: it may be any.
    Unknown,
}

impl Name {
    fn of(name: &[u8]) -> Self {
        let Ok(name) = str::from_utf8(name) else { return Self::Unknown };
        match names::kind(Word::of(name).as_bytes(), false) {
            Some(kind) => Self::Secret(kind),
            None if matches!(name, "host" | ":authority") => Self::Host,
            None => Self::Other,
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
enum At {
    /// A representation begins.
    #[default]
    Start,
    /// An index, or a size of the table: nothing else.
    Number,
    /// The index of the name of a literal.
    Index,
    NameLength,
    Name(usize),
    ValueLength,
    /// So many bytes are still to come; `split`: others came.
    Value {
        left: usize,
        split: bool,
    },
}

#[derive(Debug, Default)]
pub(super) struct Block {
    at: At,
    open: bool,
    /// A number that is not whole: its value, and its shift.
    number: Option<(usize, u32)>,
    /// Whether the string is in the Huffman code, and the field goes into the table.
    coded: bool,
    inserts: bool,
    name: Option<Name>,
    letters: Vec<u8>,
    /// The newest first.
    table: VecDeque<Name>,
    /// The connection began with it.
    first: bool,
}

impl Block {
    /// Of a connection from its beginning.
    pub(super) fn first() -> Self {
        Self { first: true, ..Self::default() }
    }

    pub(super) const fn is_first(&self) -> bool {
        self.first
    }

    pub(super) const fn is_open(&self) -> bool {
        self.open
    }

    pub(super) const fn begin(&mut self) {
        self.open = true;
    }

    /// `None` when it ends within a field.
    pub(super) fn end(&mut self) -> Option<()> {
        self.open = false;
        (matches!(self.at, At::Start) && self.number.is_none()).then_some(())
    }

    /// Takes the next bytes of a block. `None`: they are not HPACK.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        from: usize,
        of: &Patterns,
        edits: &mut Edits,
    ) -> Option<()> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            at += match self.at {
                At::Name(left) => self.letters(rest, left),
                At::Value { left, split } => self.value(rest, from + at, left, split, of, edits),
                _ => {
                    self.byte(*rest.first()?)?;
                    1
                }
            };
        }
        Some(())
    }

    /// A byte of a number.
    fn byte(&mut self, byte: u8) -> Option<()> {
        let value = match self.number {
            Some((value, shift)) => {
                // RFC 7541, section 5.1: what exceeds limits is an error.
                let part = usize::from(byte & 0x7f).checked_shl(shift).filter(|_| shift <= 28)?;
                let value = value.checked_add(part)?;
                self.number = (byte >= 0x80).then_some((value, shift + 7));
                value
            }
            None => {
                let most = u8::MAX >> (8 - self.prefix(byte));
                let value = usize::from(byte & most);
                self.number = (byte & most == most).then_some((value, 0));
                value
            }
        };
        if self.number.is_none() { self.counted(value) } else { Some(()) }
    }

    /// How many bits of the first byte of a number are of it; notes the others (RFC 7541, sections
    /// 5.2 and 6).
    const fn prefix(&mut self, byte: u8) -> u32 {
        if !matches!(self.at, At::Start) {
            self.coded = byte >= 0x80;
            return 7;
        }
        self.inserts = byte & 0xc0 == 0x40;
        let (at, bits) = match byte {
            0x80.. => (At::Number, 7),
            0x40..0x80 => (At::Index, 6),
            0x20..0x40 => (At::Number, 5),
            _ => (At::Index, 4),
        };
        self.at = at;
        bits
    }

    /// A number is whole.
    fn counted(&mut self, value: usize) -> Option<()> {
        match self.at {
            At::Number => self.at = At::Start,
            At::Index if value == 0 => {
                self.letters.clear();
                self.at = At::NameLength;
            }
            At::Index => {
                self.name = Some(self.find(value));
                self.at = At::ValueLength;
            }
            At::NameLength if value == 0 => {
                self.name = Some(Name::Other);
                self.at = At::ValueLength;
            }
            At::NameLength => self.at = At::Name(value),
            At::ValueLength if value == 0 => self.done(),
            At::ValueLength => self.at = At::Value { left: value, split: false },
            At::Start | At::Name(_) | At::Value { .. } => return None,
        }
        Some(())
    }

    /// RFC 7541, section 2.3.3.
    fn find(&self, index: usize) -> Name {
        match index.checked_sub(TABLE.len() + 1) {
            Some(place) => self.table.get(place).copied().unwrap_or(Name::Unknown),
            None => {
                let name = TABLE.get(index.saturating_sub(1)).map(|(name, _)| name.as_bytes());
                name.map_or(Name::Unknown, Name::of)
            }
        }
    }

    fn letters(&mut self, rest: &[u8], left: usize) -> usize {
        let near = rest.get(..left).unwrap_or(rest);
        let room = NAME.saturating_sub(self.letters.len());
        self.letters.extend(near.iter().take(room));
        let left = left - near.len();
        self.at = At::Name(left);
        if left == 0 {
            let cut = self.letters.len() == NAME;
            let plain = if self.coded { huffman::plain(&self.letters) } else { None };
            self.name = Some(match plain {
                _ if cut => Name::Unknown,
                Some(plain) => Name::of(&plain),
                None if self.coded => Name::Unknown,
                None => Name::of(&self.letters),
            });
            self.at = At::ValueLength;
        }
        near.len()
    }

    fn value(
        &mut self,
        rest: &[u8],
        at: usize,
        left: usize,
        split: bool,
        of: &Patterns,
        edits: &mut Edits,
    ) -> usize {
        let name = self.name.unwrap_or(Name::Unknown);
        let near = rest.get(..left).unwrap_or(rest);
        let whole = near.len() == left && !split;
        let known = whole && name != Name::Unknown;
        if known && !self.coded {
            let places = secrets(name, near, of);
            places.into_iter().for_each(|place| edits.mask(at + place.start..at + place.end));
        } else if let Some(plain) = known.then(|| huffman::plain(near)).flatten() {
            let places = secrets(name, &plain, of);
            if !places.is_empty() {
                edits.patch(at, huffman::masked(near, &plain, &places));
            }
        } else {
            // Of a part of a code nothing is known: none of it is shown.
            edits.fill(at..at + near.len(), if self.coded { huffman::MASKED } else { MASK });
        }
        match left - near.len() {
            0 => self.done(),
            left => self.at = At::Value { left, split: true },
        }
        near.len()
    }

    /// The field ended.
    fn done(&mut self) {
        self.at = At::Start;
        let name = self.name.take().unwrap_or(Name::Unknown);
        if self.inserts {
            self.table.push_front(name);
            self.table.truncate(ENTRIES);
        }
    }
}

/// The places of secrets in a field's value.
fn secrets(name: Name, value: &[u8], of: &Patterns) -> Vec<Range<usize>> {
    let mut places = match name {
        Name::Secret(kind) => field_places(Some(kind), value),
        Name::Host => Vec::new(),
        Name::Other | Name::Unknown => field_places(None, value),
    };
    places.extend(of.own(value));
    places
}
