//! Packets as bytes in, operations out.

use crate::decode::trial::{self, Event, Random, check, rx, tx};

fn packet(sequence: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let [a, b, c, _] = u32::try_from(payload.len()).unwrap().to_le_bytes();
    [&[a, b, c, sequence][..], payload].concat()
}

fn query(sql: &str) -> Event {
    tx(packet(0, format!("\x03{sql}")))
}

/// Packets of an answer.
fn answer(payloads: &[&[u8]]) -> Event {
    let numbered = payloads.iter().zip(1..);
    rx(numbered.flat_map(|(payload, sequence)| packet(sequence, payload)).collect::<Vec<u8>>())
}

fn begin(deprecates_eof: bool) -> [Event; 2] {
    let flags = 0xa00_u32 | if deprecates_eof { 1 << 24 } else { 0 };
    let head = [&flags.to_le_bytes()[..], &[0, 0, 0, 1, 33], &[0; 23]].concat();
    [tx(packet(2, [&head[..], b"joe\0\x06secret"].concat())), rx(packet(3, OK))]
}

const BEGIN: &str = "HandshakeResponse41 [HandshakeResponse41 user=joe] ()";
const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];
const EOF: &[u8] = &[0xfe, 0, 0, 2, 0];
const LAST: &[u8] = &[0xfe, 0, 0, 2, 0, 0, 0];

#[test]
fn queries() {
    let failed = b"\xff\x7a\x04#42S02no such table";
    for deprecates in [false, true] {
        let rows: &[&[u8]] = if deprecates {
            &[b"\x01", b"\x03def", b"\x01a", b"\x01b", LAST]
        } else {
            &[b"\x01", b"\x03def", EOF, b"\x01a", b"\x01b", EOF]
        };
        let events = [
            query("select * from t"),
            answer(rows),
            query("update t set a = 1"),
            answer(&[&[0, 3, 0, 2, 0, 0, 0]]),
            query("select x"),
            answer(&[failed]),
            tx(packet(0, [0x0e])),
            answer(&[OK]),
        ];
        let expect = [
            "SELECT [select * from t] () 2 returned",
            "UPDATE [update t set a = 1] () 3 affected",
            "SELECT [select x] !1146((42S02) no such table)",
            "COM_PING () 0 affected",
        ];
        check(&[&begin(deprecates)[..], &events].concat(), &[&[BEGIN][..], &expect].concat());
        // Joined behind the beginning.
        check(&events, &expect);
    }
}

#[test]
fn prepared_statements() {
    let values = b"\0\x01\0\0\0\x04\x01\x08\0\xfd\0\x06\0\xff\xff\xff\xff\xff\xff\xff\xff\x02hi";
    let events = [
        tx(packet(0, b"\x16insert into t values (?, ?, ?)")),
        answer(&[&[0, 7, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0], b"\x03def", b"\x03def", b"\x03def"]),
        tx(packet(0, [&b"\x17\x07\0\0\0"[..], values].concat())),
        answer(&[&[0, 1, 0, 2, 0, 0, 0]]),
    ];
    let expect = [
        BEGIN,
        "COM_STMT_PREPARE [insert into t values (?, ?, ?)] ()",
        "INSERT [insert into t values (?, ?, ?)] $-1 $hi $null () 1 affected",
    ];
    check(&[&begin(true)[..], &events].concat(), &expect);
}

/// MariaDB leaves out the columns of an execution when they are as before.
#[test]
fn columns_that_are_as_before() {
    for deprecates in [false, true] {
        let mut answers: Vec<&[u8]> = vec![&[1, 0]];
        answers.extend((!deprecates).then_some(EOF));
        answers.extend([&b"\0\0a"[..], b"\0\0b", if deprecates { LAST } else { EOF }]);
        let mut prepared: Vec<&[u8]> = vec![&[0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], b"\x03def"];
        prepared.extend((!deprecates).then_some(EOF));
        let events = [
            tx(packet(0, b"\x16select a from t")),
            answer(&prepared),
            tx(packet(0, b"\x17\x07\0\0\0\0\x01\0\0\0")),
            answer(&answers),
        ];
        let expect = [
            BEGIN,
            "COM_STMT_PREPARE [select a from t] ()",
            "SELECT [select a from t] () 2 returned",
        ];
        check(&[&begin(deprecates)[..], &events].concat(), &expect);
    }
}

fn conversation(count: usize, random: &mut Random) -> Vec<Event> {
    let mut events = begin(random.below(2) == 0).to_vec();
    let deprecates = matches!(&events[0], Event::Data(_, bytes) if bytes[7] & 1 != 0);
    for number in 0..count {
        events.push(query(&format!("select {number} {}", "x".repeat(random.below(60)))));
        let error = format!("\u{7f}##n{number}").into_bytes();
        let error = [&[0xff, 1, 4][..], b"#42000", &error].concat();
        let row = format!("\x09n{number:08}").into_bytes();
        let mut payloads: Vec<&[u8]> = vec![b"\x01", b"\x03def"];
        payloads.extend((!deprecates).then_some(EOF));
        payloads.extend(std::iter::repeat_n(&row[..], number % 7));
        payloads.push(if deprecates { LAST } else { EOF });
        events.push(if random.below(3) == 0 { answer(&[&error]) } else { answer(&payloads) });
    }
    events
}

trial::tests!(conversation, 4000);
