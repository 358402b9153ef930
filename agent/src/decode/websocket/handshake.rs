//! What a server's answer to an upgrade agrees on.

use crate::decode::{Fields, Response};

/// The extensions in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::decode) struct Agreement {
    pub(super) deflate: Option<Deflate>,
}

/// RFC 7692, section 7.1.1: who begins each message with an empty window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Deflate {
    pub(super) client_forgets: bool,
    pub(super) server_forgets: bool,
}

impl Agreement {
    /// `None` when it is another protocol, or an extension that is not known.
    pub(in crate::decode) fn of(response: &Response) -> Option<Self> {
        let upgrade = response.headers.first("upgrade")?;
        if response.status != Some(101) || !upgrade.trim_ascii().eq_ignore_ascii_case(b"websocket")
        {
            return None;
        }
        Self::extensions(&response.headers)
    }

    /// That of a stream of HTTP/2, from the header of a response (RFC 8441, section 5). `None` when it
    /// refuses, or when not all of it is known.
    pub(in crate::decode) fn of_stream(headers: &Fields) -> Option<Self> {
        let accepted = headers.first(":status").is_some_and(|status| status.starts_with(b"2"));
        (accepted && headers.unknown() == 0).then(|| Self::extensions(headers))?
    }

    fn extensions(headers: &Fields) -> Option<Self> {
        let mut agreement = Self::default();
        for value in headers.all("sec-websocket-extensions") {
            let value = std::str::from_utf8(value).ok()?;
            for extension in value.split(',').map(str::trim).filter(|one| !one.is_empty()) {
                let deflate = Deflate::of(extension)?;
                if agreement.deflate.replace(deflate).is_some() {
                    return None;
                }
            }
        }
        Some(agreement)
    }
}

impl Deflate {
    fn of(extension: &str) -> Option<Self> {
        let mut parts = extension.split(';').map(str::trim);
        if !parts.next()?.eq_ignore_ascii_case("permessage-deflate") {
            return None;
        }
        let mut deflate = Self::default();
        for part in parts {
            let name = part.split('=').next().unwrap_or_default().trim();
            match name.to_ascii_lowercase().as_str() {
                "client_no_context_takeover" => deflate.client_forgets = true,
                "server_no_context_takeover" => deflate.server_forgets = true,
                // The largest window reads all smaller ones.
                "client_max_window_bits" | "server_max_window_bits" => {}
                _ => return None,
            }
        }
        Some(deflate)
    }
}
