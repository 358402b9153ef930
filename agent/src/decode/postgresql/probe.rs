//! What tells PostgreSQL from other protocols.

use super::{
    fields::{Fields, first_word},
    frames::is_plausible,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    No,
    Partial,
    Startup,
    /// Messages of a client, up to one that asks for an answer.
    Messages,
}

/// Protocol 3.0 to 3.2, and the code of a CancelRequest.
const CODES: [[u8; 4]; 4] = [[0, 3, 0, 0], [0, 3, 0, 1], [0, 3, 0, 2], CANCEL];
pub(super) const CANCEL: [u8; 4] = 80_877_102_u32.to_be_bytes();

/// The first bytes that a client sends.
pub(super) fn startup(bytes: &[u8]) -> Probe {
    let Some(length) = bytes.first_chunk().map(|length| u32::from_be_bytes(*length)) else {
        let zeros = bytes.iter().take(2).all(|&byte| byte == 0);
        return if zeros { Probe::Partial } else { Probe::No };
    };
    let code = bytes.get(4..).unwrap_or_default();
    let code = code.get(..4).unwrap_or(code);
    if !is_plausible(true, 0, length) || !CODES.iter().any(|known| known.starts_with(code)) {
        return Probe::No;
    }
    let length = length as usize;
    match bytes.len() {
        have if have < length => Probe::Partial,
        have if have == length && (code != CANCEL || length == 16) => Probe::Startup,
        _ => Probe::No,
    }
}

/// Whether bytes are whole messages of a client to their end: what a program hands to the TLS
/// library at once.
pub(super) fn messages(bytes: &[u8]) -> Probe {
    let mut rest = bytes;
    let mut last = 0;
    while let Some((&kind, after)) = rest.split_first() {
        if matches!(kind, b'p' | b'd' | b'c' | b'f' | b'X') {
            return Probe::No;
        }
        let Some(length) = after.first_chunk().map(|length| u32::from_be_bytes(*length)) else {
            // Its first byte alone says little.
            let known = b"QPBDECSHF".contains(&kind) && after.first().is_none_or(|&high| high == 0);
            return if known { Probe::Partial } else { Probe::No };
        };
        if length > 1 << 24 || !is_plausible(true, kind, length) {
            return Probe::No;
        }
        let Some(body) = after.get(4..length as usize) else { return Probe::Partial };
        if !is_message(kind, body) {
            return Probe::No;
        }
        rest = after.get(length as usize..).unwrap_or_default();
        last = kind;
    }
    match last {
        b'Q' | b'S' | b'F' => Probe::Messages,
        // The unit of a pipeline, or of a program that writes each message alone.
        b'P' | b'B' | b'D' | b'E' | b'C' | b'H' => Probe::Partial,
        _ => Probe::No,
    }
}

fn is_message(kind: u8, body: &[u8]) -> bool {
    let mut fields = Fields(body);
    match kind {
        b'Q' => {
            let text = fields.string().and_then(|text| str::from_utf8(text).ok());
            fields.0.is_empty()
                && text.is_some_and(|sql| sql.is_empty() || first_word(sql).is_some())
        }
        b'P' => {
            let names = fields.string().is_some() && fields.string().is_some();
            names && fields.int16().is_some_and(|types| 4 * usize::from(types) == fields.0.len())
        }
        b'B' => fields.string().is_some() && fields.string().is_some() && fields.0.len() >= 6,
        b'E' => fields.string().is_some() && fields.0.len() == 4,
        b'D' | b'C' => {
            matches!(fields.take(1), Some([b'S' | b'P']))
                && fields.string().is_some()
                && fields.0.is_empty()
        }
        _ => true,
    }
}
