//! TLS libraries that distributions have beside OpenSSL, as the machine has them.

use crate::compile::Linked;

/// A library with an `exact_NAME.c` among the fixtures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed {
    /// Mbed TLS.
    MbedTls,
    /// wolfSSL.
    WolfSsl,
}

impl Installed {
    /// Its name in output, and in the names of fixtures.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MbedTls => "mbedtls",
            Self::WolfSsl => "wolfssl",
        }
    }

    /// What to link to. The fixtures count by libcrypto.
    pub(crate) fn linked(self) -> Linked {
        let libraries: &[&str] = match self {
            Self::MbedTls => &["-lmbedtls", "-lmbedx509", "-lmbedcrypto", "-lcrypto"],
            Self::WolfSsl => &["-lwolfssl", "-lcrypto"],
        };
        Linked { include: None, libraries: libraries.iter().map(ToString::to_string).collect() }
    }
}
