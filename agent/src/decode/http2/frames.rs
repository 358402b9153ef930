//! Bytes of one direction in, however they are split, parts of frames out (RFC 9113, section 4).

use std::borrow::Cow;

use super::{
    blocks::{BLOCK_LIMIT, Block, fragment},
    chain,
};
use crate::capture::Call;

/// Payload of other frames that is looked at.
const SMALL: usize = 8;
/// Bytes in which a beginning of frames is looked for.
const SEEK_LIMIT: usize = 64 << 10;

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(super) const HEAD: usize = 9;
pub(super) const END_STREAM: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
pub(super) const PADDED: u8 = 0x8;
pub(super) const PRIORITY: u8 = 0x20;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
pub(super) const PUSH_PROMISE: u8 = 5;
const GOAWAY: u8 = 7;
pub(super) const CONTINUATION: u8 = 9;

/// Section 4.1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Head {
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, kind, flags, stream @ ..] = *bytes.first_chunk::<HEAD>()?;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        // "Reserved: […] MUST be ignored when receiving."
        Some(Self { length, kind, flags, stream: u32::from_be_bytes(stream) & 0x7fff_ffff })
    }
}

#[derive(Debug)]
pub(super) enum Part<'a> {
    /// The input is used up.
    More,
    Preface,
    Block(Block),
    Data {
        stream: u32,
        bytes: &'a [u8],
    },
    End {
        stream: u32,
    },
    Reset {
        stream: u32,
        code: u32,
    },
    GoAway {
        last: u32,
    },
    /// So many bytes of it are taken from the input, or were from earlier ones.
    Malformed {
        held: usize,
    },
}

#[derive(Debug)]
enum State {
    Preface(usize),
    Head,
    Whole(Head),
    PadLength(Head),
    Data { stream: u32, end: bool, left: usize, pad: usize },
    Skip(usize),
}

#[derive(Debug)]
pub(super) struct Frames {
    /// `None` while the beginning of a frame is looked for.
    state: Option<State>,
    /// The part of a frame that is not whole.
    buffer: Vec<u8>,
    began: Option<Call>,
    block: Option<Block>,
    /// Bytes since the beginning of a header block.
    pending: usize,
    /// What may be the beginning of frames.
    sought: Vec<(Call, Vec<u8>)>,
}

impl Frames {
    pub(super) const fn new() -> Self {
        Self {
            state: None,
            buffer: Vec::new(),
            began: None,
            block: None,
            pending: 0,
            sought: Vec::new(),
        }
    }

    /// Looks for the beginning of frames where a call's bytes begin; gives those that are known to
    /// be frames. Nothing while that is not known.
    pub(super) fn seek(&mut self, call: &Call, bytes: &[u8]) -> Vec<(Call, Vec<u8>)> {
        if self.state.is_some() {
            return vec![(*call, bytes.to_vec())];
        }
        self.sought.push((*call, bytes.to_vec()));
        let joined: Vec<u8> = self.sought.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        let mut verdict = chain::look(&joined);
        if verdict == chain::Verdict::No && self.sought.len() > 1 {
            self.sought = vec![(*call, bytes.to_vec())];
            verdict = chain::look(bytes);
        }
        match verdict {
            chain::Verdict::Sure => {
                let first = self.sought.first().map(|(_, bytes)| bytes.as_slice());
                let preface = first.is_some_and(|bytes| bytes.starts_with(b"P"));
                self.state = Some(if preface { State::Preface(0) } else { State::Head });
                return std::mem::take(&mut self.sought);
            }
            chain::Verdict::Maybe if joined.len() <= SEEK_LIMIT => {}
            _ => self.sought = Vec::new(),
        }
        Vec::new()
    }

    pub(super) const fn is_sought(&self) -> bool {
        self.state.is_none()
    }

    /// Bytes were lost. Whether only so many bytes of a body (given with its stream) or of a frame
    /// that does not matter; if not, frames are looked for again.
    pub(super) fn skip(&mut self, length: u64) -> Option<Option<u32>> {
        let lost = usize::try_from(length).ok().filter(|lost| *lost > 0);
        match (&mut self.state, lost) {
            (Some(State::Data { stream, left, .. }), Some(lost)) if lost < *left => {
                *left -= lost;
                return Some(Some(*stream));
            }
            (Some(State::Skip(left)), Some(lost)) if lost <= *left => {
                *left -= lost;
                return Some(None);
            }
            _ => {}
        }
        *self = Self::new();
        None
    }

    /// Bytes that are kept.
    pub(super) fn held(&self) -> usize {
        let sought: usize = self.sought.iter().map(|(_, bytes)| bytes.len()).sum();
        let block = self.block.as_ref().and_then(|block| block.bytes.as_ref());
        sought + self.buffer.len() + block.map_or(0, Vec::len)
    }

    /// The last bytes of which nothing can be told yet.
    pub(super) fn unread(&self) -> usize {
        let sought: usize = self.sought.iter().map(|(_, bytes)| bytes.len()).sum();
        sought + if self.pending > 0 { self.pending } else { self.buffer.len() }
    }

