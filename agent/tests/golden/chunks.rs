//! The text of a recording in, chunks out.
//!
//! A line each; `#` begins a comment, and a line that begins with space continues the one before:
//!
//! ```text
//! process 41 curl /usr/bin/curl container web image web:1
//! process 52 nginx /usr/sbin/nginx
//! a 41 transmit 0 1.000-1.020 "GET / HTTP/1.1\r\n"
//!     "Host: web\r\n\r\n"
//! a 41 receive 16384 ring-full 2.500-2.510 "<p>" "a"*16000
//! a 41 close 3.000 transmit 78 receive 32384
//! 41 exit 4.000
//! ```
//!
//! | line | what |
//! |---|---|
//! | `process PID NAME PATH` | a program on the host, or in the container that follows; it uses OpenSSL |
//! | `CONNECTION PID DIRECTION OFFSET [LOSS] ENTERED-RETURNED BYTES…` | a chunk of a call: position of its first byte in the stream of its direction, why bytes before it are missing, when the call was entered and when it returned |
//! | `CONNECTION PID close TIME transmit N [LOSS] receive N [LOSS]` | the TLS object was freed: bytes that each direction had, and why the last of them are missing |
//! | `PID exit TIME` | the process ended |
//!
//! Times are milliseconds. Bytes are ASCII in quotes, with Rust's escapes `\r`, `\n`, `\t`, `\0`,
//! `\"`, `\\` and `\xff`; `*N` behind the quotes repeats them. A connection begins with its first
//! line. Order of lines is the order in the ring buffer, which is that of calls' returns.

use std::{
    collections::HashMap,
    iter::Peekable,
    str::{Chars, FromStr},
};

use bytes::Bytes;
use tlstap::{
    capture::{Call, Chunk, ChunkContent, ConnectionKey, Direction, GapReason},
    enrich::{Container, Library, Process},
};

/// What 0 milliseconds is: 2026-11-21T20:24:52Z.
const BEGINNING: i64 = 1_795_292_692_000_000_000;

/// What was recorded, and the names of who was recorded.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    pub(crate) chunks: Vec<Chunk>,
    /// By process id.
    pub(crate) programs: HashMap<u32, Program>,
    connections: HashMap<String, ConnectionKey>,
}

/// What enrich knows about a process.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) process: Process,
    pub(crate) container: Option<Container>,
    pub(crate) library: Library,
}

type Result<T> = std::result::Result<T, String>;

impl Recording {
    pub(crate) fn parse(source: &str) -> Result<Self> {
        let mut recording = Self::default();
        for (number, statement) in statements(source) {
            let mut words = Words(statement.chars().peekable());
            recording.statement(&mut words).map_err(|error| format!("line {number}: {error}"))?;
            if let Some(word) = words.next()? {
                return Err(format!("line {number}: {word:?} behind the end"));
            }
        }
        Ok(recording)
    }

    /// Wall-clock time of a time stamp.
    pub(crate) const fn timestamp_ns(&self, stamp: u64) -> i64 {
        BEGINNING.saturating_add_unsigned(stamp)
    }

    fn statement(&mut self, words: &mut Words<'_>) -> Result<()> {
        let first = words.word()?;
        if first == "process" {
            return self.program(words);
        }
        if let Ok(pid) = first.parse() {
            words.expect("exit")?;
            let at = milliseconds(&words.word()?)?;
            // The kernel half knows no object here.
            let connection = ConnectionKey { pid, object: 0, birth: 0 };
            return self.push(connection, at, at, ChunkContent::Exit);
        }
        let pid = words.number()?;
        match words.word()?.as_str() {
            "close" => self.close(first, pid, words),
            "transmit" => self.data(first, pid, Direction::Transmit, words),
            "receive" => self.data(first, pid, Direction::Receive, words),
            other => Err(format!("{other:?} is no direction")),
        }
    }

    fn program(&mut self, words: &mut Words<'_>) -> Result<()> {
        let pid: u32 = words.number()?;
        let (command, executable) = (Some(words.word()?), Some(words.word()?));
        let mut container: Option<Container> = None;
        while let Some(word) = words.next()? {
            let container = container.get_or_insert_with(|| Container {
                id: Some(format!("{pid:064x}")),
                runtime: Some("docker".to_owned()),
                ..Container::default()
            });
            match word.as_str() {
                "container" => container.name = Some(words.word()?),
                "image" => container.image = Some(words.word()?),
                other => return Err(format!("{other:?} is nothing a process has")),
            }
        }
        let library = Library {
            name: "openssl".into(),
            version: Some("3.5.4".to_owned()),
            path: "/usr/lib/x86_64-linux-gnu/libssl.so.3".to_owned(),
        };
        let process = Process { pid, command, executable };
        self.programs.insert(pid, Program { process, container, library });
        Ok(())
    }

