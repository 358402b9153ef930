//! `data` and `gap` events put together again: per connection and direction, the plaintext.

use std::{collections::BTreeMap, fmt};

use anyhow::{Context as _, Result, bail, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;

use crate::event::{number, text};

/// Names one direction of one connection: its id, then the direction.
pub type StreamKey = (String, String);

/// A part of a stream.
#[derive(Clone, PartialEq, Eq)]
pub enum Piece {
    /// Bytes.
    Data(Vec<u8>),
    /// So many missing bytes, and why.
    Gap(u64, String),
}

impl fmt::Debug for Piece {
    /// Lengths only: the bytes would fill pages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Gap(length, reason) => write!(f, "gap of {length}, {reason}"),
        }
    }
}

impl Piece {
    fn length(&self) -> u64 {
        match self {
            Self::Data(bytes) => bytes.len() as u64,
            Self::Gap(length, _) => *length,
        }
    }
}

/// The pieces of every connection and direction of a process, in order.
///
/// Fails on pieces that come twice, out of order, with a hole between them, or with a wrong
/// length.
pub fn pieces(events: &[Value], pid: u32) -> Result<BTreeMap<StreamKey, Vec<Piece>>> {
    let mut streams = BTreeMap::<StreamKey, Vec<Piece>>::new();
    for event in events.iter().filter(|event| number(event, "/process/pid") == Some(pid.into())) {
        let stream = streams.entry(key(event)?).or_default();
        let piece = piece(event)?;
        let end: u64 = stream.iter().map(Piece::length).sum();
        let offset = number(event, "/offset").context("no offset")?;
        ensure!(offset == end, "offset {offset} after {end} bytes");
        let length = number(event, "/length").context("no length")?;
        let unknown = ["in-flight-full", "detached"].map(|why| Piece::Gap(0, why.to_owned()));
        let known = length > 0 || unknown.contains(&piece);
        ensure!(length == piece.length() && known, "length {length}, not {}", piece.length());
        stream.push(piece);
    }
    Ok(streams)
}

/// The plaintext of every connection and direction of a process, which must have no gap.
pub fn whole(events: &[Value], pid: u32) -> Result<BTreeMap<StreamKey, Vec<u8>>> {
    let join = |(key, pieces): (StreamKey, Vec<Piece>)| {
        let mut bytes = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Data(more) => bytes.extend(more),
                Piece::Gap(length, reason) => bail!("a gap of {length} bytes, {reason}"),
            }
        }
        Ok((key, bytes))
    };
    pieces(events, pid)?.into_iter().map(join).collect()
}

fn key(event: &Value) -> Result<StreamKey> {
    let connection = text(event, "/network/connection/id").context("no connection id")?;
    let direction = text(event, "/network/io/direction").context("no direction")?;
    Ok((connection.to_owned(), direction.to_owned()))
}

fn piece(event: &Value) -> Result<Piece> {
    match text(event, "/type") {
        Some("data") => Ok(Piece::Data(payload(event)?)),
        Some("gap") => {
            let length = number(event, "/length").context("no length")?;
            let reason = text(event, "/reason").context("no reason")?;
            Ok(Piece::Gap(length, reason.to_owned()))
        }
        _ => bail!("neither data nor gap: {event}"),
    }
}

/// The bytes of a `data` event: `text`, or `base64` where they are not UTF-8.
fn payload(event: &Value) -> Result<Vec<u8>> {
    match (text(event, "/text"), text(event, "/base64")) {
        (Some(text), None) => Ok(text.as_bytes().to_vec()),
        (None, Some(coded)) => {
            let bytes = BASE64_STANDARD.decode(coded).context("broken base64")?;
            ensure!(std::str::from_utf8(&bytes).is_err(), "UTF-8 must come as text");
            Ok(bytes)
        }
        _ => bail!("not exactly one of text and base64 in {event}"),
    }
}
