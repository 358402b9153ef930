//! What is in the memory of the machine: programs with their libraries, at the paths that they have here.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::archive::Archive;
use crate::{command, workspace};

/// What the suite starts.
const PROGRAMS: [&str; 4] = ["bpftool", "curl", "openssl", "setpriv"];

/// Fixtures in C, with what each is compiled of.
const FIXTURES: [(&str, &[&str]); 5] = [
    ("calls", &["calls"]),
    ("exact", &["exact", "exact_openssl"]),
    ("killed", &["killed"]),
    ("sealed", &["sealed"]),
    ("talk", &["talk"]),
];

/// Files that programs and the suite read.
const FILES: [&str; 2] = ["/etc/ssl/openssl.cnf", "/usr/lib/ssl/openssl.cnf"];

const INIT: &str = include_str!("init.sh");
const COMPILER: &str = include_str!("cc.sh");

/// Makes the archive; gives its path.
pub(super) fn build(folder: &Path, agent: &Path, suite: &Path) -> Result<PathBuf> {
    let path = folder.join("root.cpio");
    let mut archive = Archive::create(&path)?;
    for empty in ["/dev", "/proc", "/sys", "/tmp"] {
        archive.folder(empty)?;
    }
    archive.file("/init", INIT.as_bytes())?;
    archive.copy(Path::new("/bin/busybox"), "/bin/busybox")?;
    archive.link("/bin/sh", "busybox")?;
    for program in PROGRAMS {
        let program = command::find(program).with_context(|| format!("no {program}"))?;
        add(&mut archive, &program, &program.to_string_lossy())?;
    }
    for (program, path) in [(agent, "/tlstap"), (suite, "/suite")] {
        let stripped = strip(folder, program)?;
        add(&mut archive, &stripped, path)?;
    }
    archive.file("/usr/bin/cc", COMPILER.as_bytes())?;
    for (name, sources) in FIXTURES {
        let program = compile(folder, name, sources)?;
        add(&mut archive, &program, &format!("/fixtures/{name}"))?;
    }
    let schema = workspace::root().join("tests/../docs/tlstap-v1.schema.json");
    archive.folder(&workspace::root().join("tests").to_string_lossy())?;
    archive
        .copy(&schema, &workspace::root().join("docs/tlstap-v1.schema.json").to_string_lossy())?;
    for file in FILES {
        archive.copy(Path::new(file), file)?;
    }
    archive.finish()?;
    Ok(path)
}

/// Adds a program with the libraries that it is linked to.
fn add(archive: &mut Archive, program: &Path, path: &str) -> Result<()> {
    archive.copy(program, path)?;
    // It fails for one that is linked to none.
    let listed = command::output(Command::new("ldd").arg(program)).unwrap_or_default();
    let libraries = listed.split_whitespace().filter(|word| word.starts_with('/'));
    for library in libraries {
        archive.copy(Path::new(library), library)?;
    }
    Ok(())
}

/// A copy without what only debuggers read: the machine has little memory.
fn strip(folder: &Path, program: &Path) -> Result<PathBuf> {
    let name = program.file_name().context("a program without a name")?;
    let stripped = folder.join(name);
    command::output(Command::new("strip").arg("-o").arg(&stripped).arg(program))?;
    Ok(stripped)
}

/// As the suite does it (`tests/src/compile.rs`), which finds no compiler there.
fn compile(folder: &Path, name: &str, sources: &[&str]) -> Result<PathBuf> {
    let folder = folder.join("fixtures");
    fs::create_dir_all(&folder).context("failed to make a folder for fixtures")?;
    let program = folder.join(name);
    let fixtures = workspace::root().join("tests/fixtures");
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-o"]).arg(&program);
    compiler.args(sources.iter().map(|source| fixtures.join(format!("{source}.c"))));
    command::output(compiler.args(["-lssl", "-lcrypto", "-pthread"]))?;
    Ok(program)
}
