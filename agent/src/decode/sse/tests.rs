use std::io;

use flate2::{Compression, write};

use super::*;

const KEY: ConnectionKey = ConnectionKey { pid: 1, object: 2, birth: 3 };

fn call(number: u64) -> Call {
    Call { tid: 1, thread_name: [0; 16], library: 0, entered: number, returned: number }
}

fn events(coding: &str, limit: Option<usize>) -> Events {
    let options = Options { keep_bodies: limit.is_some(), body_limit: limit.unwrap_or_default() };
    let origin = Origin { connection: KEY, role: Role::Client, request: None, stream: None };
    Events::new(&[coding.to_owned()], &options, origin).unwrap()
}

/// When an event began, its type, its identifier, its data.
fn show(message: &Message) -> String {
    let Content::Event(event) = &message.content else { panic!("no event") };
    let text = |text: &Option<String>| text.clone().unwrap_or("-".to_owned());
    let mark = if event.body.truncated { "~" } else { "" };
    let data = String::from_utf8_lossy(&event.body.bytes).into_owned();
    format!("{} {} {}{mark} {data:?}", text(&event.name), text(&event.id), event.body.size)
}

/// Strings, and how many bytes are lost between them.
fn told(events: &mut Events, pieces: &[Result<&[u8], u64>]) -> Vec<String> {
    let mut out = Vec::new();
    for (number, piece) in (0..).zip(pieces) {
        match piece {
            Ok(bytes) => events.push(&call(number), bytes, &mut out),
            Err(_) => events.lose(),
        }
    }
    out.iter().map(show).collect()
}

fn check(body: &str, expect: &[&str]) {
    let body = body.as_bytes();
    let whole = told(&mut events("identity", Some(100)), &[Ok(body)]);
    assert_eq!(whole, expect);
    for at in 0..=body.len() {
        let (one, two) = body.split_at(at);
        let split = told(&mut events("identity", Some(100)), &[Ok(one), Ok(two)]);
        assert_eq!(split, expect, "split before {at}");
    }
    let bytes: Vec<_> = body.chunks(1).map(Ok).collect();
    assert_eq!(told(&mut events("identity", Some(100)), &bytes), expect);
}

