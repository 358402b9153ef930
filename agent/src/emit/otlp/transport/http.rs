//! OTLP/HTTP: protobuf in the body of a POST (OTLP, section "OTLP/HTTP").

use std::time::Duration;

use ::http::{
    HeaderMap, HeaderValue, Request, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT},
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use prost::Message as _;
use tokio::time;

use super::{AGENT, ANSWER, Answer, CONNECT, Refusal, TIMEOUT, Then, cause};
use crate::emit::otlp::endpoint::Endpoint;

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");

pub(in crate::emit::otlp) struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
    endpoint: Endpoint,
}

impl Http {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        // One request at a time.
        let client =
            Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build(connector);
        Self { client, endpoint }
    }

    pub(super) async fn send(&self, body: Bytes) -> Result<Answer, Refusal> {
        let answered = time::timeout(TIMEOUT, self.ask(body)).await;
        answered.unwrap_or_else(|_late| Err(Refusal::new("no answer in time", Then::Retry(None))))
    }

    async fn ask(&self, body: Bytes) -> Result<Answer, Refusal> {
        let mut request = Request::post(self.endpoint.uri.clone())
            .body(Full::new(body))
            .map_err(|error| Refusal::new(error.to_string(), Then::GiveUp))?;
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.extend(self.endpoint.headers.clone());
        headers.insert(CONTENT_TYPE, PROTOBUF);
        let response = self.client.request(request).await;
        let response = response.map_err(|error| Refusal::new(cause(&error), Then::Retry(None)))?;
        if !response.status().is_success() {
            return Err(refusal(response.status(), response.headers()));
        }
        // It is taken, whatever is said beside that.
        Ok(read(response.into_body()).await.unwrap_or_default())
    }
}

/// "400 Bad Request … MUST NOT retry"; the retryable ones are 429, 502, 503 and 504.
fn refusal(status: StatusCode, headers: &HeaderMap) -> Refusal {
    let then = match status.as_u16() {
        429 | 502 | 503 | 504 => Then::Retry(retry_after(headers)),
        _ => Then::GiveUp,
    };
    Refusal::new(status.to_string(), then)
}

/// A number of seconds; the date that it may be as well (RFC 9110, section 10.2.3) is left to the agent's
/// own pauses.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

async fn read(body: Incoming) -> Option<Answer> {
    let body = Limited::new(body, ANSWER).collect().await.ok()?;
    let answer = Answer::decode(body.to_bytes());
    answer.inspect_err(|error| tracing::debug!(%error, "the collector's answer is no OTLP")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_again() {
        let check = |status: u16, after: Option<&'static str>, then| {
            let after = after.map(|after| (RETRY_AFTER, HeaderValue::from_static(after)));
            let refusal =
                refusal(StatusCode::from_u16(status).unwrap(), &after.into_iter().collect());
            assert_eq!(refusal.then, then, "{status}");
        };
        check(429, Some("7"), Then::Retry(Some(Duration::from_secs(7))));
        check(503, Some("Sun, 06 Nov 1994 08:49:37 GMT"), Then::Retry(None));
        check(503, Some("-1"), Then::Retry(None));
        check(502, None, Then::Retry(None));
        check(504, None, Then::Retry(None));
        for status in [301, 400, 401, 404, 413, 500] {
            check(status, Some("1"), Then::GiveUp);
        }
    }
}
