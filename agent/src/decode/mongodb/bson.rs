//! BSON (<https://bsonspec.org/spec.html>): a document's bytes, or their beginning, in; its elements
//! out. Nothing is copied, and nothing is believed beyond the bytes that are there.

/// The length of a document is its first four bytes; the shortest one has a zero behind it.
const SHORTEST: usize = 5;

/// A member of a document, or an element of an array.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'a> {
    /// The type, as the specification numbers it.
    pub(super) kind: u8,
    pub(super) name: &'a str,
    /// Its bytes: all of them, or what is there of a document or an array.
    pub(super) value: &'a [u8],
    /// Whether they are all.
    pub(super) whole: bool,
}

/// The elements of a document, in order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Elements<'a> {
    rest: &'a [u8],
    pub(super) end: End,
}

/// How far the walk over a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// There may be more elements.
    Open,
    /// All of them were given.
    Whole,
    /// The bytes end before the document does.
    Cut,
    Malformed,
}

/// Splits off the first document of bytes; what is there of it, and whether it is all.
pub(super) fn split<'a>(bytes: &mut &'a [u8]) -> Option<(&'a [u8], bool)> {
    let length = int(bytes).filter(|&length| length >= SHORTEST)?;
    let (document, rest) = bytes.split_at_checked(length).unwrap_or((bytes, &[]));
    *bytes = rest;
    Some((document, document.len() == length))
}

/// A length: four bytes, signed.
pub(super) fn int(bytes: &[u8]) -> Option<usize> {
    usize::try_from(i32::from_le_bytes(*bytes.first_chunk()?)).ok()
}

/// Splits off a text that ends with a zero.
pub(super) fn cstring<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = memchr::memchr(0, bytes)?;
    let text = bytes.get(..end)?;
    *bytes = bytes.get(end + 1..)?;
    Some(text)
}

impl<'a> Elements<'a> {
    /// Those of a document, of which this is there.
    pub(super) fn of(document: &'a [u8]) -> Self {
        match document.split_at_checked(4) {
            Some((_, rest)) => Self { rest, end: End::Open },
            None => Self { rest: &[], end: End::Cut },
        }
    }

    fn read(&mut self) -> Result<Element<'a>, End> {
        let (&kind, mut rest) = self.rest.split_first().ok_or(End::Cut)?;
        if kind == 0 {
            return Err(if rest.is_empty() { End::Whole } else { End::Malformed });
        }
        let name = cstring(&mut rest).ok_or(End::Cut)?;
        let name = str::from_utf8(name).or(Err(End::Malformed))?;
        let length = length(kind, rest)?;
        let (value, whole) = match rest.split_at_checked(length) {
            Some((value, behind)) => {
                self.rest = behind;
                (value, true)
            }
            None if matches!(kind, 0x03 | 0x04) => {
                self.rest = &[];
                (rest, false)
            }
            None => return Err(End::Cut),
        };
        Ok(Element { kind, name, value, whole })
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        if self.end != End::Open {
            return None;
        }
        match self.read() {
            Ok(element) => Some(element),
            Err(end) => {
                self.end = end;
                None
            }
        }
    }
}

/// How many bytes a value of a type takes.
fn length(kind: u8, bytes: &[u8]) -> Result<usize, End> {
    let prefix = || match bytes.first_chunk() {
        Some(length) => usize::try_from(i32::from_le_bytes(*length)).or(Err(End::Malformed)),
        None => Err(End::Cut),
    };
    let at_least = |least: usize, length: usize| match length {
        length if length < least => Err(End::Malformed),
        length => Ok(length),
    };
    Ok(match kind {
        0x06 | 0x0a | 0x7f | 0xff => 0,
        0x08 => 1,
        0x10 => 4,
        0x01 | 0x09 | 0x11 | 0x12 => 8,
        0x07 => 12,
        0x13 => 16,
        // "The int32 is the number of bytes in the (byte*), plus one for the trailing null byte."
        0x02 | 0x0d | 0x0e => 4 + at_least(1, prefix()?)?,
        0x03 | 0x04 => at_least(SHORTEST, prefix()?)?,
        0x05 => 5 + prefix()?,
        0x0b => {
            let mut rest = bytes;
            cstring(&mut rest).and_then(|_| cstring(&mut rest)).ok_or(End::Cut)?;
            bytes.len() - rest.len()
        }
        0x0c => 16 + at_least(1, prefix()?)?,
        0x0f => at_least(14, prefix()?)?,
        _ => return Err(End::Malformed),
    })
}

impl<'a> Element<'a> {
    /// A text.
    pub(super) fn text(&self) -> Option<&'a str> {
        let text = self.value.get(4..)?.split_last()?.1;
        if self.kind == 0x02 { str::from_utf8(text).ok() } else { None }
    }

    /// A whole number, whatever its type.
    pub(super) fn integer(&self) -> Option<i64> {
        match self.kind {
            0x01 => {
                let number = f64::from_le_bytes(*self.value.first_chunk()?);
                // Within 2^53 every whole number is exact.
                let exact = number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0;
                exact.then(|| format!("{number:.0}").parse().ok())?
            }
            0x08 => Some(i64::from(*self.value.first()?)),
            0x10 => Some(i64::from(i32::from_le_bytes(*self.value.first_chunk()?))),
            0x12 => Some(i64::from_le_bytes(*self.value.first_chunk()?)),
            _ => None,
        }
    }

    /// The elements of a document or an array.
    pub(super) fn elements(&self) -> Option<Elements<'a>> {
        matches!(self.kind, 0x03 | 0x04).then(|| Elements::of(self.value))
    }

    /// Its type by the name that `$type` of a query has for it.
    pub(super) const fn kind_name(&self) -> &'static str {
        match self.kind {
            0x01 => "double",
            0x02 => "string",
            0x03 => "object",
            0x04 => "array",
            0x05 => "binData",
            0x06 => "undefined",
            0x07 => "objectId",
            0x08 => "bool",
            0x09 => "date",
            0x0a => "null",
            0x0b => "regex",
            0x0c => "dbPointer",
            0x0d => "javascript",
            0x0e => "symbol",
            0x0f => "javascriptWithScope",
            0x10 => "int",
            0x11 => "timestamp",
            0x12 => "long",
            0x13 => "decimal",
            0x7f => "maxKey",
            _ => "minKey",
        }
    }
}
