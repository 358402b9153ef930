//! What Wireshark's `tshark` reads in a file of packets, with its own settings only.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::{deadline, tool};

const LIMIT: Duration = Duration::from_secs(30);
/// Longer than a record waits for its names.
const QUIET: Duration = Duration::from_millis(500);
/// Between columns; nothing that the tests send.
const SEPARATOR: char = '\u{1f}';
/// What tshark calls a warning; errors are higher.
const WARNING: &str = "0x00600000";

/// A file of packets.
pub struct Packets {
    file: PathBuf,
    /// Settings of nobody.
    settings: TempDir,
}

impl Packets {
    /// Waits until nothing more is written into the file.
    pub fn settled(file: &Path) -> Result<()> {
        let mut last = (0, std::time::Instant::now());
        deadline::until("the end of the packets", LIMIT, || {
            let length = fs::metadata(file)?.len();
            if length != last.0 {
                last = (length, std::time::Instant::now());
            }
            Ok((last.1.elapsed() >= QUIET).then_some(()))
        })
    }

    /// A file that is whole.
    pub fn of(file: PathBuf) -> Result<Self> {
        Ok(Self { file, settings: tempfile::tempdir()? })
    }

    fn tshark(&self) -> Result<Command> {
        let mut command = tool::command("tshark", ["-n", "-r"])?;
        command.arg(&self.file).env("WIRESHARK_CONFIG_DIR", self.settings.path());
        Ok(command)
    }

    /// Of all packets that a filter shows, these fields; several values are joined by commas.
    pub fn fields(&self, filter: &str, names: &[&str]) -> Result<Vec<Vec<String>>> {
        let mut command = self.tshark()?;
        command.args(["-Y", filter, "-T", "fields", "-E", &format!("separator={SEPARATOR}")]);
        for name in names {
            command.args(["-e", name]);
        }
        let told = tool::run(command)?;
        let cells = |line: &str| line.split(SEPARATOR).map(str::to_owned).collect::<Vec<_>>();
        let rows: Vec<_> = told.lines().map(cells).collect();
        let whole = rows.iter().all(|row| row.len() == names.len());
        ensure!(whole, "tshark does not tell {names:?} of each packet:\n{told}");
        Ok(rows)
    }

    /// Holds it to have no packet that is malformed, or of which tshark warns.
    pub fn flawless(&self) -> Result<()> {
        let filter = format!("_ws.malformed or _ws.expert.severity >= {WARNING}");
        let flaws =
            self.fields(&filter, &["frame.number", "_ws.col.Info", "_ws.expert.message"])?;
        ensure!(flaws.is_empty(), "tshark complains: {flaws:?}");
        Ok(())
    }

    /// The HTTP/2 bodies that tshark puts together, which it does not export: how often each SHA-256.
    pub fn streams(&self) -> Result<BTreeMap<String, usize>> {
        const DATA: &str = "0";
        let names = ["tcp.stream", "tcp.srcport"];
        // These have a value for each frame of the packet, and the last for each that is DATA.
        let frames = ["http2.type", "http2.streamid", "http2.length", "http2.data.data"];
        let rows = self.fields("http2.type == 0", &[&names[..], &frames].concat())?;
        let mut streams = BTreeMap::<_, Stream>::new();
        for row in &rows {
            let [connection, sender, types, numbers, lengths, data] = row.as_slice() else {
                continue;
            };
            let lists = [types, numbers, lengths].map(|list| list.split(',').collect::<Vec<_>>());
            let [types, numbers, lengths] = &lists;
            let mut data = data.split(',').filter(|data| !data.is_empty());
            for ((kind, number), length) in types.iter().zip(numbers).zip(lengths) {
                let length: usize = length.parse()?;
                if *kind == DATA && length > 0 {
                    let stream = streams.entry((connection, sender, *number)).or_default();
                    stream.length += length;
                    stream.told += data.next().context("a frame without its data")?;
                }
            }
        }
        let mut found = BTreeMap::new();
        for stream in streams.into_values() {
            *found.entry(sha256(&stream.body()?)).or_default() += 1;
        }
        Ok(found)
    }

    /// The HTTP/1 bodies that tshark exports: how often each SHA-256.
    pub fn objects(&self) -> Result<BTreeMap<String, usize>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().to_str().context("a path that is not UTF-8")?;
        let mut command = self.tshark()?;
        command.args(["-q", "--export-objects", &format!("http,{path}")]);
        tool::run(command)?;
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(folder.path())? {
            let body = fs::read(entry?.path())?;
            // tshark takes the preface of HTTP/2 for a body too.
            if !body.starts_with(b"PRI * HTTP/2.0\r\n") {
                *found.entry(sha256(&body)).or_default() += 1;
            }
        }
        Ok(found)
    }
}

/// What tshark tells of one direction of a stream: the data of each frame; of the last of several
/// it tells the whole.
#[derive(Default)]
struct Stream {
    length: usize,
    told: String,
}

impl Stream {
    fn body(&self) -> Result<Vec<u8>> {
        let whole = self.told.len().checked_sub(2 * self.length);
        let whole = whole.and_then(|from| self.told.get(from..)).context("data is missing")?;
        let byte = |at| whole.get(at..at + 2).map(|digits| u8::from_str_radix(digits, 16));
        let bytes = (0..whole.len()).step_by(2).filter_map(byte).collect::<Result<_, _>>();
        bytes.context("not hexadecimal")
    }
}

/// In hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
