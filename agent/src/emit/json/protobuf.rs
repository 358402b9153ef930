//! Messages of protobuf as objects: a list where there may be several values, bytes in base64.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer};

use crate::decode::{Member, Value};

pub(in crate::emit) struct ValueJson<'a>(pub(in crate::emit) &'a Value);

impl Serialize for ValueJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Unsigned(number) => serializer.serialize_u64(*number),
            Value::Signed(number) => serializer.serialize_i64(*number),
            Value::Float(number) if number.is_finite() => serializer.serialize_f64(*number),
            // JSON has no such numbers.
            Value::Float(number) => serializer.collect_str(number),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Text(text) => serializer.serialize_str(text),
            Value::Bytes(bytes) => serializer.serialize_str(&STANDARD.encode(bytes)),
            Value::Message(members) => {
                serializer.collect_map(members.iter().map(|member| (&member.name, Values(member))))
            }
        }
    }
}

/// The values of a member.
struct Values<'a>(&'a Member);

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.values.first() {
            Some(value) if !self.0.repeated => ValueJson(value).serialize(serializer),
            _ => serializer.collect_seq(self.0.values.iter().map(ValueJson)),
        }
    }
}
