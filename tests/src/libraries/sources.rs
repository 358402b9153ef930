//! Sources of libraries out of crates: cargo fetches what `fixtures/libraries` names and locks.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{event::text, tool};

const LOCK: &str = include_str!("../../fixtures/libraries/Cargo.lock");

/// The locked version of a package, of those that begin so.
pub(super) fn version(package: &str, line: &str) -> Result<&'static str> {
    let name = format!("name = \"{package}\"\nversion = \"{line}");
    let at = LOCK.find(&name).with_context(|| format!("{package} {line} is not locked"))?;
    let from = at + name.len() - line.len();
    let version = LOCK.get(from..).and_then(|rest| rest.split('"').next());
    version.context("a lock file that ends early")
}

/// Where the unpacked package is.
pub(crate) fn folder(package: &str, line: &str) -> Result<PathBuf> {
    let version = version(package, line)?;
    let metadata: Value =
        serde_json::from_str(&metadata()?).context("cargo's answer is no JSON")?;
    let packages = metadata.get("packages").and_then(Value::as_array).context("no packages")?;
    let wanted = |known: &&Value| {
        text(known, "/name") == Some(package) && text(known, "/version") == Some(version)
    };
    let found = packages.iter().find(wanted).and_then(|found| text(found, "/manifest_path"));
    let manifest = found.with_context(|| format!("cargo knows no {package} {version}"))?;
    Ok(Path::new(manifest).parent().context("no folder")?.to_owned())
}

fn metadata() -> Result<String> {
    // Cargo names itself to the programs that it runs.
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = tool::fixtures().join("libraries/Cargo.toml");
    let mut command = Command::new(cargo);
    command.args(["metadata", "--locked", "--format-version", "1", "--manifest-path"]);
    command.arg(manifest);
    tool::run(command)
}
