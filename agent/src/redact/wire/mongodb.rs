//! MongoDB: payloads of SASL, and members of documents that are named like secrets.
//! <https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/>, <https://bsonspec.org/>

use super::{Layout, Take, Taken, Wire, lanes::Lanes};
use crate::{
    capture::Direction,
    redact::{names, word::Word},
};

const OP_MSG: u64 = 2013;
const OP_QUERY: u64 = 2004;
const LIMIT: u64 = 64 << 20;
/// OP_MSG: a checksum is at its end.
const CHECKSUM: u64 = 1;
/// Documents within documents; the server allows no more.
const DEPTH: usize = 256;

pub(super) fn guess(bytes: &[u8], at: Direction, _: bool) -> Option<Box<dyn Wire>> {
    let [length, _, answers, code] = head(bytes)?;
    let fits = (21..LIMIT).contains(&length) && matches!(code, OP_MSG | OP_QUERY);
    let client = if answers == 0 { at } else { at.opposite() };
    fits.then(|| Box::new(Lanes::new(client, Mongodb::default())) as Box<dyn Wire>)
}

/// Length, number, number of the request, code.
fn head(bytes: &[u8]) -> Option<[u64; 4]> {
    let mut numbers = bytes.chunks_exact(4).map(|number| {
        number.first_chunk().map_or(0, |number| u64::from(u32::from_le_bytes(*number)))
    });
    Some([numbers.next()?, numbers.next()?, numbers.next()?, numbers.next()?])
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Head,
    /// Flags of OP_MSG; the kind of a section; the length and name of one with many documents.
    Flags,
    Section,
    Sequence,
    /// What is before the documents of OP_QUERY, beside its name.
    Collection,
    Numbers,
    /// A document: its length, then elements: type, name, length, value.
    Document,
    Kind,
    Name,
    Length,
    Value,
    /// The pattern and the options of a regular expression.
    Options,
    Rest,
}

#[derive(Debug, Default)]
struct Side {
    at: At,
    left: u64,
    checked: bool,
    message: bool,
    /// How much is left behind a section with many documents.
    until: Option<u64>,
    kind: u8,
    /// Whether the member, and all that are around it, are secrets; the last is the innermost.
    secret: Vec<bool>,
}

#[derive(Debug, Default)]
struct Mongodb {
    /// The server's, the client's.
    sides: [Side; 2],
}

impl Layout for Mongodb {
    fn begin(&mut self, client: bool) -> Take {
        let [server, of] = &mut self.sides;
        *(if client { of } else { server }) = Side::default();
        Take::See(16)
    }

    fn next(&mut self, client: bool, taken: &Taken<'_>) -> Take {
        let [server, of] = &mut self.sides;
        let side = if client { of } else { server };
        side.step(taken).unwrap_or_else(|| self.begin(client))
    }

    fn resumes(&mut self, _: bool, input: &[u8]) -> bool {
        head(input).is_some_and(|[length, .., code]| {
            (16..LIMIT).contains(&length) && (1..=OP_MSG).contains(&code)
        })
    }
}

