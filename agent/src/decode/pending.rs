//! One operation while its answer is awaited: a request in, a message out.

use super::{Content, Message, Operation, Outcome, Role, System, moved};
use crate::capture::{Call, ConnectionKey};

/// More requests than this without an answer are no connection that can be followed.
pub(super) const OUTSTANDING_LIMIT: usize = 4096;

/// How much of a statement or a command is kept.
pub(super) const TEXT_LIMIT: usize = 64 << 10;

/// An operation that is not complete.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) operation: Operation,
    /// The call that moved its first byte.
    began: Call,
}

impl Pending {
    /// Begins with a request of so many bytes.
    pub(super) const fn request(system: System, role: Role, began: Call, size: u64) -> Self {
        let mut operation = Operation::new(system, role);
        operation.request_size = size;
        Self { operation, began }
    }

    /// What came without a request.
    pub(super) fn unasked(system: System, role: Role, began: Call, size: u64) -> Self {
        let mut operation = Operation::new(system, role);
        operation.response_size = size;
        operation.outcome = Some(Outcome::default());
        Self { operation, began }
    }

    /// How much memory it takes.
    pub(super) fn weight(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let Operation { name, target, text: whole, parameters, .. } = &self.operation;
        let parameters = parameters.iter().map(|value| size_of_val(value) + text(value));
        size_of::<Self>() + text(name) + text(target) + text(whole) + parameters.sum::<usize>()
    }

    /// `last` is the call that moved the last byte of the answer, where that was seen.
    pub(super) fn message(mut self, connection: ConnectionKey, last: Option<&Call>) -> Message {
        if self.operation.request_size > 0 && self.operation.outcome.is_some() {
            let began = moved(&self.began, self.operation.role.requests());
            self.operation.duration_ns = last.and_then(|last| last.returned.checked_sub(began));
        }
        let content = Content::Operation(Box::new(self.operation));
        Message { connection, call: self.began, content }
    }
}
