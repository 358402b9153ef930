//! Kafka: what authenticates a client. <https://kafka.apache.org/protocol.html>

use super::{Layout, Take, Taken, Wire, lanes::Lanes};
use crate::capture::Direction;

const SASL_HANDSHAKE: u64 = 17;
const API_VERSIONS: u8 = 18;
const SASL_AUTHENTICATE: u64 = 36;
/// Versions from this one on have tags in their headers, and short lengths.
const FLEXIBLE: u64 = 2;
/// Beyond these no request is.
const KEYS: u8 = 100;
const VERSIONS: u8 = 30;

pub(super) fn guess(bytes: &[u8], at: Direction, first: bool) -> Option<Box<dyn Wire>> {
    let [0, 0, _, _, 0, key, 0, version, _, _, _, _, high, low, ..] = bytes else { return None };
    let length = i16::from_be_bytes([*high, *low]);
    let fits =
        first && matches!(*key, API_VERSIONS | 17) && *version < 8 && (-1..256).contains(&length);
    fits.then(|| Box::new(Lanes::new(at, Kafka::default())) as Box<dyn Wire>)
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Size,
    Header,
    Client,
    Tags,
    Length,
    Raw,
    Rest,
}

#[derive(Debug, Default)]
struct Kafka {
    at: At,
    left: u64,
    key: u64,
    version: u64,
    /// Behind a first version of the handshake tokens have no headers.
    raw: bool,
}

impl Layout for Kafka {
    fn begin(&mut self, client: bool) -> Take {
        if !client {
            return Take::Keep(u64::MAX);
        }
        self.at = At::Size;
        Take::See(4)
    }

    fn next(&mut self, client: bool, taken: &Taken<'_>) -> Take {
        if !client {
            return self.begin(false);
        }
        self.left = self.left.saturating_sub(taken.length);
        match self.at {
            At::Size => {
                self.left = taken.number();
                if self.raw { self.see(At::Raw, 4) } else { self.see(At::Header, 10) }
            }
            At::Raw => {
                let request = matches!(taken.seen, [0, key, 0, version]
                    if *key < KEYS && *version < VERSIONS && self.left > 6);
                if !request {
                    return self.hide(0);
                }
                self.raw = false;
                self.key = taken.number() >> 16;
                self.version = taken.number() & 0xffff;
                self.see(At::Header, 6)
            }
            At::Header => self.header(taken),
            At::Client if self.key == SASL_AUTHENTICATE && self.version < FLEXIBLE => {
                self.see(At::Length, 4)
            }
            At::Client if self.key == SASL_AUTHENTICATE => self.see(At::Tags, 1),
            At::Client => self.rest(),
            At::Tags => self.see(At::Length, 1),
            // A length of several bytes, of which each but the last has the highest bit.
            At::Length if self.version >= FLEXIBLE && taken.number() >= 0x80 => {
                self.see(At::Length, 1)
            }
            At::Length => self.hide(u64::from(self.version >= FLEXIBLE)),
            At::Rest if self.left > 0 => self.rest(),
            At::Rest => self.begin(true),
        }
    }

    fn resumes(&mut self, client: bool, input: &[u8]) -> bool {
        client && matches!(input, [_, _, _, _, 0, 0..KEYS, 0, 0..VERSIONS, ..])
    }
}

impl Kafka {
    fn header(&mut self, taken: &Taken<'_>) -> Take {
        let seen = taken.seen;
        let tail = match seen {
            [a, b, c, d, _, _, _, _, tail @ ..] => {
                self.key = u64::from(u16::from_be_bytes([*a, *b]));
                self.version = u64::from(u16::from_be_bytes([*c, *d]));
                tail
            }
            [_, _, _, _, tail @ ..] => tail,
            _ => return Take::Lost,
        };
        self.raw = self.key == SASL_HANDSHAKE && self.version == 0;
        let length = tail.first_chunk().map_or(0, |length| i16::from_be_bytes(*length));
        self.at = At::Client;
        Take::Keep(u64::try_from(length).unwrap_or(0).min(self.left))
    }

    fn see(&mut self, at: At, length: u64) -> Take {
        self.at = at;
        Take::See(length.min(self.left))
    }

    /// All but the last bytes.
    const fn hide(&mut self, behind: u64) -> Take {
        self.at = At::Rest;
        Take::Hide(self.left.saturating_sub(behind))
    }

    const fn rest(&mut self) -> Take {
        self.at = At::Rest;
        Take::Keep(self.left)
    }
}
