//! Options of `trace` and `replay`: the export of spans.

use clap::Args;

use crate::emit::otlp::{Endpoint, EndpointError, Header, Protocol, Url};

/// Where spans go, and how.
#[derive(Debug, Args)]
pub struct OtlpArgs {
    /// Export every exchange as a span of OpenTelemetry to this collector: http://HOST:4317 is
    /// OTLP/gRPC, http://HOST:4318 OTLP/HTTP
    #[arg(long, value_name = "URL", conflicts_with = "raw")]
    pub otlp: Option<Url>,
    /// How spans are exported; if not given, by gRPC to port 4317, else by HTTP
    #[arg(long, value_enum, value_name = "PROTOCOL", requires = "otlp", hide_short_help = true)]
    pub otlp_protocol: Option<Protocol>,
    /// Send this header field with spans; may be repeated. Other users see it in the list of processes:
    /// OTEL_EXPORTER_OTLP_HEADERS is for secrets
    #[arg(long, value_name = "NAME=VALUE", requires = "otlp", hide_short_help = true)]
    pub otlp_header: Vec<Header>,
}

impl OtlpArgs {
    /// The collector.
    pub fn endpoint(&self) -> Result<Option<Endpoint>, EndpointError> {
        let Some(url) = self.otlp.clone() else { return Ok(None) };
        Endpoint::new(url, self.otlp_protocol, self.otlp_header.clone()).map(Some)
    }
}
