//! Commands and responses as bytes in, operations out.

use crate::{
    capture::Direction::{Receive, Transmit},
    decode::trial::{self, Event, Random, check, decode, operations, rx, tx},
};

const GREETING: &str = "* OK [CAPABILITY IMAP4rev1] ready\r\n";
const TOLD_GREETING: &str = "greeting OK([CAPABILITY IMAP4rev1] ready)";

#[track_caller]
fn check_behind_greeting(events: &[Event], expect: &[&str]) {
    check(&[&[rx(GREETING)][..], events].concat(), &[&[TOLD_GREETING][..], expect].concat());
}

#[test]
fn commands_and_completions() {
    let events = [
        tx("a1 select INBOX\r\n"),
        rx("* 3 EXISTS\r\n* OK [UIDVALIDITY 1] {5}\r\na1 OK [READ-WRITE] done\r\n"),
        tx("a2 UID FETCH 1:* (FLAGS)\r\na3 NOOP\r\n"),
        rx("* 1 FETCH (FLAGS ())\r\na3 OK\r\na2 BAD what\r\n"),
        tx("a4 FETCH 1 BODY[]\r\n"),
        rx("* 1 FETCH (BODY[] {20}\r\na4 OK own\r\n* 22 OK\r\n FLAGS ())\r\na4 OK done\r\n"),
        tx("a5 CREATE x\r\n"),
        rx("a5 NO [ALREADYEXISTS] there\r\n"),
        tx("a6 IDLE\r\n"),
        rx("+ idling\r\n* 4 EXISTS\r\n"),
        tx("DONE\r\n"),
        rx("a6 OK idled\r\n"),
        tx("a7 LOGOUT\r\n"),
        rx("* BYE going\r\na7 OK out\r\n"),
    ];
    check_behind_greeting(
        &events,
        &[
            "SELECT [a1 select INBOX] OK([READ-WRITE] done)",
            "NOOP [a3 NOOP] OK()",
            "UID FETCH [a2 UID FETCH 1:* (FLAGS)] !BAD(what)",
            "FETCH [a4 FETCH 1 BODY[]] OK(done)",
            "CREATE [a5 CREATE x] !NO([ALREADYEXISTS] there)",
            "IDLE [a6 IDLE] OK(idled)",
            "LOGOUT [a7 LOGOUT] OK(out)",
        ],
    );
    let told = operations(&decode(&[&[rx(GREETING)][..], &events].concat()));
    assert_eq!((told[4].request_size, told[4].response_size), (19, 24 + 20 + 12 + 12));
    assert_eq!(told[6].request_size, 9 + 6);
}

#[test]
fn literals() {
    check_behind_greeting(
        &[
            tx("a1 APPEND INBOX (\\Seen) {13}\r\n"),
            rx("+ go\r\n"),
            tx("a9 LOGOUT\r\n\r\n\r\n"),
            rx("a1 OK [APPENDUID 1 2] kept\r\n"),
            tx("a2 APPEND x {9+}\r\na8 NOOP\r\n\r\na3 SEARCH TEXT {2+}\r\nhi FROM {0+}\r\n\r\n"),
            rx("a2 OK two\r\n* SEARCH 1\r\na3 OK three\r\n"),
            tx("a4 APPEND x {900}\r\n"),
            rx("a4 NO [TRYCREATE] none\r\n"),
            tx("a5 NOOP\r\n"),
            rx("a5 OK fine\r\n* BYE idle\r\n"),
        ],
        &[
            "APPEND [a1 APPEND INBOX (\\Seen) {13}] OK([APPENDUID 1 2] kept)",
            "APPEND [a2 APPEND x {9+}] OK(two)",
            "SEARCH [a3 SEARCH TEXT {2+} FROM {0+}] OK(three)",
            "APPEND [a4 APPEND x {900}] !NO([TRYCREATE] none)",
            "NOOP [a5 NOOP] OK(fine)",
            "BYE !BYE(idle)",
        ],
    );
}

#[test]
fn authentication_is_not_kept() {
    let events = [
        tx("a1 LOGIN joe hunter2\r\n"),
        rx("a1 NO [AUTHENTICATIONFAILED] no\r\n"),
        tx("a2 LOGIN {3+}\r\njoe {7}\r\n"),
        rx("+ go\r\n"),
        tx("hunter2\r\n"),
        rx("a2 NO no\r\n"),
        tx("a3 AUTHENTICATE PLAIN aHVudGVyMg==\r\n"),
        rx("+ \r\n"),
        tx("a9 LOGOUT\r\n"),
        rx("a3 OK in\r\n"),
        tx("a4 NOOP\r\n"),
        rx("a4 OK fine\r\n"),
    ];
    check_behind_greeting(
        &events,
        &[
            "LOGIN [a1 LOGIN] !NO([AUTHENTICATIONFAILED] no)",
            "LOGIN [a2 LOGIN] !NO(no)",
            "AUTHENTICATE [a3 AUTHENTICATE PLAIN] OK(in)",
            "NOOP [a4 NOOP] OK(fine)",
        ],
    );
}