    fn data(
        &mut self,
        name: String,
        pid: u32,
        direction: Direction,
        words: &mut Words<'_>,
    ) -> Result<()> {
        let offset = words.number()?;
        let loss = words.loss();
        let word = words.word()?;
        let (entered, returned) = word.split_once('-').ok_or(format!("{word:?} is no time"))?;
        let (entered, returned) = (milliseconds(entered)?, milliseconds(returned)?);
        let bytes = words.bytes()?;
        let connection = self.connection(name, pid, entered);
        let content = ChunkContent::Data { direction, offset, bytes, loss };
        self.push(connection, entered, returned, content)
    }

    fn close(&mut self, name: String, pid: u32, words: &mut Words<'_>) -> Result<()> {
        let at = milliseconds(&words.word()?)?;
        words.expect("transmit")?;
        let (sent, sent_loss) = (words.number()?, words.loss());
        words.expect("receive")?;
        let (received, received_loss) = (words.number()?, words.loss());
        let connection = self.connection(name, pid, at);
        let (offsets, losses) = ([sent, received], [sent_loss, received_loss]);
        self.push(connection, at, at, ChunkContent::Close { offsets, losses })
    }

    fn connection(&mut self, name: String, pid: u32, birth: u64) -> ConnectionKey {
        let object = 0x7f00_0000_1000 + 0x1000 * self.connections.len() as u64;
        *self.connections.entry(name).or_insert(ConnectionKey { pid, object, birth })
    }

    fn push(
        &mut self,
        connection: ConnectionKey,
        entered: u64,
        returned: u64,
        content: ChunkContent,
    ) -> Result<()> {
        let tid = connection.pid;
        let program = self.programs.get(&tid).ok_or(format!("{tid} is no process"))?;
        let mut thread_name = [0; 16];
        let name = program.process.command.as_deref().unwrap_or_default().bytes();
        // The last byte is a NUL, as in the kernel.
        thread_name.iter_mut().take(15).zip(name).for_each(|(slot, byte)| *slot = byte);
        let call = Call { tid, thread_name, library: 0, entered, returned };
        self.chunks.push(Chunk { connection, call, content });
        Ok(())
    }
}

/// Lines with those that continue them, and the number of the first.
fn statements(source: &str) -> Vec<(usize, String)> {
    let mut statements: Vec<(usize, String)> = Vec::new();
    for (index, line) in source.lines().enumerate() {
        match statements.last_mut() {
            _ if line.trim().is_empty() || line.starts_with('#') => {}
            Some((_, statement)) if line.starts_with(' ') => statement.push_str(line),
            _ => statements.push((index + 1, line.to_owned())),
        }
    }
    statements
}

/// A statement's words, and its strings.
struct Words<'a>(Peekable<Chars<'a>>);

