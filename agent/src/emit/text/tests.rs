//! Lines as they must look.

use super::{super::sample, *};

fn shown(text: &Text, record: &Record) -> String {
    let mut out = Vec::new();
    text.write(record, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[track_caller]
fn check(record: &Record, expect: &str) {
    assert_eq!(shown(&Text::in_utc(false, false), record), expect);
}

#[test]
fn an_exchange_is_a_line() {
    check(
        &sample::http(),
        "20:24:52.708  web               curl[41]              \
         → POST    web/a?b=1                                 200   1.20 ms  5 B / 5.16 kB~\n",
    );
    let mut record = sample::http();
    record.container = None;
    sample::exchange(&mut record).role = Role::Server;
    sample::exchange(&mut record).response = None;
    sample::exchange(&mut record).duration_ns = None;
    check(
        &record,
        "20:24:52.708  host              curl[41]              \
         ← POST    web/a?b=1                                 ---         -  5 B / -\n",
    );
    let mut record = sample::http();
    sample::container(&mut record).name = None;
    sample::exchange(&mut record).request = None;
    check(
        &record,
        "20:24:52.708  0123456789ab      curl[41]              \
         → ?       (request not seen)                        200   1.20 ms  - / 5.16 kB~\n",
    );
}

#[test]
fn other_records_are_lines_too() {
    check(
        &sample::data(b"GET /\r\n\x1b[2J\xff"),
        "20:24:52.708  web               curl[41]              \
         → data  offset 7, 12 B: GET /\\r\\n\\u{1b}[2J\\xff\n",
    );
    check(
        &sample::gap(),
        "20:24:52.708  web               curl[41]              \
         ← gap   300 B lost at offset 7: ring-full\n",
    );
    check(
        &sample::opaque(),
        "20:24:52.708  web               curl[41]              \
         · opaque  26 B sent, 3.00 kB received\n",
    );
}

#[test]
fn headers_and_bodies_stand_below() {
    let shown = shown(&Text::in_utc(false, true), &sample::http());
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
    let shown = shown(&Text::in_utc(false, true), &record);
    assert!(shown.contains("    > (2 B that are not text)\n"), "{shown}");
}

#[test]
fn color_only_when_told() {
    let check = |status, duration, expect: &[&str]| {
        let mut record = sample::http();
        let exchange = sample::exchange(&mut record);
        exchange.response.as_mut().unwrap().status = status;
        exchange.duration_ns = Some(duration);
        let plain = shown(&Text::in_utc(false, true), &record);
        assert!(!plain.contains('\x1b'), "{plain}");
        let colored = shown(&Text::in_utc(true, true), &record);
        for part in expect {
            assert!(colored.contains(part), "{part:?} in {colored:?}");
        }
    };
    check(200, 1, &["\x1b[32m200\x1b[0m", "     1 ns  "]);
    check(302, 2_000_000_000, &["\x1b[36m302\x1b[0m", "\x1b[33m  2.00 s\x1b[0m"]);
    check(404, 9_000_000_000, &["\x1b[33m404\x1b[0m", "\x1b[1;31m  9.00 s\x1b[0m"]);
    check(503, 1, &["\x1b[1;31m503\x1b[0m"]);
}

#[test]
fn nothing_from_outside_reaches_the_terminal_as_control() {
    let evil = "\x1b]0;x\x07\u{9b}31m\u{202e}\r\n";
    let mut record = sample::http();
    record.process.command = Some(evil.to_owned());
    sample::container(&mut record).name = Some(evil.to_owned());
    let exchange = sample::exchange(&mut record);
    let request = exchange.request.as_mut().unwrap();
    request.method = evil.to_owned();
    request.target = format!("/{evil}");
    request.headers = vec![("host".to_owned(), Bytes::from(evil)), (evil.into(), evil.into())];
    request.body.bytes = Bytes::from(evil);
    let shown = shown(&Text::in_utc(false, true), &record);
    let bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!shown.contains(bad), "{shown:?}");
}
