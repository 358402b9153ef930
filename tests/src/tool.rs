//! Programs of the machine that the suite needs, and one-shot runs of them.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context as _, Result, bail};

/// Where distributions put programs; looked through before `PATH`, which may lead to a wrapper.
const SYSTEM: [&str; 4] = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];

/// The program of this name.
pub fn find(name: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    SYSTEM
        .iter()
        .map(PathBuf::from)
        .chain(env::split_paths(&path))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .with_context(|| format!("{name} is not installed; `cargo xtask test` installs it"))
}

/// A command of the program of this name.
pub fn command<A: AsRef<OsStr>>(name: &str, args: impl IntoIterator<Item = A>) -> Result<Command> {
    let mut command = Command::new(find(name)?);
    command.args(args);
    Ok(command)
}

/// Runs the command to its end; its stdout, trimmed. An exit other than 0 is an error with stderr.
pub fn run(mut command: Command) -> Result<String> {
    let output = command.output().with_context(|| format!("failed to start {command:?}"))?;
    checked(&format!("{command:?}"), &output)
}

/// The stdout of a successful run, trimmed.
pub fn checked(what: &str, output: &Output) -> Result<String> {
    if !output.status.success() {
        bail!(
            "{what} ended with {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The folder with the fixtures.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}
