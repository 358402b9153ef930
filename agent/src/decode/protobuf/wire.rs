//! The wire format of protobuf in, members out, within a number of values and a depth.

use bytes::Bytes;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::{Member, Value};

/// Messages within messages that are read.
const MAX_DEPTH: usize = 32;

/// Reads messages. Without their types, bytes are taken for text if they are that without control
/// characters, else for a message if they are one to their end, else for text.
pub(super) struct Reader<'a> {
    /// Values that may still be read.
    pub(super) budget: &'a mut usize,
    pub(super) depth: usize,
}

/// A value as it is sent.
enum Raw {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    Bytes(Bytes),
}

impl Reader<'_> {
    /// The members of a message; nothing if the bytes are none, or hold too much.
    pub(super) fn message(
        &mut self,
        bytes: &Bytes,
        descriptor: Option<&MessageDescriptor>,
    ) -> Option<Vec<Member>> {
        let mut rest = bytes.clone();
        let mut members: Vec<Member> = Vec::new();
        while !rest.is_empty() {
            let (number, raw) = field(&mut rest)?;
            let field = descriptor.and_then(|descriptor| descriptor.get_field(number));
            let (member, fits) = match field.and_then(|field| self.typed(&field, &raw)) {
                Some(member) => (member, true),
                None => (self.untyped(number, raw)?, false),
            };
            let known = members.iter_mut().find(|known| known.name == member.name);
            match known {
                Some(known) if fits && !member.repeated => *known = member,
                Some(known) => known.values.extend(member.values),
                None => members.push(member),
            }
        }
        Some(members)
    }

    /// One more value; nothing if there are too many.
    fn count(&mut self) -> Option<()> {
        *self.budget = self.budget.checked_sub(1)?;
        Some(())
    }

    fn within(
        &mut self,
        bytes: &Bytes,
        descriptor: Option<&MessageDescriptor>,
    ) -> Option<Vec<Member>> {
        if self.depth >= MAX_DEPTH {
            return None;
        }
        self.depth += 1;
        let members = self.message(bytes, descriptor);
        self.depth -= 1;
        members
    }

    fn untyped(&mut self, number: u32, raw: Raw) -> Option<Member> {
        self.count()?;
        let value = match raw {
            Raw::Varint(value) => Value::Unsigned(value),
            Raw::Fixed64(bytes) => Value::Text(format!("0x{:016x}", u64::from_le_bytes(bytes))),
            Raw::Fixed32(bytes) => Value::Text(format!("0x{:08x}", u32::from_le_bytes(bytes))),
            Raw::Bytes(bytes) => self.guessed(bytes),
        };
        Some(Member { name: number.to_string(), repeated: true, values: vec![value] })
    }

    fn guessed(&mut self, bytes: Bytes) -> Value {
        let text = std::str::from_utf8(&bytes).ok();
        if let Some(text) = text.filter(|text| !text.contains(char::is_control)) {
            return Value::Text(text.to_owned());
        }
        if let Some(members) = self.within(&bytes, None) {
            return Value::Message(members);
        }
        match text {
            Some(text) => Value::Text(text.to_owned()),
            None => Value::Bytes(bytes),
        }
    }

    /// The member by its type; nothing if the value is not of it.
    fn typed(&mut self, field: &FieldDescriptor, raw: &Raw) -> Option<Member> {
        let values = match raw {
            Raw::Bytes(bytes) if field.is_list() && is_packable(&field.kind()) => {
                self.packed(&field.kind(), bytes)?
            }
            Raw::Bytes(bytes) if field.is_map() => vec![self.entry(field, bytes)?],
            _ => vec![self.value(&field.kind(), raw)?],
        };
        let name = field.name().to_owned();
        Some(Member { name, repeated: field.is_list() || field.is_map(), values })
    }

    /// The numbers of a list, sent as one value.
    fn packed(&mut self, kind: &Kind, bytes: &Bytes) -> Option<Vec<Value>> {
        let mut rest = bytes.clone();
        let mut values = Vec::new();
        while !rest.is_empty() {
            let raw = match kind {
                Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => raw(1, &mut rest)?,
                Kind::Fixed32 | Kind::Sfixed32 | Kind::Float => raw(5, &mut rest)?,
                _ => raw(0, &mut rest)?,
            };
            values.push(self.value(kind, &raw)?);
        }
        Some(values)
    }

    /// An entry of a map is a message with a key and a value: here a message with one member, named
    /// by the key.
    fn entry(&mut self, field: &FieldDescriptor, bytes: &Bytes) -> Option<Value> {
        let kind = field.kind();
        let members = self.within(bytes, Some(kind.as_message()?))?;
        let of = |name: &str| members.iter().find(|member| member.name == name);
        let name = match of("key").and_then(|key| key.values.first()) {
            Some(Value::Text(text)) => text.clone(),
            Some(Value::Unsigned(number)) => number.to_string(),
            Some(Value::Signed(number)) => number.to_string(),
            Some(Value::Bool(value)) => value.to_string(),
            // What is not sent is the default of its type.
            _ => String::new(),
        };
        let values = of("value").map(|value| value.values.clone()).unwrap_or_default();
        Some(Value::Message(vec![Member { name, repeated: false, values }]))
    }

    fn value(&mut self, kind: &Kind, raw: &Raw) -> Option<Value> {
        self.count()?;
        Some(match (kind, raw) {
            (Kind::Int32 | Kind::Int64, Raw::Varint(value)) => Value::Signed(value.cast_signed()),
            (Kind::Uint32 | Kind::Uint64, Raw::Varint(value)) => Value::Unsigned(*value),
            (Kind::Sint32 | Kind::Sint64, Raw::Varint(value)) => {
                Value::Signed((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
            }
            (Kind::Bool, Raw::Varint(value)) => Value::Bool(*value != 0),
            (Kind::Enum(names), Raw::Varint(value)) => {
                let number = i32::try_from(value.cast_signed()).ok()?;
                let name = names.get_value(number).map(|named| named.name().to_owned());
                name.map_or(Value::Signed(number.into()), Value::Text)
            }
            (Kind::Fixed64, Raw::Fixed64(bytes)) => Value::Unsigned(u64::from_le_bytes(*bytes)),
            (Kind::Sfixed64, Raw::Fixed64(bytes)) => Value::Signed(i64::from_le_bytes(*bytes)),
            (Kind::Double, Raw::Fixed64(bytes)) => Value::Float(f64::from_le_bytes(*bytes)),
            (Kind::Fixed32, Raw::Fixed32(bytes)) => {
                Value::Unsigned(u32::from_le_bytes(*bytes).into())
            }
            (Kind::Sfixed32, Raw::Fixed32(bytes)) => {
                Value::Signed(i32::from_le_bytes(*bytes).into())
            }
            (Kind::Float, Raw::Fixed32(bytes)) => {
                // By its shortest decimal form: 0.1, not 0.10000000149.
                Value::Float(f32::from_le_bytes(*bytes).to_string().parse().ok()?)
            }
            (Kind::String, Raw::Bytes(bytes)) => {
                Value::Text(std::str::from_utf8(bytes).ok()?.to_owned())
            }
            (Kind::Bytes, Raw::Bytes(bytes)) => Value::Bytes(bytes.clone()),
            (Kind::Message(descriptor), Raw::Bytes(bytes)) => {
                Value::Message(self.within(bytes, Some(descriptor))?)
            }
            _ => return None,
        })
    }
}

const fn is_packable(kind: &Kind) -> bool {
    !matches!(kind, Kind::String | Kind::Bytes | Kind::Message(_))
}

/// The number of a field and its value.
fn field(rest: &mut Bytes) -> Option<(u32, Raw)> {
    let tag = u32::try_from(varint(rest)?).ok()?;
    let number = Some(tag >> 3).filter(|number| *number > 0)?;
    Some((number, raw(tag & 7, rest)?))
}

/// A value of this wire type. Groups, which proto3 does not have, are not read.
fn raw(wire: u32, rest: &mut Bytes) -> Option<Raw> {
    Some(match wire {
        0 => Raw::Varint(varint(rest)?),
        1 => Raw::Fixed64(fixed(rest)?),
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            Raw::Bytes((length <= rest.len()).then(|| rest.split_to(length))?)
        }
        5 => Raw::Fixed32(fixed(rest)?),
        _ => return None,
    })
}

fn fixed<const N: usize>(rest: &mut Bytes) -> Option<[u8; N]> {
    let bytes = *rest.first_chunk::<N>()?;
    drop(rest.split_to(N));
    Some(bytes)
}

/// At most ten bytes of seven bits, the lowest first.
fn varint(rest: &mut Bytes) -> Option<u64> {
    let mut value = 0_u64;
    for (index, byte) in rest.iter().take(10).enumerate() {
        let part = u64::from(byte & 0x7f);
        value |= part.checked_shl(u32::try_from(7 * index).ok()?)?;
        if *byte < 0x80 {
            drop(rest.split_to(index + 1));
            return Some(value);
        }
    }
    None
}
