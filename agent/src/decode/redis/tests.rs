//! Commands and replies as bytes in, operations out.

use crate::decode::trial::{self, Event, Random, check, decode, operations, rx, tx};

fn command(words: &[&str]) -> Event {
    tx(words.iter().fold(format!("*{}\r\n", words.len()), |all, word| {
        format!("{all}${}\r\n{word}\r\n", word.len())
    }))
}

#[test]
fn commands_and_replies() {
    check(
        &[
            command(&["set", "k", "a b"]),
            rx("+OK\r\n"),
            command(&["GET", "k"]),
            rx("$3\r\na b\r\n"),
            command(&["GET", "none"]),
            rx("$-1\r\n"),
            command(&["INCR", "n"]),
            rx(":7\r\n"),
            command(&["LRANGE", "l", "0", "-1"]),
            rx("*2\r\n$1\r\na\r\n*1\r\n:1\r\n"),
            command(&["LPUSH", "k", "\r\n"]),
            rx("-WRONGTYPE Operation against a key\r\n"),
            tx("PING\r\n"),
            rx("+PONG\r\n"),
        ],
        &[
            "SET [set k \"a b\"] (OK)",
            "GET [GET k] ()",
            "GET [GET none] () 0 returned",
            "INCR [INCR n] (7)",
            "LRANGE [LRANGE l 0 -1] () 2 returned",
            "LPUSH [LPUSH k \"\\r\\n\"] !WRONGTYPE(WRONGTYPE Operation against a key)",
            "PING [PING] (PONG)",
        ],
    );
}

#[test]
fn pipelines_transactions_and_pushes() {
    let pipeline = "*1\r\n$5\r\nMULTI\r\n*2\r\n$4\r\nINCR\r\n$1\r\na\r\n*1\r\n$4\r\nEXEC\r\n";
    check(
        &[
            tx(pipeline),
            rx("+OK\r\n+QUEUED\r\n*1\r\n:1\r\n"),
            command(&["SUBSCRIBE", "a", "b"]),
            rx(
                "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n",
            ),
            rx("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n"),
        ],
        &[
            "MULTI [MULTI] (OK)",
            "INCR [INCR a] (QUEUED)",
            "EXEC [EXEC] () 1 returned",
            "SUBSCRIBE [SUBSCRIBE a b] () 3 returned",
            "message of a ()",
        ],
    );
    check(
        &[
            command(&["HELLO", "3"]),
            rx("%0\r\n"),
            command(&["SUBSCRIBE", "a"]),
            rx(">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"),
            command(&["GET", "k"]),
            rx(">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n|1\r\n+ttl\r\n:1\r\n$1\r\nv\r\n"),
        ],
        &[
            "HELLO [HELLO 3] () 0 returned",
            "SUBSCRIBE [SUBSCRIBE a] () 3 returned",
            "message of a ()",
            "GET [GET k] ()",
        ],
    );
}

/// Every command carries its number, and so does its reply: an error with it, or a string.
fn conversation(count: usize, random: &mut Random) -> Vec<Event> {
    let mut events = Vec::new();
    for number in 0..count {
        let value = "x".repeat(random.below(60));
        events.push(command(&["ECHO", &format!("n{number}"), &value]));
        events.push(rx(match random.below(3) {
            0 => format!("-n{number} failed\r\n"),
            1 => format!("+n{number}\r\n"),
            _ => format!("*1\r\n+n{number}\r\n"),
        }));
    }
    events
}

trial::tests!(conversation, 6000);

#[test]
fn other_protocols_are_not_claimed() {
    for bytes in ["GET / HTTP/1.1\r\n", "*1\r\n$4\r\nfoo\r\n", "* OK IMAP\r\n", "EHLO a\r\n", "*"] {
        let events = [tx(bytes), rx("+OK\r\n")];
        let told = operations(&decode(&events));
        assert!(told.iter().all(|told| told.system.as_str() != "redis"), "{bytes}");
    }
}
