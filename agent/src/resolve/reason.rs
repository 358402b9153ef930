//! Why a process with TLS code is not hooked: a fixed word each, documented in docs/output.md.

use std::fmt;

/// Why a file, or a process, is not probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The file or the process could not be read for lack of a privilege.
    Permission,
    /// The file could not be opened or read, or is malformed.
    Unreadable,
    /// The file is for another architecture, such as a 32-bit program.
    Architecture,
    /// The TLS library is linked in and its symbols are stripped.
    Stripped,
    /// A TLS library of a kind that is not supported.
    UnsupportedLibrary,
    /// Java's own TLS, which runs in compiled bytecode.
    Java,
    /// Erlang's own TLS, which runs in compiled bytecode.
    Erlang,
    /// The kernel refused the probe.
    AttachFailed,
    /// A probe there could harm the process.
    Unsafe,
    /// On this kernel a probe could harm processes under a seccomp filter.
    UnsafeKernel,
    /// The file was written to while it was looked at.
    Changed,
}

impl Reason {
    /// The fixed word for output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Permission => "permission",
            Self::Unreadable => "unreadable",
            Self::Architecture => "architecture",
            Self::Stripped => "stripped",
            Self::UnsupportedLibrary => "unsupported-library",
            Self::Java => "java",
            Self::Erlang => "erlang",
            Self::AttachFailed => "attach-failed",
            Self::Unsafe => "unsafe",
            Self::UnsafeKernel => "unsafe-kernel",
            Self::Changed => "changed",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
