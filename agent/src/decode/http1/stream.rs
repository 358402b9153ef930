//! One direction of an HTTP/1 connection: bytes in, however they are split, parts of messages out.

use std::marker::PhantomData;

use super::{
    framing::{BodyStep, Framing, Skip},
    head::{Head, Probe},
};
use crate::capture::Call;

/// A message with a longer head is refused.
const HEAD_LIMIT: usize = 256 << 10;

/// One direction.
#[derive(Debug)]
pub(super) struct Stream<H> {
    state: State,
    kind: PhantomData<H>,
}

#[derive(Debug)]
enum State {
    Head(Start),
    /// `before` are bytes in front of the input that were taken for something else.
    Body {
        framing: Framing,
        before: &'static [u8],
    },
    /// A body, unless the request was HEAD, which is not known. So many of the bytes are like the
    /// first of another response.
    Doubt {
        framing: Framing,
        alike: usize,
    },
}

/// How each response begins.
const RESPONSE: &[u8] = b"HTTP/1.";

/// The bytes of a head so far; none between messages.
#[derive(Debug, Default)]
struct Start {
    /// The call that moved the first of them.
    began: Option<Call>,
    bytes: Vec<u8>,
    /// No head ends before here.
    scanned: usize,
    /// The start line was recognised.
    probed: bool,
    /// The message before it was followed to its end, so that nothing else can stand here. If
    /// not, segments are dropped until one begins like a message.
    in_sync: bool,
}

/// What the next bytes are.
#[derive(Debug)]
pub(super) enum Step<'a, H> {
    /// The input is used up.
    More,
    /// A head of this many bytes. [`Stream::body`] must be called before the next step.
    Head { began: Call, head: H, length: usize },
    /// A piece of the body.
    Body(&'a [u8]),
    /// The message ended before the rest of the input.
    End,
    /// It has no body, though its head says so: the next message has begun.
    NoBody,
    /// Not HTTP; so many bytes of it were taken from earlier inputs, none from this one.
    Malformed { held: usize },
}

impl<H: Head> Stream<H> {
    /// A stream of which nothing is known: it may have been joined anywhere.
    pub(super) fn new() -> Self {
        Self { state: State::Head(Start::default()), kind: PhantomData }
    }

    /// Reads on, up to the next part.
    pub(super) fn step<'a>(&mut self, call: &Call, input: &mut &'a [u8]) -> Step<'a, H> {
        match &mut self.state {
            State::Head(start) => start.step(call, input),
            State::Body { framing, before } => {
                let mut step = framing.step(before);
                if matches!(step, BodyStep::More) {
                    step = framing.step(input);
                }
                let left = *before;
                match step {
                    BodyStep::More => Step::More,
                    BodyStep::Data(data) => Step::Body(data),
                    BodyStep::Malformed => Step::Malformed { held: 0 },
                    BodyStep::End => {
                        self.begin(call, left);
                        Step::End
                    }
                }
            }
            State::Doubt { alike, .. } => {
                let wanted = RESPONSE.get(*alike..).unwrap_or_default();
                let same =
                    wanted.iter().zip(*input).take_while(|(one, other)| one == other).count();
                *alike += same;
                *input = input.get(same..).unwrap_or_default();
                if same == wanted.len() {
                    self.begin(call, RESPONSE);
                    return Step::NoBody;
                }
                if input.is_empty() {
                    return Step::More;
                }
                self.believe();
                self.step(call, input)
            }
        }
    }

    /// It was a body after all.
    fn believe(&mut self) {
        if let State::Doubt { framing, alike } = &mut self.state {
            let framing = std::mem::replace(framing, Framing::UntilClose);
            let before = RESPONSE.get(..*alike).unwrap_or_default();
            self.state = State::Body { framing, before };
        }
    }

    /// The next message began with these bytes.
    fn begin(&mut self, call: &Call, bytes: &[u8]) {
        let began = (!bytes.is_empty()).then_some(*call);
        let start = Start { in_sync: true, began, bytes: bytes.to_vec(), ..Start::default() };
        self.state = State::Head(start);
    }

    /// How the body of the message whose head came last ends.
    pub(super) fn body(&mut self, framing: Framing) {
        self.state = State::Body { framing, before: &[] };
    }

    /// Likewise, of a response, while it is not known whether its request lets it have a body.
    pub(super) fn body_or_none(&mut self, framing: Framing) {
        self.state = State::Doubt { framing, alike: 0 };
    }

    /// The message is over: another one starts with the next byte.
    pub(super) fn next_message(&mut self) {
        self.state = State::Head(Start { in_sync: true, ..Start::default() });
    }

    /// Where the next message starts is not known.
    pub(super) fn seek(&mut self) {
        self.state = State::Head(Start::default());
    }

    /// Passes over lost bytes.
    pub(super) fn skip(&mut self, length: u64) -> Skip {
        let skip = match &mut self.state {
            State::Head(_) | State::Doubt { .. } => Skip::Lost,
            State::Body { framing, .. } => framing.skip(length),
        };
        match skip {
            Skip::Within => {}
            Skip::ToEnd => self.next_message(),
            Skip::Lost => self.seek(),
        }
        skip
    }

    /// Bytes of a head that is not complete.
    pub(super) fn unread(&self) -> usize {
        match &self.state {
            State::Head(start) => start.bytes.len(),
            State::Body { .. } => 0,
            State::Doubt { alike, .. } => *alike,
        }
    }

    /// Whether no message is being read.
    pub(super) const fn is_between(&self) -> bool {
        matches!(self.state, State::Head(_))
    }

    /// Whether the end of the connection is the end of the message.
    pub(super) const fn ends_with_connection(&self) -> bool {
        matches!(
            self.state,
            State::Body { framing: Framing::UntilClose, .. }
                | State::Doubt { framing: Framing::UntilClose, .. }
        )
    }
}

