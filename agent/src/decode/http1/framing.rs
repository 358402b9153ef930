//! Where a message's body ends (RFC 9112, section 6.3).

use super::chunked::Chunked;
use crate::decode::{Fields, Request, Response};

/// How the end of a body is found, and how far it is.
#[derive(Debug)]
pub(super) enum Framing {
    /// So many bytes are left.
    Length(u64),
    Chunked(Chunked),
    /// The end of the connection ends it.
    UntilClose,
}

/// What the next bytes of a body are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BodyStep<'a> {
    /// The input is used up.
    More,
    Data(&'a [u8]),
    /// The body ended before the rest of the input.
    End,
    Malformed,
}

/// What bytes lost within a body leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Skip {
    /// The body goes on.
    Within,
    /// They were the last of the body.
    ToEnd,
    /// The place is not known.
    Lost,
}

impl Framing {
    /// Of a request; `None` when it cannot be known.
    pub(super) fn of_request(request: &Request) -> Option<Self> {
        let codings = transfer_codings(&request.headers);
        match codings.last() {
            // "If a message is received with both a Transfer-Encoding and a Content-Length header
            // field, the Transfer-Encoding overrides the Content-Length."
            Some(last) if last == "chunked" => Some(Self::Chunked(Chunked::new())),
            // "If a Transfer-Encoding header field is present in a request and the chunked transfer
            // coding is not the final encoding, the message body length cannot be determined
            // reliably".
            Some(_) => None,
            // "If this is a request message and none of the above are true, then the message body
            // length is zero".
            None => content_length(&request.headers).ok().map(|length| length.unwrap_or(0).into()),
        }
    }

    /// Of a response to a request of this method; `None` when it cannot be known.
    pub(super) fn of_response(response: &Response, method: Option<&str>) -> Option<Self> {
        // "Any response to a HEAD request and any response with a 1xx (Informational), 204 (No
        // Content), or 304 (Not Modified) status code is always terminated by the first empty
        // line after the header fields".
        if method == Some("HEAD") || matches!(response.status, Some(100..=199 | 204 | 304)) {
            return Some(Self::Length(0));
        }
        match transfer_codings(&response.headers).last() {
            Some(last) if last == "chunked" => Some(Self::Chunked(Chunked::new())),
            // "If a Transfer-Encoding header field is present in a response and the chunked
            // transfer coding is not the final encoding, the message body length is determined by
            // reading the connection until it is closed by the server."
            Some(_) => Some(Self::UntilClose),
            None => content_length(&response.headers)
                .ok()
                .map(|length| length.map_or(Self::UntilClose, Self::Length)),
        }
    }

    /// Whether there is no body.
    pub(super) const fn is_empty(&self) -> bool {
        matches!(self, Self::Length(0))
    }

    /// Reads on, up to the next piece of the body.
    pub(super) fn step<'a>(&mut self, input: &mut &'a [u8]) -> BodyStep<'a> {
        match self {
            Self::Length(0) => BodyStep::End,
            _ if input.is_empty() => BodyStep::More,
            Self::Chunked(decoder) => decoder.step(input),
            Self::UntilClose => BodyStep::Data(std::mem::take(input)),
            Self::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                let (data, rest) = input.split_at_checked(taken).unwrap_or((input, &[]));
                *left = left.saturating_sub(taken as u64);
                *input = rest;
                BodyStep::Data(data)
            }
        }
    }

    /// Passes over lost bytes; 0 when nobody knows how many.
    pub(super) const fn skip(&mut self, length: u64) -> Skip {
        match self {
            _ if length == 0 => Skip::Lost,
            Self::Length(left) if length == *left => Skip::ToEnd,
            Self::Length(left) if length < *left => {
                *left -= length;
                Skip::Within
            }
            Self::Length(_) => Skip::Lost,
            Self::Chunked(decoder) => {
                if decoder.skip(length) {
                    Skip::Within
                } else {
                    Skip::Lost
                }
            }
            Self::UntilClose => Skip::Within,
        }
    }
}

impl From<u64> for Framing {
    fn from(length: u64) -> Self {
        Self::Length(length)
    }
}

/// The codings of the body in the order applied: those of the content, then of the transfer.
pub(super) fn codings(headers: &Fields) -> Vec<String> {
    let mut codings = headers.codings("content-encoding");
    codings.extend(transfer_codings(headers).into_iter().filter(|coding| coding != "chunked"));
    codings
}

