//! HTTP messages, and bytes as text where they are.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer};

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
        let mut fields: Vec<(&str, Vec<Cow<'_, str>>)> = Vec::new();
        for (name, value) in self.0.iter() {
            let value = String::from_utf8_lossy(value);
            match fields.iter_mut().find(|(known, _)| *known == name) {
                Some((_, values)) => values.push(value),
                None => fields.push((name, vec![value])),
            }
        }
        serializer.collect_map(fields)
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
        let Url { path, query, full, .. } = Url::of(request);
        (path.is_some() || full.is_some()).then_some(Self { path, query, full })
    }
}
