//! Operations while their answers are awaited: requests in, messages out.

use std::collections::VecDeque;

use super::{
    Content, Message, Operation, Outcome, Role, System, frames::Frame, moved, protocol::Start,
};
use crate::capture::{Call, ConnectionKey};

/// More requests than this without an answer are no connection that can be followed.
const OUTSTANDING_LIMIT: usize = 4096;

/// How much of a statement or a command is kept.
pub(super) const TEXT_LIMIT: usize = 64 << 10;

/// An operation that is not complete.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) operation: Operation,
    /// Whether it is told only when it fails.
    pub(super) quiet: bool,
    /// The call that moved its first byte.
    began: Call,
}

impl Pending {
    /// Begins with a request of so many bytes.
    pub(super) const fn request(system: System, role: Role, began: Call, size: u64) -> Self {
        let mut operation = Operation::new(system, role);
        operation.request_size = size;
        Self { operation, quiet: false, began }
    }

    /// As [`Self::request`], of a side that need not be the client.
    pub(super) fn asked_by(side: Role, system: System, role: Role, frame: &Frame) -> Self {
        let mut pending = Self::request(system, role, frame.began, frame.size);
        pending.operation.by_server = side == Role::Server;
        pending
    }

    /// What came without a request.
    pub(super) fn unasked(system: System, role: Role, began: Call, size: u64) -> Self {
        let mut operation = Operation::new(system, role);
        operation.response_size = size;
        operation.outcome = Some(Outcome::default());
        Self { operation, quiet: false, began }
    }

    /// How much memory it takes.
    fn weight(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let Operation { name, namespace, target, text: whole, parameters, messaging, .. } =
            &self.operation;
        let parameters = parameters.iter().map(|value| size_of_val(value) + text(value));
        let messaging = messaging.as_ref().map_or(0, |said| {
            size_of_val(&**said) + text(&said.client) + text(&said.group) + text(&said.routing_key)
        });
        let texts = [name, namespace, target, whole].map(text).iter().sum::<usize>();
        size_of::<Self>() + texts + parameters.sum::<usize>() + messaging
    }

    /// `last` is the call that moved the last byte of the answer, where that was seen.
    fn message(mut self, connection: ConnectionKey, last: Option<&Call>) -> Message {
        if self.operation.request_size > 0 && self.operation.outcome.is_some() {
            let began = moved(&self.began, self.operation.requests());
            self.operation.duration_ns = last.and_then(|last| last.returned.checked_sub(began));
        }
        let content = Content::Operation(Box::new(self.operation));
        Message { connection, call: self.began, content }
    }
}

/// A request that awaits its answer, with what its protocol notes of it.
#[derive(Debug)]
pub(super) struct Awaiting<T> {
    pub(super) pending: Pending,
    pub(super) note: T,
    weight: usize,
}

/// The requests of one connection that await their answers, in order.
#[derive(Debug)]
pub(super) struct Queue<T> {
    connection: ConnectionKey,
    pub(super) role: Role,
    awaiting: VecDeque<Awaiting<T>>,
    /// How much memory they take.
    pub(super) weight: usize,
    /// Whether anything was recognised.
    pub(super) begun: bool,
}

impl<T> Queue<T> {
    pub(super) const fn new(start: &Start<'_>) -> Self {
        Self {
            connection: start.connection,
            role: start.role,
            awaiting: VecDeque::new(),
            weight: 0,
            begun: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.awaiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.awaiting.len()
    }

    pub(super) fn front(&self) -> Option<&Awaiting<T>> {
        self.awaiting.front()
    }

    pub(super) fn front_mut(&mut self) -> Option<&mut Awaiting<T>> {
        self.awaiting.front_mut()
    }

    pub(super) fn back_mut(&mut self) -> Option<&mut Awaiting<T>> {
        self.awaiting.back_mut()
    }

    /// Which of them this is said of.
    pub(super) fn position(&self, mut is: impl FnMut(&T) -> bool) -> Option<usize> {
        self.awaiting.iter().position(|awaiting| is(&awaiting.note))
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut Awaiting<T>> {
        self.awaiting.get_mut(at)
    }

    /// What is noted of them, the oldest first.
    pub(super) fn notes(&mut self) -> impl DoubleEndedIterator<Item = &mut T> + ExactSizeIterator {
        self.awaiting.iter_mut().map(|awaiting| &mut awaiting.note)
    }

    /// Gives `false` when there are too many to be followed.
    pub(super) fn push(&mut self, pending: Pending, note: T) -> bool {
        let weight = pending.weight();
        self.weight = self.weight.saturating_add(weight);
        self.awaiting.push_back(Awaiting { pending, note, weight });
        self.awaiting.len() <= OUTSTANDING_LIMIT
    }

    /// What is told of no request, or has no answer.
    pub(super) fn tell(&mut self, pending: Pending, last: Option<&Call>, out: &mut Vec<Message>) {
        self.begun = true;
        out.push(pending.message(self.connection, last));
    }

    /// The oldest one has its answer, or, without a call, never gets one.
    pub(super) fn end_front(&mut self, last: Option<&Call>, out: &mut Vec<Message>) {
        self.end(0, last, out);
    }

    /// As [`Self::end_front`], of another one.
    pub(super) fn end(&mut self, at: usize, last: Option<&Call>, out: &mut Vec<Message>) {
        let Some(Awaiting { pending, weight, .. }) = self.awaiting.remove(at) else { return };
        self.weight = self.weight.saturating_sub(weight);
        self.begun |= last.is_some();
        let failed = pending.operation.outcome.as_ref().is_some_and(|outcome| outcome.failed);
        if failed || !pending.quiet {
            out.push(pending.message(self.connection, last));
        }
    }

    /// Takes those behind the first out of which this is said, without a word.
    pub(super) fn drop_behind_front(&mut self, mut dropped: impl FnMut(&T) -> bool) {
        let mut first = true;
        self.awaiting.retain(|next| std::mem::take(&mut first) || !dropped(&next.note));
        self.weight = self.awaiting.iter().map(|awaiting| awaiting.weight).sum();
    }

    /// None of them gets its answer.
    pub(super) fn tell_unanswered(&mut self, out: &mut Vec<Message>) {
        for Awaiting { pending, .. } in &mut self.awaiting {
            // Of some a part of the answer came.
            let operation = &mut pending.operation;
            if operation.outcome.take().is_some() || operation.response_size > 0 {
                operation.truncated = true;
            }
        }
        while !self.awaiting.is_empty() {
            self.end_front(None, out);
        }
    }

    /// Likewise of those of which this is so, which may have lost it.
    pub(super) fn lose_those(&mut self, lost: impl Fn(&T) -> bool, out: &mut Vec<Message>) {
        while let Some(at) = self.position(&lost) {
            let Some(asked) = self.get_mut(at) else { return };
            asked.pending.operation.truncated |= asked.pending.operation.outcome.take().is_some();
            self.begun = true;
            self.end(at, None, out);
        }
    }

    /// What they would get is lost. As long as nothing was recognised they are not told either.
    pub(super) fn lose(&mut self, out: &mut Vec<Message>) {
        if self.begun {
            self.tell_unanswered(out);
        }
        self.awaiting.clear();
        self.weight = 0;
    }
}
