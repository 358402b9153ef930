//! What the records of a connection say of where they come from, as it was written before.

use std::{hash::BuildHasher as _, io, sync::Arc};

use foldhash::fast::RandomState;

use super::{
    origin::{Caller, Owner, Place},
    writer::members,
};
use crate::{
    capture::{ConnectionKey, Direction, Socket},
    enrich::{Container, Library, Process, Record},
};

/// Connections that are kept.
const PLACES: usize = 1024;

/// The connections. Each has one place, where the one that comes later stays.
#[derive(Debug)]
pub(super) struct Origins {
    hash: RandomState,
    places: Vec<Option<Box<Known>>>,
}

/// A connection, in one of its directions where records have one.
#[derive(Debug)]
struct Known {
    source: Source,
    /// Its members, without those of the calling thread, and where these stand.
    text: Vec<u8>,
    caller: usize,
}

/// All that the text is made of. Where nothing changed these are the same objects, so that to compare
/// them takes no time.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    connection: ConnectionKey,
    direction: Option<Direction>,
    process: Arc<Process>,
    container: Option<Arc<Container>>,
    tls: Option<Arc<Library>>,
    socket: Option<Arc<Socket>>,
    peer: Option<Arc<str>>,
}

impl Origins {
    pub(super) fn new() -> Self {
        let places = std::iter::repeat_with(|| None).take(PLACES).collect();
        Self { hash: RandomState::default(), places }
    }

    /// Writes who moved the bytes of a record, and over which connection.
    pub(super) fn write(
        &mut self,
        record: &Record,
        direction: Option<Direction>,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let hash = self.hash.hash_one((record.message.connection, direction));
        let place = usize::try_from(hash % PLACES as u64).unwrap_or_default();
        let Some(place) = self.places.get_mut(place) else { return Ok(()) };
        let known = match place {
            Some(known) if known.source.is_of(record, direction) => known,
            place => place.insert(Known::of(record, direction)?.into()),
        };
        let (before, behind) = known.text.split_at_checked(known.caller).unwrap_or_default();
        out.extend_from_slice(before);
        members(&Caller::of(record), out)?;
        out.extend_from_slice(behind);
        Ok(())
    }
}

impl Known {
    fn of(record: &Record, direction: Option<Direction>) -> io::Result<Self> {
        let mut text = Vec::with_capacity(512);
        members(&Owner::of(record), &mut text)?;
        let caller = text.len();
        members(&Place::of(record, direction), &mut text)?;
        Ok(Self { source: Source::of(record, direction), text, caller })
    }
}

impl Source {
    fn of(record: &Record, direction: Option<Direction>) -> Self {
        Self {
            connection: record.message.connection,
            direction,
            process: Arc::clone(&record.process),
            container: record.container.clone(),
            tls: record.tls.clone(),
            socket: record.socket.clone(),
            peer: record.peer.clone(),
        }
    }

    fn is_of(&self, record: &Record, direction: Option<Direction>) -> bool {
        self.connection == record.message.connection
            && self.direction == direction
            && self.process == record.process
            && self.container == record.container
            && self.tls == record.tls
            && self.socket == record.socket
            && self.peer == record.peer
    }
}
