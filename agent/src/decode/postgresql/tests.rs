//! Messages as bytes in, operations out.

use crate::decode::trial::{self, Event, Random, check, decode, operations, rx, tx};

fn message(kind: u8, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[kind][..], &length.to_be_bytes(), body].concat()
}

fn startup() -> Vec<u8> {
    let body = b"\0\x03\0\0user\0joe\0database\0shop\0\0";
    [&u32::try_from(body.len() + 4).unwrap().to_be_bytes()[..], body].concat()
}

fn query(sql: &str) -> Vec<u8> {
    message(b'Q', format!("{sql}\0"))
}

fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(b'P', format!("{name}\0{sql}\0\0\0"))
}

/// To the unnamed portal, one text, one null, and one in binary.
fn bind(name: &str) -> Vec<u8> {
    let head = format!("\0{name}\0").into_bytes();
    let formats = [0, 3, 0, 0, 0, 0, 0, 1];
    let values = b"\0\x03\0\0\0\x02hi\xff\xff\xff\xff\0\0\0\x02\0\x07";
    message(b'B', [&head[..], &formats, values, b"\0\0"].concat())
}

fn execute() -> Vec<u8> {
    message(b'E', b"\0\0\0\0\0")
}

fn sync() -> Vec<u8> {
    message(b'S', b"")
}

fn ready() -> Vec<u8> {
    message(b'Z', b"I")
}

fn complete(tag: &str) -> Vec<u8> {
    message(b'C', format!("{tag}\0"))
}

fn row() -> Vec<u8> {
    message(b'D', b"\0\x01\0\0\0\x01x")
}

fn description() -> Vec<u8> {
    message(b'T', b"\0\0")
}

fn error(code: &str, text: &str) -> Vec<u8> {
    message(b'E', format!("SERROR\0C{code}\0M{text}\0\0"))
}

fn begin() -> [Event; 4] {
    // SCRAM: its last step, and that it succeeded, without a message between.
    let last = message(b'R', b"\0\0\0\x0cv=x");
    let ready = [last, message(b'R', [0; 4]), message(b'S', "a\0b\0"), ready()].concat();
    [tx(startup()), rx(message(b'R', [0, 0, 0, 3])), tx(message(b'p', "secret\0")), rx(ready)]
}

const BEGIN: [&str; 2] = [
    "StartupMessage [StartupMessage user=joe database=shop] ()",
    "PasswordMessage [PasswordMessage] ()",
];

fn check_behind(events: &[Event], expect: &[&str]) {
    check(&[&begin()[..], events].concat(), &[&BEGIN[..], expect].concat());
}

#[test]
fn simple_queries() {
    check_behind(
        &[
            tx(query("select 1")),
            rx([description(), row(), row(), complete("SELECT 2"), ready()].concat()),
            tx(query("/* c */ update t set a = 1; select 1")),
            rx([complete("UPDATE 3"), description(), row(), complete("SELECT 1"), ready()]
                .concat()),
            tx(query("selec")),
            rx([error("42601", "syntax error"), ready()].concat()),
            rx(message(b'A', b"\0\0\0\x01news\0hello\0")),
            tx(query("")),
            rx([message(b'I', b""), ready()].concat()),
            rx(error("57P01", "shut down")),
        ],
        &[
            "SELECT [select 1] (SELECT 2) 2 returned",
            "UPDATE [/* c */ update t set a = 1; select 1] (UPDATE 3; SELECT 1) 1 returned 3 affected",
            "SELEC [selec] !42601(syntax error)",
            "NotificationResponse of news (hello)",
            "? [] ()",
            "ErrorResponse !57P01(shut down)",
        ],
    );
}

