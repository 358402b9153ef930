//! Commands and replies as bytes in, operations out.

use super::resume::is_plain_command;
use crate::decode::trial::{self, Event, Random, check, decode, operations, rx, tx};

const HELLO: [&str; 2] = ["EHLO me\r\n", "250-mx\r\n250-PIPELINING\r\n250 SIZE\r\n"];
const TOLD_HELLO: &str = "EHLO [EHLO me] 250(mx\nPIPELINING\nSIZE)";

fn hello() -> [Event; 2] {
    [tx(HELLO[0]), rx(HELLO[1])]
}

#[track_caller]
fn check_behind_hello(events: &[Event], expect: &[&str]) {
    check(&[&hello()[..], events].concat(), &[&[TOLD_HELLO][..], expect].concat());
}

#[test]
fn a_message() {
    let events = [
        rx("220 mx ESMTP\r\n"),
        tx("ehlo me\r\n"),
        rx("250 mx\r\n"),
        tx("MAIL FROM:<a@b> SIZE=9\r\n"),
        rx("250 2.1.0 Ok\r\n"),
        tx("RCPT TO:<nobody@b>\r\n"),
        rx("550-5.1.1 no such\r\n550 5.1.1 user\r\n"),
        tx("RCPT TO:<c@d>\r\n"),
        rx("250 2.1.5 Ok\r\n"),
        tx("DATA\r\n"),
        rx("354 go\r\n"),
        tx("Subject: x\r\n\r\nMAIL FROM:<own@text>\r\n..\r\n.\r\n"),
        rx("250 2.0.0 queued\r\n"),
        tx("NOOP\n"),
        rx("250\r\n"),
        tx("QUIT\r\n"),
        rx("221 bye\r\n"),
    ];
    check(
        &events,
        &[
            "greeting 220(mx ESMTP)",
            "EHLO [ehlo me] 250(mx)",
            "MAIL [MAIL FROM:<a@b> SIZE=9] 250(2.1.0 Ok)",
            "RCPT [RCPT TO:<nobody@b>] !550(5.1.1 no such\n5.1.1 user)",
            "RCPT [RCPT TO:<c@d>] 250(2.1.5 Ok)",
            "DATA [DATA] 250(2.0.0 queued)",
            "NOOP [NOOP] 250()",
            "QUIT [QUIT] 221(bye)",
        ],
    );
    let told = operations(&decode(&events));
    assert_eq!((told[5].request_size, told[5].response_size), (6 + 43, 8 + 18));
}

#[test]
fn pipelines_and_chunks() {
    check_behind_hello(
        &[
            tx("MAIL FROM:<>\r\nRCPT TO:<a>\r\nDATA\r\n"),
            rx("250 m\r\n250 r\r\n354 go\r\n"),
            // The next transaction does not wait for the reply to the message.
            tx(".\r\nRSET\r\n"),
            rx("250 d\r\n250 s\r\n"),
            tx("MAIL FROM:<>\r\nRCPT TO:<a>\r\nDATA\r\n"),
            rx("250 m\r\n550 r\r\n503 no\r\n"),
            tx("BDAT 12\r\nMAIL FROM:\r\nBDAT 6 LAST\r\nQUIT\r\nBDAT 0 LAST\r\n"),
            rx("250 one\r\n250 two\r\n503 three\r\n"),
        ],
        &[
            "MAIL [MAIL FROM:<>] 250(m)",
            "RCPT [RCPT TO:<a>] 250(r)",
            "DATA [DATA] 250(d)",
            "RSET [RSET] 250(s)",
            "MAIL [MAIL FROM:<>] 250(m)",
            "RCPT [RCPT TO:<a>] !550(r)",
            "DATA [DATA] !503(no)",
            "BDAT [BDAT 12] 250(one)",
            "BDAT [BDAT 6 LAST] 250(two)",
            "BDAT [BDAT 0 LAST] !503(three)",
        ],
    );
}

/// A server may refuse a message before its end; what follows is still the message.
#[test]
fn refusals_before_the_end() {
    for (command, body) in [("DATA\r\n", "x\r\nQUIT\r\n"), ("BDAT 9\r\n", "QUIT\r\n")] {
        let go = if command == "DATA\r\n" { "354 go\r\n" } else { "552 full\r\n" };
        let end = if command == "DATA\r\n" { "\r\n.\r\n" } else { "abc" };
        let mut events = vec![tx(command), tx(body), rx("552 full\r\n"), tx(end), tx("NOOP\r\n")];
        if go.starts_with('3') {
            events.insert(1, rx(go));
        }
        events.push(rx("250 ok\r\n"));
        let text = command.trim_end();
        let name = &text[..4];
        check_behind_hello(
            &events,
            &[&format!("{name} [{text}] !552(full) ~"), "NOOP [NOOP] 250(ok)"],
        );
    }
    check_behind_hello(&[rx("421 4.4.2 idle\r\n")], &["? !421(4.4.2 idle)"]);
}

/// RFC 4954: the mechanism, and nothing of what is sent for it.
#[test]
fn authentication_is_not_kept() {
    let events = [
        tx("AUTH PLAIN AGpvZQBodW50ZXIy\r\n"),
        rx("535 5.7.8 bad\r\n"),
        tx("AUTH LOGIN\r\n"),
        rx("334 VXNlcm5hbWU6\r\n"),
        tx("QUIT\r\n"),
        rx("334 UGFzc3dvcmQ6\r\n"),
        tx("aHVudGVyMg==\r\n"),
        rx("235 2.7.0 in\r\n"),
        tx("AUTH\r\n"),
        rx("501 what\r\n"),
        tx("QUIT\r\n"),
        rx("221 bye\r\n"),
    ];
    let expect = [
        "AUTH [AUTH PLAIN] !535(5.7.8 bad)",
        "AUTH [AUTH LOGIN] 235(2.7.0 in)",
        "AUTH [AUTH] !501(what)",
        "QUIT [QUIT] 221(bye)",
    ];
    check_behind_hello(&events, &expect);
    let told = operations(&decode(&[&hello()[..], &events].concat()));
    assert_eq!(told[2].request_size, 12 + 6 + 14);
}