/// The examples of section 9.2.6.
#[test]
fn events_of_the_specification() {
    check("data: YHOO\ndata: +2\ndata: 10\n\n", &[r#"- - 10 "YHOO\n+2\n10""#]);
    check(
        ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
        &[r#"- 1 11 "first event""#, r#"- - 12 "second event""#, r#"- - 12 " third event""#],
    );
    check("data\n\ndata\ndata\n\ndata:", &[r#"- - 0 """#, r#"- - 1 "\n""#]);
    check("data:test\n\ndata: test\n\n", &[r#"- - 4 "test""#; 2]);
}

#[test]
fn lines_names_and_marks() {
    check(
        "\u{feff}event: add\r\ndata: 7\r\rid: 2\ndata: 8\n\r\n",
        &[r#"add - 1 "7""#, r#"- 2 1 "8""#],
    );
    check("event: none\n\nretry: 10\ndatafield: x\nid: a\0b\ndata: y\n\n", &[r#"- - 1 "y""#]);
    check("data: \u{2603}: \"a\"\n\n", &[r#"- - 8 "☃: \"a\"""#]);
}

#[test]
fn data_is_kept_as_bodies_are() {
    let body = "event: a\nid: 1\ndata: 0123456789\ndata: x\n\n".as_bytes();
    assert_eq!(told(&mut events("identity", Some(4)), &[Ok(body)]), [r#"a 1 12~ "0123""#]);
    assert_eq!(told(&mut events("identity", None), &[Ok(body)]), [r#"- - 12 """#]);
}

#[test]
fn memory_is_bounded() {
    let mut events = events("identity", Some(100));
    let mut out = Vec::new();
    for line in [&b"event: "[..], b"data: ", b"x", b"id:", b"\n"] {
        for _ in 0..1000 {
            events.push(&call(0), &line.repeat(100), &mut out);
        }
    }
    assert!(out.is_empty() && events.weight() < 5000, "{}", events.weight());
}

fn coded(coding: &str, parts: &[&str]) -> Vec<Vec<u8>> {
    fn all<W: io::Write>(
        parts: &[&str],
        mut to: W,
        out: impl Fn(&mut W) -> &mut Vec<u8>,
    ) -> Vec<Vec<u8>> {
        let each = parts.iter().map(|part| {
            to.write_all(part.as_bytes()).unwrap();
            to.flush().unwrap();
            std::mem::take(out(&mut to))
        });
        each.collect()
    }
    let level = Compression::default();
    match coding {
        "gzip" => all(parts, write::GzEncoder::new(Vec::new(), level), |to| to.get_mut()),
        "deflate" => all(parts, write::ZlibEncoder::new(Vec::new(), level), |to| to.get_mut()),
        "raw" => all(parts, write::DeflateEncoder::new(Vec::new(), level), |to| to.get_mut()),
        "br" => {
            all(parts, brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22), |to| to.get_mut())
        }
        "zstd" => {
            let encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
            all(parts, encoder, |to| to.get_mut())
        }
        other => panic!("{other}"),
    }
}

/// Each event is told with the bytes that the encoder flushed for it, and not later.
#[test]
fn codings_are_removed_as_they_come() {
    let parts = ["data: one\n\n", "data: two\n\n", "data: three\n\n"];
    for coding in ["gzip", "deflate", "raw", "br", "zstd"] {
        let name = if coding == "raw" { "deflate" } else { coding };
        let mut events = events(name, Some(100));
        let mut out = Vec::new();
        for (number, part) in coded(coding, &parts).iter().enumerate() {
            for piece in part.chunks(5) {
                events.push(&call(0), piece, &mut out);
            }
            assert_eq!(out.len(), number + 1, "{coding}");
        }
        assert_eq!(show(&out[2]), r#"- - 5 "three""#, "{coding}");
    }
    assert!(Coded::new(&["gzip".to_owned(), "br".to_owned()]).is_none());
    assert!(Coded::new(&["compress".to_owned()]).is_none());
}

#[test]
fn bombs_and_noise_tell_nothing() {
    let zeros = "0".repeat(50 << 20);
    for coding in ["gzip", "deflate", "raw", "br", "zstd"] {
        let name = if coding == "raw" { "deflate" } else { coding };
        let bomb = coded(coding, &[&zeros, "\n\ndata: x\n\n"]).concat();
        let mut bombed = events(name, Some(100));
        let out = told(&mut bombed, &[Ok(&bomb)]);
        assert!(out.len() <= 1 && bombed.weight() < 5 << 20, "{coding}: {out:?}");
        bombed.give_up();
        assert_eq!(bombed.weight(), 0, "{coding}");
        let noise: Vec<u8> = (0..20_000_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0])
            .collect();
        told(&mut events(name, Some(100)), &[Ok(&noise), Ok(b"\n\ndata: x\n\n")]);
    }
}

/// Whatever is lost, wherever: what is told was sent so, and an event behind an empty line is told.
#[test]
fn gaps_never_make_a_wrong_event() {
    let mut random = 7_u64;
    let mut next = move |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(random >> 33).unwrap() % below
    };
    let all: Vec<String> = (0..40)
        .map(|n| format!("event: kind{n}\nid: {n}\ndata: first {n}\ndata: second {n}\n\n"))
        .collect();
    let body = all.concat();
    let whole = told(&mut events("identity", Some(100)), &[Ok(body.as_bytes())]);
    assert_eq!(whole.len(), 40);
    for _ in 0..10_000 {
        let start = next(body.len());
        let end = (start + 1 + next(200)).min(body.len());
        let (one, two) = (&body.as_bytes()[..start], &body.as_bytes()[end..]);
        let told = told(&mut events("identity", Some(100)), &[Ok(one), Err(0), Ok(two)]);
        assert!(told.iter().all(|event| whole.contains(event)), "{start}..{end}: {told:?}");
        let behind = body.get(end..).and_then(|rest| rest.find("\n\n")).unwrap_or(0) + end;
        let certain = body.get(behind..).unwrap_or_default().matches("event:").count();
        assert!(told.len() >= certain, "{start}..{end}: {} of {certain}", told.len());
    }
}
