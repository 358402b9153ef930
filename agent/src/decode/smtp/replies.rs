//! Bytes of a server in, replies out (RFC 5321, section 4.2): lines of one code, the last of which
//! has no hyphen behind it.

use crate::{
    capture::Call,
    decode::dialogue::{Reader, Step},
};

/// How much is kept of the text of a reply, and of a line.
const KEEP: usize = 8 << 10;
/// RFC 5321, section 4.5.3.1.5: 512 octets. Longer ones are seen.
const LINE_LIMIT: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Reply {
    pub(super) code: u16,
    /// The text of all lines, with line ends between.
    pub(super) text: Vec<u8>,
    /// The call that moved its first byte.
    pub(super) began: Call,
    pub(super) size: u64,
    /// Whether `text` is all of it.
    pub(super) whole: bool,
}

#[derive(Debug, Default)]
pub(super) struct Replies {
    line: Vec<u8>,
    reply: Option<Reply>,
}

/// A line of a reply: its code, whether others follow, and its text.
pub(super) fn line(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (&[a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9'], rest) = line.split_first_chunk()?
    else {
        return None;
    };
    let digit = |digit: u8| u16::from(digit - b'0');
    let code = 100 * digit(a) + 10 * digit(b) + digit(c);
    match rest {
        [] => Some((code, false, rest)),
        [b' ', text @ ..] => Some((code, false, text)),
        [b'-', text @ ..] => Some((code, true, text)),
        _ => None,
    }
}

impl Replies {
    /// Takes the line; the reply, if that was its last one. `None` when it is malformed.
    fn join(&mut self, began: Call) -> Option<Option<Reply>> {
        let bytes = std::mem::take(&mut self.line);
        let (code, goes_on, text) = line(bytes.strip_suffix(b"\n")?)?;
        let is_first = self.reply.is_none();
        let reply = self.reply.get_or_insert_with(|| Reply {
            code,
            text: Vec::new(),
            began,
            size: 0,
            whole: true,
        });
        // "every line, except the last, begins with the reply code".
        if reply.code != code {
            return None;
        }
        reply.size = reply.size.saturating_add(bytes.len() as u64);
        if reply.text.len() + text.len() < KEEP {
            if !is_first {
                reply.text.push(b'\n');
            }
            reply.text.extend_from_slice(text);
        } else {
            reply.whole = false;
        }
        Some(if goes_on { None } else { self.reply.take() })
    }
}

impl Reader for Replies {
    type Item = Reply;

    fn step(&mut self, call: &Call, input: &mut &[u8]) -> Step<Reply> {
        while let Some(end) = memchr::memchr(b'\n', input) {
            let (bytes, rest) = input.split_at_checked(end + 1).unwrap_or((input, &[]));
            *input = rest;
            self.line.extend_from_slice(bytes);
            match self.join(*call) {
                Some(Some(reply)) => return Step::Item(reply),
                Some(None) => {}
                None => return Step::Malformed,
            }
        }
        self.line.extend_from_slice(input);
        *input = &[];
        if self.line.len() > LINE_LIMIT { Step::Malformed } else { Step::More }
    }

    fn skip(&mut self, _length: u64) -> bool {
        false
    }

    fn reset(&mut self) {
        *self = Self::default();
    }

    fn held(&self) -> usize {
        self.line.len() + self.reply.as_ref().map_or(0, |reply| reply.text.len())
    }

    fn unread(&self) -> usize {
        let reply = self.reply.as_ref().map_or(0, |reply| reply.size);
        usize::try_from(reply).unwrap_or(usize::MAX).saturating_add(self.line.len())
    }
}
