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
    let compiler = match choose()? {
        Some(compiler) => compiler,
        None => {
            install::compiler()?;
            match choose()? {
                Some(compiler) => compiler,
                None => bail!(install::NO_COMPILER),
            }
        }
    };
    compiler.link()?;
    if !linker::fits(compiler.llvm) {
        linker::install(compiler.llvm)?;
    }
    record(compiler.toolchain)?;
    Ok(compiler)
}

/// The first compiler that has its linker already, else the first compiler.
fn choose() -> Result<Option<Compiler>> {
    let mut first = None;
    for find in [compiler::distribution, compiler::nightly] {
        match find()? {
            Some(compiler) if linker::fits(compiler.llvm) => return Ok(Some(compiler)),
            Some(compiler) => first = first.or(Some(compiler)),
            None => {}
        }
    }
    Ok(first)
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
