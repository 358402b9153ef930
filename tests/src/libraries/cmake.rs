//! BoringSSL and AWS-LC, by cmake; their crates bring all that is generated.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{CRYPTO_FLAGS, SSL_FLAGS, copy};
use crate::tool;

/// What BoringSSL cannot compile together with others: names that several files give. A list of
/// files that AWS-LC does not have is of no effect there.
pub(super) const ALONE: &str = "cmake_language(DEFER CALL set_source_files_properties
  crypto/ecdsa/ecdsa_asn1.cc crypto/evp/p_mlkem.cc crypto/md5/md5.cc crypto/pkcs8/pkcs8_x509.cc
  crypto/trust_token/voprf.cc PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)";

/// How BoringSSL's libcrypto is compiled: a dozen files of C++ at a time, which takes a third of
/// the time. Its libssl is compiled as it is anywhere.
pub(super) const TOGETHER: [&str; 2] =
    ["-DCMAKE_UNITY_BUILD=ON", "-DCMAKE_UNITY_BUILD_BATCH_SIZE=12"];

/// Neither looks for programs beside the compilers; each ignores what only the other knows.
pub(super) const OPTIONS: [&str; 8] = [
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DBUILD_TESTING=OFF",
    "-DBUILD_TOOL=OFF",
    "-DENABLE_SOURCE_MODIFICATION=OFF",
    "-DBUILD_LIBSSL=ON",
    "-DDISABLE_PERL=ON",
    "-DDISABLE_GO=ON",
];

/// Builds both libraries, each in a folder of its own because of its flags.
pub(super) fn build(source: &Path, work: &Path, into: &Path, together: bool) -> Result<()> {
    let alone = work.join("alone.cmake");
    fs::write(&alone, ALONE)?;
    let crypto = format!("{CRYPTO_FLAGS} -w");
    let together: &[&str] = if together { &TOGETHER } else { &[] };
    let alone = format!("-DCMAKE_PROJECT_INCLUDE={}", alone.display());
    let options = [&[alone.as_str()], together].concat();
    make(source, &work.join("crypto"), ("crypto", "libcrypto.a"), (&crypto, &options), into)?;
    // Without libcrypto, which it would build again.
    make(source, &work.join("ssl"), ("ssl/fast", "libssl.a"), (SSL_FLAGS, &[]), into)?;
    copy(&source.join("include"), &into.join("include"))
}

fn make(
    source: &Path,
    work: &Path,
    (target, archive): (&str, &str),
    (flags, options): (&str, &[&str]),
    into: &Path,
) -> Result<()> {
    let mut configure = tool::command("cmake", OPTIONS)?;
    // What is said of the kind of build comes after what BoringSSL itself says. The header is
    // missing where files are compiled together.
    configure.arg(format!("-DCMAKE_C_FLAGS_RELEASE={flags} -DNDEBUG"));
    configure.arg(format!("-DCMAKE_CXX_FLAGS_RELEASE={flags} -DNDEBUG -include openssl/mem.h"));
    configure.args(options).arg("-S").arg(source).arg("-B").arg(work);
    tool::run(configure)?;
    let mut make = tool::command("make", ["--silent", "-j", &super::jobs(), target])?;
    make.arg("-C").arg(work);
    tool::run(make)?;
    fs::copy(find(work, archive)?, into.join(archive))?;
    Ok(())
}

/// BoringSSL makes its archives at the top, AWS-LC one folder below.
fn find(folder: &Path, name: &str) -> Result<PathBuf> {
    let places = ["", "crypto", "ssl"].map(|below| folder.join(below).join(name));
    let found = places.into_iter().find(|place| place.exists());
    found.with_context(|| format!("no {name} was made"))
}
