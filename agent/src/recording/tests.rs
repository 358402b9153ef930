//! What is in a recording, byte by byte, and what becomes of one that is not as it should be.

use std::{
    fs,
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use bytes::Bytes;

use super::{
    Asked, Entry, MAGIC, MAX_ENTRY, Reader, Recorder, Stop, VERSION, reader::OpenError,
    recorder::write,
};
use crate::{
    capture::{
        Call, Chunk, ChunkContent, ConnectionKey, Direction, Endpoints, GapReason, Losses, Method,
        Socket,
    },
    enrich::{Container, Library, Note, Pod},
    select::{Filters, PodName},
};

/// One of every kind, as it was encoded when this version was new; a line each. Lines are added,
/// never changed.
const ENCODED: &str = include_str!("samples.v1");

const CALL: Call = Call {
    tid: 42,
    thread_name: *b"worker\0\0\0\0\0\0\0\0\0\0",
    library: 3,
    entered: 1_000_000,
    returned: 1_000_020,
};

const CONNECTION: ConnectionKey =
    ConnectionKey { pid: 41, object: 0x7f00_0000_1000, birth: 999_999 };

fn chunk(content: ChunkContent) -> Entry {
    Entry::Chunk(Chunk { connection: CONNECTION, call: CALL, content })
}

fn data(direction: Direction, loss: GapReason) -> Entry {
    let bytes = Bytes::from_static(b"GET / HTTP/1.1\r\n\xff");
    chunk(ChunkContent::Data { direction, offset: 70_000, bytes, loss })
}

fn tcp(address: IpAddr) -> Endpoints {
    let (local, peer) = (SocketAddr::new(address, 43210), SocketAddr::new(address, 443));
    Endpoints::Tcp { local, peer }
}

fn unix() -> Endpoints {
    Endpoints::Unix { local: None, peer: Some("/run/a.sock".to_owned()) }
}

fn socket(endpoints: Endpoints, method: Method) -> Entry {
    let namespace = Some(4_026_531_840);
    chunk(ChunkContent::Socket(Socket { endpoints, namespace, method }))
}

fn noted(method: Method) -> Entry {
    let socket = Socket { endpoints: tcp(Ipv4Addr::LOCALHOST.into()), namespace: None, method };
    Entry::Note(Note::Socket { connection: CONNECTION, socket })
}

fn asked() -> Asked {
    let filters = Filters {
        containers: vec!["web".to_owned()],
        pods: vec![PodName { namespace: Some("shop".to_owned()), name: "web-0".to_owned() }],
        images: vec![wildmatch::WildMatch::new("*/web:?")],
        pids: vec![41],
        ..Filters::default()
    };
    Asked { filters, raw: true, count: Some(3) }
}

/// As an entry too, since what they hold is no business of this module.
fn process(json: serde_json::Value) -> Entry {
    Entry::Note(Note::Process(serde_json::from_value(json).unwrap()))
}

fn container() -> Container {
    Container {
        id: Some("cafe".to_owned()),
        name: Some("web".to_owned()),
        runtime: Some("docker".to_owned()),
        image: Some("web:1".to_owned()),
        pod: Some(Pod {
            name: "web-0".to_owned(),
            namespace: "shop".to_owned(),
            uid: Some("1-2".to_owned()),
            container: Some("web".to_owned()),
        }),
    }
}

fn library() -> Library {
    Library {
        name: "openssl".into(),
        version: Some("3.5.4".to_owned()),
        path: "/usr/lib/libssl.so.3".to_owned(),
    }
}

fn samples() -> Vec<Entry> {
    let program = serde_json::json!({"pid": 41, "command": "curl", "executable": "/usr/bin/curl"});
    let (v4, v6) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
    let lost = serde_json::json!({"ring-full": 3, "queue-full": 1});
    vec![
        Entry::Start(Asked::default()),
        Entry::Start(asked()),
        Entry::Note(Note::Clock { offset: -5 }),
        process(serde_json::json!({"process": program, "home": "host"})),
        process(serde_json::json!({"process": program, "home": {"root": {"name": "demo"}}})),
        process(serde_json::json!({
            "process": program, "home": {"container": {"id": "cafe", "runtime": "docker"}}
        })),
        Entry::Note(Note::Container { id: "cafe".to_owned(), names: container(), used: None }),
        Entry::Note(Note::Library { number: 3, pid: 41, library: Some(library()), used: Some(9) }),
        data(Direction::Transmit, GapReason::Unknown),
        data(Direction::Receive, GapReason::RingFull),
        data(Direction::Receive, GapReason::Fault),
        data(Direction::Receive, GapReason::Limit),
        data(Direction::Receive, GapReason::QueueFull),
        chunk(ChunkContent::Close {
            offsets: [7, 70_017],
            losses: [GapReason::Fault, GapReason::Unknown],
        }),
        data(Direction::Receive, GapReason::KernelTls),
        data(Direction::Receive, GapReason::InFlightFull),
        data(Direction::Receive, GapReason::Memory),
        data(Direction::Receive, GapReason::Reduced),
        data(Direction::Receive, GapReason::Sampled),
        data(Direction::Receive, GapReason::Detached),
        data(Direction::Receive, GapReason::RateLimited),
        chunk(ChunkContent::Gap {
            direction: Direction::Transmit,
            offset: 70_000,
            length: 9,
            reason: GapReason::KernelTls,
            loss: GapReason::Unknown,
        }),
        socket(tcp(v4), Method::Nested),
        socket(tcp(v6), Method::Ciphertext),
        socket(unix(), Method::Nested),
        noted(Method::Descriptor),
        noted(Method::Only),
        Entry::Note(Note::Peer { address: v4, name: Some("web".to_owned()), used: Some(9) }),
        chunk(ChunkContent::Unbound),
        chunk(ChunkContent::Elsewhere),
        chunk(ChunkContent::Descriptor(7)),
        chunk(ChunkContent::Shutdown),
        chunk(ChunkContent::Exit),
        Entry::End(Losses::default()),
        Entry::End(serde_json::from_value(lost).unwrap()),
    ]
}

/// Fails to compile when there is a kind that has no sample yet.
fn has_sample(entry: &Entry) {
    match entry {
        Entry::Start(_) | Entry::End(_) => {}
        Entry::Note(note) => match note {
            Note::Clock { .. }
            | Note::Process(_)
            | Note::Socket { .. }
            | Note::Peer { .. }
            | Note::Container { .. }
            | Note::Library { .. } => {}
        },
        Entry::Chunk(chunk) => match &chunk.content {
            ChunkContent::Data { .. }
            | ChunkContent::Gap { .. }
            | ChunkContent::Close { .. }
            | ChunkContent::Socket(_)
            | ChunkContent::Unbound
            | ChunkContent::Elsewhere
            | ChunkContent::Descriptor(_)
            | ChunkContent::Shutdown
            | ChunkContent::Exit => {}
        },
    }
}

fn encoded(entry: &Entry) -> Vec<u8> {
    rmp_serde::to_vec_named(entry).unwrap()
}

/// `TLSTAP_BLESS=1` adds the lines that are missing.
#[test]
fn entries_are_written_as_ever() {
    samples().iter().for_each(has_sample);
    let lines: Vec<_> =
        samples().iter().map(|entry| encoded(entry).escape_ascii().to_string()).collect();
    let missing: Vec<_> =
        lines.iter().filter(|line| !ENCODED.lines().any(|l| l == *line)).collect();
    if missing.is_empty() {
        return;
    }
    if std::env::var_os("TLSTAP_BLESS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/recording/samples.v1");
        let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
        missing.iter().for_each(|line| writeln!(file, "{line}").unwrap());
    }
    panic!(
        "entries are encoded in another way. If tlstap still reads what version {VERSION} wrote, \
         and every tlstap that reads version {VERSION} reads this, add these lines to samples.v1; \
         else the version must change: {missing:#?}"
    );
}

