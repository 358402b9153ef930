//! Recorded chunks in, through reassemble → decode → emit, and what comes out held against files.
//!
//! Needs neither root nor BPF. Each scenario is a file `NAME.chunks`, as `chunks.rs` describes it,
//! or `NAME.tlstap`, which `tlstap trace --record` wrote of real programs; and beside it what
//! `tlstap` prints for it:
//!
//! | file | what |
//! |---|---|
//! | `NAME.txt` | text, with a heading |
//! | `NAME.body.txt` | text with `--body` |
//! | `NAME.json` | JSON with `--body`; indented here, a line each there |
//!
//! `TLSTAP_BLESS=1 cargo test -p tlstap --test golden` writes the files anew. Read the difference
//! before it is committed: the files say what users are told.

mod chunks;
mod diff;
mod indent;

use std::{
    collections::HashMap,
    env, fs,
    io::{Read as _, Seek as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use jiff::tz::TimeZone;
use tlstap::{
    decode::{Connection, Message, Options, Schema},
    emit::{Format, View, Writer},
    enrich::Record,
    pipeline::{self, Replay, Wanted},
    reassemble::{SegmentContent, Streams},
    select::Filters,
};

use self::chunks::Recording;

/// Bodies are cut early, so that a long one needs no long file.
const OPTIONS: Options = Options { keep_bodies: true, body_limit: 512 };
const NO_BODIES: Options = Options { keep_bodies: false, ..OPTIONS };

/// What the programs print is the same in every zone.
const TEXT: View = View {
    headers: false,
    bodies: false,
    color: false,
    heading: true,
    zone: TimeZone::UTC,
    width: None,
};
const BODIES: View = View {
    headers: true,
    bodies: true,
    color: false,
    heading: false,
    zone: TimeZone::UTC,
    width: None,
};

macro_rules! scenarios {
    ($all:ident by $check:ident: $($name:ident)*) => {
        const $all: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() -> Result<()> {
                $check(stringify!($name))
            }
        )*
    };
}

scenarios! { SCENARIOS by check:
    body_of_a_mebibyte
    connect_tunnel
    curl_get
    expect_continue
    gap_at_the_end
    gap_in_a_body
    gap_in_a_head
    head_requests
    joined_in_the_middle
    mqtt
    nginx_gzip_chunked
    nginx_server
    opaque_xmpp
    pipelining
    process_exit
    python_keep_alive
    two_interleaved
    websocket_upgrade
}

scenarios! { RECORDINGS by check_recording:
    recorded_container
    recorded_curl_and_python
    recorded_killed
}

#[test]
fn every_file_is_used() {
    let (mut found, mut recorded) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let (stem, extension) = name.split_once('.').unwrap();
        match extension {
            "rs" => {}
            "chunks" => found.push(stem.to_owned()),
            "tlstap" => recorded.push(stem.to_owned()),
            "txt" | "body.txt" | "json" => {
                assert!(SCENARIOS.contains(&stem) || RECORDINGS.contains(&stem), "{name}");
            }
            _ => panic!("{name} is no file of this test"),
        }
    }
    found.sort_unstable();
    recorded.sort_unstable();
    assert_eq!(found, SCENARIOS);
    assert_eq!(recorded, RECORDINGS);
}

/// Replays a scenario and holds what comes out against its files.
fn check(name: &str) -> Result<()> {
    let source = fs::read_to_string(folder().join(format!("{name}.chunks")))?;
    let recording = Recording::parse(&source).map_err(|error| anyhow!("{name}: {error}"))?;
    let (plain, whole) = (replay(&recording, &NO_BODIES)?, replay(&recording, &OPTIONS)?);
    hold(
        name,
        &[
            ("txt", written(&plain, Format::Text, TEXT)?),
            ("body.txt", written(&whole, Format::Text, BODIES)?),
            ("json", json(&written(&whole, Format::Json, BODIES)?)?),
        ],
    )
}

