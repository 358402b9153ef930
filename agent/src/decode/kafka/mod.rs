//! Apache Kafka (<https://kafka.apache.org/protocol>): bytes of both directions in, requests with their
//! answers out. An answer names its request by a number.
//!
//! Topics, groups and error codes are read in the versions that are known; of others there is the
//! name. Records are passed over, so is what authenticates.

mod answers;
mod apis;
mod errors;
mod requests;
#[cfg(test)]
mod tests;
mod wire;

use self::{answers::Read, apis::Api, wire::Wire};
use super::{
    Message, Messaging, Outcome, Role, System,
    cursor::Cursor,
    duplex::{Duplex, Line},
    frames::{Frame, Head},
    pending::{Pending, Queue},
    protocol::{Family, Guess, Sighting},
};
use crate::capture::Call;

pub(super) const FAMILY: Family =
    Family { guess, start: |start| Box::new(Line::new(start, Kafka::default())) };

/// How much of a request or an answer is kept behind the numbers that each begins with.
const KEEP: usize = 16 << 10;
/// More than a server takes by default (`socket.request.max.bytes`), tenfold.
const LARGEST: u32 = 1 << 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    No,
    Partial,
    Request,
}

fn guess(sighting: &Sighting<'_>) -> Guess {
    match probe(sighting.bytes) {
        Probe::Request => Guess::Yes(Role::of_requests(sighting.at)),
        Probe::Partial if sighting.first => Guess::Maybe,
        _ => Guess::No,
    }
}

/// Whether bytes begin with a request: its length, an API that is known in this version, a number, and
/// the client's name for itself.
fn probe(bytes: &[u8]) -> Probe {
    let mut fields = Cursor(bytes);
    if bytes.first().is_some_and(|&high| high != 0) {
        return Probe::No;
    }
    let Some(length) = fields.int32() else { return Probe::Partial };
    let whole = bytes.len() as u64 >= u64::from(length) + 4;
    if length < 10 {
        return Probe::No;
    }
    let Some(key) = fields.int16() else { return Probe::Partial };
    let Some(api) = Api::find(key.cast_signed()) else { return Probe::No };
    let Some(version) = fields.int16() else { return Probe::Partial };
    if !api.has(version.cast_signed()) {
        return Probe::No;
    }
    let Some(number) = fields.int32() else { return Probe::Partial };
    let Some(client) = fields.int16() else { return Probe::Partial };
    if number.cast_signed() < 0 || !(1..=255).contains(&client) || u32::from(client) + 10 > length {
        return Probe::No;
    }
    match fields.take(usize::from(client)) {
        Some(name) if name.iter().all(u8::is_ascii_graphic) => {
            match requests::is_plausible(api, version.cast_signed(), fields.0) {
                Some(true) => Probe::Request,
                None if !whole => Probe::Partial,
                _ => Probe::No,
            }
        }
        None if !whole => Probe::Partial,
        _ => Probe::No,
    }
}

/// A request that awaits its answer.
#[derive(Debug)]
struct Asked {
    number: u32,
    api: &'static Api,
    version: i16,
}

/// The Kafka side of one connection.
#[derive(Debug, Default)]
struct Kafka {
    /// An answer was read since the server's bytes were found.
    proven: bool,
}

impl Kafka {
    fn ask(awaiting: &mut Queue<Asked>, frame: &Frame, out: &mut Vec<Message>) -> Option<()> {
        let mut head = Cursor(frame.head.get(4..)?);
        let (key, version) = (head.int16()?.cast_signed(), head.int16()?.cast_signed());
        let number = head.int32()?;
        let api = Api::find(key)?;
        let mut pending = Pending::asked_by(Role::Client, System::Kafka, awaiting.role, frame);
        let operation = &mut pending.operation;
        operation.name = Some(api.name.to_owned());
        operation.truncated = frame.lost;
        let said = Messaging { version: Some(version), ..Messaging::default() };
        operation.messaging = Some(Box::new(said));
        let answered = requests::read(api, version, &frame.body, operation);
        if !answered {
            operation.outcome = Some(Outcome::default());
            awaiting.tell(pending, None, out);
        } else if !awaiting.push(pending, Asked { number, api, version }) {
            awaiting.end_front(None, out);
        }
        Some(())
    }

