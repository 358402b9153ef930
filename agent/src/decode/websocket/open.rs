//! A message while it comes in, with the window that its compression refers to.

use super::{
    Close, Opcode, Unreadable,
    inflate::{Failure, Inflater},
};
use crate::{
    capture::Call,
    decode::{Body, Options, body::Gathering},
};

/// What compressed messages refer to.
#[derive(Debug)]
pub(super) enum Window {
    Empty,
    Open(Box<Inflater>),
    Lost,
}

/// A message that is coming.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) began: Call,
    pub(super) opcode: Opcode,
    pub(super) compressed: bool,
    pub(super) frames: u32,
    pub(super) size: u64,
    pub(super) body: Gathering,
    pub(super) unreadable: Option<Unreadable>,
}

impl Open {
    pub(super) fn new(options: &Options, opcode: Opcode, compressed: bool, began: Call) -> Self {
        // What a close frame says is told always.
        let control = matches!(opcode, Opcode::Close | Opcode::Ping | Opcode::Pong);
        let kept = Options { keep_bodies: true, body_limit: 125 };
        let body = Gathering::new(if control { &kept } else { options });
        Self { began, opcode, compressed, frames: 1, size: 0, body, unreadable: None }
    }

    pub(super) fn push(&mut self, payload: &[u8], window: &mut Window, keeps: bool) {
        if !self.compressed {
            self.body.push(payload);
        } else if let Window::Open(inflater) = window {
            let done = inflater.push(payload, &mut self.body);
            self.done(done, window, keeps);
        } else {
            self.body.cut();
        }
    }

    pub(super) fn end(&mut self, window: &mut Window, keeps: bool) {
        if self.compressed
            && let Window::Open(inflater) = window
        {
            let done = inflater.end(&mut self.body);
            self.done(done, window, keeps);
        }
    }

    fn done(&mut self, done: Result<(), Failure>, window: &mut Window, keeps: bool) {
        let Err(failure) = done else { return };
        self.body.cut();
        if failure == Failure::Corrupt {
            self.body.give_up();
            self.unreadable = Some(Unreadable::Corrupt);
        }
        *window = if keeps { Window::Lost } else { Window::Empty };
    }

    /// Behind a hole nothing can be decompressed.
    pub(super) fn lose(&mut self, length: u64, window: &mut Window) {
        self.size = self.size.saturating_add(length);
        self.body.lose(length);
        if self.compressed {
            *window = Window::Lost;
        }
    }
}

impl Close {
    pub(super) fn of(body: &Body) -> Self {
        let code = match *body.bytes {
            [high, low, ..] => Some(u16::from_be_bytes([high, low])),
            _ => None,
        };
        let reason = body.bytes.get(2..).filter(|reason| !reason.is_empty() && !body.truncated);
        let reason = reason.and_then(|reason| std::str::from_utf8(reason).ok());
        Self { code, reason: reason.map(str::to_owned) }
    }
}
