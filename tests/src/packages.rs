//! Packages of PyPI and npm for programs of the suite, unpacked into folders of the cache.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{docker::cache, tool};

/// Debian's Python, with packages of PyPI.
pub fn python(packages: &[&str]) -> Result<Command> {
    let folder = of_python(packages)?;
    // As it is found first, and never with packages of this machine's users.
    let mut command = tool::command("python3", ["-s", "-B"])?;
    command.env("PYTHONPATH", folder);
    Ok(command)
}

/// The folder with packages of PyPI, for Debian's Python.
pub fn of_python(packages: &[&str]) -> Result<PathBuf> {
    unpacked("python", packages, |into| pip(packages, into))
}

/// The folder with packages of PyPI for AArch64, which nothing here can run.
pub fn of_aarch64(packages: &[&str]) -> Result<PathBuf> {
    unpacked("aarch64", packages, |into| {
        let mut install = pip(packages, into)?;
        install.args(["--no-deps", "--platform", "manylinux2014_aarch64"]);
        Ok(install)
    })
}

fn pip(packages: &[&str], into: &Path) -> Result<Command> {
    let mut install = tool::command("pip3", ["install", "--quiet", "--only-binary", ":all:"])?;
    install.args(["--disable-pip-version-check", "--root-user-action", "ignore", "--target"]);
    install.arg(into).args(packages);
    Ok(install)
}

/// Node, with packages of npm.
pub fn node(packages: &[&str]) -> Result<Command> {
    let folder = unpacked("node", packages, |into| {
        let mut install = tool::command("npm", ["install", "--silent", "--no-audit", "--no-fund"])?;
        // Nothing of a package is run while it is installed.
        install.args(["--ignore-scripts", "--no-save", "--prefix"]).arg(into).args(packages);
        Ok(install)
    })?;
    let mut command = tool::command("node", [] as [&str; 0])?;
    command.env("NODE_PATH", folder.join("node_modules"));
    Ok(command)
}

/// The folder with these packages; installed now if it is not in the cache.
fn unpacked(
    kind: &str,
    packages: &[&str],
    install: impl FnOnce(&Path) -> Result<Command>,
) -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    packages.hash(&mut hasher);
    let parent = cache::folder()?.join("packages");
    let folder = parent.join(format!("{kind}-{:016x}", hasher.finish()));
    fs::create_dir_all(&parent)?;
    cache::whole(&folder, |half| {
        let installed = tool::run(install(half)?);
        installed.map(drop).with_context(|| format!("failed to install {packages:?}"))
    })?;
    Ok(folder)
}
