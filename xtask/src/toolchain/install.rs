//! Installs a compiler for BPF: by rustup, or, where its server is out of reach, from the
//! distribution.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::compiler::{self, NIGHTLY};
use crate::{command, packages};

pub(super) const NO_COMPILER: &str = "found no Rust compiler for bpfel-unknown-none: run `rustup \
    toolchain install nightly --component rust-src`, or install the packages rustc-web cargo-web \
    libstd-rust-web-dev-bpf";

/// Debian's; they bring a ready-made `core` for BPF.
const PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"];

pub(super) fn compiler() -> Result<()> {
    let Err(rustup) = by_rustup() else {
        return Ok(());
    };
    packages::install(
        "compiling for BPF, for which rustup does not serve",
        &PACKAGES,
    )
    .with_context(|| format!("{NO_COMPILER}: {rustup:#}"))
}

fn by_rustup() -> Result<()> {
    if command::find("rustup").is_none() {
        bail!("no rustup");
    }
    let arguments: &[&str] = if compiler::has_nightly()? {
        eprintln!("xtask: compiling for BPF: installing rustup's component rust-src (nightly)");
        &["component", "add", "rust-src", "--toolchain", NIGHTLY]
    } else {
        eprintln!("xtask: compiling for BPF: installing rustup's nightly with rust-src");
        &[
            "toolchain",
            "install",
            NIGHTLY,
            "--profile",
            "minimal",
            "--component",
            "rust-src",
        ]
    };
    // The server may be out of reach for good: no long series of attempts.
    command::output(
        Command::new("rustup")
            .args(arguments)
            .env("RUSTUP_MAX_RETRIES", "1"),
    )
    .map(drop)
}
