//! The topics and groups of requests.

use super::{
    Wire,
    apis::{
        Api, FETCH, FIND_COORDINATOR, HEARTBEAT, JOIN_GROUP, LEAVE_GROUP, METADATA, OFFSET_COMMIT,
        OFFSET_FETCH, PRODUCE, SYNC_GROUP,
    },
};
use crate::decode::{Operation, Purpose};

/// Fills in what a request says; whether it is answered.
pub(super) fn read(api: &Api, version: i16, body: &[u8], operation: &mut Operation) -> bool {
    // The head is classic but for its tagged fields; the oldest ControlledShutdown has no name.
    let mut wire = Wire::new(body, false);
    let Some(said) = &mut operation.messaging else { return true };
    said.purpose = match api.key {
        PRODUCE => Some(Purpose::Send),
        FETCH => Some(Purpose::Receive),
        _ => None,
    };
    if (api.key, version) == (7, 0) {
        return true;
    }
    let Some(client) = wire.nullable() else { return true };
    said.client = client.filter(|name| !name.is_empty()).map(str::to_owned);
    if !api.knows(version) {
        return true;
    }
    let mut wire = wire.with(api.is_compact(version));
    if wire.tags().is_none() {
        return true;
    }
    match api.key {
        JOIN_GROUP | HEARTBEAT | LEAVE_GROUP | SYNC_GROUP | OFFSET_COMMIT | OFFSET_FETCH => {
            said.group = wire.string().map(str::to_owned);
        }
        FIND_COORDINATOR => {
            // Of type 0; another is a transaction's.
            let key = wire.string();
            let kind = if version > 0 { wire.int8() } else { Some(0) };
            said.group = key.filter(|_| kind == Some(0)).map(str::to_owned);
        }
        PRODUCE => {
            let acks = acks(&mut wire, version);
            topics(wire, operation, |wire, _| produced(wire));
            return acks != Some(0);
        }
        FETCH => {
            let before = 12 + 4 * usize::from(version >= 3) + usize::from(version >= 4);
            if wire.skip(before + 8 * usize::from(version >= 7)).is_some() {
                topics(wire, operation, |wire, _| fetched(wire, version));
            }
        }
        METADATA => topics(wire, operation, |_, _| Some(())),
        _ => {}
    }
    true
}

/// Whether what is behind the head may be of a request; `None` when more is needed. With the number of
/// some answers, and a topic in place of a client's name, an answer begins as requests do.
pub(super) fn is_plausible(api: &Api, version: i16, body: &[u8]) -> Option<bool> {
    let mut wire = Wire::new(body, api.is_compact(version));
    match api.key {
        PRODUCE => {
            wire.tags()?;
            if version >= 3 && wire.nullable()?.is_some_and(str::is_empty) {
                return Some(false);
            }
            let acks = wire.int16()?;
            wire.skip(4)?;
            if !(-1..=1).contains(&acks) || wire.array()? == 0 {
                return Some(false);
            }
            // Later topics are named by their ids.
            let is_topic =
                |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
            Some(!api.knows(version) || wire.nullable()?.is_some_and(is_topic))
        }
        // A consumer is no replica; later it is not said.
        FETCH if version < 15 => {
            wire.tags()?;
            Some(wire.int16()? == -1 && wire.int16()? == -1)
        }
        _ => Some(true),
    }
}

fn acks(wire: &mut Wire<'_>, version: i16) -> Option<i16> {
    if version >= 3 {
        wire.nullable()?;
    }
    let acks = wire.int16()?;
    wire.skip(4)?;
    Some(acks)
}

/// Names of topics with what belongs to each; the one, or all.
fn topics(
    mut wire: Wire<'_>,
    operation: &mut Operation,
    behind: impl Fn(&mut Wire<'_>, usize) -> Option<()>,
) {
    let version = operation.messaging.as_ref().and_then(|said| said.version).unwrap_or(0);
    let identified = operation.name.as_deref() == Some("Metadata") && version >= 10;
    let Some(count) = wire.array() else { return };
    let mut names = Vec::new();
    for number in 0..count {
        let name = wire.skip_if(identified, 16).and_then(|()| wire.nullable());
        let Some(Some(name)) = name else { return };
        if count == 1 {
            operation.target = Some(name.to_owned());
            return;
        }
        names.push(name);
        if behind(&mut wire, number).and_then(|()| wire.tags()).is_none() {
            return;
        }
    }
    if !names.is_empty() {
        let name = operation.name.as_deref().unwrap_or_default();
        operation.text = Some(format!("{name} {}", names.join(" ")));
    }
}

fn produced(wire: &mut Wire<'_>) -> Option<()> {
    for _ in 0..wire.array()? {
        wire.skip(4)?;
        wire.skip_bytes()?;
        wire.tags()?;
    }
    Some(())
}

fn fetched(wire: &mut Wire<'_>, version: i16) -> Option<()> {
    let size = 16
        + 4 * usize::from(version >= 9)
        + 4 * usize::from(version >= 12)
        + 8 * usize::from(version >= 5);
    for _ in 0..wire.array()? {
        wire.skip(size)?;
        wire.tags()?;
    }
    Some(())
}
