//! The name that a value may be behind: bytes in, the name as the list of secrets has it out.

/// Of a longer name the end counts.
const NAME: usize = 64;

/// A name: its letters and digits, in lower case.
#[derive(Clone, Debug)]
pub(super) struct Word {
    bytes: [u8; NAME],
    length: usize,
    /// Hexadecimal digits of a percent-encoded byte that are still to come, and their value.
    percent: (u8, u8),
}

impl Default for Word {
    fn default() -> Self {
        Self { bytes: [0; NAME], length: 0, percent: (0, 0) }
    }
}

impl Word {
    pub(super) const fn clear(&mut self) {
        self.length = 0;
        self.percent = (0, 0);
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(super) fn as_str(&self) -> &str {
        str::from_utf8(self.bytes.get(..self.length).unwrap_or_default()).unwrap_or_default()
    }

    pub(super) fn push(&mut self, byte: u8) {
        if byte == b'%' {
            self.percent = (2, 0);
            return;
        }
        let (left, value) = self.percent;
        if left == 0 {
            return self.keep(byte);
        }
        let digit = char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let value = (value << 4) | digit.unwrap_or_default();
        self.percent = (left - 1, value);
        if left == 1 {
            self.keep(value);
        }
    }

    fn keep(&mut self, byte: u8) {
        if !byte.is_ascii_alphanumeric() {
            return;
        }
        if self.length == NAME {
            self.bytes.copy_within(NAME / 2.., 0);
            self.length = NAME / 2;
        }
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte.to_ascii_lowercase();
            self.length += 1;
        }
    }
}
