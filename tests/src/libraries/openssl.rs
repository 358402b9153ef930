//! OpenSSL from 1.1.1 on, without all that TLS does not need.

use std::{env::consts::ARCH, fs, path::Path};

use anyhow::Result;

use super::{CRYPTO_FLAGS, SSL_FLAGS, copy};
use crate::tool;

pub(super) const WITHOUT: [&str; 31] = [
    "no-shared",
    "no-tests",
    "no-dso",
    "no-engine",
    "no-comp",
    "no-camellia",
    "no-idea",
    "no-seed",
    "no-bf",
    "no-cast",
    "no-rc2",
    "no-rc4",
    "no-md4",
    "no-mdc2",
    "no-whirlpool",
    "no-rmd160",
    "no-sm2",
    "no-sm3",
    "no-sm4",
    "no-aria",
    "no-gost",
    "no-dsa",
    "no-srp",
    "no-cms",
    "no-ts",
    "no-ct",
    "no-scrypt",
    "no-siphash",
    "no-blake2",
    "no-ec2m",
    "no-ocsp",
];

/// What came with 3.0 and later.
pub(super) const SINCE_3: [&str; 13] = [
    "no-legacy",
    "no-module",
    "no-apps",
    "no-docs",
    "no-http",
    "no-cmp",
    "no-rfc3779",
    "no-ml-dsa",
    "no-slh-dsa",
    "no-lms",
    "no-uplink",
    "no-argon2",
    "no-ssl-trace",
];

/// Builds both libraries.
pub(super) fn build(source: &Path, work: &Path, into: &Path, without: &[&str]) -> Result<()> {
    let mut configure = tool::command("perl", [source.join("Configure")])?;
    configure.arg(format!("linux-{ARCH}")).args(WITHOUT).args(without).current_dir(work);
    tool::run(configure)?;
    make(work, "build_generated", "")?;
    make(work, "libcrypto.a", CRYPTO_FLAGS)?;
    make(work, "libssl.a", SSL_FLAGS)?;
    for archive in ["libcrypto.a", "libssl.a"] {
        fs::copy(work.join(archive), into.join(archive))?;
    }
    // What is generated is beside what is not.
    for include in [source, work].map(|folder| folder.join("include")) {
        copy(&include, &into.join("include"))?;
    }
    Ok(())
}

fn make(work: &Path, target: &str, flags: &str) -> Result<()> {
    let mut make = tool::command("make", ["--silent", "-j", &super::jobs(), target])?;
    make.arg(format!("CFLAGS={flags}")).current_dir(work);
    tool::run(make).map(drop)
}
