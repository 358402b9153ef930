//! MQTT 3.1.1 and 5 (OASIS): bytes of both directions in, packets with what answers them out.
//!
//! Both sides publish, and answers name the packet that they are of. PINGREQ, PINGRESP and AUTH are
//! passed over; so are the payloads, and all that authenticates.

mod fields;
mod packets;
mod probe;
mod publish;
mod reasons;
mod requests;
#[cfg(test)]
mod tests;

use self::{
    packets::Kind,
    probe::{Chain, Probe},
    publish::Aliases,
};
use super::{
    Message, Role, System,
    cursor::Cursor,
    duplex::{Duplex, Line},
    frames::{Frame, Head},
    pending::{Pending, Queue},
    protocol::{Family, Guess, Sighting},
};
use crate::capture::Call;

pub(super) const FAMILY: Family =
    Family { guess, start: |start| Box::new(Line::new(start, Mqtt::default())) };

/// More bytes that may be MQTT, and do not say whose they are, are not waited for.
const UNDECIDED: usize = 16 << 10;

fn guess(sighting: &Sighting<'_>) -> Guess {
    let Sighting { bytes, at, first } = *sighting;
    match probe::connect(bytes) {
        Probe::Connect if first => return Guess::Yes(Role::of_requests(at)),
        Probe::Partial if first => return Guess::Maybe,
        _ => {}
    }
    let is = |side| probe::chain(side, None, bytes) == Some(Chain::Strong);
    match (is(Role::Client), is(Role::Server)) {
        (true, false) => Guess::Yes(Role::of_requests(at)),
        (false, true) => Guess::Yes(Role::of_requests(at.opposite())),
        // Both sides publish.
        (true, true) if bytes.len() < UNDECIDED => Guess::Maybe,
        _ => Guess::No,
    }
}

/// A packet that awaits its answer.
#[derive(Debug)]
struct Asked {
    by: Role,
    kind: Kind,
    id: u16,
}

/// The MQTT side of one connection.
#[derive(Debug, Default)]
struct Mqtt {
    /// Of the protocol: 4 is 3.1.1.
    level: Option<u8>,
    client: Side,
    server: Side,
}

/// What is known of what a side sends.
#[derive(Debug, Default)]
struct Side {
    aliases: Aliases,
    /// The bytes of the last call were whole packets, by which it is found again.
    whole: bool,
}

impl Mqtt {
    const fn of(&mut self, side: Role) -> &mut Side {
        match side {
            Role::Client => &mut self.client,
            Role::Server => &mut self.server,
        }
    }

    /// The packet that is answered, by its number.
    fn answer(
        &mut self,
        awaiting: &mut Queue<Asked>,
        side: Role,
        kind: Kind,
        call: &Call,
        frame: &Frame,
        out: &mut Vec<Message>,
    ) -> Option<()> {
        let mut fields = Cursor(&frame.body);
        let id = if kind == Kind::ConnAck { Some(0) } else { fields.int16() };
        let Some(id) = id else {
            self.lose(awaiting, side, out);
            return frame.lost.then_some(());
        };
        let of = |asked: &Asked| asked.by != side && asked.id == id && asked.kind.is_answered(kind);
        // What was asked before the connection was seen, or lost.
        let Some(at) = awaiting.position(of) else { return Some(()) };
        let asked = awaiting.get_mut(at)?;
        let operation = &mut asked.pending.operation;
        // PUBREC comes before PUBCOMP.
        operation.truncated |=
            frame.lost || (kind == Kind::PubComp && operation.response_size == 0);
        operation.response_size = operation.response_size.saturating_add(frame.size);
        let outcome = if kind == Kind::ConnAck {
            self.connected(operation, fields, frame.whole)?
        } else {
            fields::outcome(kind, self.level, fields, frame.whole)?
        };
        let failed = outcome.as_ref().is_some_and(|outcome| outcome.failed);
        operation.truncated |= outcome.is_none();
        operation.outcome = outcome;
        if kind != Kind::PubRec || failed {
            awaiting.end(at, Some(call), out);
        }
        Some(())
    }

    /// Packets that await their answers, by their number; one that has it already never got its own.
    fn wait(awaiting: &mut Queue<Asked>, pending: Pending, asked: Asked, out: &mut Vec<Message>) {
        let same = |other: &Asked| other.by == asked.by && other.id == asked.id;
        if let Some(at) = awaiting.position(same) {
            awaiting.end(at, None, out);
        }
        if !awaiting.push(pending, asked) {
            awaiting.end_front(None, out);
        }
    }
}

impl Duplex for Mqtt {
    type Note = Asked;

    fn begins(&self, input: &[u8]) -> bool {
        probe::connect(input) != Probe::No
    }

    fn resumes(&mut self, _awaiting: &Queue<Asked>, side: Role, input: &[u8]) -> bool {
        let chain = probe::chain(side, self.level, input);
        // Packets of two or four bytes are few to tell by.
        let before = std::mem::replace(&mut self.of(side).whole, chain.is_some());
        chain == Some(Chain::Strong) || (before && chain.is_some())
    }

    fn head(&mut self, _awaiting: &Queue<Asked>, side: Role, head: &[u8]) -> Head {
        packets::head(side, head)
    }

    fn take(
        &mut self,
        awaiting: &mut Queue<Asked>,
        side: Role,
        call: &Call,
        frame: &Frame,
        out: &mut Vec<Message>,
    ) -> Option<()> {
        let kind = Kind::of(*frame.head.first()?, side)?;
        let mut pending = Pending::asked_by(side, System::Mqtt, awaiting.role, frame);
        pending.operation.name = Some(kind.name().to_owned());
        let id = match kind {
            Kind::PingReq | Kind::PingResp | Kind::Auth | Kind::PubRel => return Some(()),
            Kind::Publish => self.publish(side, frame, &mut pending.operation)?,
            Kind::Connect => self.connect(frame, &mut pending.operation).map(|()| Some(0))?,
            Kind::Subscribe | Kind::Unsubscribe => {
                self.topics(kind, frame, &mut pending.operation)?
            }
            Kind::Disconnect => {
                let fields = Cursor(&frame.body);
                pending.operation.outcome = fields::outcome(kind, self.level, fields, frame.whole)?;
                None
            }
            _ => return self.answer(awaiting, side, kind, call, frame, out),
        };
        match id {
            Some(id) => Self::wait(awaiting, pending, Asked { by: side, kind, id }, out),
            // It has no answer, or nobody knows which.
            None => awaiting.tell(pending, None, out),
        }
        Some(())
    }

    fn lose(&mut self, awaiting: &mut Queue<Asked>, side: Role, out: &mut Vec<Message>) {
        // A number may have got another packet meanwhile, an alias another topic.
        awaiting.lose_those(|asked| asked.by != side, out);
        *self.of(side) = Side::default();
    }

    fn held(&self) -> usize {
        self.client.aliases.weight() + self.server.aliases.weight()
    }
}
