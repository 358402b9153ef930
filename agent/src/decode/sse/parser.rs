//! Lines of `text/event-stream` in, however they are split, events out (WHATWG HTML, section 9.2.6).

use bytes::Bytes;

use crate::{
    capture::Call,
    decode::{Body, Options},
};

/// Bytes of a type and of an identifier that are kept.
const LABEL: usize = 1024;
/// A longer name of a field is none that is known.
const FIELD: usize = 8;
const MARK: &[u8] = b"\xef\xbb\xbf";

/// An event that is complete.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) name: Option<String>,
    pub(super) id: Option<String>,
    pub(super) body: Body,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// The name of a field, or a comment, which has none.
    #[default]
    Field,
    /// A blank behind the colon is not of the value.
    Blank,
    Value,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Field {
    Data,
    Event,
    Id,
    #[default]
    Other,
}

#[derive(Debug)]
pub(super) struct Parser {
    /// How many bytes of data are kept; `None` when bodies are not wanted.
    limit: Option<usize>,
    at: At,
    field: Field,
    /// Of the line, as far as it can matter.
    letters: Vec<u8>,
    /// Whether the line has no byte so far.
    empty: bool,
    /// A line feed that comes next is of the line before.
    returned: bool,
    /// How much of a byte order mark may have been seen; `None` behind the beginning.
    mark: Option<usize>,
    /// Something was lost: nothing is told up to an empty line.
    lost: bool,
    /// The call that moved its first byte.
    began: Option<Call>,
    name: Option<Vec<u8>>,
    id: Option<Vec<u8>>,
    /// The label of this line.
    label: Vec<u8>,
    /// Lines of data, their bytes with those that join them, and those of them that are kept.
    lines: u64,
    size: u64,
    kept: Vec<u8>,
}

impl Parser {
    pub(super) const fn new(options: &Options) -> Self {
        Self {
            limit: if options.keep_bodies { Some(options.body_limit) } else { None },
            at: At::Field,
            field: Field::Other,
            letters: Vec::new(),
            empty: true,
            returned: false,
            mark: Some(0),
            lost: false,
            began: None,
            name: None,
            id: None,
            label: Vec::new(),
            lines: 0,
            size: 0,
            kept: Vec::new(),
        }
    }

    /// Takes the next bytes; `call` moved them.
    pub(super) fn push(
        &mut self,
        call: &Call,
        mut bytes: &[u8],
        tell: &mut impl FnMut(Call, Event),
    ) {
        self.skip_mark(&mut bytes);
        while let Some((&first, rest)) = bytes.split_first() {
            if std::mem::take(&mut self.returned) && first == b'\n' {
                bytes = rest;
                continue;
            }
            if matches!(first, b'\r' | b'\n') {
                self.returned = first == b'\r';
                bytes = rest;
                self.end_line(tell);
                continue;
            }
            let length = memchr::memchr2(b'\r', b'\n', bytes).unwrap_or(bytes.len());
            let (line, rest) = bytes.split_at_checked(length).unwrap_or((bytes, &[]));
            bytes = rest;
            self.empty = false;
            self.began.get_or_insert(*call);
            self.line(line);
        }
    }

    /// "The UTF-8 decode algorithm strips one leading UTF-8 Byte Order Mark (BOM), if any."
    fn skip_mark(&mut self, bytes: &mut &[u8]) {
        while let (Some(seen), Some((first, rest))) = (self.mark, bytes.split_first()) {
            self.mark = match MARK.get(seen) {
                Some(byte) if byte == first => {
                    *bytes = rest;
                    Some(seen + 1)
                }
                _ => None,
            };
        }
    }

    /// A part of a line.
    fn line(&mut self, mut part: &[u8]) {
        if self.at == At::Field {
            let length = memchr::memchr(b':', part);
            let name = part.get(..length.unwrap_or(part.len())).unwrap_or_default();
            let room = FIELD.saturating_sub(self.letters.len());
            self.letters.extend(name.iter().take(room));
            let Some(length) = length else { return };
            part = part.get(length + 1..).unwrap_or_default();
            self.begin_value();
        }
        if self.at == At::Blank
            && let Some((first, rest)) = part.split_first()
        {
            self.at = At::Value;
            if *first == b' ' {
                part = rest;
            }
        }
        match self.field {
            Field::Data => self.data(part),
            Field::Event | Field::Id if self.limit.is_some() => {
                let room = LABEL.saturating_sub(self.label.len());
                self.label.extend(part.iter().take(room));
            }
            Field::Event | Field::Id | Field::Other => {}
        }
    }

    fn begin_value(&mut self) {
        self.at = At::Blank;
        self.field = match self.letters.as_slice() {
            b"data" => Field::Data,
            b"event" => Field::Event,
            b"id" => Field::Id,
            _ => Field::Other,
        };
        self.label.clear();
        if self.field == Field::Data {
            if self.lines > 0 {
                self.data(b"\n");
            }
            self.lines += 1;
        }
    }

    fn data(&mut self, bytes: &[u8]) {
        self.size = self.size.saturating_add(bytes.len() as u64);
        if !self.lost {
            let room = self.limit.unwrap_or_default().saturating_sub(self.kept.len());
            self.kept.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        }
    }

    fn end_line(&mut self, tell: &mut impl FnMut(Call, Event)) {
        if std::mem::replace(&mut self.empty, true) {
            return self.end(tell);
        }
        if self.at == At::Field {
            // "Process the field using […] the whole line as the field name, and the empty string as
            // the field value."
            self.begin_value();
        }
        let label = std::mem::take(&mut self.label);
        match self.field {
            Field::Event => self.name = Some(label),
            // "If the field value does not contain U+0000 NULL".
            Field::Id if !label.contains(&0) => self.id = Some(label),
            _ => {}
        }
        self.letters.clear();
        (self.at, self.field) = (At::Field, Field::Other);
    }

    /// An empty line.
    fn end(&mut self, tell: &mut impl FnMut(Call, Event)) {
        let (began, name, id) = (self.began.take(), self.name.take(), self.id.take());
        let (lines, size) = (std::mem::take(&mut self.lines), std::mem::take(&mut self.size));
        let kept = std::mem::take(&mut self.kept);
        let lost = std::mem::take(&mut self.lost);
        let Some(began) = began.filter(|_| lines > 0 && !lost) else { return };
        let truncated = self.limit.is_some() && (kept.len() as u64) < size;
        let text = |label: Vec<u8>| String::from_utf8_lossy(&label).into_owned();
        let known = |label: &Vec<u8>| self.limit.is_some() && !label.is_empty();
        tell(
            began,
            Event {
                name: name.filter(known).map(text),
                id: id.filter(known).map(text),
                body: Body { size, bytes: Bytes::from(kept), truncated },
            },
        );
    }

    /// Bytes were lost: the event that is not complete is not told, nor is what goes on behind them.
    pub(super) fn lose(&mut self) {
        let Self { limit, .. } = *self;
        *self = Self {
            lost: true,
            mark: None,
            // Of a line that was begun.
            empty: false,
            ..Self::new(&Options {
                keep_bodies: limit.is_some(),
                body_limit: limit.unwrap_or_default(),
            })
        };
    }

    /// How much memory it holds.
    pub(super) fn weight(&self) -> usize {
        let labels = [&self.name, &self.id].into_iter().flatten().map(Vec::len).sum::<usize>();
        labels + self.label.len() + self.kept.len()
    }
}
