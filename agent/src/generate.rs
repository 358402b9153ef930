//! `tlstap generate`: manual pages and completions of shells, from the command line as it is.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use clap::{CommandFactory as _, ValueEnum as _};
use clap_complete::Shell;

use crate::cli::Cli;

/// Writes them into a folder.
pub fn generate(folder: &Path) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut command = Cli::command();
        fs::create_dir_all(folder)?;
        for shell in Shell::value_variants() {
            clap_complete::generate_to(*shell, &mut command, "tlstap", folder)?;
        }
        clap_mangen::generate_to(command, folder)
    };
    write().with_context(|| format!("failed to write into {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subcommand_has_its_page() {
        let folder = tempfile::tempdir().unwrap();
        generate(folder.path()).unwrap();
        let text = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(text("tlstap-trace.1").contains("max\\-call\\-bytes"));
        assert!(text("tlstap.1").contains("tlstap\\-replay(1)"));
        for shell in ["tlstap.bash", "_tlstap", "tlstap.fish"] {
            assert!(text(shell).contains("follow-connection"), "{shell}");
        }
    }
}