/// RFC 9112, section 7: "All transfer-coding names are case-insensitive"; parameters do not matter.
/// `identity` was removed by RFC 7230 and never changed a byte.
fn transfer_codings(headers: &Fields) -> Vec<String> {
    let mut codings = headers.codings("transfer-encoding");
    codings.retain(|coding| coding != "identity");
    codings
}

/// The length differs between values, or is no number.
struct Unclear;

fn content_length(headers: &Fields) -> Result<Option<u64>, Unclear> {
    // "If a message is received without Transfer-Encoding and with an invalid Content-Length header
    // field, then the message framing is invalid and the recipient MUST treat it as an
    // unrecoverable error, unless the field value can be successfully parsed as a comma-separated
    // list […], all values in the list are valid, and all values in the list are the same".
    let mut lengths = headers.elements("content-length").map(|value| {
        let digits = value.iter().all(u8::is_ascii_digit);
        std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
    });
    let Some(first) = lengths.next() else {
        return Ok(None);
    };
    match first {
        Some(_) if lengths.all(|length| length == first) => Ok(first),
        _ => Err(Unclear),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::http1::head::Head as _;

    fn check(head: &str, expect: &str) {
        let head = head.replace('\n', "\r\n") + "\r\n\r\n";
        let framing = match Request::parse(head.as_bytes()) {
            Some(request) => Framing::of_request(&request),
            None => Framing::of_response(&Response::parse(head.as_bytes()).unwrap(), None),
        };
        let shown = match framing {
            None => "unknown".to_owned(),
            Some(Framing::Length(length)) => length.to_string(),
            Some(Framing::Chunked(_)) => "chunked".to_owned(),
            Some(Framing::UntilClose) => "close".to_owned(),
        };
        assert_eq!(shown, expect, "{head}");
    }

    #[test]
    fn a_request_ends_by_its_headers() {
        check("POST / HTTP/1.1", "0");
        check("POST / HTTP/1.1\nContent-Length: 5", "5");
        check("POST / HTTP/1.1\nContent-Length: 5, 5\nContent-Length:5", "5");
        check("POST / HTTP/1.1\nTransfer-Encoding: Chunked", "chunked");
        check("POST / HTTP/1.1\nTransfer-Encoding: gzip, chunked", "chunked");
        check("POST / HTTP/1.1\nTransfer-Encoding: gzip\nTransfer-Encoding: chunked", "chunked");
    }

    #[test]
    fn transfer_encoding_overrides_content_length() {
        check("POST / HTTP/1.1\nContent-Length: 5\nTransfer-Encoding: chunked", "chunked");
        check("POST / HTTP/1.1\nTransfer-Encoding: chunked\nContent-Length: 5", "chunked");
        check("HTTP/1.1 200 OK\nContent-Length: 5\nTransfer-Encoding: chunked", "chunked");
        check("HTTP/1.1 200 OK\nContent-Length: 5\nTransfer-Encoding: gzip", "close");
    }

    #[test]
    fn a_request_without_a_clear_end_has_none() {
        check("POST / HTTP/1.1\nContent-Length: 5\nContent-Length: 6", "unknown");
        check("POST / HTTP/1.1\nContent-Length: 5, 6", "unknown");
        check("POST / HTTP/1.1\nContent-Length: +5", "unknown");
        check("POST / HTTP/1.1\nContent-Length: -1", "unknown");
        check("POST / HTTP/1.1\nContent-Length: 0x5", "unknown");
        check("POST / HTTP/1.1\nContent-Length: 18446744073709551616", "unknown");
        check("POST / HTTP/1.1\nTransfer-Encoding: xchunked", "unknown");
        check("POST / HTTP/1.1\nTransfer-Encoding: chunked, gzip", "unknown");
    }

    #[test]
    fn a_response_ends_by_its_status_and_headers() {
        check("HTTP/1.1 200 OK", "close");
        check("HTTP/1.1 200 OK\nContent-Length: 18446744073709551615", "18446744073709551615");
        check("HTTP/1.1 200 OK\nTransfer-Encoding: identity\nContent-Length: 7", "7");
        check("HTTP/1.1 204 No Content\nContent-Length: 7", "0");
        check("HTTP/1.1 304 Not Modified\nContent-Length: 7", "0");
        check("HTTP/1.1 103 Early Hints", "0");
    }
}
