//! Conversations of each protocol, each with secrets that any other text does not have: none is left,
//! however the bytes are split, and nothing else is gone.

use super::*;
use crate::{
    capture::Direction::{Receive, Transmit},
    decode::http2::huffman,
};

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

const STARTUP: &[u8] = b"\0\0\0\x12\0\x03\0\0user\0joe\0\0";

#[test]
fn postgresql_passwords() {
    Said::default()
        .client(&[STARTUP])
        .server(&[b"R\0\0\0\x08\0\0\0\x03"])
        .client(&[b"p\0\0\0\x0c", b"<hunter2>", b"\0"])
        .server(&[b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"])
        .client(&[b"Q\0\0\0\x11select 'ab'\0\0"])
        .check();
}

#[test]
fn postgresql_scram() {
    Said::default()
        .client(&[STARTUP])
        .server(&[b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"])
        .client(&[b"p\0\0\0\x1eSCRAM-SHA-256\0\0\0\0\x08", b"<n,,n=,r=>"])
        .server(&[b"R\0\0\0\x0f\0\0\0\x0b", b"<r=1,s=2>"])
        .client(&[b"p\0\0\0\x09", b"<c,r,p>"])
        .server(&[b"R\0\0\0\x0c\0\0\0\x0c", b"<v=ab>"])
        .server(&[b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"])
        .check();
}

/// Values of a statement that names a secret, of one that does not, and an insert.
#[test]
fn postgresql_statements() {
    let sql = b"insert into u (name, pwd) values ('";
    let length = be(4 + sql.len() + 12 + 3);
    Said::default()
        .client(&[STARTUP])
        .client(&[b"P\0\0\0\x2ds\0select pwd from t where id in ($", b"<1,>", b"$2\0\0\0"])
        .client(&[b"P\0\0\0\x12o\0select $1\0\0\0"])
        .client(&[
            b"B\0\0\0\x1e\0s\0\0\x01\0\0\0\x02\0\0\0\x07",
            b"<hunter2>",
            b"\xff\xff\xff\xff\0\0E\0\0\0\x09\0\0\0\0\0",
        ])
        .client(&[b"B\0\0\0\x1a\0o\0\0\x01\0\0\0\x01\0\0\0\x07hunter1\0\0"])
        .client(&[b"Q", &length, sql, b"<joe','hunter>", b"')\0"])
        .client(&[b"X\0\0\0\x04"])
        .shown(usize::MAX, |bytes, secret, shown| {
            let expect: Vec<u8> = bytes
                .iter()
                .zip(secret)
                .map(|(byte, secret)| if *secret == 1 { b'*' } else { *byte })
                .collect();
            assert_eq!(String::from_utf8_lossy(shown), String::from_utf8_lossy(&expect));
        });
}

fn packet(sequence: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&le(body.len())[..3], &[sequence], &body].concat()
}

/// Up to the length of the response.
fn handshake(response: usize) -> Vec<u8> {
    let head = [&b"\x05\xa2\x2a\0\0\0\0\x01\x21"[..], &[0; 23], b"joe\0"].concat();
    let length = head.len() + 1 + response + 22;
    [&le(length)[..3], &[2], &head, &[u8::try_from(response).unwrap()]].concat()
}

#[test]
fn mysql_passwords() {
    Said::default()
        .client(&[&handshake(7), b"<hunter2>", b"mysql_native_password\0"])
        .server(&[&packet(3, &[b"\xfemysql_clear_password\0"])])
        .client(&[b"\x08\0\0\x04", b"<hunter3\0>"])
        .server(&[&packet(5, &[b"\0\0\0\x02\0\0\0"])])
        .client(&[&packet(0, &[b"\x03select 'ab'"])])
        .client(&[b"\x14\0\0\0\x11joe\0\x07", b"<hunter4>", b"shop\0\x21\0"])
        .client(&[b"\x08\0\0\x02", b"<hunter5\0>"])
        .server(&[&packet(3, &[b"\0\0\0\x02\0\0\0"])])
        .client(&[&packet(0, &[b"\x03select 'hunter2'"])])
        .check();
}

#[test]
fn mysql_statements() {
    Said::default()
        .client(&[&handshake(0), b"mysql_native_password\0"])
        .client(&[&packet(0, &[b"\x16insert into t (pwd) values (?)"])])
        .server(&[&packet(1, &[b"\0\x07\0\0\0\0\0\x01\0\0\0\0"])])
        .client(&[
            b"\x15\0\0\0\x17\x07\0\0\0\0\x01\0\0\0",
            b"<\0\x01\xfd\0\x06hunter>"[..].as_ref(),
        ])
        .client(&[&packet(0, &[b"\x16select ?"])])
        .server(&[&packet(1, &[b"\0\x08\0\0\0\0\0\x01\0\0\0\0"])])
        .client(&[&packet(0, &[b"\x17\x08\0\0\0\0\x01\0\0\0\0\x01\xfd\0\x05hello"])])
        .check();
}

#[test]
fn redis_passwords() {
    Said::default()
        .client(&[
            b"*2\r\n$4\r\nauth\r\n$7\r\n",
            b"<hunter2>",
            b"\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
        ])
        .client(&[b"*3\r\n$4\r\nAUTH\r\n$3\r\n", b"<joe>", b"\r\n$7\r\n", b"<hunter2>", b"\r\n"])
        .client(&[
            b"*5\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\n",
            b"<AUTH>",
            b"\r\n$3\r\n",
            b"<joe>",
            b"\r\n$7\r\n",
            b"<hunter2>",
            b"\r\n",
        ])
        .client(&[
            b"*4\r\n$6\r\nCONFIG\r\n$3\r\nSET\r\n$11\r\nrequirepass\r\n$7\r\n",
            b"<hunter2>",
            b"\r\n",
        ])
        .client(&[
            b"*4\r\n$3\r\nACL\r\n$7\r\nSETUSER\r\n$3\r\n",
            b"<joe>",
            b"\r\n$8\r\n",
            b"<>hunter2>",
            b"\r\n",
        ])
        .client(&[b"AUTH ", b"<hunter2>", b"\r\nPING\r\n"])
        .server(&[b"+OK\r\n*2\r\n$11\r\nrequirepass\r\n$7\r\n", b"<hunter2>", b"\r\n$-1\r\n:1\r\n"])
        .check();
}

#[test]
fn mail_passwords() {
    Said::default()
        .server(&[b"220 mail ESMTP\r\n"])
        .client(&[b"EHLO a\r\n"])
        .server(&[b"250-mail\r\n250 AUTH PLAIN LOGIN\r\n"])
        .client(&[b"AUTH ", b"?LOGIN?", b"\r\n"])
        .server(&[b"334 VXNlcm5hbWU6\r\n"])
        .client(&[b"<am9l>", b"\r\n"])
        .server(&[b"334 UGFzc3dvcmQ6\r\n"])
        .client(&[b"<aHVudGVyMg==>", b"\r\n"])
        .server(&[b"235 ok\r\n"])
        .client(&[b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"])
        .server(&[b"354 go\r\n"])
        .client(&[b"Subject: x\r\n\r\nAUTH is a word.\r\n.\r\nQUIT\r\n"])
        .check();
    Said::default()
        .client(&[b"EHLO a\r\n"])
        .client(&[b"AUTH ", b"?PLAIN ?", b"<AGpvZQBodW50ZXIy>", b"\r\n"])
        .server(&[b"235 ok\r\n"])
        .client(&[b"MAIL FROM:<a@b>\r\n"])
        .check();
    Said::default()
        .server(&[b"* OK ready\r\n"])
        .client(&[b"a1 LOGIN ", b"<joe hunter2>", b"\r\n"])
        .server(&[b"a1 OK\r\n"])
        .client(&[b"a2 LOGIN ", b"<{3}>", b"\r\n"])
        .server(&[b"+ go\r\n"])
        .client(&[b"<joe {7+}>", b"\r\n", b"<hunter2>", b"\r\na3 NOOP\r\n"])
        .check();
}

#[test]
fn messaging_passwords() {
    let connect = |level: u8, properties: &[u8]| {
        let body = [
            b"\0\x04MQTT",
            &[level, 0xc2, 0, 60][..],
            properties,
            b"\0\x02me\0\x03joe\0\x07hunter2",
        ]
        .concat();
        [&[0x10, u8::try_from(body.len()).unwrap()], &body[..body.len() - 7]].concat()
    };
    for head in [connect(4, b""), connect(5, b"\0"), connect(5, b"\x05\x11\0\0\0\x0a")] {
        Said::default()
            .client(&[&head, b"<hunter2>"])
            .server(&[b"\x20\x02\0\0"])
            .client(&[b"\x30\x0c\0\x03a/bpassword"])
            .check();
    }
    let start = b"\0\x0a\0\x0b\0\0\0\x05\x01aS\0\x01\x05PLAIN\0\0\0\x0c";
    let size = be(start.len() + 12 + 6);
    Said::default()
        .client(&[b"AMQP\0\0\x09\x01"])
        .server(&[b"\x01\0\0\0\0\0\x04\0\x0a\0\x0a\xce"])
        .client(&[b"\x01\0\0", &size, start, b"<\0joe\0hunter2>", b"\x05en_US\xce"])
        .client(&[b"\x01\0\0\0\0\0\x04\0\x0a\0\x28\xce"])
        .check();
    Said::default()
        .client(&[b"\0\0\0\x0c\0\x12\0\0\0\0\0\x01\0\x02me"])
        .server(&[b"\0\0\0\x04\0\0\0\x01"])
        .client(&[
            b"\0\0\0\x1b\0\x24\0\x01\0\0\0\x02\0\x02me\0\0\0\x0b",
            b"<\0joe\0hunter>"[..].as_ref(),
        ])
        .client(&[b"\0\0\0\x1b\0\x24\0\x02\0\0\0\x03\0\x02me\0\x0d", b"<\0joe\0hunter2>", b"\0"])
        .client(&[b"\0\0\0\x0c\0\x03\0\0\0\0\0\x04\0\x02me"])
        .check();
}

#[test]
fn mongodb_payloads() {
    let member = b"\x05payload\0\x07\0\0\0\0hunter2\x02db\0\x02\0\0\0a\0\0";
    let document = [&le(member.len() + 4 + 16)[..], b"\x10saslStart\0\x01\0\0\0", b"\0"].concat();
    let head = &document[..document.len() - 1];
    let whole = head.len() + member.len();
    let length = le(16 + 4 + 1 + whole);
    Said::default()
        .client(&[
            &length,
            b"\x01\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\0",
            &le(whole),
            &head[4..],
            b"\x05payload\0\x07\0\0\0",
            b"<\0hunter2>",
            b"\x02db\0\x02\0\0\0a\0\0",
        ])
        .check();
}

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

fn http2(coded: bool) -> (Said, Vec<&'static str>) {
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

/// What is lost does not show what comes behind, and other protocols are passed over.
#[test]
fn gaps_and_noise_end_well() {
    let mut random = 1_u64;
    let mut next = move || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(random >> 33).unwrap()
    };
    let (http2, _) = http2(true);
    let openings: Vec<Vec<u8>> = vec![
        STARTUP.to_vec(),
        handshake(7),
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
