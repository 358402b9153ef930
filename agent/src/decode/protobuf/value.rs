//! What a message of protobuf holds.

use bytes::Bytes;

/// A member of a message with its values, in the order sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its name; its number where its type is not known.
    pub name: String,
    /// Whether there may be several values: by its type, or because that is not known.
    pub repeated: bool,
    /// Empty for an empty list only.
    pub values: Vec<Value>,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of an unsigned type, or a varint of an unknown one.
    Unsigned(u64),
    /// Of a signed type.
    Signed(i64),
    /// Of a type of floating point numbers.
    Float(f64),
    /// Of the type of truth values.
    Bool(bool),
    /// A string; the name of an enum's value; 4 or 8 bytes of an unknown type in hexadecimal.
    Text(String),
    /// Bytes that are not text, or of the type of bytes.
    Bytes(Bytes),
    /// A message, or the entry of a map.
    Message(Vec<Member>),
}
