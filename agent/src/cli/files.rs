//! The options of `tlstap fs`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{ListOutput, Verbosity, complete};

/// Options of `fs`.
#[derive(Debug, Args)]
pub struct FilesArgs {
    /// A container by its name or the beginning of its id, running or not, or a process by its number
    #[arg(value_name = "CONTAINER|PID", add = complete::containers())]
    pub target: String,
    /// A path as it is inside; links in it are followed there
    // Shells know the host's files only.
    #[arg(value_name = "PATH", required_if_eq("cat", "true"), value_hint = ValueHint::Other)]
    pub path: Option<PathBuf>,
    /// List what is in the folder, / if no path is given
    #[arg(long, group = "action")]
    pub ls: bool,
    /// Write what is in the file to standard output
    #[arg(long, group = "action", conflicts_with = "output")]
    pub cat: bool,
    /// Copy the file, or the folder with all that is in it, to this path of the host, where nothing is
    /// yet, or into this folder
    #[arg(
        long,
        group = "action",
        value_name = "DEST",
        conflicts_with = "output",
        requires = "path"
    )]
    pub cp: Option<PathBuf>,
    /// Print the file in the layer of the overlay that holds it: to look at, not to write to
    #[arg(long, group = "action", requires = "path")]
    pub layer: bool,
    /// How it is written
    #[arg(short, long, value_enum, default_value_t = ListOutput::Table)]
    pub output: ListOutput,
    /// How much is logged.
    #[command(flatten)]
    pub verbosity: Verbosity,
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::cli::{Cli, Command};

    #[test]
    fn one_thing_at_a_time() {
        let parse =
            |words: &str| Cli::try_parse_from(["tlstap", "fs"].into_iter().chain(words.split(' ')));
        let Ok(Cli { command: Some(Command::Fs(args)), .. }) = parse("web /etc/hosts -o json")
        else {
            panic!("no fs")
        };
        assert_eq!((args.target.as_str(), args.path.is_some()), ("web", true));
        for right in ["web", "web --ls", "web /a --cat", "web /a --cp b", "web /a --layer", "41 /a"]
        {
            assert!(parse(right).is_ok(), "{right}");
        }
        for wrong in [
            "--ls",
            "web --cat",
            "web --cp b",
            "web --layer",
            "web /a --ls --cat",
            "web /a --cat -o json",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
