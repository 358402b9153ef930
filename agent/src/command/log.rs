//! The agent's own log, on standard error, a line each. It never carries plaintext, and what it names of
//! others begins no line and steers no terminal.

use std::io;

use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer,
    fmt::MakeWriter,
    layer::SubscriberExt as _,
    registry::{self, LookupSpan},
    util::SubscriberInitExt as _,
};

use crate::{cli::Verbosity, emit, terminal};

/// Logs from now on.
pub(super) fn start(Verbosity { verbose }: Verbosity) {
    let level = match verbose {
        0 => "warn",
        1 => "tlstap=info",
        2 => "tlstap=debug",
        _ => "trace",
    };
    let lines = lines(|| terminal::Stderr, emit::colour(&io::stderr()), verbose > 1);
    // Fails only if a log was set up before.
    let _ = registry::Registry::default().with(EnvFilter::new(level)).with(lines).try_init();
}

fn lines<S, W>(writer: W, colours: bool, targets: bool) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colours).with_target(targets)
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        path::Path,
        sync::{Arc, Mutex},
    };

    use super::*;

    /// What was written, of whoever writes.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// In the ways in which the log names what others have named: processes, containers, paths.
    #[test]
    fn names_of_others_stay_in_their_line() {
        const EVIL: &str =
            "a\n2026-01-01T00:00:00Z  WARN all is well\r\x1b[2J\x1b]0;t\x07\u{9b}31m";
        let written = Written::default();
        let writer = written.clone();
        let log = registry::Registry::default().with(lines(move || writer.clone(), false, true));
        tracing::subscriber::with_default(log, || {
            let (name, path) = (EVIL.to_owned(), Path::new(EVIL));
            tracing::warn!(command = Some(&name), container = EVIL, ?path, "probed late");
        });
        let written = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let line = written.strip_suffix('\n').unwrap();
        assert!(!line.chars().any(char::is_control), "{line:?}");
        assert!(line.contains("probed late") && line.matches("all is well").count() == 3, "{line}");
    }
}
