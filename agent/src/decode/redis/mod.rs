//! Redis: RESP 2 and 3 (<https://redis.io/docs/latest/develop/reference/protocol-spec/>). Bytes of
//! both directions in, commands with their replies out.
//!
//! RESP numbers nothing: a reply belongs to the oldest command that has none. So after a loss
//! pairs are only made again on a connection whose client awaits each reply; otherwise the rest is
//! opaque.

mod command;
mod reply;
#[cfg(test)]
mod tests;
mod value;

use self::{
    command::{Effect, Probe},
    value::{Value, Values},
};
use super::{
    Message, Role,
    dialogue::{Conversation, Dialogue},
    pending::Queue,
    protocol::{Family, Guess, Sighting},
};
use crate::capture::Call;

pub(super) const FAMILY: Family = Family {
    guess,
    start: |start| {
        let (requests, answers) = (Values::commands(), Values::replies());
        Box::new(Conversation::new(start, Redis::new(), requests, answers))
    },
};

fn guess(sighting: &Sighting<'_>) -> Guess {
    match command::probe(sighting.bytes) {
        Probe::Command => Guess::Yes(Role::of_requests(sighting.at)),
        Probe::Partial => Guess::Maybe,
        Probe::No => Guess::No,
    }
}

/// A command that awaits its reply.
#[derive(Debug)]
struct Asked {
    /// How many values answer it: one, but for each channel of a `SUBSCRIBE`.
    replies: u64,
    effect: Effect,
}

/// The Redis side of one connection.
#[derive(Debug)]
struct Redis {
    /// A command was sent before the reply to the one before it.
    pipelines: bool,
    /// `HELLO 3` succeeded: what nobody asked for has a type of its own.
    resp3: bool,
    subscribed: bool,
    monitors: bool,
}

impl Redis {
    const fn new() -> Self {
        Self { pipelines: false, resp3: false, subscribed: false, monitors: false }
    }

    /// Whether nobody asked for a value.
    fn is_pushed(&self, awaiting: &Queue<Asked>, value: &Value) -> bool {
        let asked = awaiting.front();
        let asked = asked.and_then(|front| front.pending.operation.name.as_deref());
        if value.kind == b'>' {
            return !asked.is_some_and(|name| reply::confirms(value, name));
        }
        (!self.resp3 && self.subscribed && reply::is_pushed(value, asked))
            || (self.monitors && value.kind == b'+' && asked.is_none())
    }

    fn take_effect(&mut self, awaiting: &Queue<Asked>, value: &Value) {
        let Some(front) = awaiting.front() else { return };
        match front.note.effect {
            _ if value.is_error() => {}
            Effect::Resp3 => self.resp3 = true,
            Effect::Resp2 => self.resp3 = false,
            Effect::Subscribe => self.subscribed = true,
            Effect::Monitor => self.monitors = true,
            Effect::Reset => {
                (self.resp3, self.subscribed, self.monitors) = (false, false, false);
            }
            Effect::None | Effect::Silence => {}
        }
    }
}

impl Dialogue for Redis {
    type Requests = Values;
    type Answers = Values;
    type Note = Asked;

    fn resumes(&mut self, _begun: bool, input: &[u8]) -> bool {
        // Programs hand a command's beginning to the TLS library as a call's beginning.
        command::probe(input) != Probe::No
    }

    fn ask(
        &mut self,
        awaiting: &mut Queue<Asked>,
        request: &Value,
        _out: &mut Vec<Message>,
    ) -> bool {
        // An empty array or line is passed over by the server.
        let Some((pending, asked)) = command::read(request, awaiting.role) else {
            return true;
        };
        let silence = asked.effect == Effect::Silence;
        self.pipelines |= !awaiting.is_empty();
        awaiting.begun |= silence;
        awaiting.push(pending, asked) && !silence
    }

    fn answer(
        &mut self,
        awaiting: &mut Queue<Asked>,
        call: &Call,
        answer: &Value,
        out: &mut Vec<Message>,
    ) -> bool {
        if self.is_pushed(awaiting, answer) {
            awaiting.tell(reply::pushed(answer, awaiting.role), Some(call), out);
            return true;
        }
        let Some(front) = awaiting.front_mut() else { return false };
        let operation = &mut front.pending.operation;
        operation.response_size = operation.response_size.saturating_add(answer.size);
        operation.outcome = Some(reply::outcome(answer));
        operation.truncated |= answer.lost;
        let replies = &mut front.note.replies;
        *replies = if answer.is_error() { 0 } else { replies.saturating_sub(1) };
        let answered = *replies == 0;
        self.take_effect(awaiting, answer);
        if answered {
            awaiting.end_front(Some(call), out);
        }
        true
    }

    fn lose(&mut self, _begun: bool) -> bool {
        !(self.pipelines || self.subscribed || self.monitors)
    }
}
