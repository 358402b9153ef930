//! Values in, compact JSON out: what `serde_json` writes, but nothing that a terminal may do something
//! else with than show it. Most strings need no escape, and names of members never do; here that
//! costs next to nothing.

use serde::{
    Serialize, Serializer,
    ser::{
        SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
        SerializeTupleStruct, SerializeTupleVariant,
    },
};
use serde_json::{Error, Result};

use crate::emit::escape;

/// Appends a value.
pub(super) fn write(value: &(impl Serialize + ?Sized), out: &mut Vec<u8>) -> Result<()> {
    value.serialize(Compact(out))
}

/// Appends one value.
struct Compact<'a>(&'a mut Vec<u8>);

/// Appends the elements of an array, or the members of an object.
struct Elements<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
    end: &'static [u8],
}

impl<'a> Compact<'a> {
    fn begin(self, start: &[u8], end: &'static [u8]) -> Elements<'a> {
        self.0.extend_from_slice(start);
        Elements { out: self.0, first: true, end }
    }

    /// An enum's variant: an object whose only member has its name.
    fn variant(self, name: &str, start: &[u8], end: &'static [u8]) -> Elements<'a> {
        self.0.push(b'{');
        string(name, self.0);
        self.0.push(b':');
        self.begin(start, end)
    }
}

/// What has no string in it.
macro_rules! plain {
    ($($method:ident: $kind:ty),* $(,)?) => {
        $(
            fn $method(self, value: $kind) -> Result<()> {
                serde_json::to_writer(self.0, &value)
            }
        )*
    };
}

impl<'a> Serializer for Compact<'a> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Elements<'a>;
    type SerializeTuple = Elements<'a>;
    type SerializeTupleStruct = Elements<'a>;
    type SerializeTupleVariant = Elements<'a>;
    type SerializeMap = Elements<'a>;
    type SerializeStruct = Elements<'a>;
    type SerializeStructVariant = Elements<'a>;

    plain! {
        serialize_bool: bool,
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_i128: i128,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_u128: u128,
        serialize_f32: f32,
        serialize_f64: f64,
    }

    fn serialize_char(self, value: char) -> Result<()> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<()> {
        string(value, self.0);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<()> {
        value.serialize(self)
    }

    fn serialize_none(self) -> Result<()> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<()> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<()> {
        self.0.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<()> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<()> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<()> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<()> {
        let mut object = self.begin(b"{", b"}");
        object.member(variant, value)?;
        object.finish();
        Ok(())
    }

    fn serialize_seq(self, _length: Option<usize>) -> Result<Elements<'a>> {
        Ok(self.begin(b"[", b"]"))
    }

    fn serialize_tuple(self, _length: usize) -> Result<Elements<'a>> {
        Ok(self.begin(b"[", b"]"))
    }

    fn serialize_tuple_struct(self, _name: &'static str, _length: usize) -> Result<Elements<'a>> {
        Ok(self.begin(b"[", b"]"))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Elements<'a>> {
        Ok(self.variant(variant, b"[", b"]}"))
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Elements<'a>> {
        Ok(self.begin(b"{", b"}"))
    }

    fn serialize_struct(self, _name: &'static str, _length: usize) -> Result<Elements<'a>> {
        Ok(self.begin(b"{", b"}"))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Elements<'a>> {
        Ok(self.variant(variant, b"{", b"}}"))
    }
}

impl Elements<'_> {
    fn next(&mut self) {
        if !std::mem::replace(&mut self.first, false) {
            self.out.push(b',');
        }
    }

    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.next();
        value.serialize(Compact(self.out))
    }

    /// The name is one of ours.
    fn member<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<()> {
        self.next();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        value.serialize(Compact(self.out))
    }

    fn finish(self) {
        self.out.extend_from_slice(self.end);
    }
}

/// The traits of arrays, which differ by the names of their methods.
macro_rules! arrays {
    ($($kind:ident: $method:ident),*) => {
        $(
            impl $kind for Elements<'_> {
                type Ok = ();
                type Error = Error;

                fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
                    self.element(value)
                }

                fn end(self) -> Result<()> {
                    self.finish();
                    Ok(())
                }
            }
        )*
    };
}

arrays! {
    SerializeSeq: serialize_element,
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field
}

/// Those of objects.
macro_rules! objects {
    ($($kind:ident),*) => {
        $(
            impl $kind for Elements<'_> {
                type Ok = ();
                type Error = Error;

                fn serialize_field<T: Serialize + ?Sized>(
                    &mut self,
                    name: &'static str,
                    value: &T,
                ) -> Result<()> {
                    self.member(name, value)
                }

                fn end(self) -> Result<()> {
                    self.finish();
                    Ok(())
                }
            }
        )*
    };
}

objects! { SerializeStruct, SerializeStructVariant }

