//! What tells MQTT from other protocols, and where packets begin.

use super::{
    fields::{filters, is_filter, is_topic},
    packets::{self, Kind},
};
use crate::decode::{Role, cursor::Cursor, frames::Head};

/// Whether bytes begin with a CONNECT packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    No,
    Partial,
    Connect,
}

/// The fixed header, "MQTT", and the level of version 3.1.1 or 5 (section 3.1.2).
pub(super) fn connect(bytes: &[u8]) -> Probe {
    const NAME: &[u8] = b"\0\x04MQTT";
    let mut fields = Cursor(bytes);
    let Some(first) = fields.byte() else { return Probe::Partial };
    if first != 0x10 {
        return Probe::No;
    }
    match packets::variable(&mut fields) {
        None => return Probe::Partial,
        Some(Ok(12..)) => {}
        Some(_) => return Probe::No,
    }
    match fields.0.split_at_checked(NAME.len()) {
        None if NAME.starts_with(fields.0) => Probe::Partial,
        Some((NAME, [])) => Probe::Partial,
        Some((NAME, [4 | 5, ..])) => Probe::Connect,
        _ => Probe::No,
    }
}

/// Whole packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chain {
    /// Nothing in them but types and lengths.
    Weak,
    /// A topic is among them.
    Strong,
}

/// Whether bytes are whole packets of a side to their end: what a program hands to the TLS library
/// at once.
pub(super) fn chain(side: Role, level: Option<u8>, bytes: &[u8]) -> Option<Chain> {
    let mut chain = Chain::Weak;
    let mut rest = bytes;
    while let Some(&first) = rest.first() {
        let kind = Kind::of(first, side)?;
        let (head, length) = (1..=rest.len().min(7)).find_map(|end| {
            match packets::head(side, rest.get(..end)?) {
                Head::Body { length, .. } => Some((end, usize::try_from(length).ok()?)),
                Head::More | Head::Malformed => None,
            }
        })?;
        let body = rest.get(head..head.checked_add(length)?)?;
        if is_strong(kind, level, rest.get(..head)?, body)? {
            chain = Chain::Strong;
        }
        rest = rest.get(head + length..)?;
    }
    (!bytes.is_empty()).then_some(chain)
}

/// Whether a packet has a topic; `None` when it cannot be one.
fn is_strong(kind: Kind, level: Option<u8>, head: &[u8], body: &[u8]) -> Option<bool> {
    let mut fields = Cursor(body);
    let strong = match kind {
        Kind::Publish => {
            let topic = fields.take(usize::from(u16::from_be_bytes(*head.last_chunk()?)))?;
            // Some only by its alias.
            (topic.is_empty() || is_topic(topic)).then_some(!topic.is_empty())?
        }
        Kind::Subscribe | Kind::Unsubscribe => {
            let filters = filters(kind, level, body)?.1;
            filters.iter().all(|(filter, _)| is_filter(filter.as_bytes())).then_some(true)?
        }
        // Not in the middle of a connection.
        Kind::Connect | Kind::ConnAck => return None,
        Kind::PubAck | Kind::PubRec | Kind::PubRel | Kind::PubComp => {
            (body.len() == 2 || level != Some(4)).then_some(false)?
        }
        _ => false,
    };
    Some(strong)
}
