//! `cargo xtask vm [KERNEL]`: the tests of the kernel half on another kernel, in a virtual machine.
//!
//! The machine is emulated, so this needs no KVM: Debian's kernel for clouds, in memory nothing but the
//! agent, the suite, the programs that the suite starts, and busybox. What it says comes by its
//! serial port, the result as its last line.

mod archive;
mod kernel;
mod machine;
mod root;

use std::{env::consts::ARCH, path::PathBuf};

use anyhow::{Result, ensure};

use crate::{
    build, command,
    packages::{self, Package},
    test, toolchain, workspace,
};
use machine::Machine;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The version of Debian's kernel, or as much of it as is to be the newest's: 6.1, 6.12
    #[arg(default_value = "6.1")]
    kernel: String,
    /// An agent that was built before, linked as it may be
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
    /// A part of the names of the tests that are run
    #[arg(long, value_name = "TEXT")]
    test: Option<String>,
}

impl Args {
    /// All tests on a kernel.
    pub(crate) fn on(kernel: &str) -> Self {
        Self { kernel: kernel.to_owned(), agent: None, test: None }
    }
}

pub(crate) fn vm(args: &Args) -> Result<()> {
    ensure!(ARCH == "x86_64", "the machine is one of x86-64, and emulates none on {ARCH}");
    toolchain::prepare()?;
    packages()?;
    let folder = workspace::target()?.join("vm");
    let kernel = kernel::image(&folder.join("kernels"), &args.kernel)?;
    let agent = args.agent.clone().map_or_else(build::agent_static, Ok)?;
    let suite = test::suite()?;
    let root = root::build(&folder, &agent, &suite)?;
    let machine = Machine { kernel: &kernel, root: &root, test: args.test.as_deref() };
    machine.run()
}

const PURPOSE: &str = "the virtual machine";

/// What the machine is made of.
fn packages() -> Result<()> {
    ensure!(
        command::is_root(),
        "packages of the kernel are fetched, and files of root are read: run this as root"
    );
    // Somebody may have tools of a newer release.
    let qemu = Package::new("qemu-system-x86", "qemu-system-x86_64");
    packages::ensure_beside(PURPOSE, qemu, &Package::new("qemu-utils", "qemu-img"))?;
    packages::ensure(
        PURPOSE,
        &[
            Package::new("binutils", "strip"),
            Package::new("bpftool", "bpftool"),
            Package::new("busybox-static", "/bin/busybox"),
            Package::new("curl", "curl"),
            Package::new("gcc", "cc"),
            Package::new("libssl-dev", "/usr/include/openssl/ssl.h"),
            Package::new("openssl", "openssl"),
        ],
    )
}
