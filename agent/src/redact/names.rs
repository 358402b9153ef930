//! The name of a value in, whether the value is a secret out. The list is in docs/redaction.md.

/// How a secret is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// All of the value.
    Value,
    /// A scheme, which is kept, and credentials (RFC 9110, section 11.4).
    Credentials,
    /// Pairs, of which the names are kept (RFC 6265, section 4.2).
    Cookies,
    /// One pair, then attributes, which are kept (RFC 6265, section 4.1).
    SetCookie,
}

/// Names that end so, without separators, by their last letter: nearly all names end otherwise.
const fn endings(last: u8) -> &'static [&'static [u8]] {
    match last {
        b'd' => &[b"password", b"passwd", b"pwd", b"sessionid"],
        b'e' => &[b"passphrase", b"passcode", b"signature"],
        b'l' => &[b"credential"],
        b'n' => &[b"token", b"assertion"],
        b's' => &[b"credentials"],
        b't' => &[b"secret", b"jwt"],
        b'y' => &[b"apikey", b"accesskey", b"secretkey", b"privatekey", b"subscriptionkey"],
        _ => &[],
    }
}

/// Names that are only this.
const WHOLE: [&[u8]; 3] = [b"pass", b"pw", b"requirepass"];
/// Names that are common words in JSON, and secrets in queries and forms.
const PARAMETERS: [&[u8]; 4] = [b"key", b"sig", b"code", b"auth"];
/// One of these, then one of those: `(api|auth|access|secret|session)[-_]?(key|token|secret)`.
const FIRST: [&[u8]; 5] = [b"api", b"auth", b"access", b"secret", b"session"];
const SECOND: [&[u8]; 3] = [b"key", b"token", b"secret"];

/// Scheme words that are kept. Others may be the secret itself.
const SCHEMES: [&str; 12] = [
    "basic",
    "bearer",
    "digest",
    "negotiate",
    "ntlm",
    "token",
    "apikey",
    "dpop",
    "hoba",
    "mutual",
    "aws4-hmac-sha256",
    "gnap",
];

/// Which secret a name stands for; it is in lower case, letters and digits only. `parameter`: it is
/// of a query or a form.
pub(super) fn kind(name: &[u8], parameter: bool) -> Option<Kind> {
    match name {
        b"cookie" if !parameter => return Some(Kind::Cookies),
        b"setcookie" if !parameter => return Some(Kind::SetCookie),
        _ if name.ends_with(b"authorization") => return Some(Kind::Credentials),
        _ => {}
    }
    let last = *name.last()?;
    let secret = endings(last).iter().any(|ending| name.ends_with(ending))
        || WHOLE.contains(&name)
        || (parameter && PARAMETERS.contains(&name))
        || (0..name.len()).any(|at| name.get(at..).is_some_and(pair));
    secret.then_some(Kind::Value)
}

/// Whether it begins with one of the first words, and one of the second behind it.
fn pair(name: &[u8]) -> bool {
    if !matches!(name, [b'a' | b's', ..]) {
        return false;
    }
    let behind = FIRST.iter().filter_map(|first| name.strip_prefix(*first));
    behind.into_iter().any(|rest| SECOND.iter().any(|second| rest.starts_with(second)))
}

/// How long the scheme in front of credentials is, its space included.
pub(super) fn scheme(value: &[u8]) -> usize {
    let Some(end) = value.iter().take(24).position(|&byte| byte == b' ') else { return 0 };
    let word = value.get(..end).unwrap_or_default();
    let known = SCHEMES.iter().any(|scheme| word.eq_ignore_ascii_case(scheme.as_bytes()));
    if known { end + 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_by_name() {
        for name in ["password", "newpassword", "accesstoken", "xapikey", "clientsecret", "pass"] {
            assert_eq!(kind(name.as_bytes(), false), Some(Kind::Value), "{name}");
        }
        for name in ["xamzsecuritytoken", "accesskeyid", "xcsrftoken", "authtokenv2"] {
            assert_eq!(kind(name.as_bytes(), false), Some(Kind::Value), "{name}");
        }
        assert_eq!(kind(b"proxyauthorization", false), Some(Kind::Credentials));
        assert_eq!((kind(b"key", false), kind(b"key", true)), (None, Some(Kind::Value)));
        for name in ["", "maxtokens", "author", "secwebsocketkey", "host", "keyboard", "compass"] {
            assert_eq!(kind(name.as_bytes(), true), None, "{name}");
        }
    }

    #[test]
    fn schemes_stay() {
        assert_eq!(scheme(b"Bearer abc"), 7);
        assert_eq!((scheme(b"hunter2 abc"), scheme(b"Bearer"), scheme(b"")), (0, 0, 0));
    }
}
