//! Bytes of a header block in, integers and strings out (RFC 7541, section 5).

use super::huffman;

/// A longer string is refused: no peer accepts one.
const STRING_LIMIT: usize = 256 << 10;

#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    /// The last string that was coded.
    plain: Vec<u8>,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, plain: Vec::new() }
    }

    /// The next byte, which stays.
    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.first().copied()
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    /// Section 5.1, with a prefix of so many bits. "Integer encodings that exceed implementation
    /// limits -- in value or octet length -- MUST be treated as decoding errors."
    pub(super) fn integer(&mut self, prefix: u32) -> Option<usize> {
        let mask = u8::MAX >> 8_u32.checked_sub(prefix)?;
        let start = self.byte()? & mask;
        let mut value = u32::from(start);
        if start < mask {
            return usize::try_from(value).ok();
        }
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f) << shift;
            value = value.checked_add(u32::try_from(part).ok()?)?;
            if byte < 0x80 {
                return usize::try_from(value).ok();
            }
        }
        None
    }

    /// Section 5.2.
    pub(super) fn string(&mut self) -> Option<&[u8]> {
        let coded = self.peek()? >= 0x80;
        let length = self.integer(7)?;
        let (bytes, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        if !coded {
            return (length <= STRING_LIMIT).then_some(bytes);
        }
        self.plain.clear();
        huffman::decode(bytes, STRING_LIMIT, &mut self.plain)?;
        Some(&self.plain)
    }
}
