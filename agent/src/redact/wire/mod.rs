//! Undecoded plaintext in, what must change in it out: what [`super::scanner`] finds in any bytes, and
//! what only the protocol tells. For each protocol there is a reader that knows where its secrets
//! are, and no more; it passes over all else by the lengths of messages.

mod amqp;
mod edits;
mod http1;
mod http2;
mod kafka;
mod lanes;
mod mail;
mod mongodb;
mod mqtt;
mod mysql;
mod postgresql;
mod redis;
mod sql;
#[cfg(test)]
mod tests;
mod websocket;

use std::fmt;

use bytes::Bytes;

use self::{
    edits::Edits,
    lanes::{Layout, Take, Taken},
};
use super::{Patterns, scanner::Scanner};
use crate::capture::Direction;

/// The first bytes of a direction that are kept while no protocol is known.
const OPENING: usize = 128;

/// The surest first. `first`: no others came before these bytes in their direction.
type Guess = fn(bytes: &[u8], at: Direction, first: bool) -> Option<Box<dyn Wire>>;
const GUESSES: [Guess; 10] = [
    http1::guess,
    http2::guess,
    postgresql::guess,
    amqp::guess,
    mqtt::guess,
    redis::guess,
    kafka::guess,
    mysql::guess,
    mongodb::guess,
    mail::guess,
];

/// What a reader made of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    /// All that any bytes may have is looked for too.
    AsText,
    /// That was looked for.
    Whole,
    /// They are not of the protocol.
    Lost,
}

/// The reader of a connection.
trait Wire: fmt::Debug + Send {
    /// Takes the next bytes of a direction.
    fn read(&mut self, at: Direction, bytes: &[u8], of: &Patterns, edits: &mut Edits) -> Read;

    /// Bytes were lost; 0 when nobody knows how many.
    fn gap(&mut self, at: Direction, length: u64);
}

/// A connection.
#[derive(Debug, Default)]
pub(super) struct Plaintext {
    wire: Option<Box<dyn Wire>>,
    /// By [`Direction::index`].
    scanners: [Scanner; 2],
    openings: [Opening; 2],
}

#[derive(Debug, Default)]
struct Opening {
    bytes: Vec<u8>,
    over: bool,
}

impl Plaintext {
    /// Masks the secrets in the next bytes of a direction.
    pub(super) fn mask(&mut self, at: Direction, bytes: &mut Bytes, of: &Patterns) {
        let mut edits = Edits::default();
        if self.read(at, bytes, of, &mut edits) != Read::Whole {
            for place in at.of_mut(&mut self.scanners).scan(bytes) {
                edits.mask(place);
            }
            for place in of.own(bytes) {
                edits.mask(place);
            }
        }
        edits.apply(bytes);
    }

    pub(super) fn gap(&mut self, at: Direction, length: u64) {
        at.of_mut(&mut self.openings).over = true;
        if let Some(wire) = &mut self.wire {
            wire.gap(at, length);
        }
    }

    fn read(&mut self, at: Direction, bytes: &[u8], of: &Patterns, edits: &mut Edits) -> Read {
        if self.wire.is_none() {
            return self.guess(at, bytes, of, edits);
        }
        let read = self.wire.as_mut().map_or(Read::Lost, |wire| wire.read(at, bytes, of, edits));
        if read == Read::Lost {
            self.wire = None;
        }
        read
    }

    fn guess(&mut self, at: Direction, bytes: &[u8], of: &Patterns, edits: &mut Edits) -> Read {
        let opening = at.of_mut(&mut self.openings);
        let before = std::mem::take(&mut opening.bytes);
        let first = !opening.over;
        let whole = if before.is_empty() { None } else { Some([&before, bytes].concat()) };
        let whole = whole.as_deref().filter(|_| first);
        let guess = |bytes, first| GUESSES.iter().find_map(|guess| guess(bytes, at, first));
        let joined = whole.and_then(|whole| guess(whole, true));
        let found = joined.is_some();
        if let Some(mut wire) = joined.or_else(|| guess(bytes, first && before.is_empty())) {
            if found {
                // They are shown already.
                wire.read(at, &before, of, &mut Edits::default());
            }
            self.wire = Some(wire);
            return self.read(at, bytes, of, edits);
        }
        let opening = at.of_mut(&mut self.openings);
        match whole.unwrap_or(bytes) {
            kept if first && kept.len() <= OPENING => opening.bytes = kept.to_vec(),
            _ => opening.over = true,
        }
        Read::AsText
    }
}