/// Lost bytes of a message: nothing of the rest is told, whatever it looks like, until a reply
/// shows that commands follow.
#[test]
fn texts_of_messages_are_no_commands() {
    let message = [
        tx("DATA\r\n"),
        rx("354 go\r\n"),
        tx("Subject: x\r\n"),
        Event::Gap(crate::capture::Direction::Transmit, 50),
        tx("QUIT\r\n"),
        tx("MAIL FROM:<own@text>\r\n"),
        tx("NOOP\r\n"),
        tx(".\r\n"),
        rx("250 queued\r\n"),
    ];
    let next = [tx("RSET\r\n"), rx("250 ok\r\n"), tx("NOOP\r\n"), rx("250 fine\r\n")];
    check_behind_hello(
        &[&message[..], &next].concat(),
        &["gap Transmit 50", "DATA [DATA] - ~", "NOOP [NOOP] 250(fine)"],
    );
    // `DATA` was lost: its reply tells that a message follows.
    let message = [
        tx("MAIL FROM:<a>\r\n"),
        rx("250 ok\r\n"),
        Event::Gap(crate::capture::Direction::Transmit, 6),
        rx("250 torn\r\n"),
        rx("354 go\r\n"),
        tx("MAIL FROM:<own@text>\r\n"),
        tx("NOOP\r\n.\r\n"),
        rx("250 queued\r\n"),
        tx("NOOP\r\n"),
        rx("250 fine\r\n"),
    ];
    check_behind_hello(
        &message,
        &[
            "MAIL [MAIL FROM:<a>] 250(ok)",
            "gap Transmit 6",
            "DATA 250(queued) ~",
            "NOOP [NOOP] 250(fine)",
        ],
    );
}

/// A connection that is older than the agent.
#[test]
fn joined_in_its_middle() {
    check(
        &[
            rx("250 ok\r\n"),
            tx("RSET\r\n"),
            rx("250 ok\r\n"),
            tx("MAIL FROM:<a>\r\n"),
            rx("250 2.1.0 ok\r\n"),
            tx("RCPT TO:<b>\r\n"),
            rx("250 2.1.5 ok\r\n"),
        ],
        &["RCPT [RCPT TO:<b>] 250(2.1.5 ok)"],
    );
    // What is seen first may be the text of a message.
    for (rest, reply) in
        [("QUIT\r\n", "250 queued\r\n"), (".\r\n", "250 queued\r\n"), ("", "552 full\r\n")]
    {
        let mut events =
            vec![tx("EHLO own\r\n"), tx(rest), rx(reply), tx("NOOP\r\n"), rx("250 ok\r\n")];
        events.retain(|event| !matches!(event, Event::Data(_, bytes) if bytes.is_empty()));
        assert!(operations(&decode(&events)).is_empty(), "{rest}{reply}");
    }
}

/// Commands and messages, each with its number; replies with it, too.
fn conversation(count: usize, random: &mut Random) -> Vec<Event> {
    let mut events = vec![rx("220 mx\r\n"), tx(HELLO[0]), rx(HELLO[1])];
    for number in 0..count {
        let words = "x".repeat(random.below(60));
        match number % 4 {
            0 => events.push(tx(format!("MAIL FROM:<n{number}{words}@b>\r\n"))),
            1 => events.push(tx(format!("RCPT TO:<n{number}{words}@b>\r\n"))),
            2 => {
                events.push(tx("DATA\r\n"));
                events.push(rx(format!("354 n{number}\r\n")));
                events.push(tx(format!("Subject: {words}\r\nNOOP\r\n")));
                events.push(tx("MAIL FROM:<text>\r\n"));
                events.push(tx("RSET own\r\nQUIT\r\n.x\r\n.\r\n"));
            }
            _ => {
                let chunk = format!("{words}\r\nQUIT\r\nNOOP\r\n");
                events.push(tx(format!("BDAT {} LAST\r\n{chunk}", chunk.len())));
            }
        }
        events.push(rx(match random.below(3) {
            0 => format!("250-n{number}\r\n250 ok\r\n"),
            1 => format!("250 n{number}\r\n"),
            _ => format!("452 4.2.2 n{number}\r\n"),
        }));
    }
    events
}

trial::tests!(conversation, 2000);

/// Of all that is told in spite of lost bytes, nothing is the text of a message.
#[test]
fn no_gap_makes_a_command_of_a_text() {
    let mut random = Random(7);
    for _ in 0..300 {
        for told in trial::with_gaps(&conversation(60, &mut random), &mut random, 8) {
            let text = told.text.unwrap_or_default();
            let own = ["RSET own", "QUIT", "NOOP", "MAIL FROM:<text>"];
            assert!(!own.contains(&text.as_str()), "{text}");
        }
    }
}

#[test]
fn other_protocols_are_not_claimed() {
    let none = |events: &[Event]| assert!(operations(&decode(events)).is_empty(), "{events:?}");
    none(&[rx("220 ftp\r\n"), tx("USER joe\r\n"), rx("331 password\r\n")]);
    none(&[tx("EHLO a\r\n"), rx("+OK\r\n")]);
    none(&[tx("EHLOS a\r\n"), rx("250 a\r\n")]);
    none(&[rx("+OK pop\r\n"), tx("USER joe\r\n")]);
    assert!(!is_plain_command(b"DATA\r\n") && !is_plain_command(b"MAILS\r\n"));
}
