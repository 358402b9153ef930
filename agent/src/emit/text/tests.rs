//! Lines as they must look.

use jiff::tz::TimeZone;

use super::{
    super::sample::{self, PLAIN},
    *,
};
use crate::decode::{Opcode, System};

const BODIES: View = View {
    headers: true,
    bodies: true,
    color: false,
    heading: false,
    zone: TimeZone::UTC,
    width: None,
};
const COLORED: View = View {
    headers: true,
    bodies: true,
    color: true,
    heading: false,
    zone: TimeZone::UTC,
    width: None,
};
const HEADED: View = View {
    headers: false,
    bodies: false,
    color: false,
    heading: true,
    zone: TimeZone::UTC,
    width: None,
};

fn shown(view: View, records: &[Record]) -> String {
    let mut text = Text::new(view);
    let mut out = Vec::new();
    for record in records {
        text.write(record, &mut out).unwrap();
    }
    String::from_utf8(out).unwrap()
}

#[track_caller]
fn check(record: &Record, expect: &str) {
    assert_eq!(shown(PLAIN, std::slice::from_ref(record)), expect);
}

#[test]
fn an_exchange_is_a_line() {
    check(
        &sample::http(),
        "20:24:52.708  web           curl[41]          \
         → POST        200   1.20 ms       5 B    5.16 kB~  web/a?b=1\n",
    );
    let mut record = sample::http();
    record.container = None;
    sample::exchange(&mut record).role = Role::Server;
    sample::exchange(&mut record).response = None;
    sample::exchange(&mut record).duration_ns = None;
    check(
        &record,
        "20:24:52.708  host          curl[41]          \
         ← POST        ---         -       5 B          -   web/a?b=1\n",
    );
    let mut record = sample::http();
    sample::container(&mut record).name = None;
    sample::exchange(&mut record).request = None;
    check(
        &record,
        "20:24:52.708  0123456789ab  curl[41]          \
         → ?           200   1.20 ms         -    5.16 kB~  (request not seen)\n",
    );
}

#[test]
fn a_websocket_message_is_a_line() {
    let message = sample::websocket(Opcode::Text, b"hey");
    let line = "20:24:52.708  web           curl[41]          \
                ← text                            3 B              websocket\n";
    check(&message, line);
    assert_eq!(shown(BODIES, &[message]), format!("{line}    > hey\n"));
    check(
        &sample::websocket(Opcode::Binary, b""),
        "20:24:52.708  web           curl[41]          \
         ← binary                          3 B~             websocket (what it refers to was lost)\n",
    );
    check(
        &sample::websocket(Opcode::Close, b"abc"),
        "20:24:52.708  web           curl[41]          \
         ← close      1001                 3 B              websocket (away \\u{1b}[31m)\n",
    );
}

#[test]
fn an_event_is_a_line() {
    let event = sample::event(b"hey");
    let line = |note: &str| {
        format!(
            "20:24:52.708  web           curl[41]          \
             → event                                     30 B~  web/a?b=1{note}\n"
        )
    };
    check(&event, &line(""));
    let labels = line(" (add \\u{1b}[31m, id 7)");
    assert_eq!(shown(BODIES, &[event]), format!("{labels}    < hey\n    < … (cut)\n"));
}

#[test]
fn columns_are_those_of_the_terminal() {
    let mut wide = sample::http();
    sample::container(&mut wide).name = Some("世界-cafe\u{301}".to_owned());
    let lines = shown(PLAIN, &[wide]);
    assert!(lines.contains("  世界-cafe\u{301}     curl[41] "), "{lines}");
}

