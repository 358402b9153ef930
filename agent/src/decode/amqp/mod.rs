//! AMQP 0-9-1 (<https://www.rabbitmq.com/amqp-0-9-1-reference>): bytes of both directions in, methods
//! with their answers, and messages, out.
//!
//! Answers come in order on a channel, and name what they answer by their type. Acknowledgements and
//! heartbeats are passed over, so are the bodies of messages, and what authenticates.

mod content;
mod frames;
mod methods;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use self::{
    content::{Content, Open},
    frames::{Chain, Kind},
    methods::{Id, Method, Said},
};
use super::{
    Message, Operation, Outcome, Role, System,
    duplex::{Duplex, Line},
    frames::{Frame, Head},
    pending::{Pending, Queue},
    protocol::{Family, Guess, Sighting},
};
use crate::capture::Call;

pub(super) const FAMILY: Family =
    Family { guess, start: |start| Box::new(Line::new(start, Amqp::default())) };

fn guess(sighting: &Sighting<'_>) -> Guess {
    let Sighting { bytes, at, first } = *sighting;
    if first && frames::HEADER.starts_with(bytes.get(..8).unwrap_or(bytes)) {
        let whole = bytes.len() >= frames::HEADER.len();
        return if whole { Guess::Yes(Role::of_requests(at)) } else { Guess::Maybe };
    }
    let is = |side| frames::chain(side, bytes) == Some(Chain::Strong);
    match (is(Role::Client), is(Role::Server)) {
        (true, false) => Guess::Yes(Role::of_requests(at)),
        (false, true) => Guess::Yes(Role::of_requests(at.opposite())),
        _ => Guess::No,
    }
}

/// A method that awaits its answer.
#[derive(Debug)]
struct Asked {
    by: Role,
    channel: u16,
    method: Id,
}

/// The AMQP side of one connection.
#[derive(Debug, Default)]
struct Amqp {
    /// Messages of which more is to come, by who sends them on which channel.
    contents: HashMap<(bool, u16), Open>,
    /// A method was called before the one before it on its channel was answered.
    pipelines: bool,
    /// Bytes were lost since: which method an answer belongs to is not known any more.
    unpaired: bool,
}

impl Amqp {
    fn method(
        &mut self,
        awaiting: &mut Queue<Asked>,
        side: Role,
        call: &Call,
        frame: &Frame,
        out: &mut Vec<Message>,
    ) -> Option<()> {
        let channel = frames::channel(frame)?;
        let Some(id) = methods::id(&frame.body) else {
            self.lose(awaiting, side, out);
            return frame.lost.then_some(());
        };
        let method = methods::find(side, id)?;
        let said = match methods::read(method, &frame.body) {
            Some(said) => said,
            None if frame.whole => return None,
            // Nobody knows what it was about.
            None => Said::default(),
        };
        if frame.whole && frame.body.last() != Some(&frames::END) {
            return None;
        }
        if let Some(asked) = method.answers {
            return self.answer(awaiting, side, channel, (asked, id), call, frame, said, out);
        }
        if method.quiet {
            return Some(());
        }
        let mut pending = Pending::asked_by(side, System::Amqp, awaiting.role, frame);
        let operation = &mut pending.operation;
        said.write(method, channel, side, operation);
        operation.truncated = frame.lost;
        if said.fails(method, side) {
            return Self::fail(awaiting, channel, method, &said, pending, call, out);
        }
        if method.content {
            return self.open(awaiting, side, channel, Content::Message(Box::new(pending)), out);
        }
        if said.waits(method, side) {
            if self.unpaired {
                awaiting.tell(pending, None, out);
                return Some(());
            }
            self.pipelines |= awaiting.position(|asked| asked.channel == channel).is_some();
            if !awaiting.push(pending, Asked { by: side, channel, method: id }) {
                awaiting.end_front(None, out);
            }
        } else {
            if frame.whole {
                operation.outcome.get_or_insert_default();
            }
            awaiting.tell(pending, None, out);
        }
        Some(())
    }

