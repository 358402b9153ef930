//! A program linked to musl, with a libssl of its own under a name of its own: the fixture `talk`
//! on the OpenSSL 1.1.1 of a Python wheel for musl.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use crate::tool;

/// Newer wheels have relocations (`DT_RELR`) that Debian 12's musl does not know.
const WHEEL: &str = "psycopg2-binary==2.9.9";
/// The version that its libcrypto names.
pub const VERSION: &str = "1.1.1o";

/// Puts into a folder all that the program needs: `/talk`, its libraries, and musl. Gives the
/// name of its libssl.
pub fn root(into: &Path) -> Result<String> {
    let scratch = tempfile::tempdir()?;
    let [ssl, crypto] = libraries(scratch.path())?;
    headers(&scratch.path().join("include/openssl"))?;
    let talk = tool::fixtures().join("talk.c");
    let mut compile = tool::command("musl-gcc", ["-O1", "-Wl,--allow-shlib-undefined"])?;
    compile.arg("-I").arg(scratch.path().join("include")).arg("-Wl,-rpath,/");
    compile.arg("-o").arg(into.join("talk")).arg(talk).args([&ssl, &crypto]);
    tool::run(compile).context("failed to compile the fixture (needs musl-tools)")?;
    fs::create_dir(into.join("lib"))?;
    fs::copy("/lib/ld-musl-x86_64.so.1", into.join("lib/ld-musl-x86_64.so.1"))?;
    for library in [&ssl, &crypto] {
        fs::copy(library, into.join(library.file_name().context("no name")?))?;
    }
    let name = ssl.file_name().context("no name")?;
    Ok(name.to_string_lossy().into_owned())
}

/// libssl and libcrypto of the wheel.
fn libraries(scratch: &Path) -> Result<[PathBuf; 2]> {
    let wheels = scratch.join("wheels");
    let only = ["--no-deps", "--only-binary", ":all:", "--python-version", "311"];
    let mut download = tool::command("pip3", ["download", "--quiet", WHEEL])?;
    download.args(only).args(["--platform", "musllinux_1_1_x86_64", "--dest"]).arg(&wheels);
    tool::run(download).context("failed to download a wheel")?;
    let wheel = fs::read_dir(&wheels)?.next().context("no wheel")??.path();
    let files = scratch.join("files");
    let mut unpack = tool::command("python3", ["-m", "zipfile", "--extract"])?;
    tool::run({
        unpack.arg(wheel).arg(&files);
        unpack
    })?;
    let folder = files.join("psycopg2_binary.libs");
    Ok([find(&folder, "libssl")?, find(&folder, "libcrypto")?])
}

fn find(folder: &Path, prefix: &str) -> Result<PathBuf> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            return Ok(entry.path());
        }
    }
    anyhow::bail!("no {prefix} in {}", folder.display())
}

/// The headers of OpenSSL without those of glibc beside them.
fn headers(into: &Path) -> Result<()> {
    fs::create_dir_all(into)?;
    let folders = ["/usr/include/openssl", "/usr/include/x86_64-linux-gnu/openssl"];
    for folder in folders {
        ensure!(Path::new(folder).is_dir(), "no {folder} (needs libssl-dev)");
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            fs::copy(entry.path(), into.join(entry.file_name()))?;
        }
    }
    Ok(())
}
