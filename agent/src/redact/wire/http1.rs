//! HTTP/1: where it becomes WebSocket.

use super::{Edits, Read, Wire, websocket::WebSocket};
use crate::{capture::Direction, redact::Patterns};

/// Bytes of a head in which the end of it is looked for.
const HEAD: usize = 16 << 10;

pub(super) fn guess(bytes: &[u8], at: Direction, _: bool) -> Option<Box<dyn Wire>> {
    if let Some(found) = WebSocket::guess(bytes, at) {
        return Some(Box::new(found));
    }
    if bytes.starts_with(b"HTTP/1.") {
        return Some(Box::new(Http1::new(at)));
    }
    let line = bytes.get(..8 << 10).unwrap_or(bytes);
    let line = line.get(..memchr::memchr(b'\n', line)?).unwrap_or(line);
    let request = memchr::memmem::find(line, b" HTTP/1.").is_some();
    request.then(|| Box::new(Http1::new(at.opposite())) as Box<dyn Wire>)
}

#[derive(Debug)]
struct Http1 {
    responses: Direction,
    /// The head of a response that switches protocols.
    head: Vec<u8>,
    became: Option<WebSocket>,
}

impl Http1 {
    const fn new(responses: Direction) -> Self {
        Self { responses, head: Vec::new(), became: None }
    }

    /// Whether the head ended, and where in these bytes.
    fn switches(&mut self, bytes: &[u8]) -> Option<usize> {
        const BEGINNING: &[u8] = b"HTTP/1.1 101";
        let before = self.head.len();
        if before == 0 && bytes.first() != BEGINNING.first() {
            return None;
        }
        self.head.extend_from_slice(bytes.get(..HEAD).unwrap_or(bytes));
        if !self.head.iter().zip(BEGINNING).all(|(one, other)| one == other) {
            self.head.clear();
            return None;
        }
        let end = memchr::memmem::find(&self.head, b"\r\n\r\n").map(|end| end + 4);
        if end.is_some() || self.head.len() > HEAD {
            let head = std::mem::take(&mut self.head).to_ascii_lowercase();
            memchr::memmem::find(&head, b"websocket")?;
        }
        end?.checked_sub(before)
    }
}

impl Wire for Http1 {
    fn read(&mut self, at: Direction, bytes: &[u8], of: &Patterns, edits: &mut Edits) -> Read {
        if let Some(websocket) = &mut self.became {
            return websocket.read(at, bytes, of, edits);
        }
        if at == self.responses
            && let Some(end) = self.switches(bytes)
        {
            let mut websocket = WebSocket::new(at.opposite());
            websocket.frames(at, bytes, end, of, edits);
            self.became = Some(websocket);
        }
        Read::AsText
    }

    fn gap(&mut self, at: Direction, length: u64) {
        match &mut self.became {
            Some(websocket) => websocket.gap(at, length),
            None => self.head.clear(),
        }
    }
}
