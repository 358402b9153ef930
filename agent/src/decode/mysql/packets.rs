//! Bytes of one direction in, packets out, as much of each as is of use: three bytes of length, one
//! of sequence. A payload of 2^24 - 1 bytes or more goes on in the next packet.

use crate::{
    capture::Call,
    decode::{
        dialogue::{Reader, Step},
        frames::{Frame, Frames, Framing, Head},
        pending::TEXT_LIMIT,
    },
};

/// "If a MySQL client or server wants to send data larger than 2^24 - 1, it is split".
const FULL: u64 = 0xff_ffff;
const KEEP: usize = TEXT_LIMIT + 4096;

/// A payload, or its beginning.
#[derive(Debug)]
pub(super) struct Packet {
    /// The call that moved its first byte.
    pub(super) began: Call,
    /// Of its first packet.
    pub(super) sequence: u8,
    /// Of its last packet.
    last: u8,
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
pub(super) struct Packets {
    frames: Frames<Header>,
    packet: Option<Packet>,
}

impl Packets {
    pub(super) const fn new() -> Self {
        Self { frames: Frames::new(Header), packet: None }
    }

    /// Whether the payload is complete; `None` when the sequence does not go on.
    fn join(&mut self, frame: Frame) -> Option<bool> {
        let [a, b, c, sequence] = *frame.head.first_chunk()?;
        let length = u64::from(u32::from_le_bytes([a, b, c, 0]));
        if let Some(packet) = &mut self.packet {
            if sequence != packet.last.wrapping_add(1) {
                return None;
            }
            packet.last = sequence;
            packet.size = packet.size.saturating_add(frame.size);
            packet.length = packet.length.saturating_add(length);
            let room = if packet.whole { KEEP.saturating_sub(packet.payload.len()) } else { 0 };
            packet.payload.extend(frame.body.iter().take(room));
            packet.whole &= frame.whole && frame.body.len() <= room;
            packet.lost |= frame.lost;
        } else {
            let Frame { began, size, body: payload, whole, lost, .. } = frame;
            let last = sequence;
            self.packet =
                Some(Packet { began, sequence, last, size, length, payload, whole, lost });
        }
        Some(length < FULL)
    }
}

impl Reader for Packets {
    type Item = Packet;

    fn step(&mut self, call: &Call, input: &mut &[u8]) -> Step<Packet> {
        loop {
            let frame = match self.frames.step(call, input) {
                Step::Item(frame) => frame,
                Step::More => return Step::More,
                Step::Malformed => return Step::Malformed,
            };
            match self.join(frame) {
                Some(false) => {}
                Some(true) => return self.packet.take().map_or(Step::Malformed, Step::Item),
                None => return Step::Malformed,
            }
        }
    }

    fn skip(&mut self, length: u64) -> bool {
        self.frames.skip(length)
    }

    fn reset(&mut self) {
        *self = Self::new();
    }

    fn held(&self) -> usize {
        self.frames.held() + self.packet.as_ref().map_or(0, |packet| packet.payload.len())
    }

    fn unread(&self) -> usize {
        let packet = self.packet.as_ref().map_or(0, |packet| packet.size);
        self.frames.unread().saturating_add(usize::try_from(packet).unwrap_or(usize::MAX))
    }
}

#[derive(Debug)]
struct Header;

impl Framing for Header {
    fn head(&mut self, head: &[u8]) -> Head {
        let Some(&[a, b, c, _]) = head.first_chunk() else { return Head::More };
        let length = u64::from(u32::from_le_bytes([a, b, c, 0]));
        Head::Body { length, keep: KEEP }
    }
}
