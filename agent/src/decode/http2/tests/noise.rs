//! Changed bytes, lost stretches, noise: no panic, memory bounded, never a wrong field.

use super::*;

/// Xorshift: the same noise on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % limit
    }
}

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

#[test]
fn random_gaps_never_give_a_wrong_field() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..3000 {
        let mut events = Vec::new();
        for event in numbered() {
            let Event::Data(direction, bytes) = event else { continue };
            let cut = random.below(bytes.len());
            let length = 1 + random.below(bytes.len() - cut);
            match random.below(12) {
                0 => {
                    let (head, rest) = bytes.split_at(cut);
                    let gap = if random.below(4) == 0 { 0 } else { length as u64 };
                    events.push(Event::Data(direction, head.to_vec()));
                    events.push(Event::Gap(direction, gap));
                    events.push(Event::Data(direction, rest[length..].to_vec()));
                }
                _ => events.push(Event::Data(direction, bytes)),
            }
        }
        events.retain(|event| !matches!(event, Event::Data(_, bytes) if bytes.is_empty()));
        events.push(Event::End);
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
                    bytes.extend(random.next().to_le_bytes());
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
