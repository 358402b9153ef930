//! BoringSSL and AWS-LC, by cmake; their crates bring all that is generated.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{CRYPTO_FLAGS, SSL_FLAGS, copy};
use crate::tool;

/// Neither looks for programs beside the compilers; each ignores what only the other knows.
pub(super) const OPTIONS: [&str; 8] = [
    "-DCMAKE_BUILD_TYPE=None",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DBUILD_TESTING=OFF",
    "-DBUILD_TOOL=OFF",
    "-DENABLE_SOURCE_MODIFICATION=OFF",
    "-DBUILD_LIBSSL=ON",
    "-DDISABLE_PERL=ON",
    "-DDISABLE_GO=ON",
];

/// Builds both libraries, each in a folder of its own because of its flags.
pub(super) fn build(source: &Path, work: &Path, into: &Path) -> Result<()> {
    // libssl without libcrypto, which it would build again.
    for (target, name, flags) in
        [("crypto", "libcrypto.a", CRYPTO_FLAGS), ("ssl/fast", "libssl.a", SSL_FLAGS)]
    {
        let folder = work.join(name);
        let mut configure = tool::command("cmake", OPTIONS)?;
        configure.arg(format!("-DCMAKE_C_FLAGS={flags}"));
        configure.arg(format!("-DCMAKE_CXX_FLAGS={flags}"));
        configure.arg("-S").arg(source).arg("-B").arg(&folder);
        tool::run(configure)?;
        let mut make = tool::command("make", ["--silent", "-j", &super::jobs(), target])?;
        make.arg("-C").arg(&folder);
        tool::run(make)?;
        fs::copy(find(&folder, name)?, into.join(name))?;
    }
    copy(&source.join("include"), &into.join("include"))
}

/// BoringSSL makes its archives at the top, AWS-LC one folder below.
fn find(folder: &Path, name: &str) -> Result<PathBuf> {
    let places = ["", "crypto", "ssl"].map(|below| folder.join(below).join(name));
    let found = places.into_iter().find(|place| place.exists());
    found.with_context(|| format!("no {name} was made"))
}
