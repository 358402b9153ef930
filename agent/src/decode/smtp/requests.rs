//! Bytes of a client in, lines and message texts out. What is a line and what is not the server
//! decides, so that the reader is told. IMAP's literals are read as chunks are.

use memchr::memmem;

use crate::{
    capture::Call,
    decode::dialogue::{Reader, Step},
};

/// How much is kept of a line: RFC 4954, section 4, allows 12,288 octets.
const KEEP: usize = 16 << 10;
/// No line of a command is longer.
const LINE_LIMIT: u64 = 1 << 20;
/// RFC 5321, section 4.1.1.4: "The mail data are terminated by a line containing only a period".
const END: &[u8] = b"\r\n.\r\n";

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode) enum Next {
    Line,
    /// A message, up to the line that ends it.
    Data,
    /// So many bytes of a message.
    Chunk(u64),
}

#[derive(Debug)]
pub(in crate::decode) struct Request {
    /// The call that moved its first byte.
    pub(in crate::decode) began: Call,
    /// Bytes, line ends included.
    pub(in crate::decode) size: u64,
    /// Absent of a message or a chunk.
    pub(in crate::decode) line: Option<Vec<u8>>,
    /// Whether some of it was lost, or is not in `line`.
    pub(in crate::decode) cut: bool,
}

/// Reads what it is told to.
#[derive(Debug)]
pub(in crate::decode) struct Requests {
    next: Next,
    began: Option<Call>,
    size: u64,
    line: Vec<u8>,
    cut: bool,
    /// The last bytes of a message, fewer than its end has.
    tail: Vec<u8>,
}

impl Requests {
    pub(in crate::decode) const fn new() -> Self {
        Self {
            next: Next::Line,
            began: None,
            size: 0,
            line: Vec::new(),
            cut: false,
            tail: Vec::new(),
        }
    }

    /// What comes next, unless it has begun already.
    pub(in crate::decode) fn expect(&mut self, next: Next) {
        if self.began.is_none() {
            self.next = next;
            self.tail.clear();
            // It begins behind the line end of the command.
            self.tail.extend_from_slice(b"\r\n");
        }
    }

    /// How many bytes of the input belong to what is read, and whether they end it.
    fn extent(&mut self, input: &[u8]) -> (usize, bool) {
        let whole = (input.len(), false);
        match self.next {
            Next::Line => memchr::memchr(b'\n', input).map_or(whole, |end| (end + 1, true)),
            Next::Chunk(length) => {
                let left = length.saturating_sub(self.size);
                let left = usize::try_from(left).unwrap_or(usize::MAX);
                (left.min(input.len()), left <= input.len())
            }
            Next::Data => {
                let before = self.tail.len();
                let edge = input.get(..END.len() - 1).unwrap_or(input);
                self.tail.extend_from_slice(edge);
                if let Some(at) = memmem::find(&self.tail, END) {
                    return ((at + END.len()).saturating_sub(before), true);
                }
                if let Some(at) = memmem::find(input, END) {
                    return (at + END.len(), true);
                }
                self.tail.extend_from_slice(input.get(edge.len()..).unwrap_or_default());
                let from = self.tail.len().saturating_sub(END.len() - 1);
                self.tail.drain(..from);
                whole
            }
        }
    }

    fn finish(&mut self, began: Call) -> Request {
        let line = std::mem::take(&mut self.line);
        let line = (self.next == Next::Line).then_some(line);
        let request = Request { began, size: self.size, line, cut: self.cut };
        self.reset();
        request
    }
}

impl Reader for Requests {
    type Item = Request;

    fn step(&mut self, call: &Call, input: &mut &[u8]) -> Step<Request> {
        if input.is_empty() {
            return Step::More;
        }
        let began = *self.began.get_or_insert(*call);
        let (length, ends) = self.extent(input);
        let (bytes, rest) = input.split_at_checked(length).unwrap_or((input, &[]));
        *input = rest;
        self.size = self.size.saturating_add(bytes.len() as u64);
        if self.next == Next::Line {
            let room = KEEP.saturating_sub(self.line.len());
            self.cut |= bytes.len() > room;
            self.line.extend(bytes.iter().take(room));
            if self.size > LINE_LIMIT {
                return Step::Malformed;
            }
        }
        if ends { Step::Item(self.finish(began)) } else { Step::More }
    }

    fn skip(&mut self, length: u64) -> bool {
        let Next::Chunk(whole) = self.next else { return false };
        // A loss to the very end might be longer than it says.
        if self.began.is_none() || length == 0 || self.size.saturating_add(length) >= whole {
            return false;
        }
        self.size += length;
        self.cut = true;
        true
    }

    fn reset(&mut self) {
        *self = Self::new();
    }

    fn held(&self) -> usize {
        self.line.len()
    }

    fn unread(&self) -> usize {
        usize::try_from(self.size).unwrap_or(usize::MAX)
    }
}
