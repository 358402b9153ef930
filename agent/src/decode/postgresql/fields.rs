//! The body of a message in, its fields out. What is missing is `None`.

use crate::decode::{Outcome, pending::TEXT_LIMIT};

/// The rest of a body.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

/// How many values of a statement are kept, and how much of all.
const PARAMETERS_LIMIT: usize = 1024;

impl<'a> Fields<'a> {
    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr(0, self.0)?;
        let (string, rest) = self.0.split_at_checked(end)?;
        self.0 = rest.get(1..)?;
        Some(string)
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(super) fn int16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    pub(super) fn int32(&mut self) -> Option<i32> {
        self.take(4)?.try_into().ok().map(i32::from_be_bytes)
    }

    /// The values of a Bind message, and whether they are all.
    pub(super) fn parameters(&mut self) -> (Vec<Option<String>>, bool) {
        let mut values = Vec::new();
        let whole = self.values(&mut values).is_some();
        (values, whole)
    }

    fn values(&mut self, values: &mut Vec<Option<String>>) -> Option<()> {
        let formats = usize::from(self.int16()?);
        let formats = self.take(2 * formats)?;
        let count = usize::from(self.int16()?);
        let mut room = TEXT_LIMIT;
        for index in 0..count {
            // "zero to indicate that there are no parameters or that the parameters all use the
            // default format (text); or one, in which case the specified format code is applied
            // to all parameters".
            let at = if formats.len() == 2 { 0 } else { 2 * index };
            let binary = formats.get(at + 1).is_some_and(|&format| format != 0);
            let length = self.int32()?;
            if length < 0 {
                values.push(None);
                continue;
            }
            let value = self.take(usize::try_from(length).ok()?)?;
            room = room.checked_sub(value.len())?;
            values.push(Some(shown(value, binary)));
            if values.len() >= PARAMETERS_LIMIT && index + 1 < count {
                return None;
            }
        }
        Some(())
    }
}

fn shown(value: &[u8], binary: bool) -> String {
    match str::from_utf8(value) {
        Ok(text) if !binary => text.to_owned(),
        _ => hexadecimal(value),
    }
}

/// Behind `\x`.
pub(in crate::decode) fn hexadecimal(value: &[u8]) -> String {
    value.iter().fold("\\x".to_owned(), |mut text, byte| {
        let digit = |digit: u8| char::from_digit(u32::from(digit), 16).unwrap_or('0');
        text.extend([digit(byte >> 4), digit(byte & 15)]);
        text
    })
}

/// SQL as text, cut at the limit.
pub(super) fn text(sql: &[u8]) -> String {
    String::from_utf8_lossy(sql.get(..TEXT_LIMIT).unwrap_or(sql)).into_owned()
}

/// The first word of a statement, in capitals.
pub(in crate::decode) fn first_word(sql: &str) -> Option<String> {
    let mut rest = sql.trim_start();
    loop {
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n')?.1.trim_start();
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/")?.1.trim_start();
        } else {
            break;
        }
    }
    let word: String = rest.chars().take_while(char::is_ascii_alphabetic).take(32).collect();
    (!word.is_empty()).then(|| word.to_ascii_uppercase())
}

/// ErrorResponse: SQLSTATE and message.
pub(super) fn error(body: &[u8]) -> Outcome {
    let mut outcome = Outcome { failed: true, ..Outcome::default() };
    let mut fields = Fields(body);
    while let Some([kind, value @ ..]) = fields.string() {
        let value = || Some(String::from_utf8_lossy(value).into_owned());
        match kind {
            b'C' => outcome.code = value(),
            b'M' => outcome.message = value(),
            _ => {}
        }
    }
    outcome
}

/// CommandComplete: "the command tag. This is usually a single word that identifies which SQL
/// command was completed", with a number of rows for some.
pub(super) fn complete(outcome: &mut Outcome, tag: &[u8], copied_in: bool) {
    let tag = String::from_utf8_lossy(tag).into_owned();
    let rows = tag.rsplit(' ').next().and_then(|rows| rows.parse::<u64>().ok());
    let add = |sum: &mut Option<u64>| {
        if let Some(rows) = rows {
            *sum = Some(sum.unwrap_or(0).saturating_add(rows));
        }
    };
    match tag.split(' ').next().unwrap_or_default() {
        "INSERT" | "UPDATE" | "DELETE" | "MERGE" => add(&mut outcome.affected),
        "COPY" if copied_in => add(&mut outcome.affected),
        "COPY" => add(&mut outcome.returned),
        _ => {}
    }
    match &mut outcome.message {
        // The tags of several statements in one query.
        Some(message) if message.len() < 4096 => {
            message.push_str("; ");
            message.push_str(&tag);
        }
        Some(_) => {}
        None => outcome.message = Some(tag),
    }
}
