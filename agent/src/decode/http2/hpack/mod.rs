//! HPACK (RFC 7541): header blocks of one direction in, fields out.
//!
//! The decoder may begin in the middle of a connection: what refers to its unknown past comes out
//! as unknown, and all that refers to what was seen since is known.

pub(crate) mod huffman;
mod reader;
mod statics;
mod table;
#[cfg(test)]
pub(super) mod tests;

use bytes::Bytes;

pub(crate) use self::statics::TABLE;
pub(super) use self::table::Field;
use self::{
    reader::Reader,
    table::{Found, Table},
};

/// Fields of a list that are kept.
const MAX_FIELDS: usize = 1024;
/// Bytes of names and values of a list that are kept. A block of a few bytes may refer to a large
/// entry again and again.
const LIST_LIMIT: usize = 256 << 10;

/// The block is not HPACK, or refers to what cannot be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The fields of a block.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct List {
    pub(super) fields: Vec<Field>,
    /// How many more there were, over a limit.
    pub(super) omitted: u32,
    size: usize,
}

impl List {
    fn push(&mut self, field: Field) {
        let size = field.size();
        if self.fields.len() < MAX_FIELDS && self.size + size <= LIST_LIMIT {
            self.size += size;
            self.fields.push(field);
        } else {
            self.omitted = self.omitted.saturating_add(1);
        }
    }
}

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

    /// Decodes the next whole block.
    pub(super) fn decode(&mut self, block: &[u8]) -> Result<List, Malformed> {
        let mut list = List::default();
        let mut reader = Reader::new(block);
        while let Some(first) = reader.peek() {
            if let Some(field) = self.representation(first, &mut reader).ok_or(Malformed)? {
                list.push(field);
            }
        }
        Ok(list)
    }

    /// How much memory it takes.
    pub(super) fn weight(&self) -> usize {
        self.table.weight()
    }

    /// RFC 7541, section 6. An update of the table's size gives no field.
    fn representation(&mut self, first: u8, reader: &mut Reader<'_>) -> Option<Option<Field>> {
        match first {
            // 6.1, indexed header field.
            0x80.. => self.find(reader.integer(7)?).map(Some),
            // 6.2.1, literal header field with incremental indexing.
            0x40..0x80 => {
                let field = self.literal(6, reader)?;
                self.table.insert(field.clone());
                Some(Some(field))
            }
            // 6.3, dynamic table size update.
            0x20..0x40 => {
                self.table.resize(reader.integer(5)?);
                Some(None)
            }
            // 6.2.2 and 6.2.3, literal header field without indexing, and never indexed.
            _ => self.literal(4, reader).map(Some),
        }
    }

    fn literal(&self, prefix: u32, reader: &mut Reader<'_>) -> Option<Field> {
        let name = match reader.integer(prefix)? {
            0 => Some(reader.string()?),
            index => self.find(index)?.name,
        };
        Some(Field { name, value: Some(reader.string()?) })
    }

    /// RFC 7541, section 2.3.3: the dynamic table's indices follow those of the static one. `None`
    /// when there is no such entry: section 6.1, "The index value of 0 is not used."
    fn find(&self, index: usize) -> Option<Field> {
        if let Some((name, value)) = index.checked_sub(1).and_then(|place| TABLE.get(place)) {
            let text = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
            return Some(Field { name: text(name), value: text(value) });
        }
        match self.table.find(index.saturating_sub(TABLE.len())) {
            Found::Entry(field) => Some(field),
            Found::Unknown => Some(Field::default()),
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
