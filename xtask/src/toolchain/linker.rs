//! bpf-linker under `target/tools`: compiled against the distribution's LLVM, else its project's
//! static binary. Beside it lies a stamp with the major version of its LLVM.

use std::{env::consts::ARCH, fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    command,
    packages::{self, Package},
    workspace,
};

const VERSION: &str = "0.13.0";
/// The LLVM of the released binary; it reads the bitcode of every older one.
const RELEASED_LLVM: u32 = 23;

fn stamp() -> PathBuf {
    workspace::tools().join("bpf-linker.llvm")
}

fn program() -> PathBuf {
    workspace::tools().join("bin/bpf-linker")
}

/// Whether the linker that is there reads the bitcode of a compiler with this LLVM. It is started
/// because a removed LLVM leaves it without its library.
pub(super) fn fits(llvm: u32) -> bool {
    let recorded = fs::read_to_string(stamp()).ok().and_then(|text| text.trim().parse().ok());
    recorded.is_some_and(|recorded: u32| recorded >= llvm)
        && command::output(Command::new(program()).arg("--version")).is_ok()
}

pub(super) fn install(llvm: u32) -> Result<()> {
    let installed = match compile(llvm) {
        Ok(()) => llvm,
        Err(error) => {
            let compile = format!("failed to install bpf-linker for LLVM {llvm}: {error:#}");
            download().context(compile)?;
            RELEASED_LLVM
        }
    };
    fs::write(stamp(), format!("{installed}\n")).context("failed to record bpf-linker's LLVM")
}

fn compile(llvm: u32) -> Result<()> {
    let prefix = format!("/usr/lib/llvm-{llvm}");
    packages::ensure(
        "compiling bpf-linker",
        &[
            Package::new("g++", "c++"),
            Package::new("libzstd-dev", "/usr/include/zstd.h"),
            Package::new("zlib1g-dev", "/usr/include/zlib.h"),
            Package::new(&format!("libpolly-{llvm}-dev"), &format!("{prefix}/lib/libPolly.a")),
            Package::new(&format!("llvm-{llvm}-dev"), &format!("{prefix}/include/llvm-c/Core.h")),
        ],
    )?;
    eprintln!("xtask: installing bpf-linker {VERSION} for LLVM {llvm} (a minute)");
    let feature = format!("llvm-{llvm}");
    command::run(
        command::cargo()
            .args(["install", "bpf-linker", "--version", VERSION, "--locked", "--quiet", "--force"])
            .args(["--no-default-features", "--features", &feature, "--root"])
            .arg(workspace::tools())
            .env("LLVM_PREFIX", prefix),
    )
    .context("failed to compile bpf-linker")
}

fn download() -> Result<()> {
    packages::ensure(
        "downloading bpf-linker",
        &[
            Package::new("ca-certificates", "/etc/ssl/certs/ca-certificates.crt"),
            Package::new("curl", "curl"),
            Package::new("zstd", "zstd"),
        ],
    )?;
    let archive = format!("bpf-linker-{ARCH}-unknown-linux-musl.tar.zst");
    let releases = "https://github.com/aya-rs/bpf-linker/releases/download";
    let url = format!("{releases}/v{VERSION}/{archive}");
    eprintln!("xtask: installing bpf-linker {VERSION} from {url}");
    let (bin, file) = (workspace::tools().join("bin"), workspace::tools().join(archive));
    fs::create_dir_all(&bin).with_context(|| format!("failed to create {}", bin.display()))?;
    let curl = ["--fail", "--silent", "--show-error", "--location", "--retry", "2", "--output"];
    command::output(Command::new("curl").args(curl).arg(&file).arg(url))?;
    command::output(Command::new("tar").args(["--zstd", "-xf"]).arg(&file).arg("-C").arg(bin))?;
    fs::remove_file(&file).with_context(|| format!("failed to remove {}", file.display()))
}
