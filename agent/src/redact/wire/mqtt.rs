//! MQTT 3.1, 3.1.1 and 5: the password of CONNECT, and what an enhanced authentication says.

use super::{Layout, Take, Taken, Wire, lanes::Lanes};
use crate::{
    capture::Direction,
    redact::{names, word::Word},
};

const CONNECT: u8 = 0x10;
const AUTH: u8 = 0xf0;

/// Flags of CONNECT (MQTT 5, section 3.1.2.3).
const WILL: u8 = 0x04;
const PASSWORD: u8 = 0x40;
const USER: u8 = 0x80;

pub(super) fn guess(bytes: &[u8], at: Direction, _: bool) -> Option<Box<dyn Wire>> {
    let near = bytes.get(..16).unwrap_or(bytes);
    let connects = near.first() == Some(&CONNECT)
        && [&b"\0\x04MQTT"[..], b"\0\x06MQIsdp"]
            .iter()
            .any(|name| matches!(memchr::memmem::find(near, name), Some(2..=5)));
    connects.then(|| Box::new(Lanes::new(at, Mqtt::default())) as Box<dyn Wire>)
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Kind,
    Size,
    /// The protocol's name and its length, then level, flags and keep-alive.
    NameLength,
    Name,
    Flags,
    /// Properties: their length, then each of them.
    Properties,
    Property,
    Value,
    /// Texts of which a length tells the end.
    Length,
    Text,
    Reason,
    Rest,
}

/// What a length stands before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    Plain,
    Secret,
    /// A name; its value follows.
    Name,
    Value,
}

#[derive(Debug, Default)]
struct Side {
    at: At,
    kind: u8,
    left: u64,
    /// A number of several bytes, and its shift.
    number: (u64, u32),
    level: u8,
    flags: u8,
    /// Bytes of properties that are left.
    properties: u64,
    /// Texts that follow, the last one first.
    texts: Vec<Text>,
    text: Option<Text>,
    /// Whether they are of a property, and whether the name before was one of a secret.
    within: bool,
    named: bool,
    /// The payload's texts, when properties of the will are in front of them.
    will: bool,
}

#[derive(Debug, Default)]
struct Mqtt {
    /// The server's, the client's.
    sides: [Side; 2],
}

impl Layout for Mqtt {
    fn begin(&mut self, client: bool) -> Take {
        let [server, of] = &mut self.sides;
        let side = if client { of } else { server };
        *side = Side::default();
        Take::See(1)
    }

    fn next(&mut self, client: bool, taken: &Taken<'_>) -> Take {
        let [server, of] = &mut self.sides;
        let side = if client { of } else { server };
        match side.step(taken) {
            Some(take) => take,
            None => self.begin(client),
        }
    }

    fn resumes(&mut self, _: bool, _: &[u8]) -> bool {
        // Authentication is over.
        false
    }
}

