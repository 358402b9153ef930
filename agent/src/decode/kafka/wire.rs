//! Types of Kafka's protocol (<https://kafka.apache.org/protocol#protocol_types>), classic or compact.
//! What is missing is `None`.

use crate::decode::cursor::Cursor;

#[derive(Clone, Copy, Debug)]
pub(super) struct Wire<'a> {
    rest: Cursor<'a>,
    /// KIP-482: lengths are varints, one more than they say, and tagged fields end each structure.
    compact: bool,
}

impl<'a> Wire<'a> {
    pub(super) const fn new(bytes: &'a [u8], compact: bool) -> Self {
        Self { rest: Cursor(bytes), compact }
    }

    /// As another structure is written.
    pub(super) const fn with(self, compact: bool) -> Self {
        Self { compact, ..self }
    }

    pub(super) fn skip(&mut self, bytes: usize) -> Option<()> {
        self.rest.take(bytes).map(drop)
    }

    /// Skips what is there from some version on.
    pub(super) fn skip_if(&mut self, there: bool, bytes: usize) -> Option<()> {
        if there { self.skip(bytes) } else { Some(()) }
    }

    pub(super) fn int8(&mut self) -> Option<i8> {
        self.rest.byte().map(u8::cast_signed)
    }

    pub(super) fn int16(&mut self) -> Option<i16> {
        self.rest.int16().map(u16::cast_signed)
    }

    fn varint(&mut self) -> Option<u32> {
        let mut value = 0_u32;
        for place in 0..5 {
            let byte = self.rest.byte()?;
            value |= u32::from(byte & 0x7f).checked_shl(7 * place)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// How many bytes or elements follow; `Some(None)` for null.
    fn length(&mut self, short: bool) -> Option<Option<usize>> {
        let length = if self.compact {
            i64::from(self.varint()?) - 1
        } else if short {
            i64::from(self.int16()?)
        } else {
            i64::from(self.rest.int32()?.cast_signed())
        };
        match length {
            -1 => Some(None),
            length => usize::try_from(length).ok().map(Some),
        }
    }

    /// `Some(None)` for null.
    pub(super) fn nullable(&mut self) -> Option<Option<&'a str>> {
        match self.length(true)? {
            None => Some(None),
            Some(length) => str::from_utf8(self.rest.take(length)?).ok().map(Some),
        }
    }

    pub(super) fn string(&mut self) -> Option<&'a str> {
        self.nullable()?
    }

    pub(super) fn skip_bytes(&mut self) -> Option<()> {
        let length = self.length(false)?.unwrap_or(0);
        self.skip(length)
    }

    /// How many elements follow; none for null.
    pub(super) fn array(&mut self) -> Option<usize> {
        self.length(false).map(|length| length.unwrap_or(0))
    }

    /// An array of elements of a fixed size.
    pub(super) fn skip_array(&mut self, element: usize) -> Option<()> {
        let count = self.array()?;
        self.skip(count.checked_mul(element)?)
    }

    /// The end of a structure.
    pub(super) fn tags(&mut self) -> Option<()> {
        if !self.compact {
            return Some(());
        }
        for _ in 0..self.varint()? {
            self.varint()?;
            let length = self.varint()?;
            self.skip(usize::try_from(length).ok()?)?;
        }
        Some(())
    }
}
