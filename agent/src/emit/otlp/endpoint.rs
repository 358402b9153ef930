//! Where spans go, and how, as the user writes it.

use std::{env, fmt, str::FromStr};

use http::{
    HeaderMap, HeaderName, HeaderValue, Uri,
    uri::{PathAndQuery, Scheme},
};
use thiserror::Error;

use super::resource::pairs;

/// The port of OTLP by gRPC (OTLP, section "OTLP/gRPC Default Port").
const GRPC_PORT: u16 = 4317;
/// Where traces go by HTTP (section "OTLP/HTTP Request").
const TRACES: &str = "/v1/traces";

/// More header fields, also those that nobody is to see in a list of processes: `name=value,name=value`
/// (OpenTelemetry Protocol Exporter).
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";

/// A collector.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub(super) uri: Uri,
    pub(super) protocol: Protocol,
    /// Sent with each request.
    pub(super) headers: HeaderMap,
}

/// The URL of a collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url(Uri);

/// How requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Protocol {
    /// OTLP/gRPC
    Grpc,
    /// OTLP/HTTP in protobuf
    #[value(name = "http/protobuf")]
    Http,
}

/// A header field. Shown without its value, which may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    name: HeaderName,
    value: HeaderValue,
}

/// Why there is no endpoint.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EndpointError {
    /// gRPC has paths of its own.
    #[error("OTLP/gRPC takes no path: write http://HOST:PORT, or --otlp-protocol http/protobuf")]
    Path,
    /// The environment has what cannot be sent.
    #[error("{HEADERS} has a header field that cannot be sent: {0:?}; write name=value,name=value")]
    Header(String),
}

impl Endpoint {
    /// `protocol` goes by the port if it is not given, as far as it tells.
    pub fn new(
        Url(uri): Url,
        protocol: Option<Protocol>,
        headers: Vec<Header>,
    ) -> Result<Self, EndpointError> {
        let told = env::var(HEADERS).unwrap_or_default();
        Self::with(uri, protocol, headers, &told)
    }

    /// What the command line says of a header field goes before what the environment does.
    fn with(
        uri: Uri,
        protocol: Option<Protocol>,
        headers: Vec<Header>,
        told: &str,
    ) -> Result<Self, EndpointError> {
        let by_port = || match uri.port_u16() {
            Some(GRPC_PORT) => Protocol::Grpc,
            _ => Protocol::Http,
        };
        let protocol = protocol.unwrap_or_else(by_port);
        let uri = match (protocol, uri.path()) {
            (Protocol::Grpc, "/") if uri.query().is_none() => uri,
            (Protocol::Grpc, _) => return Err(EndpointError::Path),
            (Protocol::Http, "/") => with_path(uri),
            (Protocol::Http, _) => uri,
        };
        let mut all = HeaderMap::new();
        for (name, value) in pairs(told) {
            let wrong = || EndpointError::Header(name.clone());
            let header = Header::new(&name, &value).ok_or_else(wrong)?;
            all.insert(header.name, header.value);
        }
        for Header { name, value } in headers {
            all.insert(name, value);
        }
        Ok(Self { uri, protocol, headers: all })
    }
}

fn with_path(uri: Uri) -> Uri {
    let mut parts = uri.clone().into_parts();
    let path = match uri.query() {
        Some(query) => format!("{TRACES}?{query}").parse().ok(),
        None => Some(PathAndQuery::from_static(TRACES)),
    };
    parts.path_and_query = path.or(parts.path_and_query);
    Uri::from_parts(parts).unwrap_or(uri)
}

/// Without what may be a secret.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        write!(f, "http://{authority}")?;
        if self.protocol == Protocol::Http { f.write_str(self.uri.path()) } else { Ok(()) }
    }
}

