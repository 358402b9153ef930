//! A recording: as the bytes are, or its entries, packed as they have to be.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
};

use rustix::fs::{MemfdFlags, memfd_create};
use tlstap::{
    decode,
    emit::{Format, Writer},
    pipeline::{self, Replay, Wanted},
    redact::Redaction,
};

use crate::{
    conversation::{self, Checked},
    fields,
};

const HEADING: &[u8] = b"tlstap recording 1 0.1.0\n";

/// The first byte says how: as a file, or as entries in parts; shown in one form or the other.
pub(super) fn run(data: &[u8]) {
    let Some((&how, rest)) = data.split_first() else { return };
    let bytes = if how & 1 == 0 { pack(fields::parts(rest)) } else { rest.to_vec() };
    let mut file = File::from(memfd_create("fuzz", MemfdFlags::CLOEXEC).expect("memory"));
    file.write_all(&bytes).expect("memory");
    let format = if how & 2 == 0 { Format::Text } else { Format::Json };
    let writer = Writer::new(Checked::of(format), format, conversation::view());
    let replay = replay(format!("/proc/self/fd/{}", file.as_raw_fd()).into(), how & 4 != 0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    // What is wrong with the file is an error.
    let _ = runtime.expect("a runtime").block_on(pipeline::replay(replay, writer, |_| ()));
}

fn replay(file: PathBuf, raw: bool) -> Replay {
    Replay {
        otlp: None,
        file,
        filters: Default::default(),
        raw,
        decode: decode::Options { keep_bodies: true, body_limit: 1 << 16 },
        schema: decode::Schema::default(),
        redact: Some(Redaction::default()),
        wanted: Wanted::default(),
        count: None,
    }
}

fn pack<'a>(entries: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut plain = Vec::new();
    for entry in entries {
        plain.extend_from_slice(&(entry.len() as u32).to_le_bytes());
        plain.extend_from_slice(entry);
    }
    [HEADING, &zstd::encode_all(&plain[..], 1).expect("memory")].concat()
}

/// The recordings among the golden files, as they are and taken apart.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/tests/golden");
    let mut seeds = Vec::new();
    for file in fs::read_dir(folder).expect("the golden files") {
        let path = file.expect("the golden files").path();
        if path.extension().is_some_and(|extension| extension == "tlstap") {
            let bytes = fs::read(path).expect("a recording");
            seeds.push([&[1], &bytes[..]].concat());
            for how in [0, 2, 4] {
                seeds.push([&[how][..], &fields::join(entries(&bytes))].concat());
            }
        }
    }
    seeds
}

/// As far as it goes: one of them is cut off.
fn entries(recording: &[u8]) -> Vec<Vec<u8>> {
    let heading = recording.iter().position(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let packed = recording.get(heading..).unwrap_or_default();
    let (mut plain, mut entries) = (Vec::new(), Vec::new());
    let _ = zstd::Decoder::new(packed).expect("memory").read_to_end(&mut plain);
    let mut rest = &plain[..];
    while let Some((length, behind)) = rest.split_first_chunk() {
        let length = u32::from_le_bytes(*length) as usize;
        let Some((entry, next)) = behind.split_at_checked(length) else { break };
        entries.push(entry.to_vec());
        rest = next;
    }
    entries
}