impl Start {
    fn step<'a, H: Head>(&mut self, call: &Call, input: &mut &'a [u8]) -> Step<'a, H> {
        if self.bytes.is_empty() {
            // RFC 9112, section 2.2: "a server that is expecting to receive and parse a request-line
            // SHOULD ignore at least one empty line (CRLF) received prior to the request-line."
            *input = trim_lines(input);
            self.began = Some(*call);
        }
        if input.is_empty() {
            return Step::More;
        }
        if let Some(head) = self.whole(call, input) {
            return head;
        }
        let held = self.bytes.len();
        self.bytes.extend_from_slice(input);
        if !self.recognise::<H>(call, held, input) {
            return self.refuse(held, input);
        }
        let held = self.bytes.len().saturating_sub(input.len());
        match head_end(&self.bytes, self.scanned) {
            None if self.bytes.len() > HEAD_LIMIT => self.refuse(held, input),
            None => {
                self.scanned = self.bytes.len().saturating_sub(2);
                *input = &[];
                Step::More
            }
            Some(end) => self.parse(end, held, input),
        }
    }

    /// A head that the input holds from beginning to end, as most do: it is read where it lies.
    fn whole<'a, H: Head>(&self, call: &Call, input: &mut &'a [u8]) -> Option<Step<'a, H>> {
        if !self.bytes.is_empty() || H::probe(input) != Probe::Start {
            return None;
        }
        let length = head_end(input, 0).filter(|length| *length <= HEAD_LIMIT)?;
        let (head, rest) = input.split_at_checked(length)?;
        let head = H::parse(head).filter(|head| self.in_sync || head.is_certain())?;
        *input = rest;
        Some(Step::Head { began: *call, head, length })
    }

    /// Whether what was collected may still be a head.
    fn recognise<H: Head>(&mut self, call: &Call, held: usize, input: &mut &[u8]) -> bool {
        let mut probe = self.probe::<H>();
        if probe == Probe::No && !self.in_sync && held > 0 {
            // What was held was none, but this segment may begin like one.
            *self = Self { began: Some(*call), ..Self::default() };
            *input = trim_lines(input);
            self.bytes.extend_from_slice(input);
            probe = self.probe::<H>();
        }
        self.probed = probe == Probe::Start;
        probe != Probe::No
    }

    fn probe<H: Head>(&self) -> Probe {
        if self.probed { Probe::Start } else { H::probe(&self.bytes) }
    }

    fn parse<'a, H: Head>(&mut self, end: usize, held: usize, input: &mut &'a [u8]) -> Step<'a, H> {
        let head = self.bytes.get(..end).filter(|head| head.len() <= HEAD_LIMIT).and_then(H::parse);
        let head = head.filter(|head| self.in_sync || head.is_certain());
        let (Some(head), Some(began)) = (head, self.began) else {
            return self.refuse(held, input);
        };
        *input = input.get(end.saturating_sub(held)..).unwrap_or_default();
        Step::Head { began, head, length: end }
    }

    /// These bytes are no head: an error where one must stand, else only not yet one.
    fn refuse<'a, H>(&mut self, held: usize, input: &mut &'a [u8]) -> Step<'a, H> {
        if self.in_sync {
            return Step::Malformed { held };
        }
        *self = Self::default();
        *input = &[];
        Step::More
    }
}

fn trim_lines(bytes: &[u8]) -> &[u8] {
    let text = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
    text.and_then(|text| bytes.get(text..)).unwrap_or_default()
}

/// The index behind the first empty line that ends behind `from`.
fn head_end(bytes: &[u8], from: usize) -> Option<usize> {
    let behind = bytes.get(from..)?;
    memchr::memchr_iter(b'\n', behind).find_map(|index| match behind.get(index + 1..)? {
        [b'\n', ..] => Some(from + index + 2),
        [b'\r', b'\n', ..] => Some(from + index + 3),
        _ => None,
    })
}
