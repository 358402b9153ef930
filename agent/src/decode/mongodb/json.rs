//! BSON in, text out: relaxed Extended JSON, version 2
//! (<https://github.com/mongodb/specifications/blob/master/source/extended-json/extended-json.md>).

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;

use super::bson::{Element, Elements, End, cstring};
use crate::decode::{pending::TEXT_LIMIT, postgresql::hexadecimal};

/// Documents in documents: the server refuses more than 100.
const DEPTH_LIMIT: usize = 100;

/// A text that is being written.
#[derive(Debug, Default)]
pub(super) struct Json {
    pub(super) text: String,
    /// Whether some of what was to be written is missing.
    pub(super) cut: bool,
    depth: usize,
}

impl Json {
    /// Writes `"name":` behind what is there.
    pub(super) fn name(&mut self, name: &str) {
        self.comma();
        self.string(name);
        self.text.push(':');
    }

    /// What is between two members or elements.
    pub(super) fn comma(&mut self) {
        if !self.text.ends_with(['{', '[']) {
            self.text.push(',');
        }
    }

    pub(super) fn string(&mut self, text: &str) {
        let room = TEXT_LIMIT.saturating_sub(self.text.len());
        let shown = text.get(..text.floor_char_boundary(room)).unwrap_or(text);
        // A string has a form in JSON.
        let mut written = serde_json::to_string(shown).unwrap_or_default();
        let mut shown = shown.len();
        if written.len() > room + 2 && shown > 64 {
            // Six bytes for one at most.
            shown = text.floor_char_boundary(room / 6);
            written =
                serde_json::to_string(text.get(..shown).unwrap_or_default()).unwrap_or_default();
        }
        self.cut |= shown < text.len();
        self.text.push_str(&written);
    }

    /// Whether there is room for more.
    pub(super) const fn has_room(&mut self) -> bool {
        self.cut |= self.text.len() >= TEXT_LIMIT;
        !self.cut
    }

    /// A document with all its members.
    pub(super) fn document(&mut self, document: &[u8]) {
        self.nested(Elements::of(document), true);
    }

    fn nested(&mut self, mut elements: Elements<'_>, named: bool) {
        if self.depth >= DEPTH_LIMIT {
            self.cut = true;
        }
        if !self.has_room() {
            return;
        }
        self.depth += 1;
        self.text.push(if named { '{' } else { '[' });
        for element in &mut elements {
            if !self.has_room() {
                break;
            }
            if named {
                self.name(element.name);
            } else {
                self.comma();
            }
            self.value(&element);
        }
        self.cut |= elements.end != End::Whole;
        self.text.push(if named { '}' } else { ']' });
        self.depth -= 1;
    }

    pub(super) fn value(&mut self, element: &Element<'_>) {
        if self.scalar(element).is_none() {
            self.cut = true;
            self.text.push_str("null");
        }
    }

    /// `None` for what is not of its type.
    fn scalar(&mut self, element: &Element<'_>) -> Option<()> {
        let bytes = element.value;
        match element.kind {
            0x01 => self.double(f64::from_le_bytes(*bytes.first_chunk()?)),
            0x02 => self.string(&text(bytes)?),
            0x03 => self.nested(element.elements()?, true),
            0x04 => self.nested(element.elements()?, false),
            0x05 => {
                let (&kind, bytes) = bytes.get(4..)?.split_first()?;
                // As long as its base64 fits.
                let room = TEXT_LIMIT.saturating_sub(self.text.len()) / 4 * 3;
                self.cut |= bytes.len() > room;
                let bytes = STANDARD.encode(bytes.get(..room).unwrap_or(bytes));
                self.put(&format!(
                    r#"{{"$binary":{{"base64":"{bytes}","subType":"{kind:02x}"}}}}"#
                ));
            }
            0x06 => self.put(r#"{"$undefined":true}"#),
            0x07 => self.tagged("$oid", hexadecimal(bytes).trim_start_matches("\\x")),
            0x08 => self.put(if *bytes.first()? == 0 { "false" } else { "true" }),
            0x09 => self.date(i64::from_le_bytes(*bytes.first_chunk()?)),
            0x0a => self.put("null"),
            0x0b => {
                let mut rest = bytes;
                let pattern = String::from_utf8_lossy(cstring(&mut rest)?);
                let options = String::from_utf8_lossy(cstring(&mut rest)?);
                self.put(r#"{"$regularExpression":{"#);
                self.member("pattern", &pattern);
                self.member("options", &options);
                self.put("}}");
            }
            0x0c => {
                let (name, id) = bytes.split_last_chunk::<12>()?;
                self.put(r#"{"$dbPointer":{"#);
                self.member("$ref", &text(name)?);
                self.name("$id");
                self.tagged("$oid", hexadecimal(id).trim_start_matches("\\x"));
                self.put("}}");
            }
            0x0d => self.tagged("$code", &text(bytes)?),
            0x0e => self.tagged("$symbol", &text(bytes)?),
            0x0f => {
                let code = bytes.get(4..)?;
                let length = super::bson::int(code)?.checked_add(4)?;
                let (code, scope) = code.split_at_checked(length)?;
                self.put("{");
                self.member("$code", &text(code)?);
                self.name("$scope");
                self.nested(Elements::of(scope), true);
                self.put("}");
            }
            0x10 | 0x12 => self.put(&element.integer()?.to_string()),
            0x11 => {
                let value = u64::from_le_bytes(*bytes.first_chunk()?);
                let (time, count) = (value >> 32, value & 0xffff_ffff);
                self.put(&format!(r#"{{"$timestamp":{{"t":{time},"i":{count}}}}}"#));
            }
            0x13 => {
                let number = super::decimal::show(u128::from_le_bytes(*bytes.first_chunk()?));
                self.tagged("$numberDecimal", &number);
            }
            0x7f => self.put(r#"{"$maxKey":1}"#),
            0xff => self.put(r#"{"$minKey":1}"#),
            _ => return None,
        }
        Some(())
    }

    pub(super) fn put(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn member(&mut self, name: &str, value: &str) {
        self.name(name);
        self.string(value);
    }

    fn tagged(&mut self, name: &str, value: &str) {
        self.put("{");
        self.member(name, value);
        self.put("}");
    }

    fn double(&mut self, number: f64) {
        if number.is_finite() {
            // Writing into a string does not fail.
            let _ = write!(self.text, "{number:?}");
        } else {
            let number = if number.is_nan() { "NaN".to_owned() } else { number.to_string() };
            let number = number.replace("inf", "Infinity");
            self.tagged("$numberDouble", &number);
        }
    }

    /// "ISO-8601 Internet Date/Time Format" from 1970 to 9999, else milliseconds.
    fn date(&mut self, milliseconds: i64) {
        match Timestamp::from_millisecond(milliseconds) {
            Ok(time) if (0..=253_402_300_799_999).contains(&milliseconds) => {
                self.tagged("$date", &time.to_string());
            }
            _ => self.put(&format!(r#"{{"$date":{{"$numberLong":"{milliseconds}"}}}}"#)),
        }
    }
}

/// A length, and a text with a zero behind it.
fn text(bytes: &[u8]) -> Option<std::borrow::Cow<'_, str>> {
    Some(String::from_utf8_lossy(bytes.get(4..)?.split_last()?.1))
}
