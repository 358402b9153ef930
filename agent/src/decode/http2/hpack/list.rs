//! The fields of a block in, a header section out.

use super::{Pair, table};
use crate::decode::Fields;

/// Fields of a list that are kept.
const MAX_FIELDS: usize = 1024;
/// Bytes of names and values of a list that are kept. A block of a few bytes may refer to a large
/// entry again and again.
pub(super) const LIMIT: usize = 256 << 10;
/// Room for what most blocks hold: fields, bytes of names, of values.
const ROOM: (usize, usize, usize) = (16, 160, 320);

/// The fields of a block, as far as it is read.
#[derive(Debug)]
pub(in crate::decode::http2) struct List {
    fields: Fields,
    /// As the table counts it.
    size: usize,
}

impl List {
    pub(in crate::decode::http2) fn new() -> Self {
        let (fields, names, values) = ROOM;
        Self { fields: Fields::with_capacity(fields, names, values), size: 0 }
    }

    /// Adds a field. One over a limit counts as unknown.
    pub(in crate::decode::http2) fn push(&mut self, (name, value): Pair<'_>) {
        let size = table::size(name, value);
        match (name, value) {
            (Some(name), Some(value))
                if self.fields.len() < MAX_FIELDS && self.size + size <= LIMIT =>
            {
                self.size += size;
                match std::str::from_utf8(name) {
                    Ok(name) => self.fields.push(name, value),
                    Err(_) => self.fields.push(&String::from_utf8_lossy(name), value),
                }
            }
            _ => self.fields.lose(1),
        }
    }

    /// All of them.
    pub(in crate::decode::http2) fn fields(self) -> Fields {
        self.fields
    }
}
