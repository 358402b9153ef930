//! Bytes of one direction in, packets out, as much of each as is of use: three bytes of length, one
//! of sequence. A payload of 2^24 - 1 bytes or more goes on in the next packet.

use crate::{capture::Call, decode::pending::TEXT_LIMIT};

/// "If a MySQL client or server wants to send data larger than 2^24 - 1, it is split".
const FULL: u64 = 0xff_ffff;

/// A payload, or its beginning.
#[derive(Debug)]
pub(super) struct Packet {
    /// The call that moved its first byte.
    pub(super) began: Call,
    /// Of its first packet.
    pub(super) sequence: u8,
    /// Of its last packet.
    pub(super) last: u8,
    /// Bytes, headers included.
    pub(super) size: u64,
    /// Bytes of the payload.
    pub(super) length: u64,
    pub(super) payload: Vec<u8>,
    /// Whether `payload` is all of it.
    pub(super) whole: bool,
    pub(super) lost: bool,
}

#[derive(Debug)]
pub(super) enum Step {
    More,
    Packet(Packet),
    Malformed,
}

#[derive(Debug, Default)]
pub(super) struct Reader {
    head: Vec<u8>,
    packet: Option<Packet>,
    began: Option<Call>,
    /// What is left of the packet, and whether another follows.
    left: Option<(u64, bool)>,
}

impl Reader {
    pub(super) fn unread(&self) -> usize {
        let left = self.left.map_or(0, |(left, _)| left);
        let packet = self.packet.as_ref().map_or(0, |packet| packet.size.saturating_sub(left));
        self.head.len().saturating_add(usize::try_from(packet).unwrap_or(usize::MAX))
    }

    pub(super) fn held(&self) -> usize {
        self.head.len() + self.packet.as_ref().map_or(0, |packet| packet.payload.len())
    }

    /// Passes over lost bytes within a packet; `false` when it is not known what they were.
    pub(super) const fn skip(&mut self, length: u64) -> bool {
        let (Some((left, _)), Some(packet)) = (&mut self.left, &mut self.packet) else {
            return false;
        };
        if length == 0 || length >= *left {
            return false;
        }
        *left -= length;
        packet.whole = false;
        packet.lost = true;
        true
    }

    pub(super) fn step(&mut self, call: &Call, input: &mut &[u8]) -> Step {
        loop {
            if self.left.is_none() {
                match self.head(call, input) {
                    Some(true) => {}
                    Some(false) => return Step::More,
                    None => return Step::Malformed,
                }
            }
            let (Some((left, more)), Some(packet)) = (self.left, &mut self.packet) else {
                return Step::More;
            };
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
            let Some((bytes, rest)) = input.split_at_checked(length) else { return Step::More };
            *input = rest;
            if packet.whole {
                let keep = (TEXT_LIMIT + 4096).saturating_sub(packet.payload.len());
                packet.whole = keep >= length;
                packet.payload.extend_from_slice(bytes.get(..keep).unwrap_or(bytes));
            }
            let left = left - length as u64;
            if left > 0 {
                self.left = Some((left, more));
                return Step::More;
            }
            self.left = None;
            if !more && let Some(packet) = self.packet.take() {
                return Step::Packet(packet);
            }
        }
    }

    /// Whether a header is complete; `None` when its sequence does not go on.
    fn head(&mut self, call: &Call, input: &mut &[u8]) -> Option<bool> {
        while self.head.len() < 4 {
            let Some((&byte, rest)) = input.split_first() else { return Some(false) };
            *input = rest;
            self.began.get_or_insert(*call);
            self.head.push(byte);
        }
        let head = std::mem::take(&mut self.head);
        let [a, b, c, sequence] = *head.first_chunk()?;
        let length = u64::from(u32::from_le_bytes([a, b, c, 0]));
        let began = self.began.take()?;
        let packet = self.packet.get_or_insert_with(|| Packet {
            began,
            sequence,
            last: sequence.wrapping_sub(1),
            size: 0,
            length: 0,
            payload: Vec::new(),
            whole: true,
            lost: false,
        });
        if sequence != packet.last.wrapping_add(1) {
            return None;
        }
        packet.last = sequence;
        packet.size = packet.size.saturating_add(length + 4);
        packet.length = packet.length.saturating_add(length);
        self.left = Some((length, length == FULL));
        Some(true)
    }
}
