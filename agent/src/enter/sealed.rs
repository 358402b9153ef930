//! This program's own file, out of reach.
//!
//! Who may look at a process may open the file of its program, and later write to it (CVE-2019-5736). So
//! what a container can reach is started again, from a mount of the file that nobody can write through.

use std::{env, ffi::CString, io, os::unix::ffi::OsStringExt as _, path::Path};

use anyhow::{Context as _, Result};
use nix::{fcntl::AtFlags, unistd::execveat};
use rustix::fs::{StatVfsMountFlags, statvfs};

use super::mounts;

/// Starts the program again if its file can be written. It returns when that is not so.
pub(super) fn seal() -> Result<()> {
    const OWN: &str = "/proc/self/exe";
    let sealed = || {
        if statvfs(OWN)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return Ok(());
        }
        let program = mounts::read_only(Path::new(OWN))?;
        let variables = env::vars_os().map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            name
        });
        let strings = |all: &mut dyn Iterator<Item = _>| {
            all.map(|one: std::ffi::OsString| CString::new(one.into_vec()))
                .collect::<Result<Vec<_>, _>>()
        };
        let arguments = strings(&mut env::args_os())?;
        let environment = strings(&mut variables.into_iter())?;
        execveat(&program, c"", &arguments, &environment, AtFlags::AT_EMPTY_PATH)
            .map(|never| match never {})
            .map_err(io::Error::from)
    };
    sealed().context("failed to start tlstap from a read-only mount of its file (root is needed)")
}
