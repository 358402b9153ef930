//! Messages behind methods (specification, section 4.2.6): a header with the size, and the body in
//! pieces, of which only the sizes are of use.

use super::{Amqp, Asked, frames, methods};
use crate::{
    capture::Call,
    decode::{
        Message, Outcome, Role,
        cursor::Cursor,
        frames::Frame,
        pending::{Pending, Queue},
    },
};

/// More messages at once are no connection that can be followed.
const OPEN_LIMIT: usize = 4096;

/// A message of which more is to come.
#[derive(Debug)]
pub(super) struct Open {
    of: Content,
    /// Absent before its header.
    left: Option<u64>,
}

/// What it belongs to.
#[derive(Debug)]
pub(super) enum Content {
    Message(Box<Pending>),
    /// The answer to the oldest `basic.get` of its channel.
    Answer,
    /// To what was not seen.
    Unknown,
}

impl Amqp {
    /// A method was called that a message follows; one that is not complete never will be.
    pub(super) fn open(
        &mut self,
        awaiting: &mut Queue<Asked>,
        side: Role,
        channel: u16,
        of: Content,
        out: &mut Vec<Message>,
    ) -> Option<()> {
        self.cut(awaiting, side, channel, out);
        self.contents.insert((side == Role::Client, channel), Open { of, left: None });
        (self.contents.len() <= OPEN_LIMIT).then_some(())
    }

    pub(super) fn open_channels(&self, side: Role) -> impl Iterator<Item = u16> {
        let of_side = move |(client, _): &&(bool, u16)| *client == (side == Role::Client);
        self.contents.keys().filter(of_side).map(|(_, channel)| *channel)
    }

    pub(super) fn header(
        &mut self,
        awaiting: &mut Queue<Asked>,
        side: Role,
        call: &Call,
        frame: &Frame,
        out: &mut Vec<Message>,
    ) -> Option<()> {
        let channel = frames::channel(frame)?;
        let mut fields = Cursor(&frame.body);
        // Class and weight.
        let size = fields.int32().and_then(|_| fields.int64());
        let Some(open) = self.contents.get_mut(&(side == Role::Client, channel)) else {
            return Some(());
        };
        if open.left.is_some() {
            return None;
        }
        open.left = size;
        self.count(awaiting, side, channel, frame, |body_size| *body_size = size);
        match size {
            Some(0) => self.complete(awaiting, side, channel, call, out),
            Some(_) => {}
            // Lost, and with it where the message ends.
            None => self.cut(awaiting, side, channel, out),
        }
        Some(())
    }

    pub(super) fn body(
        &mut self,
        awaiting: &mut Queue<Asked>,
        side: Role,
        call: &Call,
        frame: &Frame,
        out: &mut Vec<Message>,
    ) -> Option<()> {
        let channel = frames::channel(frame)?;
        let Some(open) = self.contents.get_mut(&(side == Role::Client, channel)) else {
            return Some(());
        };
        // Without head and end.
        let left = open.left?.checked_sub(frame.size.saturating_sub(8))?;
        open.left = Some(left);
        self.count(awaiting, side, channel, frame, |_| {});
        if left == 0 {
            self.complete(awaiting, side, channel, call, out);
        }
        Some(())
    }

    /// Adds a frame to the message that it belongs to.
    fn count(
        &mut self,
        awaiting: &mut Queue<Asked>,
        side: Role,
        channel: u16,
        frame: &Frame,
        change: impl FnOnce(&mut Option<u64>),
    ) {
        let Some(open) = self.contents.get_mut(&(side == Role::Client, channel)) else { return };
        let (operation, answer) = match &mut open.of {
            Content::Message(pending) => (&mut pending.operation, false),
            Content::Answer => {
                let asked = got(awaiting, channel).and_then(|at| awaiting.get_mut(at));
                let Some(asked) = asked else { return };
                (&mut asked.pending.operation, true)
            }
            Content::Unknown => return,
        };
        let size = if answer { &mut operation.response_size } else { &mut operation.request_size };
        *size = size.saturating_add(frame.size);
        operation.truncated |= frame.lost;
        if let Some(said) = &mut operation.messaging {
            change(&mut said.body_size);
        }
    }

    fn complete(
        &mut self,
        awaiting: &mut Queue<Asked>,
        side: Role,
        channel: u16,
        call: &Call,
        out: &mut Vec<Message>,
    ) {
        let open = self.contents.remove(&(side == Role::Client, channel));
        match open.map(|open| open.of) {
            Some(Content::Message(mut pending)) => {
                pending.operation.outcome.get_or_insert_default();
                awaiting.tell(*pending, None, out);
            }
            Some(Content::Answer) => {
                if let Some(at) = got(awaiting, channel) {
                    awaiting.end(at, Some(call), out);
                }
            }
            Some(Content::Unknown) | None => {}
        }
    }

    /// The rest of a message was lost, or never comes.
    pub(super) fn cut(
        &mut self,
        awaiting: &mut Queue<Asked>,
        side: Role,
        channel: u16,
        out: &mut Vec<Message>,
    ) {
        let open = self.contents.remove(&(side == Role::Client, channel));
        match open.map(|open| open.of) {
            Some(Content::Message(mut pending)) => {
                pending.operation.truncated = true;
                pending.operation.outcome.get_or_insert_with(Outcome::default);
                awaiting.tell(*pending, None, out);
            }
            Some(Content::Answer) => {
                let at = got(awaiting, channel);
                if let Some(asked) = at.and_then(|at| awaiting.get_mut(at)) {
                    asked.pending.operation.truncated = true;
                }
                if let Some(at) = at {
                    awaiting.end(at, None, out);
                }
            }
            Some(Content::Unknown) | None => {}
        }
    }
}

/// The `basic.get` that a message answers.
fn got(awaiting: &Queue<Asked>, channel: u16) -> Option<usize> {
    awaiting.position(|asked| asked.channel == channel && asked.method == methods::GET)
}
