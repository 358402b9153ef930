//! Fixtures in C, compiled against a TLS library.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::tool;

/// Where a TLS library is.
pub struct Linked {
    /// The folder with its headers; none for the machine's own.
    pub include: Option<PathBuf>,
    /// What the linker is given.
    pub libraries: Vec<String>,
}

impl Linked {
    /// The machine's own, shared.
    pub fn shared() -> Self {
        let libraries = ["-lssl", "-lcrypto"].map(str::to_owned).into();
        Self { include: None, libraries }
    }

    /// The machine's own archives, and other options of the linker.
    pub fn archives(options: &[&str]) -> Self {
        let archives = ["-l:libssl.a", "-l:libcrypto.a"];
        let libraries = archives.iter().chain(options).map(ToString::to_string).collect();
        Self { include: None, libraries }
    }
}

/// Compiles the fixture `exact` for a library of the OpenSSL family.
pub fn exact(into: &Path, library: &Linked) -> Result<PathBuf> {
    program("exact", &["exact", "exact_openssl"], into, library)
}

/// Compiles the fixture of this name into a folder.
pub fn fixture(name: &str, into: &Path, library: &Linked) -> Result<PathBuf> {
    program(name, &[name], into, library)
}

/// Compiles these files into a program in a folder.
pub fn program(name: &str, sources: &[&str], into: &Path, library: &Linked) -> Result<PathBuf> {
    let binary = into.join(name);
    let mut command = tool::command("cc", ["-O2", "-g", "-Wall", "-Wextra"])?;
    if let Some(include) = &library.include {
        command.arg("-isystem").arg(include);
    }
    command.arg("-o").arg(&binary);
    command.args(sources.iter().map(|source| tool::fixtures().join(format!("{source}.c"))));
    command.args(&library.libraries).arg("-pthread");
    tool::run(command).with_context(|| {
        format!("failed to compile {name} (needs gcc and the headers of its TLS library)")
    })?;
    Ok(binary)
}
