//! s2n out of its crate, built by its own means on the machine's libcrypto, and kept in the cache.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{jobs, sources};
use crate::{compile::Linked, docker::cache, tool};

const PACKAGE: &str = "s2n-tls-sys";

const OPTIONS: [&str; 3] =
    ["-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=OFF", "-DBUILD_TESTING=OFF"];

/// What to link to; built now if it is not in the cache.
pub(super) fn linked() -> Result<Linked> {
    let source = sources::folder(PACKAGE, "")?.join("lib");
    let archive = built(&source)?.to_string_lossy().into_owned();
    let system = ["-lcrypto", "-ldl", "-lm"].map(str::to_owned);
    let libraries = [archive].into_iter().chain(system).collect();
    Ok(Linked { include: Some(source.join("api")), libraries })
}

fn built(source: &Path) -> Result<PathBuf> {
    let name = format!("{PACKAGE}-{}", sources::version(PACKAGE, "")?);
    let folder = cache::folder()?.join("libraries").join(name);
    let archive = folder.join("libs2n.a");
    if archive.exists() {
        return Ok(archive);
    }
    eprintln!("building s2n (half a minute)");
    fs::create_dir_all(&folder)?;
    let work = tempfile::tempdir_in(&folder)?;
    let mut configure = tool::command("cmake", OPTIONS)?;
    configure.arg("-S").arg(source).arg("-B").arg(work.path());
    tool::run(configure)?;
    let mut make = tool::command("make", ["--silent", "-j", &jobs(), "s2n"])?;
    make.arg("-C").arg(work.path());
    tool::run(make).context("failed to build s2n")?;
    // Only a whole one gets the name that is looked for.
    fs::rename(work.path().join("lib/libs2n.a"), &archive)?;
    Ok(archive)
}
