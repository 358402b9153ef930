//! Start lines and header sections: bytes in, a [`Request`] or [`Response`] without its body out.

use std::{borrow::Cow, mem::MaybeUninit};

use httparse::{Error, Header, ParserConfig, Status};

use crate::decode::{Body, Fields, Request, Response, Version};

/// A message with more header lines is refused.
const MAX_HEADERS: usize = 1024;
/// Fields that most messages have at most.
const FEW: usize = 48;
/// A start line is looked for in no more bytes. RFC 9112, section 3, recommends to support 8000.
const LINE_LIMIT: usize = 64 << 10;
/// The longest registered method has 17 letters (`UPDATEREDIRECTREF`).
const METHOD_LIMIT: usize = 32;

/// What the first bytes of something say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode) enum Probe {
    /// A message starts here.
    Start,
    /// It may; more bytes are needed.
    Maybe,
    No,
}

/// A message up to the empty line before its body.
pub(super) trait Head: Sized {
    /// Whether a message of this kind starts with these bytes.
    fn probe(bytes: &[u8]) -> Probe;

    /// Reads a whole head. `None` when it is none.
    fn parse(bytes: &[u8]) -> Option<Self>;

    /// Whether it cannot be the end of another head whose beginning was lost.
    fn is_certain(&self) -> bool;
}

/// Methods that are not the end of another one (IANA's registry of methods): `AD` would be that of
/// `HEAD`, `PATCH` that of `PROPPATCH`.
const CERTAIN: [&str; 25] = [
    "GET",
    "POST",
    "PUT",
    "HEAD",
    "DELETE",
    "OPTIONS",
    "CONNECT",
    "TRACE",
    "QUERY",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "UNLOCK",
    "REPORT",
    "SEARCH",
    "ACL",
    "MERGE",
    "CHECKIN",
    "UNCHECKOUT",
    "MKACTIVITY",
    "MKCALENDAR",
    "REBIND",
    "UNLINK",
];

impl Head for Request {
    fn probe(bytes: &[u8]) -> Probe {
        request_line(bytes)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (mut few, mut many) = (room::<FEW>(), None);
        let mut parsed = httparse::Request::new(&mut []);
        let mut status = lenient().parse_request_with_uninit_headers(&mut parsed, bytes, &mut few);
        if status == Err(Error::TooManyHeaders) {
            let many = many.insert(Box::new(room::<MAX_HEADERS>()));
            parsed = httparse::Request::new(&mut []);
            status = lenient().parse_request_with_uninit_headers(&mut parsed, bytes, &mut **many);
        }
        whole(status.ok()?, bytes)?;
        Some(Self {
            method: Some(parsed.method?.to_owned()),
            target: Some(parsed.path?.to_owned()),
            version: Version::of_minor(parsed.version?),
            headers: fields(parsed.headers, bytes.len()),
            trailers: Fields::default(),
            body: Body::default(),
        })
    }

    fn is_certain(&self) -> bool {
        self.method.as_deref().is_some_and(|method| CERTAIN.contains(&method))
    }
}

impl Head for Response {
    fn probe(bytes: &[u8]) -> Probe {
        status_line(bytes)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (mut few, mut many) = (room::<FEW>(), None);
        let mut parsed = httparse::Response::new(&mut []);
        let mut status = lenient().parse_response_with_uninit_headers(&mut parsed, bytes, &mut few);
        if status == Err(Error::TooManyHeaders) {
            let many = many.insert(Box::new(room::<MAX_HEADERS>()));
            parsed = httparse::Response::new(&mut []);
            status = lenient().parse_response_with_uninit_headers(&mut parsed, bytes, &mut **many);
        }
        whole(status.ok()?, bytes)?;
        Some(Self {
            status: Some(parsed.code?),
            version: Version::of_minor(parsed.version?),
            headers: fields(parsed.headers, bytes.len()),
            trailers: Fields::default(),
            body: Body::default(),
        })
    }

    /// It begins with `HTTP/`.
    fn is_certain(&self) -> bool {
        true
    }
}

/// The peer may well refuse a message with a broken field, and why it did is what one wants to see.
fn lenient() -> ParserConfig {
    let mut config = ParserConfig::default();
    config
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .ignore_invalid_headers_in_responses(true)
        .ignore_invalid_headers_in_requests(true);
    config
}

/// Room for so many fields, which is not cleared first.
const fn room<'b, const COUNT: usize>() -> [MaybeUninit<Header<'b>>; COUNT] {
    [const { MaybeUninit::uninit() }; COUNT]
}

fn whole(status: Status<usize>, bytes: &[u8]) -> Option<()> {
    matches!(status, Status::Complete(length) if length == bytes.len()).then_some(())
}

fn fields(headers: &[Header<'_>], length: usize) -> Fields {
    let mut fields = Fields::with_capacity(headers.len(), length / 2, length);
    for field in headers {
        fields.push(field.name, &value(field.value));
    }
    fields
}

/// RFC 9112, section 5.2: a recipient replaces each received obs-fold with spaces "prior to
/// interpreting the field value".
fn value(bytes: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\n', bytes).is_none() {
        return Cow::Borrowed(bytes);
    }
    bytes.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }).collect()
}

