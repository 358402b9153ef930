//! Calls of gRPC and JSON-RPC, by OpenTelemetry's names.

use std::borrow::Cow;

use serde::Serialize;

use super::protobuf::ValueJson;
use crate::decode::{Grpc, Messages, Value};

#[derive(Serialize)]
pub(super) struct Rpc<'a> {
    system: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Status::is_unknown")]
    grpc: Status<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<Sent<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Sent<'a>>,
}

#[derive(Serialize)]
struct Status<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_message: Option<&'a str>,
}

#[derive(Serialize)]
struct Sent<'a> {
    messages: MessagesJson<'a>,
}

#[derive(Serialize)]
struct MessagesJson<'a> {
    #[serde(flatten)]
    counted: Option<Messages>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Vec<ValueJson<'a>>>,
}

impl<'a> Sent<'a> {
    fn of(counted: Option<Messages>, content: &'a [Value]) -> Option<Self> {
        let content = (!content.is_empty()).then(|| content.iter().map(ValueJson).collect());
        let known = counted.is_some() || content.is_some();
        known.then_some(Self { messages: MessagesJson { counted, content } })
    }
}

impl Status<'_> {
    const fn is_unknown(&self) -> bool {
        self.status_code.is_none() && self.status_message.is_none()
    }
}

impl<'a> Rpc<'a> {
    /// A call of JSON-RPC.
    pub(super) const fn json(method: String) -> Self {
        Self {
            system: "jsonrpc",
            service: None,
            method: Some(Cow::Owned(method)),
            grpc: Status { status_code: None, status_message: None },
            request: None,
            response: None,
        }
    }

    pub(super) fn of(grpc: &'a Grpc) -> Self {
        Self {
            system: "grpc",
            service: grpc.service.as_deref(),
            method: grpc.method.as_deref().map(Cow::Borrowed),
            grpc: Status { status_code: grpc.status, status_message: grpc.message.as_deref() },
            request: Sent::of(grpc.requests, &grpc.sent),
            response: Sent::of(grpc.responses, &grpc.received),
        }
    }
}
