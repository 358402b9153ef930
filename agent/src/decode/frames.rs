//! Bytes of one direction in, frames out: a head that tells the length, then a body, of which as
//! much is kept as is of use. One reader for all protocols that are built so.

use std::fmt;

use super::dialogue::{Reader, Step};
use crate::capture::Call;

/// A message, or its beginning.
#[derive(Debug)]
pub(super) struct Frame {
    /// The call that moved its first byte.
    pub(super) began: Call,
    /// The head as it came.
    pub(super) head: Vec<u8>,
    /// Bytes, head included.
    pub(super) size: u64,
    pub(super) body: Vec<u8>,
    /// Whether `body` is all of it.
    pub(super) whole: bool,
    pub(super) lost: bool,
}

/// What the first bytes of a frame say.
pub(super) enum Head {
    /// They are not all.
    More,
    /// So many bytes follow, of which so many are of use.
    Body {
        length: u64,
        keep: usize,
    },
    Malformed,
}

/// How a protocol writes heads.
pub(super) trait Framing: fmt::Debug + Send {
    /// Looks at the first bytes of a frame, each time with one more.
    fn head(&mut self, head: &[u8]) -> Head;

    /// Bytes were lost; the next ones begin a frame.
    fn reset(&mut self) {}
}

#[derive(Debug)]
pub(super) struct Frames<F> {
    framing: F,
    next: Next,
}

/// The frame that the next bytes belong to. It knows no framing.
#[derive(Debug, Default)]
pub(super) struct Next {
    head: Vec<u8>,
    began: Option<Call>,
    body: Option<Body>,
}

/// A frame whose head is complete.
#[derive(Debug)]
struct Body {
    frame: Frame,
    left: u64,
    keep: usize,
}

impl<F: Framing> Frames<F> {
    pub(super) const fn new(framing: F) -> Self {
        Self { framing, next: Next { head: Vec::new(), began: None, body: None } }
    }
}

impl Next {
    /// Takes bytes as [`Reader::step`] does. `read` is [`Framing::head`].
    pub(super) fn step(
        &mut self,
        call: &Call,
        input: &mut &[u8],
        read: impl FnMut(&[u8]) -> Head,
    ) -> Step<Frame> {
        if self.body.is_none() && self.head(call, input, read).is_none() {
            return Step::Malformed;
        }
        let Some(body) = &mut self.body else { return Step::More };
        body.take(input);
        match self.body.take_if(|body| body.left == 0) {
            Some(Body { frame, .. }) => Step::Item(frame),
            None => Step::More,
        }
    }

    /// Takes the head; `None` when it is malformed.
    fn head(
        &mut self,
        call: &Call,
        input: &mut &[u8],
        mut read: impl FnMut(&[u8]) -> Head,
    ) -> Option<()> {
        while let Some((&byte, rest)) = input.split_first() {
            *input = rest;
            let began = *self.began.get_or_insert(*call);
            self.head.push(byte);
            match read(&self.head) {
                Head::More => {}
                Head::Malformed => return None,
                Head::Body { length, keep } => {
                    self.began = None;
                    let head = std::mem::take(&mut self.head);
                    let size = length.saturating_add(head.len() as u64);
                    let (body, whole, lost) = (Vec::new(), true, false);
                    let frame = Frame { began, head, size, body, whole, lost };
                    self.body = Some(Body { frame, left: length, keep });
                    return Some(());
                }
            }
        }
        Some(())
    }

    /// As [`Reader::skip`].
    pub(super) fn skip(&mut self, length: u64) -> bool {
        let Some(Body { frame, left, .. }) = &mut self.body else { return false };
        // A loss to the very end might be longer than it says.
        if length == 0 || length >= *left {
            return false;
        }
        *left -= length;
        (frame.whole, frame.lost) = (false, true);
        true
    }

    /// As [`Reader::held`].
    pub(super) fn held(&self) -> usize {
        self.head.len() + self.body.as_ref().map_or(0, |body| body.frame.body.len())
    }

    /// As [`Reader::unread`].
    pub(super) fn unread(&self) -> usize {
        let body = self.body.as_ref().map_or(0, |body| body.frame.size.saturating_sub(body.left));
        self.head.len().saturating_add(usize::try_from(body).unwrap_or(usize::MAX))
    }
}

impl Body {
    fn take(&mut self, input: &mut &[u8]) {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
        let Some((bytes, rest)) = input.split_at_checked(length) else { return };
        *input = rest;
        self.left -= length as u64;
        if self.frame.whole {
            let keep = self.keep.saturating_sub(self.frame.body.len());
            self.frame.whole = keep >= length;
            self.frame.body.extend_from_slice(bytes.get(..keep).unwrap_or(bytes));
        }
    }
}

impl<F: Framing> Reader for Frames<F> {
    type Item = Frame;

    fn step(&mut self, call: &Call, input: &mut &[u8]) -> Step<Frame> {
        let Self { framing, next } = self;
        next.step(call, input, |head| framing.head(head))
    }

    fn skip(&mut self, length: u64) -> bool {
        self.next.skip(length)
    }

    fn reset(&mut self) {
        self.framing.reset();
        self.next = Next::default();
    }

    fn held(&self) -> usize {
        self.next.held()
    }

    fn unread(&self) -> usize {
        self.next.unread()
    }
}
