//! Chunks in, ordered segments of each connection and direction out, with every hole named.
//!
//! The ring delivers the chunks of a connection in order, so a chunk that starts behind the
//! expected offset means that the bytes between were lost. Knows stream offsets and nothing else.

mod streams;

use bytes::Bytes;
pub use streams::{Census, Streams};

use crate::capture::{Call, ConnectionKey, Direction, GapReason};

/// The next piece of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The connection.
    pub connection: ConnectionKey,
    /// The call that moved these bytes; for a gap, the first call seen behind it.
    pub call: Call,
    /// Data, gap or end.
    pub content: SegmentContent,
}

/// The part of a [`Segment`] that differs by kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SegmentContent {
    /// The next bytes of one direction.
    Data {
        /// Direction of the bytes.
        direction: Direction,
        /// Position of the first byte in the stream of this direction.
        offset: u64,
        /// Never empty.
        bytes: Bytes,
    },
    /// The next bytes of one direction are lost.
    Gap {
        /// Direction of the bytes.
        direction: Direction,
        /// Position of the first missing byte.
        offset: u64,
        /// How many bytes are missing; 0 when nobody knows ([`GapReason::InFlightFull`],
        /// [`GapReason::Detached`]).
        length: u64,
        /// Why.
        reason: GapReason,
    },
    /// The process sends nothing more.
    Shutdown,
    /// The connection is over; nothing follows.
    End,
}
