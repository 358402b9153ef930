//! Changed bytes, lost stretches, noise: no panic, memory bounded, never a wrong field.

use super::{conversations::pieces, *};
use crate::decode::{
    http2::frames::{HEAD, Head},
    trial::Random,
};

/// Requests whose path, host and body say which stream they are on, each a segment.
fn numbered() -> Vec<Event> {
    let mut events = vec![tx(begin()), rx(settings())];
    for number in 0..40 {
        let (stream, path) = (2 * number + 1, format!("/{}", number / 3));
        let request = if number % 3 == 0 { get(stream, &path) } else { again(stream) };
        let mut block = vec![0x88];
        block.extend(if number % 3 == 0 {
            literal(true, &[("x-path", &path)])
        } else {
            vec![0xbe]
        });
        let mut answer = frame(1, 4, stream, &block);
        answer.extend(frame(0, 1, stream, path.as_bytes()));
        events.extend([tx(request), rx(answer)]);
    }
    events
}

/// Each exchange is what was sent on its stream, as far as it is known.
fn true_or_unknown(message: &Message) -> bool {
    let Content::Http(exchange) = &message.content else { return true };
    let path = format!("/{}", exchange.stream.unwrap() / 2 / 3);
    let request = exchange.request.as_ref().is_none_or(|request| {
        request.target.as_ref().is_none_or(|target| *target == path)
            && request.headers.first(":authority").is_none_or(|host| host == b"a")
            && request.method.as_ref().is_none_or(|method| method == "GET")
    });
    let response = exchange.response.as_ref().is_none_or(|response| {
        response.headers.first("x-path").is_none_or(|value| value == path.as_bytes())
            && matches!(response.status, None | Some(200))
            && (response.body.truncated || response.body.bytes == path.as_bytes())
    });
    request && response
}

#[test]
fn joined_at_any_segment_nothing_is_wrong() {
    let events = numbered();
    for start in 0..events.len() {
        let messages = decode(&events[start..]);
        assert!(messages.iter().all(true_or_unknown), "{start}: {messages:?}");
        // From the third request on, the path has been sent again.
        if start + 8 < events.len() {
            let last = messages.last().map(show).unwrap();
            assert!(last.starts_with("79: GET a/13 [0 ] > 200 x-path=/13 [3 /13]"), "{last}");
        }
    }
}

/// The same exchanges with padding, CONTINUATION, tables that change their size, bodies in several
/// frames, frames in between, and several frames in a segment.
fn varied(random: &mut Random) -> Vec<Event> {
    let mut sides = [begin(), settings()];
    let mut events = Vec::new();
    for event in numbered().into_iter().skip(2) {
        let Event::Data(direction, bytes) = event else { continue };
        let side = &mut sides[direction.index()];
        let mut rest = &bytes[..];
        while let Some(head) = Head::of(rest) {
            let (payload, next) = rest[HEAD..].split_at(head.length);
            side.extend(changed(head, payload, random));
            rest = next;
        }
        // No response comes before its request.
        if random.below(3) > 0 {
            let [transmit, receive] = &mut sides;
            events.extend([tx(std::mem::take(transmit)), rx(std::mem::take(receive))]);
        }
    }
    let [transmit, receive] = sides;
    events.extend([tx(transmit), rx(receive)]);
    events.retain(|event| !matches!(event, Event::Data(_, bytes) if bytes.is_empty()));
    events
}

/// A frame as several, which mean the same.
fn changed(head: Head, payload: &[u8], random: &mut Random) -> Vec<u8> {
    let Head { kind, flags, stream, .. } = head;
    let mut frames = Vec::new();
    if random.below(6) == 0 {
        frames.extend(frame(8, 0, stream, &[0, 0, 0, 9]));
    }
    let mut payload = payload.to_vec();
    if kind == 1 && random.below(8) == 0 {
        // The table is no smaller than before: all that is in it stays.
        payload.splice(0..0, [0x3f, 0xe1, 0x1f]);
    }
    let cut = random.below(payload.len() + 1);
    let (first, last) = payload.split_at(cut);
    let padding = random.below(4);
    let mut padded = vec![u8::try_from(padding).unwrap()];
    padded.extend(first);
    padded.extend(vec![0; padding]);
    // Of a head the end of the stream stands in the first, of a body in the last.
    let (before, behind, next) = if kind == 1 { (flags & 1, flags & 4, 9) } else { (0, flags, 0) };
    frames.extend(frame(kind, before | 8, stream, &padded));
    frames.extend(frame(next, behind, stream, last));
    frames
}

