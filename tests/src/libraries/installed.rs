//! TLS libraries beside OpenSSL and its like: as the machine has them, and s2n, which no distribution
//! has.

use std::{
    env::consts::ARCH,
    path::{Path, PathBuf},
};

use anyhow::Result;

use super::{nss, s2n};
use crate::{compile::Linked, database};

/// A library with an `exact_NAME.c` among the fixtures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed {
    /// GnuTLS.
    GnuTls,
    /// What GnuTLS has of OpenSSL's functions: fit for the fixture `web` only, as a client.
    GnuTlsOpenSsl,
    /// Mbed TLS.
    MbedTls,
    /// NSS.
    Nss,
    /// s2n, linked in with its symbols, as its crate does.
    S2n,
    /// wolfSSL.
    WolfSsl,
}

impl Installed {
    /// Its name in output, and in the names of fixtures.
    pub const fn name(self) -> &'static str {
        match self {
            Self::GnuTls => "gnutls",
            Self::GnuTlsOpenSsl => "gnutls_openssl",
            Self::MbedTls => "mbedtls",
            Self::Nss => "nss",
            Self::S2n => "s2n",
            Self::WolfSsl => "wolfssl",
        }
    }

    /// What to link to. The fixtures count by libcrypto.
    pub(crate) fn linked(self) -> Result<Linked> {
        let libraries: &[&str] = match self {
            Self::GnuTls => &["-lgnutls", "-lcrypto"],
            Self::GnuTlsOpenSsl => &["-lgnutls-openssl", "-lgnutls"],
            Self::MbedTls => &["-lmbedtls", "-lmbedx509", "-lmbedcrypto", "-lcrypto"],
            Self::Nss => &[
                "-I/usr/include/nss",
                "-I/usr/include/nspr",
                "-lssl3",
                "-lnss3",
                "-lnspr4",
                "-lcrypto",
            ],
            Self::S2n => return s2n::linked(),
            Self::WolfSsl => &["-lwolfssl", "-lcrypto"],
        };
        let libraries = libraries.iter().map(ToString::to_string).collect();
        Ok(Linked { include: None, libraries })
    }

    /// Puts what a server needs into a folder.
    pub(crate) fn prepare(self, folder: &Path) -> Result<()> {
        let [key, certificate] = database::certificate(folder)?;
        if self == Self::Nss {
            nss::database(&key, &certificate)?;
        }
        Ok(())
    }

    /// What a program has to find where it runs, beside what it is linked to.
    pub fn files(self, folder: &Path) -> Vec<PathBuf> {
        let mut files = ["key.pem", "certificate.pem"].map(|name| folder.join(name)).to_vec();
        if self == Self::Nss {
            files.extend(nss::FILES.map(|name| folder.join(name)));
            let system = PathBuf::from(format!("/usr/lib/{ARCH}-linux-gnu"));
            files.extend(nss::MODULES.map(|name| system.join(name)));
        }
        files
    }
}
