//! Installs a compiler for BPF: rustup's nightly, or the distribution's.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::compiler::{self, Compiler, NIGHTLY};
use crate::{command, packages};

/// Debian's; they bring a ready-made `core` for BPF.
const PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"];

/// `None` when it is there already: then it was tried before.
pub(super) fn distribution() -> Result<Option<Compiler>> {
    if compiler::distribution()?.is_some() {
        return Ok(None);
    }
    packages::install("compiling for BPF", &PACKAGES)?;
    let installed = compiler::distribution()?;
    installed.context("rustc-web is too old, or came without its core for BPF").map(Some)
}

/// `None` when it is there already: then it was tried before.
pub(super) fn nightly() -> Result<Option<Compiler>> {
    if compiler::nightly()?.is_some() {
        return Ok(None);
    }
    if command::find("rustup").is_none() {
        bail!("there is no rustup");
    }
    let arguments: &[&str] = if compiler::has_nightly()? {
        eprintln!("xtask: compiling for BPF: installing rustup's component rust-src (nightly)");
        &["component", "add", "rust-src", "--toolchain", NIGHTLY]
    } else {
        eprintln!("xtask: compiling for BPF: installing rustup's nightly with rust-src");
        &["toolchain", "install", NIGHTLY, "--profile", "minimal", "--component", "rust-src"]
    };
    // The server may be out of reach for good: no long series of attempts.
    let mut rustup = Command::new("rustup");
    command::output(rustup.args(arguments).env("RUSTUP_MAX_RETRIES", "1"))?;
    compiler::nightly()?.context("rustup's nightly came without rust-src").map(Some)
}