    pub(super) fn step<'a>(&mut self, call: &Call, input: &mut &'a [u8]) -> Part<'a> {
        loop {
            let Some(state) = &mut self.state else { return Part::More };
            match state {
                State::Skip(0) => self.state = Some(State::Head),
                State::Data { left: 0, pad, end, stream } => {
                    let (end, stream) = (*end, *stream);
                    self.state = Some(State::Skip(*pad));
                    if end {
                        return Part::End { stream };
                    }
                }
                State::Whole(head) => {
                    let head = *head;
                    let Some(payload) = self.gather(input, wanted(&head)) else {
                        return Part::More;
                    };
                    self.state = Some(State::Skip(head.length - wanted(&head)));
                    match self.whole(head, &payload, call) {
                        Ok(Some(part)) => return part,
                        Ok(None) => {}
                        Err(()) => return Part::Malformed { held: HEAD + payload.len() },
                    }
                }
                _ if input.is_empty() => return Part::More,
                State::Skip(left) => *left -= take(input, *left).len(),
                State::Data { stream, left, .. } => {
                    let bytes = take(input, *left);
                    *left -= bytes.len();
                    return Part::Data { stream: *stream, bytes };
                }
                State::Preface(at) => {
                    let bytes = take(input, PREFACE.len() - *at);
                    if !PREFACE.get(*at..).is_some_and(|rest| rest.starts_with(bytes)) {
                        return Part::Malformed { held: *at + bytes.len() };
                    }
                    *at += bytes.len();
                    if *at == PREFACE.len() {
                        self.state = Some(State::Head);
                        return Part::Preface;
                    }
                }
                State::PadLength(head) => {
                    let head = *head;
                    let pad = usize::from(take(input, 1).first().copied().unwrap_or_default());
                    // Section 6.1: "If the length of the padding is the length of the frame payload
                    // or greater, the recipient MUST treat this as a connection error".
                    let Some(left) = (head.length - 1).checked_sub(pad) else {
                        return Part::Malformed { held: HEAD + 1 };
                    };
                    let end = head.flags & END_STREAM != 0;
                    self.state = Some(State::Data { stream: head.stream, end, left, pad });
                }
                State::Head => {
                    if self.buffer.is_empty() && self.block.is_none() {
                        self.began = Some(*call);
                        self.pending = 0;
                    }
                    let head = self.gather(input, HEAD).as_deref().and_then(Head::of);
                    if let Some(head) = head {
                        match self.begin(head) {
                            Some(state) => self.state = Some(state),
                            None => return Part::Malformed { held: HEAD },
                        }
                    }
                }
            }
        }
    }

    /// So many bytes, of the input if it has them all; `None` when it has not, and is used up.
    fn gather<'a>(&mut self, input: &mut &'a [u8], wanted: usize) -> Option<Cow<'a, [u8]>> {
        let bytes = take(input, wanted.saturating_sub(self.buffer.len()));
        self.pending += bytes.len();
        if bytes.len() == wanted {
            return Some(bytes.into());
        }
        self.buffer.extend_from_slice(bytes);
        (self.buffer.len() == wanted).then(|| std::mem::take(&mut self.buffer).into())
    }

    fn begin(&mut self, head: Head) -> Option<State> {
        // Section 6.10: frames of a header block follow each other.
        let continues = self.block.as_ref().map(|block| block.stream);
        match (continues, head.kind) {
            (Some(stream), CONTINUATION) if stream == head.stream => {}
            (Some(_), _) | (None, CONTINUATION) => return None,
            _ => {}
        }
        if !matches!(head.kind, HEADERS | PUSH_PROMISE | CONTINUATION) {
            self.pending = 0;
        }
        match head.kind {
            DATA | HEADERS | PUSH_PROMISE | RST_STREAM if head.stream == 0 => None,
            DATA if head.flags & PADDED == 0 => {
                let end = head.flags & END_STREAM != 0;
                Some(State::Data { stream: head.stream, end, left: head.length, pad: 0 })
            }
            DATA => (head.length > 0).then_some(State::PadLength(head)),
            HEADERS | PUSH_PROMISE | CONTINUATION | RST_STREAM | GOAWAY => Some(State::Whole(head)),
            // Section 5.5: "Implementations MUST discard frames that have unknown or unsupported
            // types."
            _ => Some(State::Skip(head.length)),
        }
    }

    fn whole(
        &mut self,
        head: Head,
        payload: &[u8],
        call: &Call,
    ) -> Result<Option<Part<'static>>, ()> {
        let number = |at: usize| {
            let bytes = payload.get(at..)?.first_chunk::<4>()?;
            Some(u32::from_be_bytes(*bytes))
        };
        match head.kind {
            RST_STREAM => {
                let code = number(0).ok_or(())?;
                return Ok(Some(Part::Reset { stream: head.stream, code }));
            }
            GOAWAY => {
                let last = number(0).ok_or(())? & 0x7fff_ffff;
                return Ok(Some(Part::GoAway { last }));
            }
            _ => {}
        }
        let whole = head.length == payload.len();
        let (fragment, promised) = fragment(head, payload, whole).ok_or(())?;
        let block = self
            .block
            .get_or_insert_with(|| Block::begin(head, self.began.unwrap_or(*call), promised));
        block.extend(fragment, whole);
        if head.flags & END_HEADERS == 0 {
            return Ok(None);
        }
        self.pending = 0;
        Ok(self.block.take().map(Part::Block))
    }
}

/// How many bytes of a frame's payload are gathered.
fn wanted(head: &Head) -> usize {
    let limit = match head.kind {
        HEADERS | PUSH_PROMISE | CONTINUATION => BLOCK_LIMIT,
        _ => SMALL,
    };
    head.length.min(limit)
}

/// Cuts off up to so many bytes.
fn take<'a>(input: &mut &'a [u8], wanted: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at_checked(wanted).unwrap_or((input, &[]));
    *input = rest;
    taken
}
