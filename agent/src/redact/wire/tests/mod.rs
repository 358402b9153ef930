//! Conversations of each protocol, each with secrets that any other text does not have: none is left,
//! however the bytes are split, and nothing else is gone.

mod databases;
mod messaging;
mod web;

use super::*;
use crate::capture::Direction::{Receive, Transmit};

/// What is said, secrets between `<` and `>`, and between `?` what may be masked where it is split.
#[derive(Default)]
struct Said(Vec<(Direction, Vec<u8>, Vec<u8>)>);

impl Said {
    /// Bytes, and which of them are secrets.
    fn say(mut self, at: Direction, parts: &[&[u8]]) -> Self {
        let (mut bytes, mut secret) = (Vec::new(), Vec::new());
        for part in parts {
            let maybe = part.len() > 2 && part.starts_with(b"?") && part.ends_with(b"?");
            let hidden = part.starts_with(b"<") && part.ends_with(b">") && part.len() > 2;
            let part = if hidden || maybe { &part[1..part.len() - 1] } else { part };
            bytes.extend_from_slice(part);
            secret.extend(std::iter::repeat_n(u8::from(hidden) + 2 * u8::from(maybe), part.len()));
        }
        self.0.push((at, bytes, secret));
        self
    }

    fn client(self, parts: &[&[u8]]) -> Self {
        self.say(Transmit, parts)
    }

    fn server(self, parts: &[&[u8]]) -> Self {
        self.say(Receive, parts)
    }

    /// What is shown of it, when the bytes with this number, counted over all, are split before.
    fn shown(&self, split: usize, mut each: impl FnMut(&[u8], &[u8], &[u8])) {
        let (mut plaintext, mut seen) = (Plaintext::default(), 0);
        for (at, bytes, secret) in &self.0 {
            let place = split.saturating_sub(seen).min(bytes.len());
            seen += bytes.len();
            let (one, two) = bytes.split_at(place);
            let mut all = Vec::new();
            for part in [one, two].into_iter().filter(|part| !part.is_empty()) {
                let mut part = Bytes::copy_from_slice(part);
                plaintext.mask(*at, &mut part, &Patterns::default());
                all.extend_from_slice(&part);
            }
            each(bytes, secret, &all);
        }
    }

    /// Exactly the secrets are masked, wherever it is split.
    fn check(&self) {
        for split in 0..=self.0.iter().map(|(_, bytes, _)| bytes.len()).sum() {
            self.shown(split, |bytes, secret, shown| {
                let expect: Vec<u8> = bytes
                    .iter()
                    .zip(secret)
                    .zip(shown)
                    .map(|((byte, secret), shown)| match secret {
                        1 => b'*',
                        2 if *shown == b'*' => b'*',
                        _ => *byte,
                    })
                    .collect();
                let text = String::from_utf8_lossy(shown);
                let wanted = String::from_utf8_lossy(&expect);
                assert_eq!(text, wanted, "split before {split}");
            });
        }
    }
}

fn be(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap().to_be_bytes()
}

fn le(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap().to_le_bytes()
}

/// What is lost does not show what comes behind, and other protocols are passed over.
#[test]
fn gaps_and_noise_end_well() {
    let mut random = 1_u64;
    let mut next = move || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(random >> 33).unwrap()
    };
    let (http2, _) = web::http2(true);
    let openings: Vec<Vec<u8>> = vec![
        databases::STARTUP.to_vec(),
        databases::handshake(7),
        b"*2\r\n$4\r\nauth\r\n".to_vec(),
        b"EHLO a\r\n".to_vec(),
        b"AMQP\0\0\x09\x01".to_vec(),
        b"\x10\x20\0\x04MQTT\x05\xc2\0\0".to_vec(),
        b"\0\0\0\x0c\0\x12\0\0\0\0\0\x01\0\x02me".to_vec(),
        [&le(100)[..], b"\x01\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\0"].concat(),
        b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n".to_vec(),
        http2.0[0].1.clone(),
        http2.0[2].1.clone(),
    ];
    for round in 0..4000 {
        let mut plaintext = Plaintext::default();
        let opening = &openings[round % openings.len()];
        let mut first = Bytes::copy_from_slice(opening);
        plaintext.mask(Transmit, &mut first, &Patterns::default());
        for _ in 0..12 {
            let at = if next() % 3 == 0 { Receive } else { Transmit };
            if next() % 5 == 0 {
                plaintext.gap(at, next() as u64 % 40);
            }
            let alphabet = [0, 1, 2, 3, 4, 0x10, 0x40, 0x80, 0xff, b'p', b'*', b'$', b'\n', b' '];
            let noise: Vec<u8> = (0..next() % 60)
                .map(|_| match next() % 3 {
                    0 => alphabet[next() % alphabet.len()],
                    1 => opening[next() % opening.len()],
                    _ => u8::try_from(next() % 256).unwrap(),
                })
                .collect();
            let mut bytes = Bytes::from(noise.clone());
            plaintext.mask(at, &mut bytes, &Patterns::default());
            assert_eq!(bytes.len(), noise.len());
        }
    }
}
