//! Whole connections through [`Connection`] for tests: what is moved in, operations in a short
//! notation out.

use bytes::Bytes;
pub(super) use tlstap_tests::random::Random;

use super::{Connection, Content, Message, Messaging, Operation, Options, Role};
use crate::{
    capture::{Call, ConnectionKey, Direction, GapReason},
    reassemble::{Segment, SegmentContent},
};

/// What happens on a connection of a client.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Data(Direction, Vec<u8>),
    Gap(Direction, u64),
}

pub(super) fn tx(bytes: impl AsRef<[u8]>) -> Event {
    Event::Data(Direction::Transmit, bytes.as_ref().to_vec())
}

pub(super) fn rx(bytes: impl AsRef<[u8]>) -> Event {
    Event::Data(Direction::Receive, bytes.as_ref().to_vec())
}

pub(super) const OPTIONS: Options = Options { keep_bodies: false, body_limit: 0 };

/// A connection, and how far its streams are.
pub(super) struct Trial {
    pub(super) connection: Connection,
    offsets: [u64; 2],
    number: u64,
    pub(super) out: Vec<Message>,
}

impl Trial {
    pub(super) fn new() -> Self {
        Self::of(OPTIONS)
    }

    pub(super) fn of(options: Options) -> Self {
        let connection = Connection::new(&options);
        Self { connection, offsets: [0; 2], number: 0, out: Vec::new() }
    }

    pub(super) fn push(&mut self, event: &Event) {
        let (direction, length) = match event {
            Event::Data(direction, bytes) => (*direction, bytes.len() as u64),
            Event::Gap(direction, length) => (*direction, *length),
        };
        let offset = self.offsets[direction.index()];
        self.offsets[direction.index()] += length;
        let content = match event {
            Event::Data(_, bytes) => {
                SegmentContent::Data { direction, offset, bytes: Bytes::copy_from_slice(bytes) }
            }
            Event::Gap(..) => {
                SegmentContent::Gap { direction, offset, length, reason: GapReason::RingFull }
            }
        };
        self.number += 1;
        let (entered, returned) = (10 * self.number, 10 * self.number + 5);
        let call = Call { tid: 1, thread_name: [0; 16], library: 0, entered, returned };
        let connection = ConnectionKey { pid: 1, object: 2, birth: 3 };
        self.connection.push(&Segment { connection, call, content }, &mut self.out);
    }

    pub(super) fn finish(mut self) -> Vec<Message> {
        self.connection.finish(&mut self.out);
        self.out
    }
}

pub(super) fn decode(events: &[Event]) -> Vec<Message> {
    let mut trial = Trial::new();
    events.iter().for_each(|event| trial.push(event));
    trial.finish()
}

pub(super) fn operations(messages: &[Message]) -> Vec<Operation> {
    let operation = |message: &Message| match &message.content {
        Content::Operation(operation) => Some(Operation::clone(operation)),
        _ => None,
    };
    messages.iter().filter_map(operation).collect()
}

/// `SELECT [select 1] 1 returned (SELECT 1)`; `!` before a code, `-` without an answer, `~` when
/// some is missing.
pub(super) fn show(message: &Message) -> String {
    let operation = match &message.content {
        Content::Operation(operation) => operation,
        Content::Gap { direction, length, .. } => return format!("gap {direction:?} {length}"),
        Content::Opaque { bytes: [transmit, receive] } => {
            return format!("opaque {transmit} {receive}");
        }
        other => return format!("{other:?}"),
    };
    let mut line = operation.name.clone().unwrap_or("?".to_owned());
    if let Some(namespace) = &operation.namespace {
        line += &format!(" in {namespace}");
    }
    if let Some(target) = &operation.target {
        line += &format!(" of {target}");
    }
    if let Some(text) = &operation.text {
        line += &format!(" [{text}]");
    }
    for value in &operation.parameters {
        line += &format!(" ${}", value.as_deref().unwrap_or("null"));
    }
    match &operation.outcome {
        None => line += " -",
        Some(outcome) => {
            let mark = if outcome.failed { "!" } else { "" };
            let code = outcome.code.as_deref().unwrap_or_default();
            line += &format!(" {mark}{code}({})", outcome.message.as_deref().unwrap_or_default());
            line += &outcome.returned.map_or(String::new(), |n| format!(" {n} returned"));
            line += &outcome.affected.map_or(String::new(), |n| format!(" {n} affected"));
        }
    }
    if operation.truncated {
        line += " ~";
    }
    if operation.role == Role::Server {
        line.insert_str(0, "server ");
    }
    line
}