/// 10,000 exchanges: in one piece, byte by byte, and in pieces of random sizes, all is known and
/// right.
#[test]
fn splits_change_nothing() {
    let mut random = Random(0x1234_5678_9abc_def1);
    for _ in 0..250 {
        let events = varied(&mut random);
        let shown = |events: &[Event]| {
            let mut shown: Vec<String> = decode(events).iter().map(show).collect();
            shown.sort();
            shown
        };
        let expect = shown(&events);
        assert_eq!(expect.len(), 40);
        for number in 0..40 {
            let (stream, path) = (2 * number + 1, format!("/{}", number / 3));
            let body = format!("{path}]");
            let wanted = format!("{stream}: GET a{path} [0 ] > 200 x-path={path} [");
            let right = |line: &&String| line.starts_with(&wanted) && line.ends_with(&body);
            assert_eq!(expect.iter().filter(right).count(), 1, "{wanted} in {expect:?}");
        }
        let bytes: Vec<Event> = events.iter().flat_map(|event| pieces(event, 1)).collect();
        assert_eq!(shown(&bytes), expect);
        let size = 2 + random.below(60);
        let split: Vec<Event> = events.iter().flat_map(|event| pieces(event, size)).collect();
        assert_eq!(shown(&split), expect);
    }
}

/// Events of which some lose a stretch, of a length that is known or not.
fn with_gaps(events: Vec<Event>, random: &mut Random) -> Vec<Event> {
    let mut kept = Vec::new();
    for event in events {
        let Event::Data(direction, bytes) = event else { continue };
        let cut = random.below(bytes.len());
        let length = 1 + random.below(bytes.len() - cut);
        match random.below(12) {
            0 => {
                let (head, rest) = bytes.split_at(cut);
                let gap = if random.below(4) == 0 { 0 } else { length as u64 };
                kept.push(Event::Data(direction, head.to_vec()));
                kept.push(Event::Gap(direction, gap));
                kept.push(Event::Data(direction, rest[length..].to_vec()));
            }
            _ => kept.push(Event::Data(direction, bytes)),
        }
    }
    kept.retain(|event| !matches!(event, Event::Data(_, bytes) if bytes.is_empty()));
    kept.push(Event::End);
    kept
}

#[test]
fn random_gaps_never_give_a_wrong_field() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..3000 {
        let events = if round % 2 == 0 { numbered() } else { varied(&mut random) };
        let events = with_gaps(events, &mut random);
        let messages = decode(&events);
        let wrong: Vec<_> = messages.iter().filter(|m| !true_or_unknown(m)).map(show).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}

/// 64 MiB of noise and of changed frames.
#[test]
fn noise_is_bounded() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let valid: Vec<Vec<u8>> = numbered()
        .into_iter()
        .filter_map(|event| match event {
            Event::Data(_, bytes) => Some(bytes),
            _ => None,
        })
        .collect();
    let (mut total, mut number, mut out) = (0, 0, Vec::new());
    while total < 64 << 20 {
        let mut connection = Connection::new(&OPTIONS);
        let noisy = random.below(2) == 0;
        for round in 0..32 {
            let mut bytes = if round == 0 { begin() } else { Vec::new() };
            while bytes.len() < 16 << 10 {
                if noisy && round > 0 {
                    bytes.extend(random.number().to_le_bytes());
                } else {
                    bytes.extend(&valid[random.below(valid.len())]);
                }
            }
            for _ in 0..random.below(3) {
                let at = random.below(bytes.len());
                bytes[at] ^= u8::try_from(random.below(256)).unwrap();
            }
            total += bytes.len();
            number += 1;
            let direction = Direction::BOTH[random.below(2)];
            let content = match random.below(50) {
                0 => SegmentContent::Gap {
                    direction,
                    offset: 0,
                    length: random.below(100) as u64,
                    reason: GapReason::RingFull,
                },
                _ => SegmentContent::Data { direction, offset: 0, bytes: bytes.into() },
            };
            connection.push(&segment(number, content), &mut out);
            assert!(connection.held() < 20 << 20, "{}", connection.held());
            if random.below(100) == 0 {
                connection.give_up(&mut out);
            }
            out.clear();
        }
    }
}