#[test]
fn entries_of_this_version_are_read_as_ever() {
    let samples = samples();
    assert!(ENCODED.lines().count() >= samples.len());
    for line in ENCODED.lines() {
        let entry: Entry = rmp_serde::from_slice(&unescape(line)).expect(line);
        assert!(samples.contains(&entry), "{line}: {entry:?}");
    }
}

fn unescape(line: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = line.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match (byte, byte == b'\\') {
            (byte, false) => byte,
            (_, true) => match rest.next().unwrap() {
                b'x' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    u8::from_str_radix(str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                b'r' => b'\r',
                b'n' => b'\n',
                b't' => b'\t',
                quoted => quoted,
            },
        });
    }
    bytes
}

/// A folder, and the name of a file in it.
fn scratch() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tlstap");
    (folder, path)
}

fn record(path: &Path, entries: &[Entry]) {
    let mut recorder = Recorder::create(path, asked()).unwrap();
    for entry in entries {
        match entry.clone() {
            Entry::Chunk(chunk) => recorder.chunk(&chunk),
            Entry::Note(note) => recorder.notes(vec![note]),
            Entry::Start(_) | Entry::End(_) => {}
        }
        recorder.flush();
    }
    recorder.finish(Losses::default()).unwrap();
}

/// All entries, and why there are no more.
fn read(path: &Path) -> (Vec<Entry>, Option<Stop>) {
    let mut reader = Reader::open(path).unwrap();
    let mut entries = Vec::new();
    loop {
        match reader.next() {
            Ok(entry) => entries.push(entry),
            Err(stop) => return (entries, Some(stop)),
        }
        if matches!(entries.last(), Some(Entry::End(_))) {
            return (entries, None);
        }
    }
}

