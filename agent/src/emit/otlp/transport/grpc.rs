//! OTLP/gRPC: `TraceService/Export` (OTLP, section "OTLP/gRPC"). A request is in bytes already.

use std::{error, time::Duration};

use ::http::uri::PathAndQuery;
use bytes::{BufMut as _, Bytes};
use prost::Message;
use tonic::{
    Code, Request, Status,
    codec::{BufferSettings, Codec, EncodeBuf, Encoder},
    metadata::MetadataMap,
    transport::{Channel, Endpoint as Server, Error},
};
use tonic_prost::ProstDecoder;

use super::{AGENT, ANSWER, Answer, CONNECT, Refusal, TIMEOUT, Then, cause};
use crate::emit::otlp::endpoint::Endpoint;

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

pub(in crate::emit::otlp) struct Grpc {
    grpc: tonic::client::Grpc<Channel>,
    headers: MetadataMap,
}

impl Grpc {
    pub(super) fn new(Endpoint { uri, headers, .. }: Endpoint) -> Result<Self, Error> {
        let server = Server::from(uri).connect_timeout(CONNECT).timeout(TIMEOUT);
        let grpc = tonic::client::Grpc::new(server.user_agent(AGENT)?.connect_lazy());
        let grpc = grpc.max_decoding_message_size(ANSWER);
        Ok(Self { grpc, headers: MetadataMap::from_headers(headers) })
    }

    pub(super) async fn send(&mut self, body: Bytes) -> Result<Answer, Refusal> {
        let ready = self.grpc.ready().await;
        ready.map_err(|error| Refusal::new(cause(&error), Then::Retry(None)))?;
        let mut request = Request::new(body);
        *request.metadata_mut() = self.headers.clone();
        request.set_timeout(TIMEOUT);
        let answer = self.grpc.unary(request, PathAndQuery::from_static(EXPORT), Encoded).await;
        answer.map(tonic::Response::into_inner).map_err(|status| refusal(&status))
    }
}

/// The table of section "Failures": RESOURCE_EXHAUSTED is sent again only when the server says when.
fn refusal(status: &Status) -> Refusal {
    let after = retry_delay(status.details());
    let then = match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => Then::Retry(after),
        Code::ResourceExhausted if after.is_some() => Then::Retry(after),
        // The connection was lost, or a proxy speaks.
        Code::Unknown if local(status).is_some() => Then::Retry(None),
        _ => Then::GiveUp,
    };
    let told = || format!("{:?}: {}", status.code(), status.message());
    Refusal::new(local(status).map_or_else(told, cause), then)
}

/// The error of this side that a status was made of, if it is not the server's.
fn local(status: &Status) -> Option<&dyn error::Error> {
    error::Error::source(status).map(|error| error as &dyn error::Error)
}

/// A message that is in bytes already.
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = Answer;
    type Encoder = Self;
    type Decoder = ProstDecoder<Answer>;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(BufferSettings::default())
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(message);
        Ok(())
    }
}

/// `RetryInfo` among the details (google/rpc/error_details.proto).
fn retry_delay(details: &[u8]) -> Option<Duration> {
    const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";
    let details = StatusDetails::decode(details).ok()?.details;
    let info = details.iter().find(|any| any.type_url == RETRY_INFO)?;
    let delay = RetryInfo::decode(&*info.value).ok()?.retry_delay.unwrap_or_default();
    let seconds = u64::try_from(delay.seconds).unwrap_or_default();
    Some(Duration::new(seconds, u32::try_from(delay.nanos).unwrap_or_default().min(999_999_999)))
}

/// `google.rpc.Status`, of which only the details are read.
#[derive(Clone, PartialEq, Message)]
struct StatusDetails {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`
#[derive(Clone, Copy, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn details(delay: Option<Delay>) -> Vec<u8> {
        let info = RetryInfo { retry_delay: delay }.encode_to_vec();
        let any = |name: &str, value| Any {
            type_url: format!("type.googleapis.com/google.rpc.{name}"),
            value,
        };
        let details = vec![any("DebugInfo", vec![1]), any("RetryInfo", info)];
        StatusDetails { details }.encode_to_vec()
    }

    #[test]
    fn what_is_sent_again() {
        let then = |code, details: Vec<u8>| {
            refusal(&Status::with_details(code, "no", details.into())).then
        };
        let delay = Delay { seconds: 3, nanos: 500_000_000 };
        let asked = Then::Retry(Some(Duration::from_millis(3_500)));
        assert_eq!(then(Code::Unavailable, Vec::new()), Then::Retry(None));
        assert_eq!(then(Code::Unavailable, details(Some(delay))), asked);
        assert_eq!(then(Code::ResourceExhausted, details(Some(delay))), asked);
        assert_eq!(then(Code::ResourceExhausted, Vec::new()), Then::GiveUp);
        assert_eq!(then(Code::ResourceExhausted, vec![0xff]), Then::GiveUp);
        for code in
            [Code::InvalidArgument, Code::Unauthenticated, Code::Unimplemented, Code::Unknown]
        {
            assert_eq!(then(code, Vec::new()), Then::GiveUp, "{code:?}");
        }
    }

    #[test]
    fn delays_that_cannot_be() {
        let of = |seconds, nanos| retry_delay(&details(Some(Delay { seconds, nanos })));
        assert_eq!(of(-1, -1), Some(Duration::ZERO));
        assert_eq!(of(i64::MAX, i32::MAX).unwrap().subsec_nanos(), 999_999_999);
        assert_eq!(retry_delay(&details(None)), Some(Duration::ZERO));
        assert_eq!(retry_delay(&[]), None);
    }
}
