//! The fixture program `exact`: TLS connections, both ends of each in one process, which counts
//! itself what it sends and receives.

use std::{num::ParseIntError, path::PathBuf, process::Command, str::FromStr, time::Duration};

use anyhow::{Context as _, Result, ensure};

use crate::child::Child;

/// For all of what the fixture does, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// A run of the fixture that is being put together.
#[must_use]
pub struct Exact {
    command: Command,
}

impl Exact {
    /// A compiled one, or another program that behaves like it.
    pub(crate) fn new(binary: PathBuf) -> Self {
        Self { command: Command::new(binary) }
    }

    /// Any program that behaves like it.
    pub fn by(command: Command) -> Self {
        Self { command }
    }

    /// Adds flags; they are explained at the top of `exact.c`.
    pub fn flags(mut self, flags: &[&str]) -> Self {
        self.command.args(flags);
        self
    }

    /// Starts it with messages of these sizes, until it is ready.
    pub fn start(mut self, sizes: &[usize]) -> Result<Exchange> {
        self.command.args(sizes.iter().map(ToString::to_string));
        let child = Child::start(self.command)?;
        child.says("ready", LIMIT)?;
        Ok(Exchange { child })
    }
}

/// The fixture, which has libssl mapped and waits.
pub struct Exchange {
    child: Child,
}

impl Exchange {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Lets it exchange everything; what each end says that it sent and received. It stays alive.
    pub fn go(&mut self) -> Result<Vec<End>> {
        self.child.tell("go\n")?;
        self.child.says("done", LIMIT)?;
        let lines = self.child.stdout.lines();
        lines.iter().filter_map(|line| line.strip_prefix("end ")).map(End::parse).collect()
    }

    /// Lets it end.
    pub fn end(mut self) -> Result<()> {
        let status = self.child.finish(LIMIT)?;
        ensure!(status.success(), "the fixture failed: {status}");
        Ok(())
    }
}

/// Bytes of one direction, by the program that moved them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// How many.
    pub bytes: u64,
    /// SHA-256 in hexadecimal digits.
    pub hash: String,
}

/// One end of a connection, by what it says of itself.
#[derive(Clone, Debug)]
pub struct End {
    /// Its process.
    pub pid: u32,
    /// The stream that it sends; what it receives is the other of the pair.
    pub stream: u64,
    /// The address of its TLS object.
    pub object: u64,
    /// Its TCP port, or 0.
    pub port: u16,
    /// What it sent.
    pub transmit: Flow,
    /// What it received.
    pub receive: Flow,
    /// Calls to write that were to be made again.
    pub write_retries: u64,
    /// Calls to read that were to be made again.
    pub read_retries: u64,
    /// Calls that wrote less than they were given.
    pub partial: u64,
    /// Changes of keys that it began.
    pub updates: u64,
}

impl End {
    fn parse(line: &str) -> Result<Self> {
        let fields = Fields(line);
        let flow = |name| -> Result<Flow> {
            let (bytes, hash) = fields.text(name)?.split_once('/').context("no hash")?;
            Ok(Flow { bytes: bytes.parse()?, hash: hash.to_owned() })
        };
        Ok(Self {
            pid: fields.number("pid")?,
            stream: fields.number("stream")?,
            object: fields.number("object")?,
            port: fields.number("port")?,
            transmit: flow("transmit")?,
            receive: flow("receive")?,
            write_retries: fields.number("write-retries")?,
            read_retries: fields.number("read-retries")?,
            partial: fields.number("partial")?,
            updates: fields.number("updates")?,
        })
    }

    /// The stream that it receives.
    pub fn peer(&self) -> u64 {
        self.stream ^ 1
    }

    /// Both directions: name, stream, bytes.
    pub fn flows(&self) -> [(&'static str, u64, &Flow); 2] {
        [("transmit", self.stream, &self.transmit), ("receive", self.peer(), &self.receive)]
    }
}

/// A line of `NAME=VALUE`.
pub(crate) struct Fields<'a>(pub(crate) &'a str);

impl<'a> Fields<'a> {
    pub(crate) fn text(&self, name: &str) -> Result<&'a str> {
        let fields = self.0.split_whitespace().filter_map(|field| field.split_once('='));
        let mut of_name = fields.filter(|(known, _)| *known == name);
        let (_, value) = of_name.next().with_context(|| format!("no {name}: {}", self.0))?;
        Ok(value)
    }

    pub(crate) fn number<N>(&self, name: &str) -> Result<N>
    where
        N: FromStr<Err = ParseIntError>,
    {
        self.text(name)?.parse().with_context(|| format!("{name} is no number: {}", self.0))
    }
}