    #[expect(clippy::too_many_arguments, reason = "what an answer is made of")]
    fn answer(
        &mut self,
        awaiting: &mut Queue<Asked>,
        side: Role,
        channel: u16,
        (method, by): (Id, Id),
        call: &Call,
        frame: &Frame,
        said: Said,
        out: &mut Vec<Message>,
    ) -> Option<()> {
        let of = |asked: &Asked| {
            (asked.by != side, asked.channel, asked.method) == (true, channel, method)
        };
        let at = awaiting.position(of);
        let goes_on = by == methods::GET_OK;
        if let Some(asked) = at.and_then(|at| awaiting.get_mut(at)) {
            let operation = &mut asked.pending.operation;
            operation.response_size = operation.response_size.saturating_add(frame.size);
            operation.truncated |= frame.lost;
            said.write_answer(by, operation);
        }
        if goes_on {
            // Its message follows also where it was asked for before anything was seen.
            let content = if at.is_some() { Content::Answer } else { Content::Unknown };
            return self.open(awaiting, side, channel, content, out);
        }
        if let Some(at) = at {
            awaiting.end(at, Some(call), out);
        }
        if methods::renews_channel(by) {
            awaiting.lose_those(|asked| asked.channel == channel, out);
        }
        Some(())
    }

    /// A server closes a channel, or the connection, because of a method that it names.
    fn fail(
        awaiting: &mut Queue<Asked>,
        channel: u16,
        method: &Method,
        said: &Said,
        alone: Pending,
        call: &Call,
        out: &mut Vec<Message>,
    ) -> Option<()> {
        let connection = method.id == methods::CONNECTION_CLOSE;
        let within =
            |asked: &Asked| asked.by == Role::Client && (connection || asked.channel == channel);
        let named = |asked: &Asked| {
            within(asked)
                && (Some(asked.method) == said.because
                    // A login is refused without a name.
                    || (connection && asked.method.0 == method.id.0))
        };
        let Some(at) = awaiting.position(named) else {
            awaiting.tell(alone, None, out);
            return Some(());
        };
        let operation = &mut awaiting.get_mut(at)?.pending.operation;
        operation.response_size =
            operation.response_size.saturating_add(alone.operation.request_size);
        operation.truncated |= alone.operation.truncated;
        operation.outcome = alone.operation.outcome;
        awaiting.end(at, Some(call), out);
        while let Some(at) = awaiting.position(within) {
            awaiting.end(at, None, out);
        }
        Some(())
    }
}

impl Duplex for Amqp {
    type Note = Asked;

    fn begins(&self, input: &[u8]) -> bool {
        frames::HEADER.starts_with(input.get(..8).unwrap_or(input))
    }

    fn resumes(&mut self, _awaiting: &Queue<Asked>, side: Role, input: &[u8]) -> bool {
        frames::chain(side, input).is_some()
    }

    fn head(&mut self, _awaiting: &Queue<Asked>, side: Role, head: &[u8]) -> Head {
        frames::head(side, head)
    }

    fn take(
        &mut self,
        awaiting: &mut Queue<Asked>,
        side: Role,
        call: &Call,
        frame: &Frame,
        out: &mut Vec<Message>,
    ) -> Option<()> {
        match frames::kind(frame)? {
            Kind::Protocol | Kind::Heartbeat => Some(()),
            Kind::Method => self.method(awaiting, side, call, frame, out),
            Kind::Header => self.header(awaiting, side, call, frame, out),
            Kind::Body => self.body(awaiting, side, call, frame, out),
        }
    }

    fn lose(&mut self, awaiting: &mut Queue<Asked>, side: Role, out: &mut Vec<Message>) {
        let mut channels: Vec<u16> = self.open_channels(side).collect();
        channels.sort_unstable();
        for channel in channels {
            self.cut(awaiting, side, channel, out);
        }
        awaiting.lose_those(|asked| asked.by != side, out);
        self.unpaired |= self.pipelines;
    }

    fn held(&self) -> usize {
        self.contents.len() * 2 * size_of::<Operation>()
    }
}

/// What the server gave as the reason of a failure.
fn failure(code: u16, text: Option<String>) -> Outcome {
    Outcome { code: Some(code.to_string()), message: text, failed: true, ..Outcome::default() }
}
