//! The fixture of tokio-rustls, as cargo makes it in each profile, kept in the cache.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::PathBuf,
};

use anyhow::{Context as _, Result};

use crate::{docker::cache, tool};

/// How it is compiled.
pub const PROFILES: [&str; 2] = ["release", "lto"];

/// The fixture in a profile; built now if it is not in the cache.
pub fn program(profile: &str) -> Result<PathBuf> {
    let source = tool::fixtures().join("rustls");
    let mut hasher = DefaultHasher::new();
    for file in ["Cargo.toml", "Cargo.lock", "src/main.rs"] {
        fs::read(source.join(file))?.hash(&mut hasher);
    }
    let parent = cache::folder()?.join("rustls");
    fs::create_dir_all(&parent)?;
    let known = parent.join(format!("{profile}-{:016x}", hasher.finish()));
    if known.exists() {
        return Ok(known);
    }
    eprintln!("building the fixture of rustls, {profile} (a minute)");
    let target = tempfile::tempdir_in(&parent)?;
    let cargo = env::var("CARGO").unwrap_or_else(|_absent| "cargo".to_owned());
    let mut build = tool::command(&cargo, ["build", "--quiet", "--locked", "--profile", profile])?;
    build.current_dir(&source).arg("--target-dir").arg(target.path());
    // Those of the suite's own build.
    build.env_remove("RUSTFLAGS").env_remove("CARGO_TARGET_DIR");
    tool::run(build).context("failed to build the fixture of rustls")?;
    let built = target.path().join(profile).join("exact-rustls");
    fs::rename(&built, &known).with_context(|| format!("no {}", built.display()))?;
    Ok(known)
}