#[track_caller]
pub(super) fn check(events: &[Event], expect: &[&str]) {
    let shown: Vec<String> = decode(events).iter().map(show).collect();
    assert_eq!(shown, expect, "{events:?}");
}

/// All that is told of an operation but when it was.
fn timeless(messages: &[Message]) -> Vec<Operation> {
    let mut operations = operations(messages);
    operations.iter_mut().for_each(|operation| operation.duration_ns = None);
    operations
}

/// The same with one event split, at each byte of each.
pub(super) fn splits(events: &[Event]) -> impl Iterator<Item = Vec<Event>> {
    events.iter().enumerate().flat_map(move |(index, event)| {
        let (direction, bytes) = match event {
            Event::Data(direction, bytes) => (*direction, &bytes[..]),
            Event::Gap(direction, _) => (*direction, &[][..]),
        };
        (1..bytes.len()).map(move |at| {
            let (head, tail) = bytes.split_at(at);
            let halves = [head, tail].map(|half| Event::Data(direction, half.to_vec()));
            let mut split = events.to_vec();
            split.splice(index..=index, halves);
            split
        })
    })
}

/// The same in pieces of random sizes.
pub(super) fn pieces(events: &[Event], largest: usize, random: &mut Random) -> Vec<Event> {
    let mut split = Vec::new();
    for event in events {
        let Event::Data(direction, mut bytes) = event.clone() else { continue };
        while !bytes.is_empty() {
            let rest = bytes.split_off((1 + random.below(largest)).min(bytes.len()));
            split.push(Event::Data(direction, bytes));
            bytes = rest;
        }
    }
    split
}

/// The same, with a stretch of some events lost.
pub(super) fn lossy(events: &[Event], random: &mut Random, one_in: usize) -> Vec<Event> {
    let mut left = Vec::new();
    for event in events {
        let Event::Data(direction, bytes) = event else { continue };
        if random.below(one_in) > 0 {
            left.push(event.clone());
            continue;
        }
        let from = random.below(bytes.len());
        let to = from + 1 + random.below(bytes.len() - from);
        let pieces = [
            Event::Data(*direction, bytes[..from].to_vec()),
            Event::Gap(*direction, (to - from) as u64),
            Event::Data(*direction, bytes[to..].to_vec()),
        ];
        let empty = |piece: &Event| matches!(piece, Event::Data(_, bytes) if bytes.is_empty());
        left.extend(pieces.into_iter().filter(|piece| !empty(piece)));
    }
    left
}

/// What is told when stretches of some events are lost.
pub(super) fn with_gaps(events: &[Event], random: &mut Random, one_in: usize) -> Vec<Operation> {
    operations(&decode(&lossy(events, random, one_in)))
}

/// Changed bytes of a conversation, and noise: no panic, bounded memory.
fn noise(events: &[Event], bytes: usize, random: &mut Random) {
    let mut done = 0;
    while done < bytes {
        let mut trial = Trial::new();
        for event in events {
            let Event::Data(direction, mut bytes) = event.clone() else { continue };
            for _ in 0..random.below(4) {
                let at = random.below(bytes.len());
                bytes[at] = u8::try_from(random.below(256)).unwrap();
            }
            if random.below(8) == 0 {
                bytes = (0..random.below(5000))
                    .map(|_| u8::try_from(random.below(256)).unwrap())
                    .collect();
            }
            if bytes.is_empty() {
                continue;
            }
            done += bytes.len();
            trial.push(&Event::Data(direction, bytes));
            assert!(trial.connection.held() < 8 << 20);
        }
        trial.finish();
    }
}

