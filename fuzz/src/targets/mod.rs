//! What is fuzzed: each decoder, and what else reads bytes that somebody else has made.

mod elf;
mod proc;
mod record;
mod replay;

use tlstap::capture::Direction;

use crate::{conversation::Conversation, openings};

/// One of them.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    kind: Kind,
}

enum Kind {
    /// A connection that begins so.
    Connection(fn() -> openings::Opening),
    /// Something else, and what it is fed with first.
    Other(fn(&[u8]), fn() -> Vec<Vec<u8>>),
}

/// All of them.
pub(crate) fn all() -> Vec<Target> {
    let connections = openings::ALL.map(|(name, opening)| (name, Kind::Connection(opening)));
    let others = [
        ("elf", Kind::Other(elf::run, elf::seeds)),
        ("proc", Kind::Other(proc::run, proc::seeds)),
        ("record", Kind::Other(record::run, record::seeds)),
        ("replay", Kind::Other(replay::run, replay::seeds)),
    ];
    let all = connections.into_iter().chain(others);
    all.map(|(name, kind)| Target { name, kind }).collect()
}

impl Target {
    pub(crate) fn run(&self, data: &[u8]) {
        match self.kind {
            Kind::Connection(opening) => converse(&opening(), data),
            Kind::Other(run, _) => run(data),
        }
    }

    pub(crate) fn seeds(&self) -> Vec<Vec<u8>> {
        match self.kind {
            Kind::Connection(_) => Vec::new(),
            Kind::Other(_, seeds) => seeds(),
        }
    }
}

/// Goes on with a connection by what the bytes say: one byte for direction, loss and length, then as
/// many bytes.
fn converse(opening: &[(Direction, Vec<u8>)], data: &[u8]) {
    let mut conversation = Conversation::begin(opening);
    let mut rest = data;
    while let Some((&head, behind)) = rest.split_first() {
        let direction = if head & 1 == 0 { Direction::Transmit } else { Direction::Receive };
        let length = usize::from(head >> 2) + 1;
        // Few, since most decoders have to look for the next message behind one.
        if head & 2 != 0 && head >> 5 == 0 {
            conversation.lose(direction, length as u64);
            rest = behind;
            continue;
        }
        let (piece, next) = behind.split_at_checked(length).unwrap_or((behind, &[]));
        conversation.say(direction, piece);
        rest = next;
    }
    conversation.end();
}
