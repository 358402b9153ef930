//! Messages of gRPC in, their members out: by number, or by name where their types are known.
//!
//! The bytes are read by this module and only named by the schema, so that what comes of them is
//! bounded, and so that what does not fit its type is shown by number instead of wrong.

mod schema;
mod value;
mod wire;

use bytes::Bytes;
use prost_reflect::MessageDescriptor;

use self::wire::Reader;
pub use self::{
    schema::{Schema, SchemaError},
    value::{Member, Value},
};
#[cfg(test)]
use super::Grpc;
use super::{Body, Content, Fields, Message, coding};

/// Values of the messages of one direction that are kept.
const MAX_VALUES: usize = 4_000;
/// A message of gRPC may be compressed; it takes no more than this.
const MESSAGE_LIMIT: usize = 1 << 20;

impl Schema {
    /// Reads the messages in the bodies of a call of gRPC, in place of which they are kept.
    pub fn read(&self, message: &mut Message) {
        let Content::Http(exchange) = &mut message.content else { return };
        let Some(grpc) = &mut exchange.grpc else { return };
        let (input, output) = self.types(grpc).unzip();
        if let Some(request) = &mut exchange.request {
            grpc.sent = messages(&request.headers, &mut request.body, input.as_ref());
        }
        if let Some(response) = &mut exchange.response {
            grpc.received = messages(&response.headers, &mut response.body, output.as_ref());
        }
    }
}

/// The whole messages of a body.
fn messages(
    headers: &Fields,
    body: &mut Body,
    descriptor: Option<&MessageDescriptor>,
) -> Vec<Value> {
    let kind = headers.first("content-type").unwrap_or_default();
    // grpc-web-text is base64, and grpc+json is not protobuf.
    let plain = [&b"application/grpc"[..], b"application/grpc+proto", b"application/grpc-web"];
    if !plain.contains(&kind) && kind != b"application/grpc-web+proto" {
        return Vec::new();
    }
    let coding = headers.first("grpc-encoding").map(String::from_utf8_lossy);
    let coding = coding.map(|coding| coding.to_ascii_lowercase());
    let mut rest = std::mem::take(&mut body.bytes);
    let mut budget = MAX_VALUES;
    let mut found = Vec::new();
    while let Some([flags, length @ ..]) = rest.first_chunk::<5>().copied() {
        let end = (u32::from_be_bytes(length) as usize).saturating_add(5);
        if end > rest.len() || budget == 0 {
            break;
        }
        let bytes = rest.split_to(end).slice(5..);
        // grpc-web: trailers within the body.
        if flags & 0x80 != 0 {
            continue;
        }
        budget -= 1;
        let compressed = flags & 1 != 0;
        let bytes = if compressed { plain_bytes(coding.as_deref(), &bytes) } else { Some(bytes) };
        let value = bytes.map(|bytes| {
            let members = members(&bytes, descriptor, &mut budget);
            members.map_or(Value::Bytes(bytes), Value::Message)
        });
        found.extend(value);
    }
    found
}

/// A compressed message; nothing if its coding is not known.
fn plain_bytes(coding: Option<&str>, bytes: &Bytes) -> Option<Bytes> {
    let (plain, whole) = coding::remove(&[coding?.to_owned()], bytes.clone(), MESSAGE_LIMIT)?;
    whole.then_some(plain)
}

/// The members of a message; nothing if it is none, or has too many values.
fn members(
    bytes: &Bytes,
    descriptor: Option<&MessageDescriptor>,
    budget: &mut usize,
) -> Option<Vec<Member>> {
    let mut reader = Reader { budget, depth: 0 };
    reader.message(bytes, descriptor)
}

#[cfg(test)]
mod tests;
