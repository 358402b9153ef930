//! Some bytes in, fields out: numbers begin with the most significant byte, strings with their
//! length. What is missing is `None`.

/// What is left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn int16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn int32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn int64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// Behind a length of two bytes.
    pub(super) fn counted16(&mut self) -> Option<&'a [u8]> {
        let length = self.int16()?;
        self.take(usize::from(length))
    }

    /// Likewise, when it is UTF-8.
    pub(super) fn text16(&mut self) -> Option<&'a str> {
        str::from_utf8(self.counted16()?).ok()
    }
}
