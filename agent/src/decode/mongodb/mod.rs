//! MongoDB's wire protocol: bytes of both directions in, operations out. `OP_MSG`, also compressed,
//! and what is older than it, as far as drivers still begin with it.
//!
//! Every answer names the request that it belongs to, so that pairs are told whatever was lost.

mod bson;
mod command;
mod decimal;
mod json;
mod probe;
mod reply;
mod sections;
#[cfg(test)]
mod tests;
mod wire;

use self::{
    sections::{Body, MORE_TO_COME, Wrong},
    wire::{Packet, Packets},
};
use super::{
    Message, Outcome, System,
    dialogue::{Conversation, Dialogue},
    pending::{Pending, Queue},
    protocol::Family,
};
use crate::capture::Call;

pub(super) const FAMILY: Family = Family {
    guess: probe::guess,
    start: |start| {
        let (requests, answers) = (Packets::new(false), Packets::new(start.gap));
        Box::new(Conversation::new(start, Mongodb { fresh: true, more: None }, requests, answers))
    },
};

/// What requests that await their answers may take, before their texts are left out: compressed
/// ones are much larger than what was sent.
const WEIGHT_LIMIT: usize = 2 << 20;

/// The MongoDB side of one connection.
#[derive(Debug)]
struct Mongodb {
    /// The bytes that told the protocol come first.
    fresh: bool,
    /// The answer that said that more come, and what they answer.
    more: Option<More>,
}

/// "moreToCome": the next answer names this one as its request.
#[derive(Debug)]
struct More {
    id: u32,
    name: Option<String>,
    target: Option<String>,
    namespace: Option<String>,
}

impl Dialogue for Mongodb {
    type Requests = Packets;
    type Answers = Packets;
    /// The number of the request.
    type Note = u32;

    fn resumes(&mut self, _begun: bool, input: &[u8]) -> bool {
        std::mem::take(&mut self.fresh) || probe::is_message(input)
    }

    fn ask(&mut self, awaiting: &mut Queue<u32>, request: &Packet, out: &mut Vec<Message>) -> bool {
        let Ok(mut asked) = command::read(request, awaiting.role) else { return false };
        if awaiting.weight > WEIGHT_LIMIT && asked.pending.operation.text.take().is_some() {
            asked.pending.operation.truncated = true;
        }
        if asked.answered {
            return awaiting.push(asked.pending, request.header.id);
        }
        awaiting.tell(asked.pending, None, out);
        true
    }

    fn answer(
        &mut self,
        awaiting: &mut Queue<u32>,
        call: &Call,
        answer: &Packet,
        out: &mut Vec<Message>,
    ) -> bool {
        let id = answer.header.answers;
        if let Some(at) = awaiting.position(|&request| request == id) {
            return self.answered(awaiting, at, call, answer, out).is_ok();
        }
        match self.more.take() {
            Some(more) if more.id == id => {
                self.told_more(awaiting, more, call, answer, out).is_ok()
            }
            // Of a request that was not seen.
            more => {
                self.more = more;
                true
            }
        }
    }

    fn lose(&mut self, _begun: bool) -> bool {
        (self.fresh, self.more) = (false, None);
        true
    }

    fn held(&self) -> usize {
        self.more.as_ref().map_or(0, More::weight)
    }
}

impl More {
    fn weight(&self) -> usize {
        let texts = [&self.name, &self.target, &self.namespace];
        texts.into_iter().flatten().map(String::len).sum()
    }
}

impl Mongodb {
    fn answered(
        &mut self,
        awaiting: &mut Queue<u32>,
        at: usize,
        call: &Call,
        answer: &Packet,
        out: &mut Vec<Message>,
    ) -> Result<(), Wrong> {
        let Some(asked) = awaiting.get_mut(at) else { return Ok(()) };
        let operation = &mut asked.pending.operation;
        let (outcome, whole, more) = read(operation.name.as_deref(), answer)?;
        operation.response_size = answer.frame.size;
        operation.truncated |= !whole;
        operation.outcome = outcome;
        self.more = more.then(|| More {
            id: answer.header.id,
            name: operation.name.clone(),
            target: operation.target.clone(),
            namespace: operation.namespace.clone(),
        });
        awaiting.end(at, Some(call), out);
        Ok(())
    }

    /// A further answer to a request that has had one.
    fn told_more(
        &mut self,
        awaiting: &mut Queue<u32>,
        more: More,
        call: &Call,
        answer: &Packet,
        out: &mut Vec<Message>,
    ) -> Result<(), Wrong> {
        let (outcome, whole, goes_on) = read(more.name.as_deref(), answer)?;
        let (began, size) = (answer.frame.began, answer.frame.size);
        let mut pending = Pending::unasked(System::Mongodb, awaiting.role, began, size);
        let operation = &mut pending.operation;
        operation.name.clone_from(&more.name);
        operation.target.clone_from(&more.target);
        operation.namespace.clone_from(&more.namespace);
        operation.truncated = !whole;
        operation.outcome = outcome;
        self.more = goes_on.then_some(More { id: answer.header.id, ..more });
        awaiting.tell(pending, Some(call), out);
        Ok(())
    }
}

/// The outcome, whether all that it is made of was there, and whether another answer follows.
fn read(command: Option<&str>, answer: &Packet) -> Result<(Option<Outcome>, bool, bool), Wrong> {
    let body = match Body::of(answer) {
        Ok(body) => body,
        Err(Wrong::Compressed) => return Ok((None, false, false)),
        Err(Wrong::Malformed) => return Err(Wrong::Malformed),
    };
    let documents = body.documents()?;
    let more = documents.flags & MORE_TO_COME != 0;
    let Some(document) = documents.command else {
        let whole = documents.whole && !answer.frame.lost;
        return Ok((whole.then(Outcome::default), whole, more));
    };
    let (outcome, whole) = reply::outcome(command, document);
    Ok((outcome, whole && documents.whole && !answer.frame.lost, more))
}