/// RFC 9112, section 3: `request-line = method SP request-target SP HTTP-version`.
pub(in crate::decode) fn request_line(bytes: &[u8]) -> Probe {
    let end = memchr::memchr(b'\n', bytes.get(..LINE_LIMIT).unwrap_or(bytes));
    let line = end.and_then(|end| bytes.get(..end)).unwrap_or(bytes);
    let unfinished = match end {
        None if bytes.len() < LINE_LIMIT => Probe::Maybe,
        _ => Probe::No,
    };
    let mut parts = line.splitn(3, |&byte| byte == b' ');
    let method = parts.next().unwrap_or_default();
    if method.len() > METHOD_LIMIT || !method.iter().copied().all(is_method) {
        return Probe::No;
    }
    let Some(target) = parts.next() else {
        return unfinished;
    };
    if method.is_empty() || !target.iter().all(|&byte| byte > b' ' && byte != 0x7f) {
        return Probe::No;
    }
    let Some(version) = parts.next() else {
        return unfinished;
    };
    match version {
        _ if target.is_empty() => Probe::No,
        b"HTTP/1.1\r" | b"HTTP/1.0\r" | b"HTTP/1.1" | b"HTTP/1.0" if end.is_some() => Probe::Start,
        _ if b"HTTP/1.1\r".starts_with(version) || b"HTTP/1.0\r".starts_with(version) => unfinished,
        _ => Probe::No,
    }
}

/// Any token is a method; these are the characters of those in use.
const fn is_method(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'_')
}

/// RFC 9112, section 4: `status-line = HTTP-version SP status-code SP [ reason-phrase ]`.
pub(in crate::decode) fn status_line(bytes: &[u8]) -> Probe {
    let fits = |(index, &byte): (usize, &u8)| match index {
        0..=6 => b"HTTP/1.".get(index) == Some(&byte),
        7 => matches!(byte, b'0' | b'1'),
        8 => byte == b' ',
        9..=11 => byte.is_ascii_digit(),
        _ => matches!(byte, b' ' | b'\r' | b'\n'),
    };
    let start = bytes.get(..13);
    match start.unwrap_or(bytes).iter().enumerate().all(fits) {
        false => Probe::No,
        true if start.is_some() => Probe::Start,
        true => Probe::Maybe,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(probe: fn(&[u8]) -> Probe, bytes: &str, expect: Probe) {
        assert_eq!(probe(bytes.as_bytes()), expect, "{bytes:?}");
    }

    #[test]
    fn every_beginning_of_a_request_line_may_be_one() {
        for line in ["GET / HTTP/1.1\r\n", "M-SEARCH * HTTP/1.0\n", "OPTIONS http://a HTTP/1.1\n"] {
            for end in 0..line.len() {
                check(request_line, &line[..end], Probe::Maybe);
            }
            check(request_line, line, Probe::Start);
            check(request_line, &format!("{line}Host: a\r\n"), Probe::Start);
        }
    }

    #[test]
    fn other_lines_are_none() {
        for line in [
            " GET / HTTP/1.1\r\n",
            "GET  / HTTP/1.1\r\n",
            "GET /\r\n",
            "GET / HTTP/1.2",
            "GET / HTTP/2",
            "GET /\u{1}",
            "G\u{0}T",
            "SSH-2.0-OpenSSH_9.6\r\n",
            "PRI * HTTP/2.0\r\n",
            "{\"method\":1",
        ] {
            check(request_line, line, Probe::No);
        }
        check(request_line, &format!("GET /{}", "a".repeat(LINE_LIMIT)), Probe::No);
        check(request_line, &"A".repeat(METHOD_LIMIT + 1), Probe::No);
    }

    #[test]
    fn every_beginning_of_a_status_line_may_be_one() {
        let line = "HTTP/1.1 200 OK\r\n";
        for end in 0..line.len() {
            let expect = if end < 13 { Probe::Maybe } else { Probe::Start };
            check(status_line, &line[..end], expect);
        }
        check(status_line, "HTTP/1.0 404\r\n", Probe::Start);
        for line in
            ["HTTP/2 200 OK\r\n", "HTTP/1.1 20\r\n", "HTTP/1.1 2000", "http/1.1 200 OK", "x"]
        {
            check(status_line, line, Probe::No);
        }
    }

    #[test]
    fn reads_heads_that_peers_are_lenient_about() {
        let response =
            Response::parse(b"HTTP/1.1 200\r\nX-Fold: a\r\n b\r\nbad header\r\nServer : c\r\n\r\n");
        let response = response.unwrap();
        let fields: Vec<_> = response.headers.iter().collect();
        assert_eq!(fields, [("x-fold", &b"a   b"[..]), ("server", b"c")]);
        let request =
            Request::parse(b"GET / HTTP/1.1\r\nbad header\r\nHost: \xff\r\n\r\n").unwrap();
        assert_eq!(request.headers.iter().collect::<Vec<_>>(), [("host", &b"\xff"[..])]);
    }

    #[test]
    fn refuses_too_many_headers() {
        let head = |n| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(n));
        assert!(Request::parse(head(MAX_HEADERS).as_bytes()).is_some());
        assert!(Request::parse(head(MAX_HEADERS + 1).as_bytes()).is_none());
    }
}
