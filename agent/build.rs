//! Builds the kernel half with aya-build.
//!
//! `cargo xtask` leaves in `target/tools` what this needs: `bin/bpf-linker`, and a file
//! `toolchain` with the name of the rustup toolchain that compiles for BPF. Without that file it
//! is `nightly`, and bpf-linker is looked for in `PATH`.

use std::{env, fs, path::Path};

use anyhow::{Context as _, Result};
use aya_build::{Package, Toolchain, build_ebpf};

/// The name under which a distribution's rustc is linked into rustup. It is a stable compiler
/// with a ready-made `core`, so only the crates that need unstable features may use them.
const DISTRIBUTION: &str = "tlstap-bpf";

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let tools = root.join("target/tools");
    println!("cargo::rerun-if-changed={}", tools.join("toolchain").display());
    let toolchain = fs::read_to_string(tools.join("toolchain")).unwrap_or("nightly".to_owned());
    let toolchain = toolchain.trim();

    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([tools.join("bin")].into_iter().chain(env::split_paths(&path)))?;
    // SAFETY: a build script has one thread until aya-build starts its own.
    unsafe {
        env::set_var("PATH", path);
        // The inner cargo's progress would come out as warnings of this package.
        env::set_var("CARGO_TERM_QUIET", "true");
        if toolchain == DISTRIBUTION {
            env::set_var("RUSTC_BOOTSTRAP", "aya_ebpf,aya_ebpf_bindings");
        }
    }
    let kernel_half = root.join("agent-ebpf");
    let package = Package {
        name: "tlstap-ebpf",
        root_dir: kernel_half.to_str().context("the path of the checkout is not UTF-8")?,
        ..Package::default()
    };
    build_ebpf([package], Toolchain::Custom(toolchain))
        .context("failed to build the kernel half; `cargo xtask build` installs what it needs")
}
