//! The fixture program `talk`: both ends of TLS connections in one process, on the machine's own
//! libssl. It says `ready`, waits for a line, and then sends exactly what it was given.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::{child::Child, tool};

const LIMIT: Duration = Duration::from_secs(20);

/// A run of the fixture that is being put together.
#[must_use]
pub struct Talk {
    binary: PathBuf,
    flags: Vec<String>,
    library: Option<PathBuf>,
}

impl Talk {
    pub(crate) fn new(binary: PathBuf) -> Self {
        Self { binary, flags: Vec::new(), library: None }
    }

    /// Compiles it into a folder.
    pub(crate) fn compile(into: &Path) -> Result<PathBuf> {
        let binary = into.join("talk");
        compile(&binary, &[])?;
        Ok(binary)
    }

    /// Adds flags; they are explained at the top of `talk.c`.
    pub fn flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(ToString::to_string));
        self
    }

    /// With a copy of libssl of its own, in this folder.
    pub fn own_library(mut self, folder: &Path) -> Result<Self> {
        fs::copy(self.shared_library()?, folder.join("libssl.so.3"))?;
        self.library = Some(folder.to_owned());
        Ok(self)
    }

    /// The libssl that the linker found for it.
    pub fn shared_library(&self) -> Result<PathBuf> {
        let needed = tool::run(tool::command("ldd", [&self.binary])?)?;
        let line = needed.lines().find(|line| line.contains("libssl.so.3"));
        let path = line.and_then(|line| line.split_whitespace().nth(2));
        Ok(path.context("the fixture is not linked to libssl.so.3")?.into())
    }

    /// Compiles one that needs no file but itself, into a folder.
    pub fn compile_static(into: &Path) -> Result<()> {
        compile(&into.join("talk"), &["-static"])
    }

    /// Starts it, with what the client says and what the server answers, until it is ready.
    pub fn start(self, request: &[u8], response: &[u8]) -> Result<Talking> {
        let command = Command::new(&self.binary);
        let talking = self.launch(command, request, response)?;
        talking.child.says("ready", LIMIT)?;
        Ok(talking)
    }

    /// Starts it by a program that executes its last arguments, until it is ready.
    pub fn start_by(self, program: &Path, request: &[u8], response: &[u8]) -> Result<Talking> {
        let mut command = Command::new(program);
        command.arg(&self.binary);
        let talking = self.launch(command, request, response)?;
        talking.child.says("ready", LIMIT)?;
        Ok(talking)
    }

    /// Starts a program that says `waiting`, and executes its last arguments after a line.
    pub fn through(self, program: &[&str], request: &[u8], response: &[u8]) -> Result<Talking> {
        let (program, arguments) = program.split_first().context("no program")?;
        let mut command = Command::new(program);
        command.args(arguments).arg(&self.binary);
        let waiting = self.launch(command, request, response)?;
        waiting.child.says("waiting", LIMIT)?;
        Ok(waiting)
    }

    fn launch(self, mut command: Command, request: &[u8], response: &[u8]) -> Result<Talking> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("request"), request)?;
        fs::write(folder.path().join("response"), response)?;
        command.args(self.flags).args(["request", "response"]).current_dir(folder.path());
        command.envs(self.library.map(|folder| ("LD_LIBRARY_PATH", folder)));
        Ok(Talking { child: Child::start(command)?, _texts: folder })
    }
}

fn compile(binary: &Path, flags: &[&str]) -> Result<()> {
    let source = tool::fixtures().join("talk.c");
    let mut command = tool::command("cc", ["-O1", "-g", "-Wall", "-Wextra", "-o"])?;
    command.arg(binary).args(flags).arg(source).args(["-lssl", "-lcrypto", "-pthread"]);
    tool::run(command).context("failed to compile the fixture (needs gcc and libssl-dev)")?;
    Ok(())
}

/// The fixture, which has libssl mapped and waits.
pub struct Talking {
    child: Child,
    _texts: TempDir,
}

impl Talking {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Lets what [`Talk::through`] started become the fixture.
    pub fn begin(&mut self) -> Result<()> {
        self.child.tell("begin\n")?;
        self.child.says("ready", LIMIT)?;
        Ok(())
    }

    /// Lets it exchange everything; returns when all bytes were exchanged. It stays alive.
    pub fn go(&mut self) -> Result<()> {
        self.child.tell("go\n")?;
        self.child.says("done", LIMIT)?;
        Ok(())
    }

    /// Lets it end.
    pub fn end(mut self) -> Result<()> {
        let status = self.child.finish(LIMIT)?;
        ensure!(status.success(), "the fixture failed: {status}");
        Ok(())
    }
}
