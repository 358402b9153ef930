//! HTTP messages, and bytes as text where they are.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use crate::{
    decode::{Body, Fields, Request, Response},
    emit::url::Url,
};

#[derive(Serialize)]
pub(super) struct Http<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request: Option<RequestJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response: Option<ResponseJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stream: Option<StreamJson>,
}

/// The stream of HTTP/2 that it was on.
#[derive(Serialize)]
pub(super) struct OnStream {
    stream: StreamJson,
}

impl OnStream {
    pub(super) const fn of(id: u32) -> Self {
        Self { stream: StreamJson { id } }
    }
}

/// A stream of HTTP/2.
#[derive(Serialize)]
pub(super) struct StreamJson {
    pub(super) id: u32,
}

#[derive(Serialize)]
pub(super) struct RequestJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) method: Option<&'a str>,
    pub(super) header: Header<'a>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) unknown_fields: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trailer: Option<Header<'a>>,
    pub(super) body: BodyJson<'a>,
}

#[derive(Serialize)]
pub(super) struct ResponseJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status_code: Option<u16>,
    pub(super) header: Header<'a>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) unknown_fields: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trailer: Option<Header<'a>>,
    pub(super) body: BodyJson<'a>,
}

#[derive(Serialize)]
pub(super) struct UrlJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) query: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) full: Option<String>,
}

#[derive(Serialize)]
pub(super) struct BodyJson<'a> {
    pub(super) size: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) truncated: bool,
    #[serde(flatten)]
    pub(super) payload: Option<Payload<'a>>,
}

/// Bytes as text where they are, else in base64.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Payload<'a> {
    Text(&'a str),
    Base64(String),
}

/// Fields in the order sent, the values of one name together.
pub(super) struct Header<'a>(&'a Fields);

impl Serialize for Header<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let again = again(self.0);
        let mut rest = self.0.iter();
        for (at, (name, value)) in self.0.iter().enumerate() {
            if again & mark(name) == 0 {
                map.serialize_entry(name, [Value(value)].as_slice())?;
            } else if self.0.iter().take(at).all(|(before, _)| before != name) {
                map.serialize_entry(name, &Values { name, fields: rest.clone() })?;
            }
            rest.next();
        }
        map.end()
    }
}

/// One bit of 64, which most names that differ do not share.
fn mark(name: &str) -> u64 {
    let end = |byte: Option<u8>| usize::from(byte.unwrap_or_default());
    let (first, last) = (end(name.bytes().next()), end(name.bytes().next_back()));
    1 << ((name.len() + 7 * first + 49 * last) % 64)
}

/// The marks that more than one field has: only these may have a name more than once.
fn again(fields: &Fields) -> u64 {
    let (mut once, mut again) = (0, 0);
    for mark in fields.iter().map(|(name, _)| mark(name)) {
        again |= once & mark;
        once |= mark;
    }
    again
}

/// The values of a name.
struct Values<'a, I> {
    name: &'a str,
    fields: I,
}

impl<'a, I: Iterator<Item = (&'a str, &'a [u8])> + Clone> Serialize for Values<'a, I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let of_name = self.fields.clone().filter(|(name, _)| *name == self.name);
        serializer.collect_seq(of_name.map(|(_, value)| Value(value)))
    }
}

struct Value<'a>(&'a [u8]);

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.serialize_str(&String::from_utf8_lossy(self.0)),
        }
    }
}

impl<'a> Header<'a> {
    /// Absent where there are none.
    fn of_some(fields: &'a Fields) -> Option<Self> {
        (!fields.is_empty()).then_some(Self(fields))
    }
}

/// Fields of a message that are not known.
const fn unknown(headers: &Fields, trailers: &Fields) -> u32 {
    headers.unknown().saturating_add(trailers.unknown())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl<'a> RequestJson<'a> {
    pub(super) fn of(request: &'a Request, bodies: bool) -> Self {
        Self {
            method: request.method.as_deref(),
            header: Header(&request.headers),
            unknown_fields: unknown(&request.headers, &request.trailers),
            trailer: Header::of_some(&request.trailers),
            body: BodyJson::of(&request.body, bodies),
        }
    }
}

impl<'a> ResponseJson<'a> {
    pub(super) fn of(response: &'a Response, bodies: bool) -> Self {
        Self {
            status_code: response.status,
            header: Header(&response.headers),
            unknown_fields: unknown(&response.headers, &response.trailers),
            trailer: Header::of_some(&response.trailers),
            body: BodyJson::of(&response.body, bodies),
        }
    }
}

impl<'a> BodyJson<'a> {
    pub(super) fn of(body: &'a Body, bodies: bool) -> Self {
        let shown = bodies && !body.bytes.is_empty();
        let payload = shown.then(|| Payload::of(&body.bytes, body.truncated));
        Self { size: body.size, truncated: body.truncated, payload }
    }
}

impl<'a> Payload<'a> {
    /// Text may end within a character where it is cut off anyway.
    pub(super) fn of(bytes: &'a [u8], truncated: bool) -> Self {
        let whole = match std::str::from_utf8(bytes) {
            Err(error) if truncated && error.error_len().is_none() && error.valid_up_to() > 0 => {
                bytes.get(..error.valid_up_to()).unwrap_or(bytes)
            }
            _ => bytes,
        };
        std::str::from_utf8(whole).map_or_else(|_| Self::Base64(STANDARD.encode(bytes)), Self::Text)
    }
}

impl<'a> UrlJson<'a> {
    pub(super) fn of(request: &'a Request) -> Option<Self> {
        let url = Url::of(request);
        let full = url.full();
        let Url { path, query, .. } = url;
        (path.is_some() || full.is_some()).then_some(Self { path, query, full })
    }
}
