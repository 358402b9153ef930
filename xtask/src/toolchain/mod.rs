//! What compiles the kernel half: a Rust compiler that knows `bpfel-unknown-none`, and a
//! bpf-linker of the same LLVM. Finds them or installs them, and leaves for `agent/build.rs`:
//! `target/tools/toolchain` (the compiler's name in rustup) and `target/tools/bin/bpf-linker`.

mod compiler;
mod install;
mod linker;

use std::fs;

use anyhow::{Context as _, Result, bail};

pub(crate) use compiler::{Compiler, DISTRIBUTION};

use crate::workspace;

/// Nothing is remembered from the last time: a toolchain may be gone since.
pub(crate) fn prepare() -> Result<Compiler> {
    let present = [compiler::distribution()?, compiler::nightly()?];
    let complete = present.into_iter().flatten().find(|compiler| linker::fits(compiler.llvm));
    let compiler = complete.map_or_else(install_missing, Ok)?;
    compiler.link()?;
    record(compiler.toolchain)?;
    Ok(compiler)
}

/// The ways to a compiler with its linker, from the surest. One may end at a server that is out of
/// reach, or at an LLVM for which there is no bpf-linker: a distribution's compiler comes with the
/// LLVM of the same distribution, the newest nightly often with one that nobody packages yet.
fn install_missing() -> Result<Compiler> {
    let ways = [compiler::distribution, compiler::nightly, install::distribution, install::nightly];
    let mut reasons = Vec::new();
    for way in ways {
        match way().and_then(with_linker) {
            Ok(Some(compiler)) => return Ok(compiler),
            Ok(None) => {}
            Err(error) => reasons.push(format!("{error:#}")),
        }
    }
    bail!("failed to install a Rust compiler and a bpf-linker for BPF: {}", reasons.join("; "))
}

fn with_linker(compiler: Option<Compiler>) -> Result<Option<Compiler>> {
    if let Some(compiler) = &compiler
        && !linker::fits(compiler.llvm)
    {
        linker::install(compiler.llvm)?;
    }
    Ok(compiler)
}

/// Writes only what changed: cargo rebuilds the kernel half when the file is newer.
fn record(toolchain: &str) -> Result<()> {
    let file = workspace::tools().join("toolchain");
    if fs::read_to_string(&file).is_ok_and(|text| text.trim() == toolchain) {
        return Ok(());
    }
    fs::write(&file, format!("{toolchain}\n"))
        .with_context(|| format!("failed to write {}", file.display()))
}
