//! `data` and `gap` events put together again: per connection and direction, the plaintext.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;

use crate::event::{number, text};

/// Names one direction of one connection.
pub type StreamKey = (String, String);

/// The plaintext of every connection and direction of a process.
///
/// Fails on a gap, and on bytes that come twice, out of order, or with a wrong length.
pub fn whole(events: &[Value], pid: u32) -> Result<BTreeMap<StreamKey, Vec<u8>>> {
    let mut streams = BTreeMap::<StreamKey, Vec<u8>>::new();
    for event in events
        .iter()
        .filter(|event| number(event, "/process/pid") == Some(pid.into()))
    {
        let stream = streams.entry(key(event)?).or_default();
        match text(event, "/type") {
            Some("data") => push(stream, event)?,
            Some("gap") => bail!("a gap: {event}"),
            _ => bail!("neither data nor gap: {event}"),
        }
    }
    Ok(streams)
}

fn key(event: &Value) -> Result<StreamKey> {
    let connection = text(event, "/network/connection/id").context("no connection id")?;
    let direction = text(event, "/network/io/direction").context("no direction")?;
    Ok((connection.to_owned(), direction.to_owned()))
}

fn push(stream: &mut Vec<u8>, event: &Value) -> Result<()> {
    let bytes = payload(event)?;
    let offset = number(event, "/offset").context("no offset")?;
    ensure!(
        offset == stream.len() as u64,
        "offset {offset} after {} bytes",
        stream.len()
    );
    let length = number(event, "/length").context("no length")?;
    ensure!(
        length == bytes.len() as u64,
        "length {length} of {} bytes",
        bytes.len()
    );
    stream.extend(bytes);
    Ok(())
}

/// The bytes of a `data` event: `text`, or `base64` where they are not UTF-8.
pub fn payload(event: &Value) -> Result<Vec<u8>> {
    match (text(event, "/text"), text(event, "/base64")) {
        (Some(text), None) => Ok(text.as_bytes().to_vec()),
        (None, Some(coded)) => {
            let bytes = BASE64_STANDARD.decode(coded).context("broken base64")?;
            ensure!(
                std::str::from_utf8(&bytes).is_err(),
                "UTF-8 must come as text"
            );
            Ok(bytes)
        }
        _ => bail!("not exactly one of text and base64 in {event}"),
    }
}