impl Side {
    fn step(&mut self, taken: &Taken<'_>) -> Option<Take> {
        self.left = self.left.saturating_sub(taken.length);
        Some(match self.at {
            At::Head => {
                let Some([length, .., code]) = head(taken.seen) else { return Some(Take::Lost) };
                if !(16..LIMIT).contains(&length) {
                    return Some(Take::Lost);
                }
                self.left = length - 16;
                match code {
                    OP_MSG => self.see(At::Flags, 4),
                    OP_QUERY => self.see(At::Collection, 4),
                    _ => self.rest(),
                }
            }
            At::Flags => {
                (self.checked, self.message) = (taken.little() & CHECKSUM != 0, true);
                self.section()
            }
            At::Section => match taken.seen {
                [0] => self.see(At::Document, 4),
                [1] => self.see(At::Sequence, 4),
                _ => self.rest(),
            },
            At::Collection => {
                self.at = At::Options;
                Take::string(self.left)
            }
            At::Sequence => {
                // Its length counts.
                self.until = Some((self.left + 4).saturating_sub(taken.little()));
                self.at = At::Numbers;
                Take::string(self.left)
            }
            At::Numbers => self.see(At::Document, 4),
            // Behind the collection of OP_QUERY: how many to skip, and to return.
            At::Options if self.secret.is_empty() => {
                self.at = At::Numbers;
                Take::Keep(self.left.min(8))
            }
            At::Document => {
                let around = self.secret.last().copied().unwrap_or_default();
                if self.secret.len() >= DEPTH {
                    return Some(self.hide_all());
                }
                self.secret.push(around);
                self.see(At::Kind, 1)
            }
            At::Kind => match taken.seen {
                [0] => self.leave(),
                [kind] => {
                    self.kind = *kind;
                    self.at = At::Name;
                    Take::string(self.left)
                }
                _ => self.rest(),
            },
            At::Name => self.value(taken.seen),
            At::Length => self.content(taken.little()),
            At::Options => {
                self.at = At::Value;
                Take::string(self.left)
            }
            At::Value => self.see(At::Kind, 1),
            At::Rest if self.left > 0 => self.rest(),
            At::Rest => return None,
        })
    }

    /// What follows the name of an element, by its type.
    fn value(&mut self, name: &[u8]) -> Take {
        let mut word = Word::default();
        name.iter().for_each(|byte| word.push(*byte));
        let word = word.as_bytes();
        let around = self.secret.last().copied().unwrap_or_default();
        // Whose secrecy holds for all that is within. Of SASL the payload is one.
        let secret = around || names::kind(word, false).is_some() || word == b"payload";
        let fixed = match self.kind {
            0x03 | 0x04 => {
                self.secret.push(secret);
                return self.see(At::Document, 4);
            }
            0x02 | 0x05 | 0x0d | 0x0e | 0x0c => {
                self.secret.push(secret);
                return self.see(At::Length, 4);
            }
            0x0b => {
                self.at = At::Options;
                return Take::string(self.left);
            }
            0x01 | 0x09 | 0x11 | 0x12 => 8,
            0x10 => 4,
            0x08 => 1,
            0x07 => 12,
            0x13 => 16,
            0x06 | 0x0a | 0x7f | 0xff => 0,
            _ => return self.hide_all(),
        };
        self.at = At::Value;
        let length = fixed.min(self.left);
        if secret { Take::Hide(length) } else { Take::Keep(length) }
    }

    /// Text or bytes of this length.
    fn content(&mut self, length: u64) -> Take {
        let secret = self.secret.pop().unwrap_or_default();
        self.at = At::Value;
        let more = match self.kind {
            // The subtype; a DBPointer's identifier.
            0x05 => 1,
            0x0c => 12,
            _ => 0,
        };
        let length = (length + more).min(self.left);
        if secret { Take::Hide(length) } else { Take::Keep(length) }
    }

    /// The document ended.
    fn leave(&mut self) -> Take {
        self.secret.pop();
        if self.secret.is_empty() {
            return match self.until {
                _ if !self.message => self.rest(),
                Some(until) if self.left > until => self.see(At::Document, 4),
                _ => self.section(),
            };
        }
        // That of the member that it was.
        self.secret.pop();
        self.see(At::Kind, 1)
    }

    fn section(&mut self) -> Take {
        self.until = None;
        let end = if self.checked { 4 } else { 0 };
        if self.left <= end { self.rest() } else { self.see(At::Section, 1) }
    }

    fn see(&mut self, at: At, length: u64) -> Take {
        self.at = at;
        Take::See(length.min(self.left))
    }

    const fn rest(&mut self) -> Take {
        self.at = At::Rest;
        Take::Keep(self.left)
    }

    /// What cannot be read is not shown.
    const fn hide_all(&mut self) -> Take {
        self.at = At::Rest;
        Take::Hide(self.left)
    }
}
