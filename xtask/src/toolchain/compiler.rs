//! Finds a Rust compiler that can build for BPF. Only looks; installs nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::command;

/// The name in rustup of the distribution's compiler; `agent/build.rs` knows it too.
pub(crate) const DISTRIBUTION: &str = "tlstap-bpf";
pub(crate) const NIGHTLY: &str = "nightly";

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Compiler {
    /// Its name in rustup.
    pub(crate) toolchain: &'static str,
    /// The major version of its LLVM.
    pub(crate) llvm: u32,
}

/// A distribution's rustc with a ready-made `core` for BPF.
pub(super) fn distribution() -> Result<Option<Compiler>> {
    let usr = Path::new("/usr");
    let complete = usr.join("bin/cargo").exists() && holds_bpf_core(usr);
    if complete { probe(DISTRIBUTION, &usr.join("bin/rustc")) } else { Ok(None) }
}

/// rustup's nightly with the sources of `core`, which cargo then compiles for BPF.
pub(super) fn nightly() -> Result<Option<Compiler>> {
    let Some(rustc) = rustup_rustc(NIGHTLY) else {
        return Ok(None);
    };
    let core = "lib/rustlib/src/rust/library/core/Cargo.toml";
    let complete = sysroot(&rustc).is_some_and(|sysroot| sysroot.join(core).exists());
    if complete { probe(NIGHTLY, &rustc) } else { Ok(None) }
}

/// Whether rustup's nightly is there and new enough, whatever else it lacks.
pub(super) fn has_nightly() -> Result<bool> {
    match rustup_rustc(NIGHTLY) {
        Some(rustc) => Ok(probe(NIGHTLY, &rustc)?.is_some()),
        None => Ok(false),
    }
}

impl Compiler {
    /// Gives the distribution's compiler its name in rustup. Without rustup there is one compiler
    /// only, and aya-build takes that.
    pub(super) fn link(&self) -> Result<()> {
        let linked = || rustup_rustc(DISTRIBUTION).is_some_and(|rustc| rustc.exists());
        if self.toolchain != DISTRIBUTION || command::find("rustup").is_none() || linked() {
            return Ok(());
        }
        let link = ["toolchain", "link", DISTRIBUTION, "/usr"];
        command::output(Command::new("rustup").args(link)).map(drop)
    }
}

fn holds_bpf_core(sysroot: &Path) -> bool {
    let libraries = fs::read_dir(sysroot.join("lib/rustlib/bpfel-unknown-none/lib"));
    libraries.is_ok_and(|mut entries| {
        entries.any(|entry| {
            entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
        })
    })
}

fn rustup_rustc(toolchain: &str) -> Option<PathBuf> {
    let which = ["which", "--toolchain", toolchain, "rustc"];
    let path = command::output(Command::new("rustup").args(which)).ok()?;
    Some(PathBuf::from(path.trim()))
}

fn sysroot(rustc: &Path) -> Option<&Path> {
    rustc.parent()?.parent()
}

/// `None` when the compiler is older than the workspace asks for.
fn probe(toolchain: &'static str, rustc: &Path) -> Result<Option<Compiler>> {
    let text = command::output(Command::new(rustc).arg("-vV"))?;
    let llvm = version(&text, "LLVM version: ")
        .and_then(|(major, _)| major)
        .with_context(|| format!("failed to read the LLVM version of {}", rustc.display()))?;
    let release = version(&text, "release: ");
    let wanted = version(env!("CARGO_PKG_RUST_VERSION"), "");
    Ok((release >= wanted).then_some(Compiler { toolchain, llvm }))
}

/// Major and minor of the first line that begins with `label`.
fn version(text: &str, label: &str) -> Option<(Option<u32>, Option<u32>)> {
    let version = text.lines().find_map(|line| line.strip_prefix(label))?;
    let mut numbers = version.split('.').map(|number| number.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn versions_of_rustc() {
        let text = "rustc 1.97.0-nightly (e50aa6fba 2026-05-19)\nrelease: 1.97.0-nightly\n\
                    LLVM version: 22.1.4\n";
        assert_eq!(version(text, "release: "), Some((Some(1), Some(97))));
        assert_eq!(version(text, "LLVM version: "), Some((Some(22), Some(1))));
        assert_eq!(version(text, "host: "), None);
        assert!(version("1.100", "") > version("1.95", ""));
    }
}
