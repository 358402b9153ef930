//! WebSocket and HTTP/2.

use super::*;
use crate::decode::http2::huffman;

/// Frames of a client, masked, and of a server; other frames in between.
#[test]
fn websocket_members() {
    let mask = [7, 42, 0, 255];
    let masked = |text: &str| -> Vec<u8> {
        text.bytes().enumerate().map(|(at, byte)| byte ^ mask[at % 4]).collect()
    };
    let text = "{\"password\":\"hunter2\",\"a\":\"b\"}";
    let length = 0x80 | u8::try_from(text.len()).unwrap();
    let said = Said::default()
        .client(&[b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"])
        .server(&[
            b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n\x81\x0f{\"token\":\"",
            b"<abc>",
            b"\"}",
        ])
        .client(&[&[0x81, length], &mask, &masked(text)]);
    for split in 0..200 {
        let mut last = Vec::new();
        said.shown(split, |_, _, shown| last = shown.to_vec());
        let shown: Vec<u8> =
            last[6..].iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]).collect();
        let shown = String::from_utf8(shown).unwrap();
        assert_eq!(shown, "{\"password\":\"*******\",\"a\":\"b\"}", "split before {split}");
    }
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    [&be(payload.len())[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

fn string(text: &str, coded: bool) -> Vec<u8> {
    let bytes = if coded { huffman::encode(text.as_bytes()) } else { text.as_bytes().to_vec() };
    let length = u8::try_from(bytes.len()).unwrap();
    assert!(length < 127);
    [&[length | if coded { 0x80 } else { 0 }], bytes.as_slice()].concat()
}

/// Whether the bits are in the bytes, wherever they begin.
fn has_bits(bytes: &[u8], coded: &[u8]) -> bool {
    (0..8).any(|shift| {
        let moved: Vec<u8> = bytes
            .windows(2)
            .map(|pair| ((u16::from(pair[0]) << 8 | u16::from(pair[1])) << shift >> 8) as u8)
            .collect();
        // The last byte has padding.
        moved.windows(coded.len() - 1).any(|window| window == &coded[..coded.len() - 1])
    })
}

pub(super) fn http2(coded: bool) -> (Said, Vec<&'static str>) {
    let literal = |name: &str, value: &str| {
        [&[0x40], string(name, coded).as_slice(), &string(value, coded)].concat()
    };
    let block = [
        vec![0x82, 0x87],
        // :path and authorization by their index, then both by the entry of the table.
        [&[0x44], string("/a?token=tokentoken&b=c", coded).as_slice()].concat(),
        [&[0x57], string("Bearer bearerbearer", coded).as_slice()].concat(),
        [&[0x7e], string("apikeyapikey", coded).as_slice()].concat(),
        literal("x-api-key", "apikeyapikey"),
        [&[0x7e], string("secondsecond", coded).as_slice()].concat(),
        literal("x-other", "nothing"),
        [&[0x60], string("sid=cookiecookie", coded).as_slice()].concat(),
    ]
    .concat();
    let (one, two) = block.split_at(40);
    let body = |text: &str| text.as_bytes().to_vec();
    let said = Said::default()
        .client(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(4, 0, 0, b"")])
        .server(&[&frame(4, 0, 0, b"")])
        .client(&[&frame(1, 4, 1, &block)])
        .client(&[&frame(1, 0, 3, one), &frame(9, 4, 3, two)])
        .client(&[
            &frame(0, 0, 1, &body("{\"password\":\"body")),
            &frame(0, 1, 3, &body("{\"a\":1}")),
        ])
        .client(&[&frame(0, 1, 1, &body("bodybodybody\",\"x\":2}"))]);
    (
        said,
        vec![
            "tokentoken",
            "bearerbearer",
            "apikeyapikey",
            "secondsecond",
            "cookiecookie",
            "bodybody",
        ],
    )
}

#[test]
fn http2_fields_and_bodies() {
    for coded in [false, true] {
        let (said, secrets) = http2(coded);
        let length: usize = said.0.iter().map(|(_, bytes, _)| bytes.len()).sum();
        for split in 0..=length {
            let mut all = Vec::new();
            said.shown(split, |_, _, shown| all.extend_from_slice(shown));
            assert_eq!(all.len(), length);
            let text = String::from_utf8_lossy(&all);
            for secret in &secrets {
                assert!(!text.contains(secret), "{secret}, split before {split}: {text}");
                let bits = huffman::encode(secret.as_bytes());
                assert!(!has_bits(&all, &bits), "bits of {secret}, split before {split}");
            }
            assert!(text.contains("\"x\":2}") && text.contains("{\"a\":1}"), "{text}");
        }
        let mut all = Vec::new();
        said.shown(usize::MAX, |_, _, shown| all.extend_from_slice(shown));
        let kept = if coded { huffman::encode(b"nothing") } else { b"nothing".to_vec() };
        assert!(memchr::memmem::find(&all, &kept).is_some());
    }
}