/// Its number stays, and the names of the columns come again when the window is another.
#[test]
fn a_narrow_terminal_cuts_names_and_shows_no_sizes() {
    let width = |columns| View { width: Some(Width::fixed(columns)), ..HEADED };
    let mut long = sample::http();
    sample::container(&mut long).name = Some("世界世界世界世界".to_owned());
    sample::process(&mut long).command = Some("a-very-long-name".to_owned());
    assert_eq!(
        shown(width(80), &[long.clone(), sample::http()]),
        "TIME          CONTAIN…  PROCESS[P…    METHOD   STATUS  DURATION   URL @ PEER\n\
         20:24:52.708  世界世…   a-ver…[41]  → POST        200   1.20 ms  web/a?b=1\n\
         20:24:52.708  web       curl[41]    → POST        200   1.20 ms  web/a?b=1\n"
    );
    let wide = shown(width(160), &[long]);
    assert!(wide.contains("世界世界世界世界  a-very-long-name[41]  → POST "), "{wide}");
    let size = Width::fixed(80);
    let mut text = Text::new(View { width: Some(size.clone()), ..HEADED });
    let mut out = Vec::new();
    text.write(&sample::http(), &mut out).unwrap();
    size.set(200);
    text.write(&sample::http(), &mut out).unwrap();
    text.write(&sample::http(), &mut out).unwrap();
    let lines = String::from_utf8(out).unwrap();
    let headings: Vec<_> = lines.lines().map(|line| line.starts_with("TIME")).collect();
    assert_eq!(headings, [true, false, true, false, false], "{lines}");
}

#[test]
fn pictures_are_told_by_their_size() {
    let mut record = sample::http();
    let request = sample::exchange(&mut record).request.as_mut().unwrap();
    request.headers = [("content-type", &b"image/png"[..])].into_iter().collect();
    request.body.bytes = Bytes::from_static(b"{\"not\": \"JSON\"}");
    assert!(shown(BODIES, &[record]).contains("    > (image/png, 15 B)\n"));
}

#[test]
fn a_pod_is_named_in_full() {
    let mut record = sample::http();
    sample::container(&mut record).pod = Some(sample::pod());
    check(
        &record,
        "20:24:52.708  shop/web-0/web  curl[41]          \
         → POST        200   1.20 ms       5 B    5.16 kB~  web/a?b=1\n",
    );
}

#[test]
fn the_peer_stands_last() {
    let mut record = sample::http();
    record.socket = Some(sample::socket());
    check(
        &record,
        "20:24:52.708  web           curl[41]          \
         → POST        200   1.20 ms       5 B    5.16 kB~  web/a?b=1 @ [fd00::3]:443\n",
    );
}

#[test]
fn other_records_are_lines_too() {
    check(
        &sample::data(b"GET /\r\n\x1b[2J\xff"),
        "20:24:52.708  web           curl[41]          \
         → data     offset 7, 12 B: GET /\\r\\n\\u{1b}[2J\\xff\n",
    );
    check(
        &sample::gap(),
        "20:24:52.708  web           curl[41]          \
         ← gap      300 B lost at offset 7: ring-full\n",
    );
    check(
        &sample::opaque(),
        "20:24:52.708  web           curl[41]          \
         · opaque   26 B sent, 3.00 kB received\n",
    );
}

#[test]
fn columns_line_up() {
    let mut records = [sample::http(), sample::http(), sample::http(), sample::http()];
    let [short, long, endless, last] = &mut records;
    sample::exchange(short).response = None;
    sample::container(long).name = Some("web-of-a-longer-name".to_owned());
    sample::process(long).command = Some("a-long-name-1234".to_owned());
    sample::container(endless).name = Some("x".repeat(names::LIMIT + 1));
    sample::exchange(last).request = None;
    let shown = shown(HEADED, &records);
    let lines: Vec<_> = shown.lines().collect();
    let end = |line: usize, text: &str| {
        let end = lines[line].find(text).unwrap() + text.len();
        lines[line][..end].chars().count()
    };
    assert!(lines[0].starts_with("TIME "), "{shown}");
    assert_eq!(end(0, "STATUS"), end(1, "---"), "{shown}");
    assert_eq!(end(0, "REQUEST"), end(1, " 5 B"), "{shown}");
    assert_eq!(end(0, "RESPONSE"), end(1, "  - ") - 1, "{shown}");
    assert_eq!(end(0, "URL") - 3, end(1, "web/a") - 5, "{shown}");
    // A name that needs room keeps it; one that never ends gets none.
    assert_eq!(end(2, "200"), end(4, "200"), "{shown}");
    assert!(end(3, "200") > end(4, "200"), "{shown}");
    assert_eq!(lines.len(), 5, "{shown}");
}

