//! Calls of gRPC and JSON-RPC, by OpenTelemetry's names.

use std::borrow::Cow;

use serde::Serialize;

use crate::decode::{Grpc, Messages};

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
    request: Option<Sent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Sent>,
}

#[derive(Serialize)]
struct Status<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_message: Option<&'a str>,
}

#[derive(Serialize)]
struct Sent {
    messages: Messages,
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
        let sent = |messages: Option<Messages>| messages.map(|messages| Sent { messages });
        Self {
            system: "grpc",
            service: grpc.service.as_deref(),
            method: grpc.method.as_deref().map(Cow::Borrowed),
            grpc: Status { status_code: grpc.status, status_message: grpc.message.as_deref() },
            request: sent(grpc.requests),
            response: sent(grpc.responses),
        }
    }
}
