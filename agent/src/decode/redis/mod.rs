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

use std::collections::VecDeque;

use self::{
    command::{Effect, Probe},
    value::{Reader, Step, Value},
};
use super::{
    Message, Role,
    pending::{OUTSTANDING_LIMIT, Pending},
    protocol::{Family, Flow, Guess, Protocol, Sighting, Start},
};
use crate::capture::{Call, ConnectionKey, Direction};

pub(super) const FAMILY: Family = Family { guess, start: |start| Box::new(Redis::new(start)) };

fn guess(sighting: &Sighting<'_>) -> Guess {
    match command::probe(sighting.bytes) {
        Probe::Command => Guess::Yes(Role::of_requests(sighting.at)),
        Probe::Partial => Guess::Maybe,
        Probe::No => Guess::No,
    }
}

/// A command that awaits its reply.
#[derive(Debug)]
struct Awaiting {
    pending: Pending,
    /// How many values answer it: one, but for each channel of a `SUBSCRIBE`.
    replies: u64,
    effect: Effect,
}

/// The Redis side of one connection.
#[derive(Debug)]
pub(super) struct Redis {
    connection: ConnectionKey,
    role: Role,
    commands: Reader,
    replies: Reader,
    awaiting: VecDeque<Awaiting>,
    weight: usize,
    /// Bytes were lost, so what a reply belongs to is not known.
    lost: bool,
    /// A command was sent before the reply to the one before it.
    pipelines: bool,
    /// `HELLO 3` succeeded: what nobody asked for has a type of its own.
    resp3: bool,
    subscribed: bool,
    monitors: bool,
    begun: bool,
    /// It cannot be followed any more.
    over: bool,
}

impl Redis {
    fn new(start: &Start<'_>) -> Self {
        Self {
            connection: start.connection,
            role: start.role,
            commands: Reader::commands(),
            replies: Reader::replies(),
            awaiting: VecDeque::new(),
            weight: 0,
            lost: true,
            pipelines: false,
            resp3: false,
            subscribed: false,
            monitors: false,
            begun: false,
            over: false,
        }
    }

    fn commands(&mut self, call: &Call, mut input: &[u8], out: &mut Vec<Message>) -> Option<usize> {
        if self.lost {
            // Programs hand a command's beginning to the TLS library as a call's beginning.
            if self.commands.is_between() && command::probe(input) == Probe::No {
                return None;
            }
            self.lost = false;
        }
        loop {
            match self.commands.step(call, &mut input) {
                Step::More => return None,
                Step::Malformed => return Some(input.len()),
                Step::Value(value) => {
                    if !self.command(value, out) {
                        return Some(input.len());
                    }
                }
            }
        }
    }

    /// Whether it can be followed further.
    fn command(&mut self, value: Value, out: &mut Vec<Message>) -> bool {
        // An empty array or line is passed over by the server.
        let Some((pending, effect, replies)) = command::read(value, self.role) else { return true };
        if matches!(effect, Effect::Silence) || self.awaiting.len() >= OUTSTANDING_LIMIT {
            self.begun = true;
            out.push(pending.message(self.connection, None));
            return false;
        }
        self.pipelines |= !self.awaiting.is_empty();
        self.weight += pending.weight();
        self.awaiting.push_back(Awaiting { pending, replies, effect });
        true
    }

    fn answers(&mut self, call: &Call, mut input: &[u8], out: &mut Vec<Message>) -> Option<usize> {
        if self.lost || (!self.begun && self.awaiting.is_empty() && self.commands.is_between()) {
            return None;
        }
        loop {
            match self.replies.step(call, &mut input) {
                Step::More => return None,
                Step::Malformed => return Some(input.len()),
                Step::Value(value) => {
                    if !self.reply(call, value, out) {
                        return Some(input.len());
                    }
                }
            }
        }
    }

    /// Whether it can be followed further.
    fn reply(&mut self, call: &Call, value: Value, out: &mut Vec<Message>) -> bool {
        let asked = self.awaiting.front().is_some_and(|front| {
            let name = front.pending.operation.name.as_deref().unwrap_or_default();
            value.kind != b'>' || reply::confirms(&value, name)
        });
        let unasked = value.kind == b'>'
            || (!self.resp3
                && self.subscribed
                && reply::is_pushed(&value, asked_name(&self.awaiting)))
            || (self.monitors && value.kind == b'+' && self.awaiting.is_empty());
        if unasked && !(asked && value.kind == b'>') {
            out.push(reply::pushed(&value, self.role).message(self.connection, Some(call)));
            self.begun = true;
            return true;
        }
        let Some(front) = self.awaiting.front_mut() else { return false };
        front.pending.operation.response_size =
            front.pending.operation.response_size.saturating_add(value.size);
        front.replies = if value.is_error() { 0 } else { front.replies.saturating_sub(1) };
        let more = front.replies > 0;
        front.pending.operation.outcome = Some(reply::outcome(&value));
        front.pending.operation.truncated |= value.lost;
        self.take_effect(&value);
        if !more && let Some(done) = self.awaiting.pop_front() {
            self.weight = self.weight.saturating_sub(done.pending.weight());
            out.push(done.pending.message(self.connection, Some(call)));
            self.begun = true;
        }
        true
    }

    fn take_effect(&mut self, value: &Value) {
        let Some(front) = self.awaiting.front() else { return };
        match front.effect {
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

    fn tell_unanswered(&mut self, out: &mut Vec<Message>) {
        self.weight = 0;
        for Awaiting { mut pending, .. } in self.awaiting.drain(..) {
            if pending.operation.outcome.take().is_some() {
                pending.operation.truncated = true;
            }
            out.push(pending.message(self.connection, None));
        }
    }

    fn lose(&mut self, out: &mut Vec<Message>) {
        if self.begun {
            self.tell_unanswered(out);
        }
        self.awaiting.clear();
        self.weight = 0;
        self.commands.reset();
        self.replies.reset();
        self.lost = true;
        self.over |= self.pipelines || self.subscribed || self.monitors;
    }
}

/// The name of the oldest command without a reply.
fn asked_name(awaiting: &VecDeque<Awaiting>) -> Option<&str> {
    awaiting.front().and_then(|front| front.pending.operation.name.as_deref())
}

impl Protocol for Redis {
    fn push(&mut self, call: &Call, at: Direction, bytes: &[u8], out: &mut Vec<Message>) -> Flow {
        let left = if self.over {
            Some(bytes.len())
        } else if at == self.role.requests() {
            self.commands(call, bytes, out)
        } else {
            self.answers(call, bytes, out)
        };
        let Some(left) = left else { return Flow::Open };
        if self.begun {
            self.tell_unanswered(out);
        }
        Flow::over(self.unread(), at, left)
    }

    fn gap(&mut self, at: Direction, length: u64, out: &mut Vec<Message>) {
        let reader =
            if at == self.role.requests() { &mut self.commands } else { &mut self.replies };
        if self.lost || reader.skip(length) {
            return;
        }
        self.lose(out);
    }

    fn finish(mut self: Box<Self>, _complete: bool, out: &mut Vec<Message>) {
        self.tell_unanswered(out);
    }

    fn is_begun(&self) -> bool {
        self.begun
    }

    fn held(&self) -> usize {
        self.commands.held() + self.replies.held() + self.weight
    }

    fn unread(&self) -> [usize; 2] {
        let (commands, replies) = (self.commands.unread(), self.replies.unread());
        Direction::BOTH.map(|at| if at == self.role.requests() { commands } else { replies })
    }

    fn give_up(&mut self, out: &mut Vec<Message>) {
        self.lose(out);
    }
}
