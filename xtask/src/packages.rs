//! Installs packages of Debian and Ubuntu, and programs of crates.io, after saying so in one line.
//!
//! What is there already is told by a file or a program, not by a package name: Docker's own
//! packages serve as well as Debian's, and replacing them would do harm.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{command, workspace};

/// A package, and the program (in `PATH`) or the file (absolute) that shows it is not needed.
pub(crate) struct Package<'a> {
    name: &'a str,
    witness: &'a str,
}

impl<'a> Package<'a> {
    pub(crate) const fn new(name: &'a str, witness: &'a str) -> Self {
        Self { name, witness }
    }

    fn is_missing(&self) -> bool {
        if self.witness.starts_with('/') {
            !Path::new(self.witness).exists()
        } else {
            command::find(self.witness).is_none()
        }
    }
}

/// A program of crates.io below `target/tools`, compiled if it is not there.
pub(crate) fn cargo_tool(name: &str) -> Result<PathBuf> {
    let program = workspace::tools().join("bin").join(name);
    if !program.exists() {
        eprintln!("xtask: installing {name} (some minutes)");
        let install = ["install", name, "--locked", "--quiet", "--debug", "--root"];
        command::run(command::cargo().args(install).arg(workspace::tools()))?;
    }
    Ok(program)
}

/// Installs those of `packages` that are missing.
pub(crate) fn ensure(purpose: &str, packages: &[Package]) -> Result<()> {
    let missing: Vec<_> = packages
        .iter()
        .filter(|package| package.is_missing())
        .map(|package| package.name)
        .collect();
    if missing.is_empty() { Ok(()) } else { install(purpose, &missing) }
}

/// Installs a package if it is missing, also beside another one of the same source that is there in a
/// newer version, which excludes it: that becomes the archive's own.
pub(crate) fn ensure_beside(purpose: &str, package: Package, other: &Package) -> Result<()> {
    let name = package.name;
    let Err(error) = ensure(purpose, &[package]) else { return Ok(()) };
    if other.is_missing() {
        return Err(error);
    }
    let mut show = Command::new("apt-cache");
    let shown = command::output(show.args(["show", "--no-all-versions", name]))?;
    let version = shown.lines().find_map(|line| line.strip_prefix("Version: "));
    let other = format!("{}={}", other.name, version.context("apt-cache tells no version")?);
    eprintln!("xtask: {purpose}: installing {name} with {other}, which it can be beside");
    apt_install(&["--allow-downgrades", name, &other])
}

pub(crate) fn install(purpose: &str, packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    if command::find("apt-get").is_none() {
        bail!("{purpose} needs the equivalents of Debian's packages {list}: install them by hand");
    }
    if !command::is_root() {
        bail!("{purpose} needs packages: run `sudo apt-get install {list}`, then try again");
    }
    eprintln!("xtask: {purpose}: installing packages {list}");
    let _quiet = ServicesStayDown::new()?;
    if apt_install(packages).is_ok() {
        return Ok(());
    }
    // Package lists may be absent (a fresh image) or older than the archive.
    command::output(apt().arg("update")).context("failed to update the package lists")?;
    apt_install(packages).with_context(|| format!("failed to install {list}"))
}

fn apt_install(packages: &[&str]) -> Result<()> {
    // --no-remove: a package that conflicts with what the user chose is not worth the damage.
    let install = ["install", "--yes", "--no-remove", "--no-install-recommends"];
    command::output(apt().args(install).args(packages)).map(drop)
}

fn apt() -> Command {
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive").args(["-qq", "-o", "DPkg::Lock::Timeout=300"]);
    apt
}

const POLICY: &str = "/usr/sbin/policy-rc.d";
const POLICY_TEXT: &str = "#!/bin/sh\n# Left by tlstap's xtask; may be removed.\nexit 101\n";

/// While this lives, a newly installed package starts no service.
struct ServicesStayDown {
    ours: bool,
}

impl ServicesStayDown {
    fn new() -> Result<Self> {
        let present = fs::read_to_string(POLICY).ok();
        // Ours, from an xtask that was killed, is taken over; the administrator's is respected.
        let ours = present.is_none_or(|text| text == POLICY_TEXT);
        if ours {
            fs::write(POLICY, POLICY_TEXT)
                .and_then(|()| fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755)))
                .with_context(|| format!("failed to write {POLICY}"))?;
        }
        Ok(Self { ours })
    }
}

impl Drop for ServicesStayDown {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = fs::remove_file(POLICY)
        {
            eprintln!("xtask: failed to remove {POLICY}: {error}");
        }
    }
}