/// Behind STARTTLS the client speaks first.
#[test]
fn without_a_greeting() {
    check(
        &[
            tx("ABCD1 CAPABILITY\r\n"),
            rx("* CAPABILITY IMAP4rev1\r\nABCD1 OK done\r\n"),
            tx("ABCD2 COMPRESS DEFLATE\r\n"),
            rx("ABCD2 OK deflating\r\n"),
            tx("\x01\x02\x03"),
        ],
        &[
            "CAPABILITY [ABCD1 CAPABILITY] OK(done)",
            "COMPRESS [ABCD2 COMPRESS DEFLATE] OK(deflating)",
            "opaque 3 0",
        ],
    );
}

/// Lost bytes of a message: nothing of the rest is told, until a tag is answered.
#[test]
fn texts_of_messages_are_no_commands() {
    check_behind_greeting(
        &[
            tx("a1 NOOP\r\n"),
            rx("a1 OK one\r\n"),
            Event::Gap(Transmit, 30),
            tx("torn\r\n"),
            tx("a5 NOOP\r\n"),
            tx("a6 NOOP\r\n"),
            tx("text\r\n\r\n"),
            rx("* torn\r\n"),
            rx("a2 OK appended\r\n"),
            tx("a3 NOOP\r\n"),
            rx("* 1 EXISTS\r\na3 OK three\r\n"),
            tx("a4 CHECK\r\n"),
            rx("a4 OK four\r\n"),
        ],
        &["NOOP [a1 NOOP] OK(one)", "gap Transmit 30", "CHECK [a4 CHECK] OK(four)"],
    );
    // Within a literal nothing is missing that is told.
    check_behind_greeting(
        &[
            tx("a1 FETCH 1 BODY[]\r\n"),
            rx("* 1 FETCH (BODY[] {30}\r\n0123456789"),
            Event::Gap(Receive, 10),
            rx("0123456789)\r\na1 OK done\r\n"),
        ],
        &["gap Receive 10", "FETCH [a1 FETCH 1 BODY[]] OK(done)"],
    );
}

#[test]
fn joined_in_its_middle() {
    check(
        &[
            rx("a1 OK one\r\n"),
            tx("a2 NOOP\r\n"),
            rx("a2 OK two\r\n"),
            tx("a3 NOOP\r\n"),
            rx("a3 OK three\r\n"),
            tx("a4 CHECK\r\n"),
            rx("a4 OK four\r\n"),
        ],
        &["NOOP [a2 NOOP] OK(two)", "NOOP [a3 NOOP] OK(three)", "CHECK [a4 CHECK] OK(four)"],
    );
    // What is seen first may be the text of a message.
    for rest in ["a3 NOOP\r\n", "text\r\n"] {
        let events = [tx("a2 NOOP\r\n"), tx(rest), tx("\r\n"), rx("a1 OK appended\r\n")];
        assert!(operations(&decode(&events)).is_empty(), "{rest}");
    }
}

/// Every command carries its number, and so does its completion.
fn conversation(count: usize, random: &mut Random) -> Vec<Event> {
    let mut events = vec![rx(GREETING)];
    for number in 0..count {
        let words = "x".repeat(random.below(60));
        let own = format!("{words}\r\nown1 NOOP\r\n");
        let length = own.len();
        match number % 4 {
            0 => events.push(tx(format!("n{number} SELECT {words}\r\n"))),
            1 => events.push(tx(format!("n{number} NOOP\r\n"))),
            2 => {
                events.push(tx(format!("n{number} APPEND x {{{length}}}\r\n")));
                events.push(rx("+ go\r\n"));
                events.push(tx(&own));
                events.push(tx("\r\n"));
            }
            _ => {
                events.push(tx(format!("n{number} APPEND y {{{length}+}}\r\n{own}\r\n")));
            }
        }
        events.push(rx(match random.below(3) {
            0 => format!("* 1 FETCH (BODY[] {{{length}}}\r\n{own})\r\nn{number} OK n{number}\r\n"),
            1 => format!("n{number} OK [X] n{number}\r\n"),
            _ => format!("n{number} NO n{number}\r\n"),
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
            assert!(!told.text.unwrap_or_default().contains("own1"));
        }
    }
}

#[test]
fn other_protocols_are_not_claimed() {
    for (asked, answered) in [
        ("GET / HTTP/1.0\r\n", "HTTP/1.0 200 OK\r\n"),
        ("a NOOPS\r\n", "a OK\r\n"),
        ("get noop\r\n", "END\r\n"),
        ("*1\r\n$4\r\nNOOP\r\n", "+OK\r\n"),
        ("EHLO a1\r\n", "250 a1\r\n"),
    ] {
        let told = operations(&decode(&[tx(asked), rx(answered)]));
        assert!(told.iter().all(|told| told.system.as_str() != "imap"), "{asked}");
    }
}
