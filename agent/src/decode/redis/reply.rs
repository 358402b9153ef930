//! A value that a server sent in, the outcome of a command out.

use super::value::Value;
use crate::decode::{Outcome, Role, System, pending::Pending};

const CONFIRMATIONS: [&str; 6] =
    ["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"];
const MESSAGES: [&str; 3] = ["MESSAGE", "PMESSAGE", "SMESSAGE"];

pub(super) fn outcome(value: &Value) -> Outcome {
    let text = || Some(String::from_utf8_lossy(value.part(0)).into_owned());
    let failed = value.is_error();
    let code = || text().and_then(|text| text.split(' ').next().map(str::to_owned));
    Outcome {
        code: if failed { code() } else { None },
        message: if failed || matches!(value.kind, b'+' | b':' | b',' | b'#' | b'(') {
            text()
        } else {
            None
        },
        failed,
        returned: if value.null { Some(0) } else { value.count },
        affected: None,
    }
}

/// Whether a push confirms this command: that is its reply, also in RESP 3.
pub(super) fn confirms(value: &Value, name: &str) -> bool {
    CONFIRMATIONS.contains(&name) && value.part(0).eq_ignore_ascii_case(name.as_bytes())
}

/// RESP 2: whether an array is what a subscription brought, and no reply to the command of this
/// name.
pub(super) fn is_pushed(value: &Value, awaited: Option<&str>) -> bool {
    let is = |words: &[&str]| {
        words.iter().any(|word| value.part(0).eq_ignore_ascii_case(word.as_bytes()))
    };
    let confirmation = is(&CONFIRMATIONS) && !awaited.is_some_and(|name| confirms(value, name));
    value.kind == b'*' && (is(&MESSAGES) || confirmation)
}

/// What came without a command: its kind, and the channel it is of.
pub(super) fn pushed(value: &Value, role: Role) -> Pending {
    let mut pending = Pending::unasked(System::Redis, role, value.began, value.size);
    let text = |index| String::from_utf8_lossy(value.part(index)).into_owned();
    if value.kind == b'+' {
        pending.operation.name = Some("MONITOR".to_owned());
        pending.operation.outcome = Some(outcome(value));
        return pending;
    }
    pending.operation.name = Some(text(0).chars().take(64).collect());
    let channel = match value.part(0) {
        b"pmessage" => 2,
        _ => 1,
    };
    pending.operation.target = (value.parts.len() > channel).then(|| text(channel));
    pending.operation.truncated = value.lost;
    pending
}