/// The tests that every such decoder has, with a conversation of its own; so many of 10,000 exchanges
/// are told whole where some bytes are lost.
macro_rules! tests {
    ($talk:ident, $least:literal) => {
        #[test]
        fn splitting_changes_nothing() {
            crate::decode::trial::splitting_changes_nothing($talk);
        }

        #[test]
        fn gaps_make_nothing_wrong() {
            crate::decode::trial::gaps_make_nothing_wrong($talk, $least);
        }

        #[test]
        fn noise_never_panics() {
            crate::decode::trial::noise_never_panics($talk);
        }
    };
}
pub(super) use tests;

/// So many exchanges of a protocol, each told with a text of its own.
pub(super) type Talk = fn(usize, &mut Random) -> Vec<Event>;

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// However the bytes of a conversation are split, the same is told: some of it at every byte, all of
/// it into single bytes and pieces of random sizes.
pub(super) fn splitting_changes_nothing(talk: Talk) {
    let mut random = Random(SEED);
    let few = talk(15, &mut random);
    let expect = timeless(&decode(&few));
    for split in splits(&few) {
        assert_eq!(timeless(&decode(&split)), expect, "{split:?}");
    }
    let events = talk(10_000, &mut random);
    let whole = timeless(&decode(&events));
    assert!(whole.len() >= 10_000, "{} operations", whole.len());
    assert!(whole.iter().all(|operation| !operation.truncated && operation.outcome.is_some()));
    for largest in [1, 40] {
        assert_eq!(timeless(&decode(&pieces(&events, largest, &mut random))), whole);
    }
}

/// What is told in spite of lost bytes is what was said: no answer is told as that of another
/// request, and no field is another's. At least so many of 10,000 exchanges are told whole.
pub(super) fn gaps_make_nothing_wrong(talk: Talk, least: usize) {
    let mut random = Random(SEED);
    let mut paired = 0;
    for _ in 0..100 {
        let events = talk(100, &mut random);
        let whole = timeless(&decode(&events));
        for told in with_gaps(&events, &mut random, 10) {
            if told.truncated {
                continue;
            }
            let said = |whole: &&Operation| is_part(&told, whole);
            assert!(whole.iter().any(|whole| said(&whole)), "invented: {told:?}");
            paired += usize::from(told.request_size > 0 && told.outcome.is_some());
        }
    }
    assert!(paired > least, "{paired} exchanges are told whole");
}

/// Whether an operation is another one, but for what is absent.
fn is_part(told: &Operation, whole: &Operation) -> bool {
    let mut expect = whole.clone();
    if told.outcome.is_none() {
        (expect.outcome, expect.response_size) = (None, 0);
    }
    if told.text.is_none() {
        expect.text = None;
        // Without the statement, values may be all that is known of it, or not.
        if told.parameters.is_empty() {
            expect.parameters.clear();
        }
    }
    if told.name.is_none() {
        expect.name = None;
    }
    if told.target.is_none() {
        expect.target = None;
    }
    if let (Some(told), Some(expect)) = (&told.messaging, &mut expect.messaging) {
        leave_out(told, expect);
    }
    expect.duration_ns = told.duration_ns;
    *told == expect
}

fn leave_out(told: &Messaging, expect: &mut Messaging) {
    expect.body_size = expect.body_size.filter(|_| told.body_size.is_some());
    expect.packet_id = expect.packet_id.filter(|_| told.packet_id.is_some());
    expect.delivery_tag = expect.delivery_tag.filter(|_| told.delivery_tag.is_some());
    expect.client.take_if(|_| told.client.is_none());
    expect.group.take_if(|_| told.group.is_none());
    expect.routing_key.take_if(|_| told.routing_key.is_none());
}

/// Changed bytes of a conversation, and noise: no panic, bounded memory.
pub(super) fn noise_never_panics(talk: Talk) {
    let mut random = Random(SEED);
    let events = talk(50, &mut random);
    noise(&events, 64 << 20, &mut random);
}
