//! HPACK (RFC 7541): header blocks of one direction in, fields out.
//!
//! The decoder may begin in the middle of a connection: what refers to its unknown past comes out
//! as unknown, and all that refers to what was seen since is known.

pub(crate) mod huffman;
mod list;
mod reader;
mod statics;
mod table;
#[cfg(test)]
pub(super) mod tests;

use bytes::Bytes;

pub(super) use self::list::List;
pub(crate) use self::statics::TABLE;
use self::{
    reader::Reader,
    table::{Field, Found, Table},
};

/// The block is not HPACK, or refers to what cannot be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// A name and a value; what refers to an unknown entry is absent.
type Pair<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// The decoder of one direction.
#[derive(Debug)]
pub(super) struct Decoder {
    table: Table,
}

impl Decoder {
    /// A decoder for a connection from its beginning.
    pub(super) const fn initial() -> Self {
        Self { table: Table::initial() }
    }

    /// A decoder that does not know what came before.
    pub(super) const fn joined() -> Self {
        Self { table: Table::unknown() }
    }

    /// Blocks may have been lost: entries may have been inserted, so that no index means what it
    /// seems to.
    pub(super) fn forget(&mut self) {
        *self = Self::joined();
    }

    /// Decodes the next whole block; `each` takes its fields, in order.
    pub(super) fn decode(
        &mut self,
        block: &[u8],
        mut each: impl FnMut(Pair<'_>),
    ) -> Result<(), Malformed> {
        let mut reader = Reader::new(block);
        while let Some(first) = reader.peek() {
            self.representation(first, &mut reader, &mut each).ok_or(Malformed)?;
        }
        Ok(())
    }

    /// How much memory it takes.
    pub(super) fn weight(&self) -> usize {
        self.table.weight()
    }

    /// RFC 7541, section 6. An update of the table's size gives no field.
    fn representation(
        &mut self,
        first: u8,
        reader: &mut Reader<'_>,
        mut each: impl FnMut(Pair<'_>),
    ) -> Option<()> {
        match first {
            // 6.1, indexed header field.
            0x80.. => each(self.find(reader.integer(7)?)?),
            // 6.2.1, literal header field with incremental indexing.
            0x40..0x80 => {
                let name = self.name(6, reader)?;
                let value = reader.string()?;
                each((name.as_deref(), Some(value)));
                self.table.insert(Field { name, value: Some(Bytes::copy_from_slice(value)) });
            }
            // 6.3, dynamic table size update.
            0x20..0x40 => self.table.resize(reader.integer(5)?),
            // 6.2.2 and 6.2.3, literal header field without indexing, and never indexed.
            _ => {
                let name = self.name(4, reader)?;
                each((name.as_deref(), Some(reader.string()?)));
            }
        }
        Some(())
    }

    /// The name of a literal field; absent within when it refers to an unknown entry.
    fn name(&self, prefix: u32, reader: &mut Reader<'_>) -> Option<Option<Bytes>> {
        match reader.integer(prefix)? {
            0 => Some(Some(Bytes::copy_from_slice(reader.string()?))),
            index => match TABLE.get(index - 1) {
                Some((name, _)) => Some(Some(Bytes::from_static(name.as_bytes()))),
                None => match self.table.find(index - TABLE.len()) {
                    Found::Entry(field) => Some(field.name.clone()),
                    Found::Unknown => Some(None),
                    Found::Nothing => None,
                },
            },
        }
    }

    /// RFC 7541, section 2.3.3: the dynamic table's indices follow those of the static one. `None`
    /// when there is no such entry: section 6.1, "The index value of 0 is not used."
    fn find(&self, index: usize) -> Option<Pair<'_>> {
        if let Some((name, value)) = index.checked_sub(1).and_then(|place| TABLE.get(place)) {
            return Some((Some(name.as_bytes()), Some(value.as_bytes())));
        }
        match self.table.find(index.saturating_sub(TABLE.len())) {
            Found::Entry(field) => Some((field.name.as_deref(), field.value.as_deref())),
            Found::Unknown => Some((None, None)),
            Found::Nothing => None,
        }
    }
}

/// What the first byte of a block says of it: pseudo-header fields stand first (RFC 9113, section
/// 8.3), and most are in the static table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lead {
    Request,
    Response,
    Other,
    /// No block begins so.
    Malformed,
}

impl Lead {
    pub(super) const fn of(first: u8) -> Self {
        let name = match first {
            0x80.. => first & 0x7f,
            0x40..0x80 => first & 0x3f,
            0x20..0x40 => return Self::Other,
            _ => first & 0x0f,
        };
        match name {
            0 if first == 0x80 => Self::Malformed,
            1..=7 => Self::Request,
            8..=14 => Self::Response,
            _ => Self::Other,
        }
    }
}