    fn answer(
        &mut self,
        awaiting: &mut Queue<Asked>,
        call: &Call,
        frame: &Frame,
        out: &mut Vec<Message>,
    ) -> Option<()> {
        self.proven = true;
        let number = Cursor(frame.head.get(4..)?).int32()?;
        let Some(at) = awaiting.position(|asked| asked.number == number) else { return Some(()) };
        // "The server guarantees that on a single TCP connection, requests will be processed in the
        // order they are sent": those before it have lost theirs.
        for _ in 0..at {
            awaiting.end_front(None, out);
        }
        let front = awaiting.front_mut()?;
        let (api, version) = (front.note.api, front.note.version);
        let operation = &mut front.pending.operation;
        operation.response_size = frame.size;
        let Read { failure, whole } = answers::read(api, version, &frame.body, frame.whole);
        operation.truncated |= frame.lost || !whole;
        operation.outcome = Some(failure.map_or(Outcome::default(), |code| Outcome {
            code: Some(code.to_string()),
            message: errors::name(code).map(str::to_owned),
            failed: true,
            ..Outcome::default()
        }));
        awaiting.end_front(Some(call), out);
        // Behind it tokens follow that have no head.
        (api.key != apis::SASL_HANDSHAKE || version > 0).then_some(())
    }
}

impl Duplex for Kafka {
    type Note = Asked;

    fn begins(&self, input: &[u8]) -> bool {
        probe(input) != Probe::No
    }

    fn resumes(&mut self, awaiting: &Queue<Asked>, side: Role, input: &[u8]) -> bool {
        if side == Role::Client {
            return probe(input) == Probe::Request;
        }
        matches!(self.head(awaiting, side, input.get(..8).unwrap_or(input)), Head::Body { .. })
    }

    fn head(&mut self, awaiting: &Queue<Asked>, side: Role, head: &[u8]) -> Head {
        let mut fields = Cursor(head);
        let Some(length) = fields.int32() else { return Head::More };
        if !(4..=LARGEST).contains(&length) {
            return Head::Malformed;
        }
        if side == Role::Server {
            let Some(number) = fields.int32() else { return Head::More };
            if !self.proven && awaiting.position(|asked| asked.number == number).is_none() {
                return Head::Malformed;
            }
            return Head::Body { length: u64::from(length) - 4, keep: KEEP };
        }
        let Some(key) = fields.int16() else { return Head::More };
        let Some(version) = fields.int16() else { return Head::More };
        let Some(_) = fields.int32() else { return Head::More };
        let api = Api::find(key.cast_signed());
        match api.filter(|_| length >= 8 && version.cast_signed() >= 0) {
            None => Head::Malformed,
            // A token, of which nothing may be kept.
            Some(api) if api.key == apis::SASL_AUTHENTICATE => {
                Head::Body { length: u64::from(length) - 8, keep: 0 }
            }
            Some(_) => Head::Body { length: u64::from(length) - 8, keep: KEEP },
        }
    }

    fn take(
        &mut self,
        awaiting: &mut Queue<Asked>,
        side: Role,
        call: &Call,
        frame: &Frame,
        out: &mut Vec<Message>,
    ) -> Option<()> {
        match side {
            Role::Client => Self::ask(awaiting, frame, out),
            Role::Server => self.answer(awaiting, call, frame, out),
        }
    }

    fn lose(&mut self, _awaiting: &mut Queue<Asked>, side: Role, _out: &mut Vec<Message>) {
        // Numbers stay what they are.
        self.proven &= side == Role::Client;
    }
}