impl SerializeMap for Elements<'_> {
    type Ok = ();
    type Error = Error;

    /// A name is a string, also where it is a number.
    fn serialize_key<T: Serialize + ?Sized>(&mut self, name: &T) -> Result<()> {
        self.next();
        let start = self.out.len();
        name.serialize(Compact(self.out))?;
        if self.out.get(start) != Some(&b'"') {
            self.out.insert(start, b'"');
            self.out.push(b'"');
        }
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.out.push(b':');
        value.serialize(Compact(self.out))
    }

    fn end(self) -> Result<()> {
        self.finish();
        Ok(())
    }
}

fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    while let Some((plain, behind)) = rest.split_at_checked(plain(rest.as_bytes())) {
        out.extend_from_slice(plain.as_bytes());
        let mut letters = behind.chars();
        let Some(letter) = letters.next() else { break };
        escaped(letter, out);
        rest = letters.as_str();
    }
    out.push(b'"');
}

/// How many bytes are printable ASCII that stands for itself. Long pieces are looked at without a way
/// out of the loop, which many bytes take at once.
fn plain(bytes: &[u8]) -> usize {
    const PIECE: usize = 64;
    let pieces = bytes.chunks_exact(PIECE);
    let whole = pieces.take_while(|piece| piece.iter().fold(true, |all, at| all & is_plain(*at)));
    let start = whole.count() * PIECE;
    let rest = bytes.get(start..).unwrap_or_default();
    let plain = |byte: &u8| PLAIN.get(usize::from(*byte)).copied().unwrap_or_default();
    start + rest.iter().position(|byte| !plain(byte)).unwrap_or(rest.len())
}

const fn is_plain(byte: u8) -> bool {
    (byte >= b' ') & (byte <= b'~') & (byte != b'"') & (byte != b'\\')
}

/// The same by the value of a byte.
const PLAIN: [bool; 256] = plains();

#[expect(clippy::indexing_slicing, reason = "what is out of bounds does not compile")]
#[expect(clippy::cast_possible_truncation, reason = "it is below 256")]
const fn plains() -> [bool; 256] {
    let mut plains = [false; 256];
    let mut byte = 0;
    while byte < plains.len() {
        plains[byte] = is_plain(byte as u8);
        byte += 1;
    }
    plains
}

/// RFC 8259, section 7, and what a terminal may not get.
fn escaped(letter: char, out: &mut Vec<u8>) {
    let mut bytes = [0; 4];
    let short: &[u8] = match letter {
        '"' => b"\\\"",
        '\\' => b"\\\\",
        '\u{8}' => b"\\b",
        '\t' => b"\\t",
        '\n' => b"\\n",
        '\u{c}' => b"\\f",
        '\r' => b"\\r",
        _ if escape::is_unsafe(letter) => {
            return out.extend_from_slice(escape::json_escape(letter).as_bytes());
        }
        _ => letter.encode_utf8(&mut bytes).as_bytes(),
    };
    out.extend_from_slice(short);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn written(value: &(impl Serialize + ?Sized)) -> String {
        let mut out = Vec::new();
        write(value, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[track_caller]
    fn check(value: &(impl Serialize + ?Sized)) {
        assert_eq!(written(value), serde_json::to_string(value).unwrap());
    }

    #[derive(Serialize)]
    enum Any {
        Unit,
        One(Option<u8>),
        Two(i8, f64),
        Named { name: &'static str, list: Vec<Self> },
    }

    #[derive(Serialize)]
    struct All<'a> {
        nothing: (),
        none: Option<u8>,
        letter: char,
        bytes: &'a [u8],
        numbers: (i64, u64, f32, f64, f64),
        empty: [u8; 0],
        any: Vec<Any>,
        #[serde(flatten)]
        more: BTreeMap<String, bool>,
    }

    #[test]
    fn every_kind_of_value() {
        let list = vec![Any::Unit, Any::One(Some(7)), Any::One(None), Any::Two(-1, 0.5)];
        let named = Any::Named { name: "a\"b", list };
        let more = [("x\ny", true), ("z", false)].map(|(name, is)| (name.to_owned(), is));
        check(&All {
            nothing: (),
            none: None,
            letter: '"',
            bytes: b"ab",
            numbers: (i64::MIN, u64::MAX, 1.5, 1e300, f64::NAN),
            empty: [],
            any: vec![named, Any::Unit],
            more: more.into_iter().collect(),
        });
        check(&BTreeMap::<String, u8>::new());
        check(&BTreeMap::from([(1, "one"), (-2, "two")]));
    }

    #[test]
    fn every_letter_alone_and_in_a_text() {
        for letter in (0..0x3000).chain(0x1f600..0x1f700).filter_map(char::from_u32) {
            if letter == '\u{7f}' || (letter > '\u{7f}' && escape::is_unsafe(letter)) {
                let expect = format!("\"{}\"", escape::json_escape(letter));
                assert_eq!(written(letter.to_string().as_str()), expect);
            } else {
                check(letter.to_string().as_str());
                check(format!("{}{letter}é{letter}z", "a".repeat(letter as usize % 130)).as_str());
            }
        }
    }
}
