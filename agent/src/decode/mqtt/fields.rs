//! What is behind the fixed header in, its fields out.

use super::{
    packets::{Kind, variable},
    reasons,
};
use crate::decode::{Outcome, cursor::Cursor};

/// The properties that are of use (MQTT 5.0, section 2.2.2).
#[derive(Default)]
pub(super) struct Properties<'a> {
    pub(super) alias: Option<u16>,
    pub(super) client: Option<&'a str>,
    pub(super) reason: Option<&'a str>,
}

/// `None` when they are not all there, or malformed.
pub(super) fn properties<'a>(fields: &mut Cursor<'a>) -> Option<Properties<'a>> {
    let length = length(fields)?;
    let mut rest = Cursor(fields.take(length)?);
    let mut properties = Properties::default();
    while let Some(identifier) = rest.byte() {
        match identifier {
            0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28..=0x2a => drop(rest.take(1)?),
            0x13 | 0x21 | 0x22 => drop(rest.take(2)?),
            0x02 | 0x11 | 0x18 | 0x27 => drop(rest.take(4)?),
            0x0b => drop(variable(&mut rest)?.ok()?),
            0x03 | 0x08 | 0x09 | 0x15 | 0x16 | 0x1a | 0x1c => drop(rest.counted16()?),
            0x26 => drop((rest.counted16()?, rest.counted16()?)),
            0x12 => properties.client = Some(rest.text16()?),
            0x1f => properties.reason = Some(rest.text16()?),
            0x23 => properties.alias = Some(rest.int16()?),
            _ => return None,
        }
    }
    Some(properties)
}

/// A variable byte integer as a number of bytes.
pub(super) fn length(fields: &mut Cursor<'_>) -> Option<usize> {
    usize::try_from(variable(fields)?.ok()?).ok()
}

/// "Topic Names ... MUST NOT contain wildcard characters", nor U+0000, and have a character; others
/// that control are not wanted either (sections 4.7.3, 1.5.4).
pub(super) fn is_topic(bytes: &[u8]) -> bool {
    is_filter(bytes) && !bytes.iter().any(|byte| b"+#".contains(byte))
}

pub(super) fn is_filter(bytes: &[u8]) -> bool {
    let text = str::from_utf8(bytes);
    text.is_ok_and(|text| !text.is_empty() && !text.chars().any(char::is_control))
}

/// Topic filters with their options.
pub(super) type Filters<'a> = Vec<(&'a str, Option<u8>)>;

/// The level of the protocol, which a packet may tell, and the filters of a SUBSCRIBE or
/// UNSUBSCRIBE. The number is passed over.
pub(super) fn filters(kind: Kind, level: Option<u8>, body: &[u8]) -> Option<(u8, Filters<'_>)> {
    let mut fields = Cursor(body);
    fields.int16()?;
    let read = |level| {
        let mut fields = fields;
        if level == 5 {
            properties(&mut fields)?;
        }
        list(kind, level, fields).map(|filters| (level, filters))
    };
    match level {
        Some(level) => read(level),
        // What is right in one version is not in the other, or else nobody knows.
        None => match (read(4), read(5)) {
            (Some(read), None) | (None, Some(read)) => Some(read),
            _ => None,
        },
    }
}

fn list(kind: Kind, level: u8, mut fields: Cursor<'_>) -> Option<Filters<'_>> {
    let mut filters = Vec::new();
    while !fields.0.is_empty() {
        let filter = fields.text16().filter(|filter| !filter.is_empty())?;
        let options = if kind == Kind::Subscribe { Some(fields.byte()?) } else { None };
        // Bits that are reserved, and a quality of service or a handling of 3.
        let reserved = if level == 4 { 0xfc } else { 0xc0 };
        let wrong = |options| options & reserved != 0 || options & 3 == 3 || options & 0x30 == 0x30;
        if options.is_some_and(wrong) {
            return None;
        }
        filters.push((filter, options));
    }
    (!filters.is_empty()).then_some(filters)
}

/// What an answer or a DISCONNECT says behind the number of the packet; `Some(None)` when that is
/// not known.
pub(super) fn outcome(
    kind: Kind,
    level: Option<u8>,
    mut fields: Cursor<'_>,
    whole: bool,
) -> Option<Option<Outcome>> {
    if fields.0.is_empty() {
        // "If the Remaining Length is 2, ... the value of 0x00 (Success) is used."
        return Some(whole.then(Outcome::default));
    }
    if matches!(kind, Kind::SubAck | Kind::UnsubAck) {
        // Without the level nobody knows whether properties come first.
        let Some(level) = level.filter(|_| whole) else { return Some(None) };
        let reason = if level == 5 { properties(&mut fields)?.reason } else { None };
        let failed = fields.0.iter().copied().find(|&code| code >= 0x80);
        return Some(Some(
            failed.map_or(Outcome::default(), |code| reasons::outcome(code, reason)),
        ));
    }
    let code = fields.byte()?;
    let reason = properties(&mut fields).and_then(|properties| properties.reason);
    Some(Some(reasons::outcome(code, reason)))
}