impl FromStr for Url {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const HOW: &str = "write http://HOST:PORT, such as http://localhost:4317";
        let uri: Uri = text.parse().map_err(|_invalid: http::uri::InvalidUri| HOW)?;
        let authority = uri.authority().ok_or(HOW)?.as_str();
        if authority.contains('@') {
            return Err("a URL may not have a user or a password: use --otlp-header");
        }
        match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP && uri.host() != Some("") => Ok(Self(uri)),
            Some(scheme) if *scheme == Scheme::HTTPS => Err("https is not supported: run an \
                OpenTelemetry Collector on the node or in the cluster, and let it send on by https"),
            _ => Err(HOW),
        }
    }
}

impl Header {
    fn new(name: &str, value: &str) -> Option<Self> {
        let name: HeaderName = name.parse().ok()?;
        // What gRPC takes as binary is something else.
        let text = !name.as_str().ends_with("-bin");
        let mut value = HeaderValue::from_str(value).ok().filter(|_| text)?;
        value.set_sensitive(true);
        Some(Self { name, value })
    }
}

impl FromStr for Header {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let pair = text.split_once('=');
        let header = pair.and_then(|(name, value)| Self::new(name.trim(), value.trim()));
        header.ok_or("write NAME=VALUE, such as authorization=\"Bearer …\"")
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str, protocol: Option<Protocol>) -> Result<(String, Protocol), String> {
        let Url(uri) = url.parse().map_err(str::to_owned)?;
        let made = Endpoint::with(uri, protocol, Vec::new(), "");
        let endpoint = made.map_err(|error| error.to_string())?;
        Ok((endpoint.uri.to_string(), endpoint.protocol))
    }

    #[test]
    fn the_port_tells_the_protocol() {
        let check = |url: &str, protocol, uri: &str, expect| {
            assert_eq!(endpoint(url, protocol), Ok((uri.to_owned(), expect)), "{url}");
        };
        use Protocol::{Grpc, Http};
        check("http://a:4317", None, "http://a:4317/", Grpc);
        check("http://a:4318", None, "http://a:4318/v1/traces", Http);
        check("http://a:4318/", None, "http://a:4318/v1/traces", Http);
        check("http://a:4318/v1/traces", None, "http://a:4318/v1/traces", Http);
        check("http://[::1]/own?x=1", None, "http://[::1]/own?x=1", Http);
        check("http://a:4317?x=1", Some(Http), "http://a:4317/v1/traces?x=1", Http);
        check("http://a:80", Some(Grpc), "http://a:80/", Grpc);
    }

    #[test]
    fn what_is_no_collector() {
        for (url, hint) in [
            ("localhost:4317", "write http://"),
            ("4317", "write http://"),
            ("/v1/traces", "write http://"),
            ("ftp://a", "write http://"),
            ("http://", "write http://"),
            ("https://a:4317", "https is not supported"),
            ("http://joe:secret@a:4317", "--otlp-header"),
            ("http://a:4317/v1/traces", "takes no path"),
        ] {
            let refused = endpoint(url, None).unwrap_err();
            assert!(refused.contains(hint) && !refused.contains("joe"), "{url}: {refused}");
        }
    }

    #[test]
    fn header_fields_are_sent_and_not_shown() {
        let given: Header = "Authorization=Bearer a=b".parse().unwrap();
        assert_eq!(format!("{given:?}"), "\"authorization\"");
        for wrong in ["a", "=b", "a b=c", "a=b\nc", "a-bin=c"] {
            assert!(wrong.parse::<Header>().is_err(), "{wrong}");
        }
        let uri = || Uri::from_static("http://a:4317");
        let told = "authorization=Basic%20eA,x-two=2";
        let endpoint = Endpoint::with(uri(), None, vec![given], told).unwrap();
        let sent: Vec<_> = endpoint.headers.iter().map(|(_, value)| value.as_bytes()).collect();
        assert_eq!(sent, [b"Bearer a=b".as_slice(), b"2"]);
        assert!(!format!("{endpoint:?}").contains("Bearer"));
        let wrong = Endpoint::with(uri(), None, Vec::new(), "a b=c");
        assert_eq!(wrong.unwrap_err(), EndpointError::Header("a b".to_owned()));
    }
}
