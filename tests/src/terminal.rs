//! A terminal: what is written to it, as it comes, and what is on it then.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use crate::deadline;

/// One that nobody sits at.
pub struct Terminal {
    ours: OwnedFd,
    /// What programs have in place of it.
    theirs: File,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// With so many columns.
    pub fn new(columns: u16) -> Result<Self> {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let name = ptsname(&ours, Vec::new())?;
        let name = name.to_str().context("a terminal's name that is not UTF-8")?;
        let theirs = File::options().read(true).write(true).open(name)?;
        let written = Arc::new(Mutex::new(Vec::new()));
        let (mut reading, into) = (File::from(ours.try_clone()?), Arc::clone(&written));
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = reading.read(&mut bytes) {
                let mut all = into.lock().unwrap_or_else(PoisonError::into_inner);
                all.extend_from_slice(bytes.get(..length).unwrap_or_default());
            }
        });
        let terminal = Self { ours, theirs, written };
        terminal.resize(columns)?;
        Ok(terminal)
    }

    /// Its window gets so many columns; who has it as its terminal is told (`SIGWINCH`).
    pub fn resize(&self, columns: u16) -> Result<()> {
        let size = Winsize { ws_row: 50, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(tcsetwinsize(&self.ours, size)?)
    }

    /// What a program writes to, in place of a pipe.
    pub fn stream(&self) -> Result<Stdio> {
        Ok(self.theirs.try_clone()?.into())
    }

    /// Writes at it, as with a keyboard.
    pub fn write(&self, text: &str) -> Result<()> {
        Ok(File::from(self.ours.try_clone()?).write_all(text.as_bytes())?)
    }

    /// All that was written.
    pub fn written(&self) -> String {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&written).into_owned()
    }

    /// Waits until this was written.
    pub fn wait_for(&self, what: &str, text: impl Fn(&str) -> bool) -> Result<()> {
        let waited = deadline::until(what, Duration::from_secs(30), || {
            Ok(text(&self.written()).then_some(()))
        });
        waited.with_context(|| format!("the terminal has {:?}", self.written()))
    }

    /// The lines that are on it, and where written over, what is there last.
    pub fn lines(&self) -> Result<Vec<String>> {
        let (mut lines, mut line, mut column) = (Vec::new(), Vec::<char>::new(), 0);
        let written = self.written();
        let mut letters = written.chars();
        while let Some(letter) = letters.next() {
            match letter {
                '\r' => column = 0,
                '\n' => {
                    lines.push(std::mem::take(&mut line).into_iter().collect());
                    column = 0;
                }
                '\u{1b}' => {
                    let code: String =
                        letters.by_ref().take_while(|&c| !matches!(c, 'm' | 'K')).collect();
                    ensure!(code.starts_with('['), "an escape that is not known: {code:?}");
                    if code == "[" && column == 0 {
                        line.clear();
                    }
                }
                letter => {
                    line.truncate(column);
                    line.push(letter);
                    column += 1;
                }
            }
        }
        lines.push(line.into_iter().collect());
        Ok(lines)
    }
}

/// A program at a terminal; it is killed when dropped.
pub struct Seated(Child);

impl Seated {
    /// Starts it; what is not said is a pipe.
    pub fn start(mut command: Command) -> Result<Self> {
        Ok(Self(command.spawn().with_context(|| format!("failed to start {command:?}"))?))
    }

    /// Stops it as a user does, and waits for its end.
    pub fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw).context("no pid")?;
        kill_process(pid, Signal::INT)?;
        let status = deadline::until("the end of the program", Duration::from_secs(30), || {
            Ok(self.0.try_wait()?)
        })?;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        // Fails when it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
