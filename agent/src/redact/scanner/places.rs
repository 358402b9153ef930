//! Secrets that are told by their place: cookies, parts of multipart forms, the user information of
//! URLs.

use super::{Found, Mode, Scanner};

/// How far the end of the user information of a URL is looked for.
const USERINFO: usize = 512;

impl Scanner {
    pub(super) fn cookie(
        &mut self,
        byte: u8,
        set: bool,
        at: usize,
        rest: &[u8],
        found: &mut Found,
    ) -> usize {
        let naming = matches!(self.mode, Mode::CookieName { .. });
        match byte {
            b'\r' | b'\n' | 0 => return self.leave(byte, at, rest, found),
            b';' if set => self.mode = Mode::Text,
            b';' => self.mode = Mode::CookieName { set },
            b' ' if naming => {}
            b'=' if naming => self.mode = Mode::CookieValue { set },
            _ if naming => {
                // A cookie without a name, or whose name goes on in the next bytes, is a value.
                let end = rest.iter().position(|byte| matches!(byte, b'=' | b';' | b'\r' | b'\n'));
                let end = end.unwrap_or(rest.len());
                if rest.get(end) != Some(&b'=') {
                    (at..at + end).for_each(|at| found.add(at));
                }
                return end;
            }
            _ => found.add(at),
        }
        0
    }

    pub(super) fn part(&mut self, byte: u8, seen: u8, at: usize, found: &mut Found) {
        let seen = match byte {
            b'\n' => 1,
            b'-' if seen > 0 => seen + 1,
            _ => 0,
        };
        if seen == 0 && byte != b'\r' {
            found.add(at);
        }
        self.mode = if seen == 3 { Mode::Text } else { Mode::Part { seen } };
        self.forget();
    }

    /// Behind the `://` of a URL: RFC 3986, section 3.2.1.
    pub(super) fn userinfo(&mut self, at: usize, rest: &[u8], found: &mut Found) -> usize {
        let near = rest.get(..USERINFO).unwrap_or(rest);
        let end = near.iter().position(|byte| matches!(byte, b'/' | b'?' | b'"' | b'<' | 0..=b' '));
        let near = near.get(..end.unwrap_or(near.len())).unwrap_or_default();
        let Some(end) = near.iter().rposition(|&byte| byte == b'@') else { return 0 };
        let near = near.get(..end).unwrap_or_default();
        let colon = near.iter().position(|&byte| byte == b':');
        // Without a colon it is a user's name, or a token in place of it.
        let start = colon.map_or(0, |colon| colon + 1);
        let user = near.get(..colon.unwrap_or(end)).unwrap_or_default();
        // What is no name is the next parameter of a query.
        if user.iter().any(|byte| matches!(byte, b'&' | b'=' | b'#' | b',')) {
            return 0;
        }
        (at + start..at + end).for_each(|at| found.add(at));
        self.forget();
        end
    }
}
