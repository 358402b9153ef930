//! TLS libraries of other lines than the machine's own, built from their sources to be linked
//! into fixtures with their symbols, and kept in the cache.

mod cmake;
mod installed;
pub mod nss;
mod openssl;
mod s2n;
pub(crate) mod sources;

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    num::NonZero,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

pub use self::installed::Installed;
use crate::{compile::Linked, docker::cache, tool};

/// A library that is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// OpenSSL 1.1.1.
    OpenSsl111,
    /// The newest OpenSSL 3.
    OpenSsl3,
    /// BoringSSL.
    BoringSsl,
    /// AWS-LC.
    AwsLc,
}

/// How libcrypto is compiled: it costs most of the time, and the suite looks at libssl only.
const CRYPTO_FLAGS: &str = "-O0 -g0";
/// How libssl is compiled: as distributions do.
const SSL_FLAGS: &str = "-O2 -g0";

impl Library {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::OpenSsl111, Self::OpenSsl3, Self::BoringSsl, Self::AwsLc];

    /// The folder with `libssl.a`, `libcrypto.a` and headers; built now if it is not in the cache.
    pub fn built(self) -> Result<PathBuf> {
        let folder = self.folder()?;
        if !folder.exists() {
            eprintln!("building {self:?} (a minute or two)");
            self.build(&folder).with_context(|| format!("failed to build {self:?}"))?;
        }
        Ok(folder)
    }

    /// What to link to.
    pub fn linked(self) -> Result<Linked> {
        let folder = self.built()?;
        let archive = |name| folder.join(name).to_string_lossy().into_owned();
        let mut libraries = vec![archive("libssl.a"), archive("libcrypto.a"), "-ldl".to_owned()];
        if matches!(self, Self::BoringSsl | Self::AwsLc) {
            libraries.push("-lstdc++".to_owned());
        }
        Ok(Linked { include: Some(folder.join("include")), libraries })
    }

    /// The crate with its sources, and how its version begins.
    fn package(self) -> (&'static str, &'static str) {
        match self {
            Self::OpenSsl111 => ("openssl-src", "111."),
            Self::OpenSsl3 => ("openssl-src", "300."),
            Self::BoringSsl => ("boring-sys", ""),
            Self::AwsLc => ("aws-lc-sys", ""),
        }
    }

    fn folder(self) -> Result<PathBuf> {
        let (package, line) = self.package();
        let version = sources::version(package, line)?;
        let mut hasher = DefaultHasher::new();
        (CRYPTO_FLAGS, SSL_FLAGS).hash(&mut hasher);
        (cmake::OPTIONS, cmake::TOGETHER, cmake::ALONE).hash(&mut hasher);
        (openssl::WITHOUT, openssl::SINCE_3).hash(&mut hasher);
        let name = format!("{package}-{version}-{:016x}", hasher.finish());
        Ok(cache::folder()?.join("libraries").join(name))
    }

    fn build(self, into: &Path) -> Result<()> {
        let (package, line) = self.package();
        let source = sources::folder(package, line)?;
        let parent = into.parent().context("no parent")?;
        fs::create_dir_all(parent)?;
        let scratch = tempfile::tempdir_in(parent)?;
        let half = scratch.path().join("half");
        fs::create_dir(&half)?;
        let work = scratch.path().join("work");
        fs::create_dir(&work)?;
        match self {
            Self::OpenSsl111 => openssl::build(&source.join("openssl"), &work, &half, &[]),
            Self::OpenSsl3 => {
                openssl::build(&source.join("openssl"), &work, &half, &openssl::SINCE_3)
            }
            Self::BoringSsl => cmake::build(&source.join("deps/boringssl"), &work, &half, true),
            Self::AwsLc => cmake::build(&source.join("aws-lc"), &work, &half, false),
        }?;
        // Only a whole one gets the name that is looked for. Another run may have been faster.
        match fs::rename(half, into) {
            Err(_) if into.exists() => Ok(()),
            renamed => Ok(renamed?),
        }
    }
}

/// Copies a folder's contents into another folder.
fn copy(from: &Path, into: &Path) -> Result<()> {
    let mut copy = tool::command("cp", ["--recursive", "--no-target-directory"])?;
    copy.arg(from).arg(into);
    tool::run(copy).map(drop)
}

/// As many jobs as there are processors.
fn jobs() -> String {
    std::thread::available_parallelism().map_or(1, NonZero::get).to_string()
}
