//! Whole connections: what a client and a server say in, messages out.

use flate2::{Compress, Compression, FlushCompress};

use super::*;
use crate::decode::trial::{Event, Random, Trial, rx, tx};

const KEEP: Options = Options { keep_bodies: true, body_limit: 1 << 20 };
const ASK: &str = "GET /chat HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
const TAKEOVER: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
const FORGETS: &str = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
                       client_no_context_takeover; client_max_window_bits=12\r\n";

fn agree(extensions: &str) -> String {
    format!("HTTP/1.1 101 Switching\r\nUpgrade: WebSocket\r\n{extensions}\r\n")
}

/// A frame of the client (masked) or of the server.
fn frame(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut bytes = vec![first];
    let bit = if mask.is_some() { 0x80 } else { 0 };
    match payload.len() {
        short @ ..126 => bytes.push(bit | u8::try_from(short).unwrap()),
        middle @ ..0x1_0000 => {
            bytes.push(bit | 126);
            bytes.extend(u16::try_from(middle).unwrap().to_be_bytes());
        }
        long => {
            bytes.push(bit | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(mask.iter().flatten());
    let key = mask.unwrap_or_default();
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

fn client(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(first, payload.as_ref(), Some([7, 99, 0xfe, 1]))
}

fn server(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(first, payload.as_ref(), None)
}

/// A compressor of one direction.
struct Deflater(Compress);

impl Deflater {
    fn new() -> Self {
        Self(Compress::new(Compression::default(), false))
    }

    fn message(&mut self, bytes: &[u8], forget: bool) -> Vec<u8> {
        if forget {
            self.0.reset();
        }
        let mut out = Vec::with_capacity(bytes.len() + 1000);
        self.0.compress_vec(bytes, &mut out, FlushCompress::Sync).unwrap();
        assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
        out.truncate(out.len() - 4);
        out
    }
}

fn show(message: &Message) -> String {
    let websocket = match &message.content {
        Content::WebSocket(websocket) => websocket,
        Content::Http(_) => return "http".to_owned(),
        Content::Gap { direction, length, .. } => return format!("gap {direction:?} {length}"),
        Content::Opaque { bytes: [sent, received] } => return format!("opaque {sent} {received}"),
        other => panic!("{other:?}"),
    };
    let way = if websocket.direction == Direction::Transmit { '>' } else { '<' };
    let text = String::from_utf8_lossy(&websocket.body.bytes);
    let mut line = format!("{way}{} {} [{text}]", websocket.opcode.as_str(), websocket.body.size);
    if websocket.frames > 1 {
        line += &format!(" in {}", websocket.frames);
    }
    if websocket.compressed {
        line += " deflated";
    }
    if websocket.body.truncated {
        line += " ~";
    }
    line += &websocket.unreadable.map_or(String::new(), |why| format!(" {why:?}"));
    if let Some(Close { code, reason }) = &websocket.close {
        line += &format!(" {code:?} {reason:?}");
    }
    line
}

fn decoded(options: Options, events: &[Event]) -> Vec<Message> {
    let mut trial = Trial::of(options);
    events.iter().for_each(|event| trial.push(event));
    trial.finish()
}

#[track_caller]
fn check(extensions: &str, events: &[Event], expect: &[&str]) {
    let all = [&[tx(ASK), rx(agree(extensions))], events].concat();
    let shown: Vec<_> = decoded(KEEP, &all).iter().map(show).collect();
    assert_eq!(shown.first().map(String::as_str), Some("http"));
    assert_eq!(shown[1..], *expect, "{events:?}");
}

#[test]
fn messages_of_both_sides() {
    let long = "x".repeat(70_000);
    check(
        "",
        &[
            tx([client(0x81, "hello"), client(0x82, [0x31; 3])].concat()),
            rx(server(0x81, &long)),
            rx(server(0x81, "")),
            tx(client(0x88, b"\x03\xe8bye")),
            rx(server(0x88, b"\x03\xe8")),
        ],
        &[
            ">text 5 [hello]",
            ">binary 3 [111]",
            &format!("<text 70000 [{long}]"),
            "<text 0 []",
            ">close 5 [\u{3}\u{fffd}bye] Some(1000) Some(\"bye\")",
            "<close 2 [\u{3}\u{fffd}] Some(1000) None",
        ],
    );
}

/// RFC 6455, section 5.4: control frames may be in the middle of a fragmented message.
#[test]
fn fragments_with_control_frames_between() {
    let frames = [
        server(0x01, "one "),
        server(0x89, "are you there"),
        server(0x00, ""),
        server(0x00, "two "),
        server(0x8a, ""),
        server(0x80, "three"),
    ];
    check(
        "",
        &[rx(frames.concat())],
        &["<ping 13 [are you there]", "<pong 0 []", "<text 13 [one two three] in 4"],
    );
}

#[test]
fn what_is_malformed_ends_it() {
    for bad in [
        client(0x81, "masked by the server"),
        server(0xc1, "compressed without agreement"),
        server(0xa1, "a reserved bit"),
        server(0x83, "an unknown opcode"),
        server(0x80, "nothing to continue"),
        server(0x09, "a fragment of a ping"),
        server(0x89, [0; 126]),
        vec![0x81, 126, 0, 5],
        vec![0x81, 127, 0, 0, 0, 0, 0, 0, 1, 0],
        vec![0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0],
        [server(0x01, "a"), server(0x81, "not continued")].concat(),
    ] {
        let shown: Vec<_> = decoded(KEEP, &[tx(ASK), rx(agree("")), rx(&bad), rx("more")])
            .iter()
            .map(show)
            .collect();
        let opaque = shown.last().unwrap();
        assert!(opaque.starts_with("opaque 0 "), "{bad:?}: {shown:?}");
    }
}

#[test]
fn an_unknown_extension_is_opaque() {
    check("Sec-WebSocket-Extensions: bbf-usp\r\n", &[rx(server(0x81, "a"))], &["opaque 0 3"]);
}

#[test]
fn compressed_with_and_without_the_window() {
    for (extensions, forget) in [(TAKEOVER, false), (FORGETS, true)] {
        let mut deflater = Deflater::new();
        let texts = ["the same words again", "the same words again", "the same words, and others"];
        let packed = texts.map(|text| deflater.message(text.as_bytes(), forget));
        assert_eq!(packed[1].len() < 10, !forget);
        let (head, tail) = packed[2].split_at(5);
        let events = [
            rx(server(0xc1, &packed[0])),
            rx(server(0xc1, &packed[1])),
            rx(server(0x81, "plain")),
            rx([server(0x41, head), server(0x80, tail)].concat()),
        ];
        let expect = [
            format!("<text {} [{}] deflated", packed[0].len(), texts[0]),
            format!("<text {} [{}] deflated", packed[1].len(), texts[1]),
            "<text 5 [plain]".to_owned(),
            format!("<text {} [{}] in 2 deflated", packed[2].len(), texts[2]),
        ];
        check(extensions, &events, &expect.each_ref().map(String::as_str));
    }
}

#[test]
fn a_gap_makes_what_refers_to_it_unknown() {
    let mut deflater = Deflater::new();
    let packed = ["some words", "some words", "some words"]
        .map(|text| deflater.message(text.as_bytes(), false));
    let mut first = server(0xc1, &packed[0]);
    let lost = u64::try_from(first.split_off(3).len()).unwrap();
    let (one, two) = (packed[0].len(), packed[1].len());
    check(
        TAKEOVER,
        &[
            rx(&first),
            Event::Gap(Direction::Receive, lost),
            rx(server(0xc1, &packed[1])),
            rx(server(0x81, "plain")),
        ],
        &[
            &format!("gap Receive {lost}"),
            &format!("<text {one} [] deflated ~"),
            &format!("<text {two} [] deflated ~ ContextLost"),
            "<text 5 [plain]",
        ],
    );
}

#[test]
fn behind_a_gap_two_calls_prove_the_place() {
    check(
        "",
        &[
            tx(client(0x01, "begun")),
            Event::Gap(Direction::Transmit, 50),
            tx("no frames"),
            tx(client(0x80, "its end")),
            tx([client(0x81, "a"), client(0x81, "b")].concat()),
            tx(client(0x81, "c")),
        ],
        &[
            "gap Transmit 50",
            ">text 5 [begun] ~",
            ">text 1 [a]",
            ">text 1 [b]",
            ">text 1 [c]",
            "opaque 16 0",
        ],
    );
}

#[test]
fn a_bomb_is_stopped() {
    let mut deflater = Deflater::new();
    let zeros = deflater.message(&vec![0; 32 << 20], false);
    let options = Options { keep_bodies: true, body_limit: 1000 };
    let events = [tx(ASK), rx(agree(TAKEOVER)), rx(server(0xc2, &zeros)), rx(server(0xc1, [0]))];
    let messages = decoded(options, &events);
    let bodies = messages.iter().filter_map(|message| match &message.content {
        Content::WebSocket(websocket) => Some((websocket.body.bytes.len(), websocket.unreadable)),
        _ => None,
    });
    assert_eq!(bodies.collect::<Vec<_>>(), [(1000, None), (0, Some(Unreadable::ContextLost))]);
}

/// A conversation with all kinds of frames, and its messages in the order of each side.
fn conversation(
    random: &mut Random,
    deflate: bool,
    forget: bool,
) -> (Vec<Event>, [Vec<String>; 2]) {
    let extensions = match (deflate, forget) {
        (false, _) => "",
        (true, false) => TAKEOVER,
        (true, true) => FORGETS,
    };
    let mut events = vec![tx(ASK), rx(agree(extensions))];
    let mut told = [Vec::new(), Vec::new()];
    let mut deflaters = [Deflater::new(), Deflater::new()];
    for _ in 0..4 + random.below(8) {
        let side = random.below(2);
        let mask = [1, 2, 3, u8::try_from(random.below(256)).unwrap()];
        let frame = |first, payload: &[u8]| frame(first, payload, (side == 0).then_some(mask));
        let words = ["red", "green", "{\"a\": 1}", "blue", "0123456789"];
        let text: String = (0..random.below(40)).map(|_| words[random.below(5)]).collect();
        let compressed = deflate && random.below(4) > 0;
        let payload = match compressed {
            true => deflaters[side].message(text.as_bytes(), forget),
            false => text.clone().into_bytes(),
        };
        let bit = if compressed { 0x40 } else { 0 };
        let mut bytes = Vec::new();
        let at = random.below(payload.len() + 1);
        if random.below(3) == 0 {
            bytes.extend(frame(0x01 | bit, &payload[..at]));
            if random.below(2) == 0 {
                bytes.extend(frame(0x89, b"ping"));
                told[side].push("ping".to_owned());
            }
            bytes.extend(frame(0x80, &payload[at..]));
        } else {
            bytes.extend(frame(0x81 | bit, &payload));
        }
        told[side].push(text);
        events.push(if side == 0 { tx(bytes) } else { rx(bytes) });
    }
    (events, told)
}

/// By side: payload, and whether it is said to be whole.
fn payloads(messages: &[Message]) -> [Vec<(String, bool)>; 2] {
    let mut told = [Vec::new(), Vec::new()];
    for message in messages {
        let Content::WebSocket(websocket) = &message.content else { continue };
        let text = String::from_utf8(websocket.body.bytes.to_vec()).unwrap();
        let side = usize::from(websocket.direction == Direction::Receive);
        told[side].push((text, !websocket.body.truncated && websocket.unreadable.is_none()));
    }
    told
}

#[test]
fn splits_change_nothing() {
    let mut random = Random(31);
    for round in 0..300 {
        let (events, told) = conversation(&mut random, round % 3 > 0, round % 3 == 2);
        let whole = told.map(|side| side.into_iter().map(|text| (text, true)).collect::<Vec<_>>());
        assert_eq!(payloads(&decoded(KEEP, &events)), whole);
        let mut split = events[..2].to_vec();
        for event in &events[2..] {
            let Event::Data(direction, mut bytes) = event.clone() else { continue };
            while !bytes.is_empty() {
                let most = if round % 2 == 0 { 1 } else { 40 };
                let rest = bytes.split_off((1 + random.below(most)).min(bytes.len()));
                split.push(Event::Data(direction, bytes));
                bytes = rest;
            }
        }
        assert_eq!(payloads(&decoded(KEEP, &split)), whole);
    }
}

/// What is said to be whole is, in the order sent; what is cut is a beginning.
#[test]
fn gaps_are_never_wrong() {
    let mut random = Random(77);
    let mut whole = 0;
    for round in 0..10_000 {
        let (events, told) = conversation(&mut random, round % 3 > 0, round % 3 == 2);
        let mut lossy = events[..2].to_vec();
        for event in &events[2..] {
            let Event::Data(direction, bytes) = event else { continue };
            if random.below(4) > 0 {
                lossy.push(event.clone());
                continue;
            }
            let from = random.below(bytes.len());
            let to = from + 1 + random.below(bytes.len() - from);
            let part =
                |part: &[u8]| (!part.is_empty()).then(|| Event::Data(*direction, part.to_vec()));
            lossy.extend(part(&bytes[..from]));
            lossy.push(Event::Gap(*direction, (to - from) as u64));
            lossy.extend(part(&bytes[to..]));
        }
        for (sent, seen) in told.iter().zip(payloads(&decoded(KEEP, &lossy))) {
            let mut sent = sent.iter();
            for (text, is_whole) in seen {
                whole += usize::from(is_whole);
                let same = |sent: &&String| match is_whole {
                    true => **sent == text,
                    false => sent.starts_with(&text),
                };
                assert!(
                    sent.any(|sent| same(&sent)),
                    "{text:?} ({is_whole}) was not sent: {told:?} {lossy:?}"
                );
            }
        }
    }
    assert!(whole > 10_000, "{whole}");
}

#[test]
fn noise_is_bounded() {
    let mut random = Random(5);
    for _ in 0..2_000 {
        let (events, _) = conversation(&mut random, true, false);
        let mut trial = Trial::of(KEEP);
        for (number, event) in events.iter().enumerate() {
            let Event::Data(direction, mut bytes) = event.clone() else { continue };
            if number > 1 && !bytes.is_empty() {
                for _ in 0..random.below(4) {
                    let at = random.below(bytes.len());
                    bytes[at] = u8::try_from(random.below(256)).unwrap();
                }
            }
            trial.push(&Event::Data(direction, bytes));
            assert!(trial.connection.held() < 1 << 20);
        }
        trial.finish();
    }
}
