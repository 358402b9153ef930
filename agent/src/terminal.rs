//! The terminal: how wide it is, and one line of it that is written again and again. What else goes to
//! the same terminal passes through [`Stderr`] and [`Stdout`], which take that line away before.

use std::{
    env,
    io::{self, IsTerminal as _, Write},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU16, Ordering},
    },
};

use rustix::termios::tcgetwinsize;
use tokio::signal::unix::{SignalKind, signal};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Back to the beginning of the line, and nothing behind it (ECMA-48, EL).
const CLEAR: &[u8] = b"\r\x1b[K";

/// Whether the line is there.
static SHOWN: Mutex<bool> = Mutex::new(false);

/// How many columns standard output has; it follows the window.
#[derive(Clone, Debug)]
pub struct Width(Arc<AtomicU16>);

impl Width {
    /// `None` when standard output is no terminal, or does not say. `COLUMNS` is believed before.
    pub fn of_stdout() -> Option<Self> {
        if !io::stdout().is_terminal() {
            return None;
        }
        let told = env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        if let Some(columns) = told.filter(|columns| *columns > 0) {
            return Some(Self::fixed(columns));
        }
        let width = Self::fixed(columns(&io::stdout())?);
        let follows = width.clone();
        if let Ok(mut changes) = signal(SignalKind::window_change()) {
            tokio::spawn(async move {
                while changes.recv().await.is_some() {
                    follows.set(columns(&io::stdout()).unwrap_or_default());
                }
            });
        }
        Some(width)
    }

    /// One that stays.
    pub fn fixed(columns: u16) -> Self {
        Self(Arc::new(AtomicU16::new(columns)))
    }

    /// The window changed.
    pub fn set(&self, columns: u16) {
        self.0.store(columns, Ordering::Relaxed);
    }

    /// Now; `None` when it is not known any more.
    pub fn columns(&self) -> Option<u16> {
        Some(self.0.load(Ordering::Relaxed)).filter(|columns| *columns > 0)
    }
}

fn columns(terminal: &impl std::os::fd::AsFd) -> Option<u16> {
    let size = tcgetwinsize(terminal).ok()?;
    Some(size.ws_col).filter(|columns| *columns > 0)
}

/// The text in at most so many columns; an ellipsis stands for what was cut off.
pub fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut left = columns.saturating_sub(1);
    for letter in text.chars() {
        let wide = letter.width().unwrap_or(0);
        if wide > left {
            break;
        }
        left -= wide;
        kept.push(letter);
    }
    // Letters together may be wider than they are alone.
    while kept.width() >= columns && kept.pop().is_some() {}
    if columns > 0 {
        kept.push('…');
    }
    kept
}

fn lock() -> MutexGuard<'static, bool> {
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn clear(shown: &mut bool) {
    if std::mem::take(shown) {
        let _ = io::stderr().write_all(CLEAR);
    }
}

/// The line that is written again and again, on standard error. Dropping it takes it away.
#[derive(Debug)]
pub struct Status(());

impl Status {
    /// `None` when standard error is no terminal.
    pub fn start() -> Option<Self> {
        io::stderr().is_terminal().then_some(Self(()))
    }

    /// Shows this, as much as there is room for.
    pub fn show(&self, text: &str) {
        let columns = columns(&io::stderr()).map_or(80, usize::from);
        let mut shown = lock();
        // A line that is full would go on in the next.
        let text = cut(text, columns.saturating_sub(1));
        let line = [CLEAR, text.as_bytes()].concat();
        *shown = io::stderr().write_all(&line).is_ok();
    }

    /// Takes it away.
    pub fn hide(&self) {
        clear(&mut lock());
    }
}

impl Drop for Status {
    fn drop(&mut self) {
        self.hide();
    }
}

/// Standard error, without the line.
#[derive(Clone, Copy, Debug)]
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut shown = lock();
        clear(&mut shown);
        io::stderr().write(bytes)
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut shown = lock();
        clear(&mut shown);
        io::stderr().write_all(bytes)
    }

    fn write_fmt(&mut self, text: std::fmt::Arguments<'_>) -> io::Result<()> {
        // In one piece, so that the line does not come in between.
        self.write_all(text.to_string().as_bytes())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Standard output, which may be the same terminal.
#[derive(Clone, Copy, Debug)]
pub struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut shown = lock();
        clear(&mut shown);
        io::stdout().write(bytes)
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut shown = lock();
        clear(&mut shown);
        let mut out = io::stdout().lock();
        // Before the line comes back.
        out.write_all(bytes).and_then(|()| out.flush())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_by_columns() {
        for (text, columns, expect) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("世界世界", 8, "世界世界"),
            ("世界世界", 7, "世界世…"),
            ("世界世界", 6, "世界…"),
            ("cafe\u{301}s and more", 6, "cafe\u{301}s…"),
            ("ab", 1, "…"),
            ("ab", 0, ""),
            ("", 0, ""),
        ] {
            let cut = cut(text, columns);
            assert_eq!(cut, expect, "{text} in {columns}");
            assert!(cut.width() <= columns, "{text} in {columns}");
        }
    }

    #[test]
    fn a_width_that_is_not_known_is_none() {
        assert_eq!(Width::fixed(80).columns(), Some(80));
        assert_eq!(Width::fixed(0).columns(), None);
    }
}