/// The same for a recording, which is replayed as `tlstap replay` does.
fn check_recording(name: &str) -> Result<()> {
    let file = folder().join(format!("{name}.tlstap"));
    ensure!(fs::metadata(&file)?.len() < 200 << 10, "{name} is too long for a test");
    hold(
        name,
        &[
            ("txt", replayed(&file, NO_BODIES, Format::Text, TEXT)?),
            ("body.txt", replayed(&file, OPTIONS, Format::Text, BODIES)?),
            ("json", json(&replayed(&file, OPTIONS, Format::Json, BODIES)?)?),
        ],
    )
}

fn replayed(file: &Path, decode: Options, format: Format, view: View) -> Result<String> {
    let mut out = tempfile::tempfile()?;
    let filters = Filters::default();
    let options = Replay {
        file: file.to_owned(),
        filters,
        raw: false,
        decode,
        schema: Schema::default(),
        redact: None,
        wanted: Wanted::default(),
        count: None,
        otlp: None,
    };
    let writer = Writer::new(&mut out, format, view);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(pipeline::replay(options, writer, |_| {}))?.result()?;
    out.rewind()?;
    let mut shown = String::new();
    out.read_to_string(&mut shown)?;
    Ok(shown)
}

/// Holds what is shown against the files of a scenario.
fn hold(name: &str, shown: &[(&str, String)]) -> Result<()> {
    let mut differences = String::new();
    for (extension, shown) in shown {
        differences.push_str(&compare(&format!("{name}.{extension}"), shown)?);
    }
    ensure!(differences.is_empty(), "\n{differences}");
    Ok(())
}

/// What differs from a file, for people; nothing if it is the same.
fn compare(file: &str, shown: &str) -> Result<String> {
    let path = folder().join(file);
    if env::var_os("TLSTAP_BLESS").is_some() {
        fs::write(&path, shown).with_context(|| format!("failed to write {file}"))?;
    }
    let expect = fs::read_to_string(&path)
        .with_context(|| format!("failed to read {file}, which TLSTAP_BLESS=1 writes"))?;
    if expect == shown {
        return Ok(String::new());
    }
    Ok(format!("{file}: - is expected, + is shown\n{}", diff::of(&expect, shown)))
}

/// The way through the stages, as the pipeline takes it.
fn replay(recording: &Recording, options: &Options) -> Result<Vec<Record>> {
    let mut streams = Streams::default();
    let mut decoders = HashMap::new();
    let mut messages = Vec::new();
    for chunk in &recording.chunks {
        let mut segments = Vec::new();
        streams.push(chunk.clone(), &mut segments);
        for segment in segments {
            let decoder =
                decoders.entry(segment.connection).or_insert_with(|| Connection::new(options));
            decoder.push(&segment, &mut messages);
            if segment.content == SegmentContent::End {
                decoders.remove(&segment.connection);
            }
        }
    }
    let mut open: Vec<_> = decoders.into_iter().collect();
    open.sort_unstable_by_key(|(key, _)| key.birth);
    for (_, mut decoder) in open {
        decoder.finish(&mut messages);
    }
    messages.into_iter().map(|message| record(recording, message)).collect()
}

/// The names that enrich would have found.
fn record(recording: &Recording, message: Message) -> Result<Record> {
    let pid = message.connection.pid;
    let program = recording.programs.get(&pid).with_context(|| format!("{pid} has no name"))?;
    Ok(Record {
        timestamp_ns: recording.timestamp_ns(message.began()),
        process: program.process.clone().into(),
        container: program.container.clone().map(Into::into),
        tls: Some(program.library.clone().into()),
        socket: None,
        peer: None,
        message,
    })
}

fn written(records: &[Record], format: Format, view: View) -> Result<String> {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out, format, view);
    for record in records {
        writer.write(record)?;
    }
    writer.flush()?;
    drop(writer);
    Ok(String::from_utf8(out)?)
}

/// Every line held against the schema, and indented.
fn json(lines: &str) -> Result<String> {
    let schema = include_str!("../../../docs/tlstap-v1.schema.json");
    let schema = serde_json::from_str(schema)?;
    let validator = jsonschema::validator_for(&schema).map_err(|error| anyhow!("{error}"))?;
    let mut indented = String::new();
    for line in lines.lines() {
        let value = serde_json::from_str(line)?;
        let errors: Vec<_> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
        ensure!(errors.is_empty(), "{errors:?} in {line}");
        indented.push_str(&indent::of(line));
    }
    Ok(indented)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}
