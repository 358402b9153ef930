//! `cargo xtask ci`: everything a change must pass, step by step; the first failure ends it.

use std::{
    env::{self, consts::ARCH},
    iter,
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, Result};

use crate::{
    build, command, fuzz,
    packages::{self, Package},
    test,
    toolchain::{self, Compiler, DISTRIBUTION},
    vm, workspace,
};

/// Of each target. More is a matter of `cargo xtask fuzz`.
const FUZZ_SECONDS: u32 = 60;
/// At a time, which is more than there are processors: what is new is found in the first seconds.
const FUZZ_JOBS: usize = 5;
/// Those whose registers the kernel half knows.
const PROCESSORS: [&str; 2] = ["x86_64", "aarch64"];
/// Of random bytes for each decoder.
const NOISE_MIB: &str = "1024";

pub(crate) fn ci() -> Result<()> {
    let began = Instant::now();
    step("toolchain", || toolchain::prepare().map(drop))?;
    step("rustfmt", || cargo(&["fmt", "--all", "--check"]))?;
    step("clippy", || cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    step("clippy, kernel half", clippy_kernel_half)?;
    step("kernel half for other processors", build_other_kernel_halves)?;
    step("tests", || test::test(&test::Args::all()))?;
    step("Linux 6.1", || vm::vm(&vm::Args::on("6.1")))?;
    step("noise and limits of time", release)?;
    step("fuzzing", || fuzz::fuzz(&fuzz::Args::all(FUZZ_SECONDS, FUZZ_JOBS)))?;
    step("rustdoc", rustdoc)?;
    step("cargo-deny", deny)?;
    eprintln!("==> all passed in {:.0?}", began.elapsed());
    Ok(())
}

fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let began = Instant::now();
    eprintln!("==> {name}");
    work().with_context(|| format!("{name} (after {:.1?})", began.elapsed()))?;
    eprintln!("==> {name}: passed in {:.1?}", began.elapsed());
    Ok(())
}

fn cargo(arguments: &[&str]) -> Result<()> {
    command::run(command::cargo().args(arguments))
}

/// With the profile of a release: debug builds take too long for so much.
fn release() -> Result<()> {
    let tests = ["--test", "noise", "--test", "limits", "--", "--nocapture", "--test-threads=1"];
    let mut test = build::static_cargo("test")?;
    command::run(test.args(build::AGENT).args(tests).env("TLSTAP_NOISE_MIB", NOISE_MIB))
}

fn rustdoc() -> Result<()> {
    let arguments = ["doc", "--workspace", "--no-deps", "--document-private-items"];
    command::run(command::cargo().args(arguments).env("RUSTDOCFLAGS", "-D warnings"))
}

/// On the host the kernel half is an empty program, so it is looked at as BPF too, for every
/// processor whose registers it knows.
fn clippy_kernel_half() -> Result<()> {
    let compiler = toolchain::prepare()?;
    ensure_clippy(&compiler)?;
    for processor in PROCESSORS {
        let mut clippy = kernel_half(&compiler, processor, "clippy");
        command::run(clippy.args(["--", "-D", "warnings"]))?;
    }
    Ok(())
}

/// That of this machine is in the agent.
fn build_other_kernel_halves() -> Result<()> {
    let compiler = toolchain::prepare()?;
    let path = env::var_os("PATH").unwrap_or_default();
    let path = iter::once(workspace::tools().join("bin")).chain(env::split_paths(&path));
    let path = env::join_paths(path)?;
    for processor in PROCESSORS.into_iter().filter(|processor| *processor != ARCH) {
        let mut build = kernel_half(&compiler, processor, "build");
        command::run(build.args(["--release", "--bin", "tlstap-bpf"]).env("PATH", &path))?;
    }
    Ok(())
}

fn kernel_half(compiler: &Compiler, processor: &str, verb: &str) -> Command {
    let mut cargo = Command::new("rustup");
    cargo
        .current_dir(workspace::root())
        .args(["run", compiler.toolchain, "cargo", verb, "--package", "tlstap-ebpf"])
        .args(["--target", "bpfel-unknown-none"])
        .env_remove("RUSTC")
        .env("RUSTFLAGS", format!("--cfg=bpf_target_arch=\"{processor}\" -Clink-arg=--btf"));
    if compiler.toolchain == DISTRIBUTION {
        cargo.env("RUSTC_BOOTSTRAP", "aya_ebpf,aya_ebpf_bindings");
    } else {
        cargo.arg("-Zbuild-std=core");
    }
    cargo
}

fn ensure_clippy(compiler: &Compiler) -> Result<()> {
    if compiler.toolchain == DISTRIBUTION {
        let clippy = Package::new("rust-web-clippy", "/usr/bin/clippy-driver");
        return packages::ensure("linting the kernel half", &[clippy]);
    }
    let add = ["component", "add", "clippy", "--toolchain", compiler.toolchain];
    command::output(Command::new("rustup").args(add)).map(drop)
}

/// Licences, bans and sources need only the lock file. Advisories come from a git server that is
/// not within reach everywhere: their absence is said, not failed.
fn deny() -> Result<()> {
    let program = packages::cargo_tool("cargo-deny")?;
    let deny = |arguments: &[&str]| {
        let mut deny = Command::new(&program);
        deny.current_dir(workspace::root()).args(arguments);
        deny
    };
    command::run(&mut deny(&["check", "bans", "licenses", "sources"]))?;
    if let Err(error) = command::output(&mut deny(&["fetch", "db"])) {
        eprintln!("xtask: the advisories were not checked, their server is out of reach: {error}");
        return Ok(());
    }
    command::run(&mut deny(&["--offline", "check", "advisories"]))
}
