//! One request out, what the collector says of it in. Knows nothing of spans.

mod grpc;
mod http;

use std::{borrow::Cow, error, time::Duration};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use tonic::transport::Error;

use self::{grpc::Grpc, http::Http};
use super::endpoint::{Endpoint, Protocol};

/// How long a collector may take for a request (OpenTelemetry Protocol Exporter).
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take to connect.
const CONNECT: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read.
const ANSWER: usize = 64 << 10;
const AGENT: &str = concat!("tlstap/", env!("CARGO_PKG_VERSION"));

type Answer = ExportTraceServiceResponse;

/// A way to a collector; it connects when something is sent.
pub(super) enum Transport {
    Grpc(Box<Grpc>),
    Http(Box<Http>),
}

/// What the collector did not take, though it took the request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Partial {
    pub(super) rejected: u64,
    pub(super) message: String,
}

/// Why a request was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) why: Cow<'static, str>,
    /// What to do about it.
    pub(super) then: Then,
}

/// What to do with a request that was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// It will not be taken later either.
    GiveUp,
    /// Send it again, not before this time if the collector asks for one.
    Retry(Option<Duration>),
}

impl Refusal {
    fn new(why: impl Into<Cow<'static, str>>, then: Then) -> Self {
        Self { why: why.into(), then }
    }
}

impl Transport {
    /// Must be called in a tokio runtime.
    pub(super) fn new(endpoint: Endpoint) -> Result<Self, Error> {
        Ok(match endpoint.protocol {
            Protocol::Grpc => Self::Grpc(Grpc::new(endpoint)?.into()),
            Protocol::Http => Self::Http(Http::new(endpoint).into()),
        })
    }

    /// Sends an `ExportTraceServiceRequest`.
    pub(super) async fn send(&mut self, request: Bytes) -> Result<Partial, Refusal> {
        let answer = match self {
            Self::Grpc(grpc) => grpc.send(request).await?,
            Self::Http(http) => http.send(request).await?,
        };
        let partial = answer.partial_success.unwrap_or_default();
        let rejected = u64::try_from(partial.rejected_spans).unwrap_or_default();
        Ok(Partial { rejected, message: partial.error_message })
    }
}

/// The innermost reason, which the others only wrap.
fn cause(error: &dyn error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
