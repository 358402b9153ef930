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

/// Names that end so, without separators.
const ENDINGS: [&str; 18] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "pwd",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "subscriptionkey",
    "credential",
    "credentials",
    "signature",
    "assertion",
    "sessionid",
    "jwt",
];
/// Names that are only this.
const WHOLE: [&str; 3] = ["pass", "pw", "requirepass"];
/// Names that are common words in JSON, and secrets in queries and forms.
const PARAMETERS: [&str; 4] = ["key", "sig", "code", "auth"];
/// One of these, then one of those: `(api|auth|access|secret|session)[-_]?(key|token|secret)`.
const FIRST: [&str; 5] = ["api", "auth", "access", "secret", "session"];
const SECOND: [&str; 3] = ["key", "token", "secret"];

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
pub(super) fn kind(name: &str, parameter: bool) -> Option<Kind> {
    match name {
        "cookie" if !parameter => return Some(Kind::Cookies),
        "setcookie" if !parameter => return Some(Kind::SetCookie),
        _ if name.ends_with("authorization") => return Some(Kind::Credentials),
        _ => {}
    }
    let secret = WHOLE.contains(&name)
        || (parameter && PARAMETERS.contains(&name))
        || ENDINGS.iter().any(|ending| name.ends_with(ending))
        || FIRST.iter().any(|first| pair(name, first));
    secret.then_some(Kind::Value)
}

fn pair(name: &str, first: &str) -> bool {
    name.match_indices(first).any(|(at, _)| {
        let rest = name.get(at + first.len()..).unwrap_or_default();
        SECOND.iter().any(|second| rest.starts_with(second))
    })
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
            assert_eq!(kind(name, false), Some(Kind::Value), "{name}");
        }
        for name in ["xamzsecuritytoken", "accesskeyid", "xcsrftoken", "authtokenv2"] {
            assert_eq!(kind(name, false), Some(Kind::Value), "{name}");
        }
        assert_eq!(kind("proxyauthorization", false), Some(Kind::Credentials));
        assert_eq!((kind("key", false), kind("key", true)), (None, Some(Kind::Value)));
        for name in ["", "maxtokens", "author", "secwebsocketkey", "host", "keyboard", "compass"] {
            assert_eq!(kind(name, true), None, "{name}");
        }
    }

    #[test]
    fn schemes_stay() {
        assert_eq!(scheme(b"Bearer abc"), 7);
        assert_eq!((scheme(b"hunter2 abc"), scheme(b"Bearer"), scheme(b"")), (0, 0, 0));
    }
}
