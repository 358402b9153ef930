//! The error codes of answers.

use super::{
    Wire,
    apis::{
        API_VERSIONS, Api, FETCH, FIND_COORDINATOR, HEARTBEAT, INIT_PRODUCER_ID, JOIN_GROUP,
        LEAVE_GROUP, METADATA, OFFSET_COMMIT, OFFSET_FETCH, PRODUCE, SASL_AUTHENTICATE,
        SASL_HANDSHAKE, SYNC_GROUP,
    },
};

/// What is known of an answer.
pub(super) struct Read {
    /// The first code that is no success.
    pub(super) failure: Option<i16>,
    /// Whether there is no other.
    pub(super) whole: bool,
}

/// Codes as they are met.
#[derive(Default)]
struct Codes(Option<i16>);

impl Codes {
    fn meet(&mut self, wire: &mut Wire<'_>) -> Option<()> {
        let code = wire.int16()?;
        if code != 0 {
            self.0.get_or_insert(code);
        }
        Some(())
    }
}

pub(super) fn read(api: &Api, version: i16, body: &[u8], whole: bool) -> Read {
    if !api.knows(version) {
        return Read { failure: None, whole: false };
    }
    let compact = api.is_compact(version);
    let mut wire = Wire::new(body, compact);
    let mut codes = Codes::default();
    // The head of ApiVersions is the oldest in all versions, for clients that do not know others.
    let head = if api.key == API_VERSIONS { Some(()) } else { wire.tags() };
    let end = head.and_then(|()| walk(api.key, version, &mut wire, &mut codes));
    // What is read of a long answer may have met a failure; it met no other.
    Read { failure: codes.0, whole: end.is_some() && (whole || is_first(api.key)) }
}

/// Whether all that is looked at is at the beginning.
const fn is_first(key: i16) -> bool {
    !matches!(key, PRODUCE | FETCH | METADATA | OFFSET_COMMIT | OFFSET_FETCH)
}

fn walk(key: i16, version: i16, wire: &mut Wire<'_>, codes: &mut Codes) -> Option<()> {
    match key {
        API_VERSIONS | SASL_HANDSHAKE | SASL_AUTHENTICATE => codes.meet(wire),
        HEARTBEAT | SYNC_GROUP | LEAVE_GROUP | FIND_COORDINATOR => {
            wire.skip_if(version >= 1, 4)?;
            codes.meet(wire)
        }
        JOIN_GROUP => {
            wire.skip_if(version >= 2, 4)?;
            codes.meet(wire)
        }
        INIT_PRODUCER_ID => {
            wire.skip(4)?;
            codes.meet(wire)
        }
        PRODUCE => each(wire, |wire| produced(version, wire, codes)),
        FETCH => {
            wire.skip_if(version >= 1, 4)?;
            if version >= 7 {
                codes.meet(wire)?;
                wire.skip(4)?;
            }
            each(wire, |wire| fetched(version, wire, codes))
        }
        OFFSET_COMMIT => {
            wire.skip_if(version >= 3, 4)?;
            each(wire, |wire| {
                wire.skip(4)?;
                codes.meet(wire)
            })
        }
        OFFSET_FETCH => {
            wire.skip_if(version >= 3, 4)?;
            each(wire, |wire| {
                wire.skip(12 + 4 * usize::from(version >= 5))?;
                wire.nullable()?;
                codes.meet(wire)
            })?;
            if version >= 2 { codes.meet(wire) } else { Some(()) }
        }
        METADATA => metadata(version, wire, codes),
        _ => None,
    }
}

/// Topics by name, and their partitions.
fn each<'a>(
    wire: &mut Wire<'a>,
    mut partition: impl FnMut(&mut Wire<'a>) -> Option<()>,
) -> Option<()> {
    for _ in 0..wire.array()? {
        wire.string()?;
        for _ in 0..wire.array()? {
            partition(wire)?;
            wire.tags()?;
        }
        wire.tags()?;
    }
    Some(())
}

fn produced(version: i16, wire: &mut Wire<'_>, codes: &mut Codes) -> Option<()> {
    wire.skip(4)?;
    codes.meet(wire)?;
    wire.skip(8 + 8 * usize::from(version >= 2) + 8 * usize::from(version >= 5))?;
    if version >= 8 {
        for _ in 0..wire.array()? {
            wire.skip(4)?;
            wire.nullable()?;
            wire.tags()?;
        }
        wire.nullable()?;
    }
    Some(())
}

fn fetched(version: i16, wire: &mut Wire<'_>, codes: &mut Codes) -> Option<()> {
    wire.skip(4)?;
    codes.meet(wire)?;
    wire.skip(8 + 8 * usize::from(version >= 4) + 8 * usize::from(version >= 5))?;
    if version >= 4 {
        for _ in 0..wire.array()? {
            wire.skip(16)?;
            wire.tags()?;
        }
    }
    wire.skip_if(version >= 11, 4)?;
    wire.skip_bytes()
}

fn metadata(version: i16, wire: &mut Wire<'_>, codes: &mut Codes) -> Option<()> {
    wire.skip_if(version >= 3, 4)?;
    for _ in 0..wire.array()? {
        wire.skip(4)?;
        wire.string()?;
        wire.skip(4)?;
        if version >= 1 {
            wire.nullable()?;
        }
        wire.tags()?;
    }
    if version >= 2 {
        wire.nullable()?;
    }
    wire.skip_if(version >= 1, 4)?;
    for _ in 0..wire.array()? {
        codes.meet(wire)?;
        wire.nullable()?;
        wire.skip_if(version >= 10, 16)?;
        wire.skip_if(version >= 1, 1)?;
        for _ in 0..wire.array()? {
            codes.meet(wire)?;
            wire.skip(8 + 4 * usize::from(version >= 7))?;
            wire.skip_array(4)?;
            wire.skip_array(4)?;
            if version >= 5 {
                wire.skip_array(4)?;
            }
            wire.tags()?;
        }
        wire.skip_if(version >= 8, 4)?;
        wire.tags()?;
    }
    Some(())
}