#[test]
fn headers_and_bodies_stand_below() {
    let shown = shown(BODIES, &[sample::http()]);
    let below: Vec<&str> = shown.lines().skip(1).collect();
    assert_eq!(
        below,
        [
            "    > host: web",
            "    > x-two: 1",
            "    > x-two: \\xff",
            "    >",
            "    > hello",
            "    < content-type: text/plain",
            "    <",
            "    < line one",
            "    < line\\ttwo \\u{202e}",
            "    < … (cut)",
        ]
    );
}

#[test]
fn bodies_that_are_no_text_are_only_counted() {
    let mut record = sample::http();
    let request = sample::exchange(&mut record).request.as_mut().unwrap();
    request.body.bytes = Bytes::from_static(b"\x00\xff");
    let shown = shown(BODIES, &[record]);
    assert!(shown.contains("    > (not text, 2 B)\n"), "{shown}");
}

#[test]
fn a_body_that_was_lost_is_told() {
    let mut record = sample::http();
    let response = sample::exchange(&mut record).response.as_mut().unwrap();
    response.body.bytes = Bytes::new();
    let shown = shown(BODIES, &[record]);
    assert!(shown.ends_with("    <\n    < … (cut)\n"), "{shown}");
}

#[test]
fn color_only_when_told() {
    let check = |status, duration, expect: &[&str]| {
        let mut record = sample::http();
        let exchange = sample::exchange(&mut record);
        exchange.response.as_mut().unwrap().status = Some(status);
        exchange.duration_ns = Some(duration);
        let plain = shown(BODIES, std::slice::from_ref(&record));
        assert!(!plain.contains('\x1b'), "{plain}");
        let colored = shown(COLORED, &[record]);
        for part in expect {
            assert!(colored.contains(part), "{part:?} in {colored:?}");
        }
    };
    check(200, 1, &["\x1b[32m   200\x1b[0m", "     1 ns  "]);
    check(302, 2_000_000_000, &["\x1b[36m   302\x1b[0m", "\x1b[33m  2.00 s\x1b[0m"]);
    check(404, 9_000_000_000, &["\x1b[33m   404\x1b[0m", "\x1b[1;31m  9.00 s\x1b[0m"]);
    check(503, 1, &["\x1b[1;31m   503\x1b[0m"]);
}

#[test]
fn nothing_from_outside_reaches_the_terminal_as_control() {
    let evil = "\x1b]0;x\x07\u{9b}31m\u{202e}\r\n";
    let mut record = sample::http();
    sample::process(&mut record).command = Some(evil.to_owned());
    sample::container(&mut record).name = Some(evil.to_owned());
    let exchange = sample::exchange(&mut record);
    let request = exchange.request.as_mut().unwrap();
    request.method = Some(evil.to_owned());
    request.target = Some(format!("/{evil}"));
    request.headers = [("host", evil.as_bytes()), (evil, evil.as_bytes())].into_iter().collect();
    request.body.bytes = Bytes::from(evil);
    let shown = shown(BODIES, &[record]);
    let bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!shown.contains(bad), "{shown:?}");
}

#[test]
fn an_operation_is_a_line() {
    check(
        &sample::operation(System::Postgresql),
        "20:24:52.708  web           curl[41]          → SELECT       ok   2.00 ms      40 B      300 B   \
         postgresql shop SELECT * FROM cats WHERE id = $1 (3 returned)\n",
    );
    check(
        &sample::failure(System::Mysql),
        "20:24:52.708  web           curl[41]          ← ?         42P01         -       0 B       30 B~  \
         mysql  (no table \\u{1b}[31m)\n",
    );
    check(
        &sample::delivery(),
        "20:24:52.708  web           curl[41]          ← PUBLISH      ok         -      40 B        0 B   \
         mqtt cats/\\u{1b} (key k\\u{1b}, group g, qos 1, body 30 B)\n",
    );
}