impl Side {
    /// `None`: the packet ended.
    fn step(&mut self, taken: &Taken<'_>) -> Option<Take> {
        if !matches!(self.at, At::Kind | At::Size) {
            self.left = self.left.saturating_sub(taken.length);
        }
        if self.within {
            self.properties = self.properties.saturating_sub(taken.length);
        }
        let first = taken.seen.first().copied().unwrap_or_default();
        Some(match self.at {
            At::Kind => {
                self.kind = first;
                self.see(At::Size, 1)
            }
            At::Size => match self.add(first) {
                None => self.see(At::Size, 1),
                Some(size) => {
                    self.left = size;
                    match self.kind {
                        CONNECT => self.see(At::NameLength, 2),
                        AUTH if size > 1 => self.see(At::Reason, 1),
                        _ => self.rest(),
                    }
                }
            },
            At::NameLength => {
                self.at = At::Name;
                Take::Keep(taken.number().min(self.left))
            }
            At::Name => self.see(At::Flags, 4),
            At::Flags => {
                (self.level, self.flags) = (first, taken.seen.get(1).copied().unwrap_or_default());
                self.texts = self.payload();
                if self.level >= 5 { self.see(At::Properties, 1) } else { self.text() }
            }
            At::Reason => self.see(At::Properties, 1),
            At::Properties => match self.add(first) {
                None => self.see(At::Properties, 1),
                Some(length) => {
                    (self.properties, self.within) = (length, true);
                    self.property()
                }
            },
            At::Property => self.value(first),
            At::Value => self.property(),
            At::Length => {
                self.at = At::Text;
                let length = taken.number().min(self.left);
                match self.text {
                    Some(Text::Secret) => Take::Hide(length),
                    Some(Text::Value) if self.named => Take::Hide(length),
                    Some(Text::Name) if length <= 64 => Take::See(length),
                    _ => Take::Keep(length),
                }
            }
            At::Text => {
                let mut name = Word::default();
                taken.seen.iter().for_each(|byte| name.push(*byte));
                self.named =
                    self.text == Some(Text::Name) && names::kind(name.as_bytes(), false).is_some();
                self.text()
            }
            At::Rest => return None,
        })
    }

    /// The texts of the payload of CONNECT, the last one first.
    fn payload(&self) -> Vec<Text> {
        let mut texts = Vec::new();
        if self.flags & PASSWORD != 0 {
            texts.push(Text::Secret);
        }
        if self.flags & USER != 0 {
            texts.push(Text::Plain);
        }
        if self.flags & WILL != 0 {
            texts.extend([Text::Plain, Text::Plain]);
        }
        texts.push(Text::Plain);
        texts
    }

    /// The next text.
    fn text(&mut self) -> Take {
        if self.within {
            // That was the value of a property.
            return match self.text {
                Some(Text::Name) => self.length(Text::Value),
                _ => self.property(),
            };
        }
        // Properties of the will are behind the client's identifier.
        let wills = self.level >= 5 && self.flags & WILL != 0 && self.text.is_some();
        if wills && !std::mem::replace(&mut self.will, true) {
            return self.see(At::Properties, 1);
        }
        match self.texts.pop() {
            Some(text) => self.length(text),
            None => self.rest(),
        }
    }

    const fn length(&mut self, text: Text) -> Take {
        self.text = Some(text);
        self.see(At::Length, 2)
    }

    /// The next property, or what is behind them.
    fn property(&mut self) -> Take {
        if self.properties > 0 {
            return self.see(At::Property, 1);
        }
        self.within = false;
        self.text()
    }

    /// MQTT 5, section 2.2.2.2.
    const fn value(&mut self, property: u8) -> Take {
        let fixed = match property {
            0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2a => 1,
            0x13 | 0x21 | 0x22 | 0x23 => 2,
            0x02 | 0x11 | 0x18 | 0x27 => 4,
            0x26 => return self.length(Text::Name),
            0x16 => return self.length(Text::Secret),
            0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x1a | 0x1c | 0x1f => {
                return self.length(Text::Plain);
            }
            _ => {
                // Not known: none of the rest is shown.
                self.at = At::Rest;
                return Take::Hide(self.left);
            }
        };
        self.at = At::Value;
        Take::Keep(fixed)
    }

    /// A byte of a number (section 1.5.5).
    const fn add(&mut self, byte: u8) -> Option<u64> {
        let (number, shift) = self.number;
        let number = number | ((byte & 0x7f) as u64) << shift;
        if byte < 0x80 || shift >= 21 {
            self.number = (0, 0);
            return Some(number);
        }
        self.number = (number, shift + 7);
        None
    }

    const fn see(&mut self, at: At, length: u64) -> Take {
        self.at = at;
        // All packets have a first byte, and a length.
        let left = if matches!(at, At::Size) || self.left > length { length } else { self.left };
        Take::See(left)
    }

    const fn rest(&mut self) -> Take {
        self.at = At::Rest;
        Take::Keep(self.left)
    }
}
