//! The agent as a child: started with arguments, watched live, stopped by a signal.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;

use crate::{child::Child, cli::Ended, coverage, deadline, process, schema, tool};

/// From the start to the line with `ready`, on a busy machine, or on one that is emulated.
const READY: Duration = Duration::from_secs(60);

/// From the traffic to its event, on a busy machine.
pub const EVENT: Duration = Duration::from_secs(10);

/// From a signal to the end; the shell's prompt must be back by then.
pub const PROMPT: Duration = Duration::from_secs(1);

/// Grace for a run that ends by itself, and for an agent that ends too late to say how late.
pub const END: Duration = Duration::from_secs(30);

/// A run of tlstap that is being put together.
#[must_use]
pub struct Launch {
    binary: PathBuf,
    wrapper: Vec<String>,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    head: usize,
}

impl Launch {
    /// tlstap with these arguments.
    pub fn new(binary: PathBuf, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let (wrapper, environment) = (Vec::new(), Vec::new());
        Self { binary, wrapper, arguments, environment, head: usize::MAX }
    }

    /// One more argument.
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Started through another program, such as `setpriv --reuid 65534`.
    pub fn through(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(ToString::to_string).collect();
        self
    }

    /// Its stdout goes into a file.
    pub fn into_file(mut self, file: &Path) -> Self {
        let shell = ["sh", "-c", r#"exec "$@" >"$0""#].map(str::to_owned);
        let shell = shell.into_iter().chain([file.display().to_string()]);
        self.wrapper.splice(..0, shell);
        self
    }

    /// With a variable in its environment.
    pub fn environment(mut self, variable: (&'static str, String)) -> Self {
        self.environment.push(variable);
        self
    }

    /// Its stdout is closed after so many lines.
    pub fn head(mut self, lines: usize) -> Self {
        self.head = lines;
        self
    }

    /// What starts it, and the line in its environment that marks it.
    pub fn command(self) -> Result<(Command, String)> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let mark = format!("TLSTAP_TESTS_RUN={}-{count}", std::process::id());
        // The agent must not outlive a suite that is killed.
        let mut command = Command::new(tool::find("setpriv")?);
        command.args(["--pdeathsig", "KILL", "--"]).args(self.wrapper);
        command.arg(self.binary).args(self.arguments).envs(self.environment);
        if let Some((name, value)) = mark.split_once('=') {
            command.env(name, value);
        }
        Ok((command, mark))
    }

    /// Starts it.
    pub fn start(self) -> Result<Agent> {
        let head = self.head;
        let (command, mark) = self.command()?;
        let child = Child::start_with_head(command, head)?;
        Ok(Agent { child, mark, events: Vec::new() })
    }

    /// Starts it and waits until its first attachments are in place. Before, waits until the probes
    /// of those that have ended are detached: that holds up those that are being attached, for
    /// longer than a short program lives.
    pub fn ready(self) -> Result<Agent> {
        wait_until_detached();
        self.start()?.until_ready()
    }

    /// Starts it and waits until it ends by itself.
    pub fn output(self) -> Result<Ended> {
        self.start()?.finish(END)
    }
}

/// An agent that ends leaves its probes to a child, which the kernel detaches while that exits. One
/// that hangs there is not this test's fault.
fn wait_until_detached() {
    let _ = deadline::until("the probes to be detached", END, || {
        Ok(process::orphans("tlstap")?.is_empty().then_some(()))
    });
}

/// A running tlstap.
pub struct Agent {
    child: Child,
    mark: String,
    events: Vec<Value>,
}

impl Agent {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// The line in the environment of the agent and all its children.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// Waits until its first attachments are in place.
    pub fn until_ready(self) -> Result<Self> {
        self.complains("ready", READY)?;
        Ok(self)
    }

    /// Whether they are.
    pub fn is_ready(&self) -> bool {
        self.complaints().iter().any(|line| line.contains("ready"))
    }

    /// Waits for a line on stderr that contains the text.
    pub fn complains(&self, text: &str, limit: Duration) -> Result<String> {
        self.child.complains(text, limit)
    }

    /// Its lines on stderr so far.
    pub fn complaints(&self) -> Vec<String> {
        self.child.stderr.lines()
    }

    /// Waits for a line on stdout that contains the text.
    pub fn says(&self, text: &str, limit: Duration) -> Result<String> {
        self.child.says(text, limit)
    }

    /// Waits until `look` finds in the events so far what it wants.
    pub fn wait_for<T>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&[Value]) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + EVENT;
        loop {
            self.take()?;
            if let Some(found) = look(&self.events) {
                return Ok(found);
            }
            if !self.child.stdout.grew(self.events.len(), deadline) {
                bail!("{}", self.missing(what));
            }
        }
    }

    /// Waits until there are at least `count` events for which `wanted` holds; returns them.
    pub fn wait_for_count(
        &mut self,
        what: &str,
        count: usize,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Vec<Value>> {
        self.wait_for(&format!("{count} of {what}"), |events| {
            let found: Vec<_> = events.iter().filter(|event| wanted(event)).cloned().collect();
            (found.len() >= count).then_some(found)
        })
    }

    fn take(&mut self) -> Result<()> {
        for line in self.child.stdout.from(self.events.len()) {
            let record = schema::record(&line)?;
            coverage::saw(&record);
            self.events.push(record);
        }
        Ok(())
    }

    fn missing(&self, what: &str) -> String {
        let last: Vec<_> = self.events.iter().rev().take(5).map(ToString::to_string).collect();
        format!(
            "no {what} within {EVENT:?}; {} events, the last of them:\n{}\nstderr:\n{}",
            self.events.len(),
            last.join("\n"),
            self.child.stderr.lines().join("\n")
        )
    }

    /// Holds it to stay alive for this time.
    pub fn lives_for(&mut self, time: Duration) -> Result<()> {
        self.child.lives_for(time)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.child.signal(signal)
    }

    /// Stops it as a user does, and holds it to a clean end.
    pub fn stop(self) -> Result<Ended> {
        let ended = self.stop_by(Signal::INT)?;
        ended.succeeded()?;
        Ok(ended)
    }

    /// Stops it by a signal.
    pub fn stop_by(self, signal: Signal) -> Result<Ended> {
        self.signal(signal)?;
        self.finish(END)
    }

    /// Waits for its end, and for everyone to have left its stdout and stderr.
    pub fn finish(mut self, limit: Duration) -> Result<Ended> {
        let begun = Instant::now();
        let status = self.child.finish(limit)?;
        let ended = self.child.stdout.ended(limit) && self.child.stderr.ended(limit);
        ensure!(ended, "something still holds the stdout or stderr of the agent, which ended");
        Ok(Ended {
            code: status.code(),
            took: begun.elapsed(),
            stdout: self.child.stdout.lines(),
            stderr: self.child.stderr.lines(),
        })
    }
}