#[test]
fn what_was_recorded_is_read() {
    let (_folder, path) = scratch();
    let middle = |entry: &Entry| !matches!(entry, Entry::Start(_) | Entry::End(_));
    let mut expect: Vec<_> = samples().into_iter().filter(middle).collect();
    record(&path, &expect);
    expect.insert(0, Entry::Start(asked()));
    expect.push(Entry::End(Losses::default()));
    let (entries, stop) = read(&path);
    assert_eq!(entries, expect);
    assert!(stop.is_none(), "{stop:?}");
}

#[test]
fn every_cut_leaves_what_was_before() {
    let (_folder, path) = scratch();
    record(&path, &samples());
    let whole = fs::read(&path).unwrap();
    let (expect, _) = read(&path);
    let heading = whole.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    let mut longest = 0;
    for cut in 0..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        if cut < heading {
            assert!(matches!(Reader::open(&path), Err(OpenError::NoRecording)), "cut at {cut}");
            continue;
        }
        let (entries, stop) = read(&path);
        assert!(matches!(stop, Some(Stop::Cut)), "cut at {cut}: {stop:?}");
        assert_eq!(entries, expect[..entries.len()], "cut at {cut}");
        assert!(entries.len() >= longest, "cut at {cut}");
        longest = entries.len();
    }
    assert!(longest >= expect.len() - 1, "each entry was flushed, but only {longest} are there");
}

#[test]
fn no_changed_byte_goes_unnoticed() {
    let (_folder, path) = scratch();
    record(&path, &samples());
    let whole = fs::read(&path).unwrap();
    let heading = whole.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    let (expect, _) = read(&path);
    for at in heading..whole.len() {
        for bit in [0x01, 0x80] {
            let mut changed = whole.clone();
            changed[at] ^= bit;
            fs::write(&path, changed).unwrap();
            let (entries, stop) = read(&path);
            // Some bits of zstd's own do not matter, such as those of the window's size.
            assert!(stop.is_some() || entries == expect, "byte {at}");
        }
    }
}

/// A file with this heading and these bytes of entries.
fn forged(path: &Path, heading: &str, entries: &[u8]) {
    let mut file = heading.as_bytes().to_vec();
    file.extend(zstd::encode_all(entries, 1).unwrap());
    fs::write(path, file).unwrap();
}

