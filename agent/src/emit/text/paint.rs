//! Colors, for those who want them.

use std::fmt;

/// Exchanges that take longer are marked, the second more than the first.
const SLOW: u64 = 1_000_000_000;
const VERY_SLOW: u64 = 5_000_000_000;

/// ANSI "select graphic rendition" parameters.
pub(super) type Color = &'static str;

pub(super) const DIM: Color = "2";
pub(super) const RED: Color = "31";
const BOLD_RED: Color = "1;31";
pub(super) const GREEN: Color = "32";
pub(super) const YELLOW: Color = "33";
pub(super) const CYAN: Color = "36";
pub(super) const PLAIN: Color = "";

/// Something in a color.
pub(super) struct Painted<T> {
    pub(super) color: Color,
    pub(super) what: T,
}

impl<T: fmt::Display> fmt::Display for Painted<T> {
    /// A width is that of what is painted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.color == PLAIN {
            return self.what.fmt(f);
        }
        write!(f, "\x1b[{}m", self.color)?;
        self.what.fmt(f)?;
        f.write_str("\x1b[0m")
    }
}

/// By class.
pub(super) const fn status_color(status: u16) -> Color {
    match status {
        200..=299 => GREEN,
        300..=399 => CYAN,
        400..=499 => YELLOW,
        500..=599 => BOLD_RED,
        _ => PLAIN,
    }
}

/// By how much too long it is.
pub(super) const fn duration_color(ns: Option<u64>) -> Color {
    match ns {
        Some(VERY_SLOW..) => BOLD_RED,
        Some(SLOW..) => YELLOW,
        _ => PLAIN,
    }
}
