//! A request in, the parts of its URL out (RFC 9112, section 3.3).

use std::borrow::Cow;

use crate::decode::Request;

/// What is known of the URL.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Url<'a> {
    /// The host, with its port if that was sent.
    pub(super) authority: Option<Cow<'a, str>>,
    pub(super) path: Option<&'a str>,
    /// Without the question mark.
    pub(super) query: Option<&'a str>,
    form: Form<'a>,
}

/// How the target was sent.
#[derive(Debug, PartialEq, Eq)]
enum Form<'a> {
    /// As all of the URL.
    Whole(&'a str),
    /// As what stands behind the authority.
    Rest(&'a str),
    /// As something else.
    Other,
}

impl<'a> Url<'a> {
    /// The URL that a request is for. Its scheme is https: what is seen was in TLS.
    pub(super) fn of(request: &'a Request) -> Self {
        let host = || host(request);
        let Some(target) = request.target.as_deref() else {
            return Self { authority: host(), path: None, query: None, form: Form::Other };
        };
        match target {
            // RFC 9112, section 3.2.3: "only used for CONNECT requests". The extended ones of HTTP/2 have
            // a path (RFC 8441, section 4).
            _ if request.method.as_deref() == Some("CONNECT") && !target.starts_with('/') => {
                let authority = Some(target.into());
                Self { authority, path: None, query: None, form: Form::Other }
            }
            // RFC 9112, section 3.2.4: the request is for the server as a whole.
            "*" => Self { authority: host(), path: None, query: None, form: Form::Rest("") },
            _ if target.starts_with('/') => {
                let (path, query) = split(target);
                Self { authority: host(), path: Some(path), query, form: Form::Rest(target) }
            }
            _ => Self::absolute(target).unwrap_or_else(|| Self {
                authority: host(),
                path: None,
                query: None,
                form: Form::Other,
            }),
        }
    }

    /// All of it.
    pub(super) fn full(&self) -> Option<String> {
        match self.form {
            Form::Whole(url) => Some(url.to_owned()),
            Form::Rest(rest) => Some(["https://", self.authority.as_deref()?, rest].concat()),
            Form::Other => None,
        }
    }

    /// RFC 9112, section 3.2.2: "When an origin server receives a request with an absolute-form of
    /// request-target, the origin server MUST ignore the received Host header field (if any) and
    /// instead use the host information of the request-target."
    fn absolute(target: &'a str) -> Option<Self> {
        let (_, rest) = target.split_once("://")?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at_checked(end)?;
        let (path, query) = split(rest);
        let path = if path.is_empty() { "/" } else { path };
        let (authority, form) = (Some(authority.into()), Form::Whole(target));
        Some(Self { authority, path: Some(path), query, form })
    }
}

fn split(target: &str) -> (&str, Option<&str>) {
    match target.split_once('?') {
        Some((path, query)) => (path, Some(query).filter(|query| !query.is_empty())),
        None => (target, None),
    }
}

fn host(request: &Request) -> Option<Cow<'_, str>> {
    // RFC 9113, section 8.3.1: ":authority" stands for it in HTTP/2.
    let host = request.headers.first(":authority").or_else(|| request.headers.first("host"))?;
    Some(String::from_utf8_lossy(host)).filter(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Body, Fields, Version};

    /// `?` for a target that is not known. Expects authority, path, query and full URL, separated by spaces; `-` for what is absent.
    fn check(method: &str, target: &str, host: Option<&'static str>, expect: &str) {
        let host = host.map(|host| ("host", host.as_bytes()));
        let request = Request {
            method: Some(method.to_owned()),
            target: Some(target).filter(|target| *target != "?").map(ToOwned::to_owned),
            version: Version::Http11,
            headers: host.into_iter().collect(),
            trailers: Fields::default(),
            body: Body::default(),
        };
        let url = Url::of(&request);
        let full = url.full();
        let parts = [url.authority.as_deref(), url.path, url.query, full.as_deref()];
        assert_eq!(parts.map(|part| part.unwrap_or("-")).join(" "), expect, "{method} {target}");
    }

    #[test]
    fn every_form_of_target() {
        check("GET", "/a/b?c=d?e", Some("h:8443"), "h:8443 /a/b c=d?e https://h:8443/a/b?c=d?e");
        check("GET", "/?", Some("h"), "h / - https://h/?");
        check("GET", "/a", None, "- /a - -");
        check("GET", "/a", Some(""), "- /a - -");
        check("GET", "http://o:1/a?b", Some("h"), "o:1 /a b http://o:1/a?b");
        check("GET", "http://o?b", None, "o / b http://o?b");
        check("OPTIONS", "*", Some("h"), "h - - https://h");
        check("CONNECT", "o:443", Some("h"), "o:443 - - -");
        check("CONNECT", "/chat", Some("h"), "h /chat - https://h/chat");
        check("GET", "what", Some("h"), "h - - -");
        // Not known.
        check("GET", "?", Some("h"), "h - - -");
    }
}
