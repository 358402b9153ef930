//! Compressed payload in, plain bytes out, with the window of the messages before.

use std::fmt;

use flate2::{Decompress, FlushDecompress, Status};

use crate::decode::body::Gathering;

/// A message that gets longer is given up, and what refers to it.
const MESSAGE_LIMIT: u64 = 16 << 20;
/// What is taken off the end of each message (RFC 7692, section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// Memory of one: its window, and tables.
pub(super) const WEIGHT: usize = 48 << 10;

/// One direction.
pub(super) struct Inflater {
    stream: Decompress,
    /// Of this message.
    length: u64,
}

/// Why it cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Corrupt,
    TooLong,
}

impl Inflater {
    pub(super) fn new() -> Self {
        Self { stream: Decompress::new(false), length: 0 }
    }

    /// The next payload of a message.
    pub(super) fn push(&mut self, mut bytes: &[u8], body: &mut Gathering) -> Result<(), Failure> {
        let mut plain = [0; 4096];
        loop {
            let (read, written) = (self.stream.total_in(), self.stream.total_out());
            let status = self.stream.decompress(bytes, &mut plain, FlushDecompress::Sync);
            let read = self.stream.total_in().saturating_sub(read);
            let written = self.stream.total_out().saturating_sub(written);
            let length = usize::try_from(written).unwrap_or_default();
            body.push(plain.get(..length).unwrap_or_default());
            self.length = self.length.saturating_add(written);
            bytes = usize::try_from(read).ok().and_then(|read| bytes.get(read..)).unwrap_or(&[]);
            match status {
                // A last block, behind which the window would begin anew: nobody sends that.
                Err(_) | Ok(Status::StreamEnd) => return Err(Failure::Corrupt),
                Ok(_) if self.length > MESSAGE_LIMIT => return Err(Failure::TooLong),
                Ok(_) if bytes.is_empty() && length < plain.len() => return Ok(()),
                Ok(_) if read == 0 && written == 0 => return Err(Failure::Corrupt),
                Ok(_) => {}
            }
        }
    }

    /// The end of a message.
    pub(super) fn end(&mut self, body: &mut Gathering) -> Result<(), Failure> {
        let ended = self.push(&TAIL, body);
        self.length = 0;
        ended
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater").field("length", &self.length).finish_non_exhaustive()
    }
}
