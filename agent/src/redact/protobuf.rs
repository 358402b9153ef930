//! Messages of protobuf: members that are named like secrets, and secrets within texts. What has only
//! a number has no name.

use bytes::Bytes;

use super::{MASK, Redactor, names, word::Word};
use crate::decode::Value;

impl Redactor {
    pub(super) fn value(&self, value: &mut Value) {
        match value {
            Value::Text(text) => self.string(text),
            Value::Bytes(bytes) => self.own_bytes(bytes),
            Value::Message(members) => {
                for member in members {
                    let secret = names::kind(Word::of(&member.name).as_bytes(), false).is_some();
                    let values = member.values.iter_mut();
                    values.for_each(|value| if secret { hide(value) } else { self.value(value) });
                }
            }
            Value::Unsigned(_) | Value::Signed(_) | Value::Float(_) | Value::Bool(_) => {}
        }
    }
}

/// All that is in it.
fn hide(value: &mut Value) {
    let mask = |length| char::from(MASK).to_string().repeat(length);
    match value {
        Value::Text(text) => *text = mask(text.len()),
        Value::Bytes(bytes) => *bytes = Bytes::from(vec![MASK; bytes.len()]),
        Value::Message(members) => {
            members.iter_mut().flat_map(|member| &mut member.values).for_each(hide);
        }
        _ => *value = Value::Text(mask(1)),
    }
}
