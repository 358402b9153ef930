//! Sizes and durations for people.

use std::fmt::{self, Write as _};

/// A number of bytes, with three digits that count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size(pub(super) u64);

/// A number of nanoseconds, with three digits that count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span(pub(super) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 5] = [
            (1_000_000_000_000, "TB"),
            (1_000_000_000, "GB"),
            (1_000_000, "MB"),
            (1000, "kB"),
            (1, "B"),
        ];
        scaled(self.0, &UNITS, f)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] =
            [(1_000_000_000, "s"), (1_000_000, "ms"), (1000, "µs"), (1, "ns")];
        scaled(self.0, &UNITS, f)
    }
}

/// Rounds down, so that a unit is never shown a thousand times.
fn scaled(value: u64, units: &[(u64, &str)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let unit = units.iter().find(|(scale, _)| value >= *scale).or(units.last());
    let Some(&(scale, name)) = unit else {
        return Ok(());
    };
    let (whole, rest) = (value / scale, value % scale);
    let mut shown = Short::default();
    match whole {
        _ if scale == 1 => write!(shown, "{whole} {name}")?,
        0..10 => write!(shown, "{whole}.{:02} {name}", rest / (scale / 100))?,
        10..100 => write!(shown, "{whole}.{} {name}", rest / (scale / 10))?,
        _ => write!(shown, "{whole} {name}")?,
    }
    f.pad(shown.as_str())
}

/// A few bytes of text, in place.
#[derive(Default)]
struct Short {
    bytes: [u8; 32],
    length: usize,
}

impl Short {
    fn as_str(&self) -> &str {
        let written = self.bytes.get(..self.length).unwrap_or_default();
        std::str::from_utf8(written).unwrap_or_default()
    }
}

impl fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        let place = self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, expect) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (5162, "5.16 kB"),
            (12_345, "12.3 kB"),
            (999_999, "999 kB"),
            (u64::MAX, "18446744 TB"),
        ] {
            assert_eq!(Size(bytes).to_string(), expect);
        }
    }

    #[test]
    fn spans() {
        for (ns, expect) in [
            (0, "0 ns"),
            (1500, "1.50 µs"),
            (1_200_345, "1.20 ms"),
            (999_999_999, "999 ms"),
            (61_000_000_000, "61.0 s"),
            (7_200_000_000_000, "7200 s"),
        ] {
            assert_eq!(Span(ns).to_string(), expect);
        }
        assert_eq!(format!("{:>9}", Span(5)), "     5 ns");
    }
}