#[test]
fn statements_by_their_names() {
    check_behind(
        &[
            tx([parse("s", "insert into t values ($1)"), sync()].concat()),
            rx([message(b'1', b""), ready()].concat()),
            tx([bind("s"), execute(), bind("s"), execute(), sync()].concat()),
            rx([message(b'2', b""), complete("INSERT 0 1"), message(b'2', b"")].concat()),
            rx([error("23505", "duplicate"), ready()].concat()),
            // It exists, so it keeps its meaning.
            tx([parse("s", "select 1"), bind("s"), execute(), sync()].concat()),
            rx([error("42P05", "exists"), ready()].concat()),
            tx([bind("s"), execute(), sync()].concat()),
            rx([message(b'2', b""), complete("INSERT 0 1"), ready()].concat()),
        ],
        &[
            "INSERT [insert into t values ($1)] $hi $null $\\x0007 (INSERT 0 1) 1 affected",
            "INSERT [insert into t values ($1)] $hi $null $\\x0007 !23505(duplicate)",
            "Parse [select 1] !42P05(exists)",
            "SELECT [select 1] $hi $null $\\x0007 -",
            "INSERT [insert into t values ($1)] $hi $null $\\x0007 (INSERT 0 1) 1 affected",
        ],
    );
}

#[test]
fn copies() {
    let (data, done) = (message(b'd', "a\n"), message(b'c', b""));
    check_behind(
        &[
            tx(query("copy t from stdin")),
            rx(message(b'G', b"\0\0\0")),
            tx([data.clone(), done.clone()].concat()),
            rx([complete("COPY 1"), ready()].concat()),
            tx([parse("", "copy t from stdin"), bind(""), execute(), sync()].concat()),
            rx([message(b'1', b""), message(b'2', b""), message(b'G', b"\0\0\0")].concat()),
            tx([data.clone(), done.clone(), sync()].concat()),
            rx([complete("COPY 1"), ready()].concat()),
            tx(query("copy t to stdout")),
            rx([message(b'H', b"\0\0\0"), data, done, complete("COPY 1"), ready()].concat()),
        ],
        &[
            "COPY [copy t from stdin] (COPY 1) 1 affected",
            "COPY [copy t from stdin] $hi $null $\\x0007 (COPY 1) 1 affected",
            "COPY [copy t to stdout] (COPY 1) 1 returned",
        ],
    );
}

#[test]
fn joined_in_the_middle_it_takes_both_directions() {
    let answer = [complete("BEGIN"), ready()].concat();
    check(&[tx(query("begin")), rx(answer)], &["BEGIN [begin] (BEGIN)"]);
    check(&[tx(query("begin")), rx("HTTP/1.1 200 OK\r\n")], &["opaque 11 17"]);
    for other in
        ["GET / HTTP/1.1\r\n", "PUT / HTTP/1.1\r\n", "*1\r\n$4\r\nPING\r\n", "QUIT\r\n", "EHLO\r\n"]
    {
        let messages = decode(&[tx(other), rx([complete("BEGIN"), ready()].concat())]);
        let of_postgresql = |operation: &crate::decode::Operation| {
            operation.system == crate::decode::System::Postgresql
        };
        assert!(!operations(&messages).iter().any(of_postgresql), "{other}");
    }
}

/// Every statement carries its number, and so does its answer.
fn conversation(count: usize, random: &mut Random) -> Vec<Event> {
    let mut events = begin().to_vec();
    for number in 0..count {
        let sql = format!("select {number} {}", "x".repeat(random.below(60)));
        let rows = row().repeat(random.below(5));
        let tag = complete(&format!("SELECT n{number}"));
        let end = if random.below(3) == 0 { error("42601", &format!("n{number}")) } else { tag };
        if random.below(2) == 0 {
            events.push(tx(query(&sql)));
            events.push(rx([description(), rows, end, ready()].concat()));
        } else {
            let name = format!("s{number}");
            events.push(tx([parse(&name, &sql), bind(&name), execute(), sync()].concat()));
            let bound = [message(b'1', b""), message(b'2', b"")].concat();
            events.push(rx([bound, rows, end, ready()].concat()));
        }
    }
    events
}

trial::tests!(conversation, 4000);
