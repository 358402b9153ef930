//! AMQP 0-9-1: the responses of connection.start-ok and connection.secure-ok.
//! <https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf>

use super::{Layout, Take, Taken, Wire, lanes::Lanes};
use crate::capture::Direction;

const METHOD: u8 = 1;
/// Class and method.
const START_OK: u64 = 10 << 16 | 11;
const SECURE_OK: u64 = 10 << 16 | 21;

pub(super) fn guess(bytes: &[u8], at: Direction, first: bool) -> Option<Box<dyn Wire>> {
    let header = first && bytes.starts_with(b"AMQP\0\0\x09\x01");
    header.then(|| {
        Box::new(Lanes::new(at, Amqp { starting: true, ..Amqp::default() })) as Box<dyn Wire>
    })
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Frame,
    Method,
    /// The table of properties, then the mechanism, each behind its length.
    TableLength,
    Table,
    MechanismLength,
    Mechanism,
    Length,
    Rest,
}

#[derive(Debug, Default)]
struct Amqp {
    starting: bool,
    at: At,
    /// Bytes of the frame that are still to come, its end included.
    left: u64,
}

impl Layout for Amqp {
    fn begin(&mut self, client: bool) -> Take {
        if !client {
            // Challenges are no secrets.
            return Take::Keep(u64::MAX);
        }
        self.at = At::Frame;
        if std::mem::take(&mut self.starting) {
            self.at = At::Rest;
            return Take::Keep(8);
        }
        Take::See(7)
    }

    fn next(&mut self, client: bool, taken: &Taken<'_>) -> Take {
        if !client {
            return self.begin(false);
        }
        self.left = self.left.saturating_sub(taken.length);
        let left = self.left;
        match self.at {
            At::Frame => {
                let [kind, _, _, size @ ..] = taken.seen else { return Take::Lost };
                let size =
                    size.first_chunk().map_or(0, |size| u64::from(u32::from_be_bytes(*size)));
                self.left = size + 1;
                match *kind {
                    METHOD => self.see(At::Method, 4),
                    _ => self.rest(),
                }
            }
            At::Method => match taken.number() {
                START_OK => self.see(At::TableLength, 4),
                SECURE_OK => self.see(At::Length, 4),
                _ => self.rest(),
            },
            At::TableLength => self.keep(At::Table, taken.number()),
            At::Table => self.see(At::MechanismLength, 1),
            At::MechanismLength => self.keep(At::Mechanism, taken.number()),
            At::Mechanism => self.see(At::Length, 4),
            At::Length => {
                self.at = At::Rest;
                Take::Hide(taken.number().min(left.saturating_sub(1)))
            }
            At::Rest if left > 0 => self.rest(),
            At::Rest => self.begin(true),
        }
    }

    fn resumes(&mut self, client: bool, input: &[u8]) -> bool {
        client && matches!(input, [1..=4 | 8, ..])
    }
}

impl Amqp {
    fn see(&mut self, at: At, length: u64) -> Take {
        self.at = at;
        Take::See(length.min(self.left))
    }

    fn keep(&mut self, at: At, length: u64) -> Take {
        self.at = at;
        Take::Keep(length.min(self.left))
    }

    const fn rest(&mut self) -> Take {
        self.at = At::Rest;
        Take::Keep(self.left)
    }
}