fn heading() -> String {
    format!("{MAGIC}{VERSION} 0.0.0\n")
}

#[test]
fn a_length_is_not_believed() {
    let (_folder, path) = scratch();
    for length in [u32::MAX, u32::try_from(MAX_ENTRY).unwrap() + 1] {
        forged(&path, &heading(), &length.to_le_bytes());
        let (_, stop) = read(&path);
        assert!(matches!(&stop, Some(Stop::Damaged { entries: 0, .. })), "{stop:?}");
    }
    // The fields say that the payload is 4 GiB long, a name, an array.
    for bytes in [&b"\xc6\xff\xff\xff\xff"[..], b"\xdb\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff"] {
        let sample = encoded(&data(Direction::Transmit, GapReason::Unknown));
        let at = sample.windows(5).position(|window| window == b"bytes").unwrap() + 5;
        let mut entry = sample[..at].to_vec();
        entry.extend(bytes);
        let mut entries = u32::try_from(entry.len()).unwrap().to_le_bytes().to_vec();
        entries.extend(entry);
        forged(&path, &heading(), &entries);
        let (_, stop) = read(&path);
        assert!(matches!(&stop, Some(Stop::Damaged { entries: 0, .. })), "{stop:?}");
    }
}

#[test]
fn an_error_quotes_nothing() {
    let (_folder, path) = scratch();
    let entry = rmp_serde::to_vec_named(&serde_json::json!({"secret": "plaintext"})).unwrap();
    let mut entries = u32::try_from(entry.len()).unwrap().to_le_bytes().to_vec();
    entries.extend(entry);
    forged(&path, &heading(), &entries);
    let (_, stop) = read(&path);
    let said = stop.unwrap().to_string();
    assert_eq!(said, "the recording is damaged after 0 entries: an entry is not understood");
}

#[test]
fn what_cannot_be_replayed() {
    let (folder, path) = scratch();
    let open = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        Reader::open(&path).map(drop).unwrap_err().to_string()
    };
    let none = "not a recording: only files that `tlstap trace --record` wrote can be replayed";
    for bytes in
        [&b""[..], b"hello\n", b"tlstap recording x 1\n", b"tlstap recording 1 0.1", &[0; 99]]
    {
        assert_eq!(open(bytes), none, "{bytes:?}");
    }
    let newer = open(b"tlstap recording 7 \x1b[2J9.9\n");
    let expect = "a recording of version 7, made by tlstap \\u{1b}[2J9.9; this is tlstap";
    assert!(newer.starts_with(expect), "{newer}");
    assert!(matches!(Reader::open(folder.path()), Err(OpenError::NotRegular)));
    assert!(matches!(Reader::open(&folder.path().join("none")), Err(OpenError::Io(_))));
}

#[test]
fn a_file_for_its_owner_only_in_place_of_the_old_one() {
    let (folder, path) = scratch();
    let linked = folder.path().join("linked");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::hard_link(&path, &linked).unwrap();
    record(&path, &[]);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::read(&linked).unwrap(), b"old");
}

#[test]
fn no_link_is_followed_and_no_device_replaced() {
    let (folder, path) = scratch();
    let target = folder.path().join("target");
    fs::write(&target, "precious").unwrap();
    symlink(&target, &path).unwrap();
    for path in [path.as_path(), Path::new("/dev/null"), folder.path()] {
        let error = Recorder::create(path, Asked::default()).map(drop).unwrap_err();
        assert_eq!(error.to_string(), "it exists, and is no regular file", "{}", path.display());
    }
    assert_eq!(fs::read(&target).unwrap(), b"precious");
}

#[test]
fn an_entry_too_long_to_read_is_not_written() {
    let bytes = vec![0; MAX_ENTRY].into();
    let content = ChunkContent::Data {
        direction: Direction::Transmit,
        offset: 0,
        bytes,
        loss: GapReason::Unknown,
    };
    let mut out = Vec::new();
    assert!(write(&mut out, &mut Vec::new(), &chunk(content)).is_err());
    assert!(out.is_empty());
}