impl Words<'_> {
    fn next(&mut self) -> Result<Option<String>> {
        self.space();
        if self.0.peek() == Some(&'"') {
            return Err("bytes where a word must stand".to_owned());
        }
        let word: String = std::iter::from_fn(|| self.0.next_if(|c| !c.is_whitespace())).collect();
        Ok(Some(word).filter(|word| !word.is_empty()))
    }

    fn word(&mut self) -> Result<String> {
        self.next()?.ok_or("the line ends too early".to_owned())
    }

    fn expect(&mut self, expect: &str) -> Result<()> {
        match self.word()? {
            word if word == expect => Ok(()),
            word => Err(format!("{word:?} where {expect:?} must stand")),
        }
    }

    fn number<T: FromStr>(&mut self) -> Result<T> {
        let word = self.word()?;
        word.parse().ok().ok_or(format!("{word:?} is no number"))
    }

    /// The reason of a loss, if the next word is one.
    fn loss(&mut self) -> GapReason {
        let mut ahead = Words(self.0.clone());
        let word = ahead.next().ok().flatten();
        let reasons = [GapReason::RingFull, GapReason::Fault, GapReason::Limit];
        let reason = reasons.into_iter().find(|reason| Some(reason.as_str()) == word.as_deref());
        if reason.is_some() {
            *self = ahead;
        }
        reason.unwrap_or(GapReason::Unknown)
    }

    /// All strings up to the end.
    fn bytes(&mut self) -> Result<Bytes> {
        let mut bytes = Vec::new();
        self.space();
        while self.0.next_if_eq(&'"').is_some() {
            let string = self.string()?;
            let times = match self.0.next_if_eq(&'*') {
                Some(_) => self.number()?,
                None => 1,
            };
            bytes.extend_from_slice(&string.repeat(times));
            self.space();
        }
        if bytes.is_empty() {
            return Err("a chunk has bytes".to_owned());
        }
        Ok(bytes.into())
    }

    /// The rest of a string.
    fn string(&mut self) -> Result<Vec<u8>> {
        let mut string = Vec::new();
        loop {
            let c = self.0.next().ok_or("a string has no end")?;
            let byte = match c {
                '"' => return Ok(string),
                '\\' => self.escape()?,
                c => u8::try_from(c)
                    .ok()
                    .filter(u8::is_ascii)
                    .ok_or(format!("{c:?} is not ASCII"))?,
            };
            string.push(byte);
        }
    }

    fn escape(&mut self) -> Result<u8> {
        let unknown = || "a \\ begins no escape".to_owned();
        match self.0.next().ok_or_else(unknown)? {
            'r' => Ok(b'\r'),
            'n' => Ok(b'\n'),
            't' => Ok(b'\t'),
            '0' => Ok(0),
            '"' => Ok(b'"'),
            '\\' => Ok(b'\\'),
            'x' => {
                let digits: String = self.0.by_ref().take(2).collect();
                u8::from_str_radix(&digits, 16).map_err(|error| format!("\\x{digits}: {error}"))
            }
            _ => Err(unknown()),
        }
    }

    fn space(&mut self) {
        while self.0.next_if(|c| c.is_whitespace()).is_some() {}
    }
}

/// Nanoseconds for `1.5`, which is milliseconds.
fn milliseconds(text: &str) -> Result<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{part:0<6}");
    match digits.parse() {
        Ok(nanoseconds) if part.len() <= 6 => Ok(nanoseconds),
        _ => Err(format!("{text:?} is no time")),
    }
}

#[test]
fn a_statement_of_each_kind() {
    let recording = Recording::parse(
        "# comment\nprocess 41 curl /usr/bin/curl container web\n\
         a 41 transmit 0 1-1.02 \"x\\r\\\"\\xff\"\n    \"ab\"*2 \"!\"\n\n\
         a 41 receive 5 ring-full 2.5-2.6 \"y\"\na 41 close 3 transmit 9 receive 6 fault\n41 exit 4\n",
    );
    let recording = recording.unwrap();
    let contents: Vec<_> = recording.chunks.iter().map(|chunk| chunk.content.clone()).collect();
    let data = |direction, offset, bytes: &'static [u8], loss| ChunkContent::Data {
        direction,
        offset,
        bytes: Bytes::from_static(bytes),
        loss,
    };
    let expect = [
        data(Direction::Transmit, 0, b"x\r\"\xffabab!", GapReason::Unknown),
        data(Direction::Receive, 5, b"y", GapReason::RingFull),
        ChunkContent::Close { offsets: [9, 6], losses: [GapReason::Unknown, GapReason::Fault] },
        ChunkContent::Exit,
    ];
    assert_eq!(contents, expect);
    let call = recording.chunks[1].call;
    assert_eq!((call.entered, call.returned), (2_500_000, 2_600_000));
    assert_eq!(recording.chunks[0].connection, recording.chunks[2].connection);
}

#[test]
fn a_mistake_is_named_with_its_line() {
    let check = |line: &str, expect: &str| {
        let source = format!("process 41 curl /usr/bin/curl\n{line}\n");
        assert_eq!(Recording::parse(&source).unwrap_err(), format!("line 2: {expect}"));
    };
    check("a 42 transmit 0 1-2 \"x\"", "42 is no process");
    check("a 41 sideways 0 1-2 \"x\"", "\"sideways\" is no direction");
    check("a 41 transmit 0 1 \"x\"", "\"1\" is no time");
    check("a 41 transmit 0 1-2 \"x", "a string has no end");
    check("a 41 transmit 0 1-2", "a chunk has bytes");
    check("41 exit 1 now", "\"now\" behind the end");
}
