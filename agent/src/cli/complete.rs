//! What shells offer when a name of the node is to be written.

use std::path::Path;

use clap_complete::{ArgValueCandidates, CompletionCandidate};

use crate::target;

/// The names of the containers that run.
pub(crate) fn containers() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let names = target::names(Path::new("/proc")).into_iter();
        names
            .filter(|(name, _)| is_plain(name))
            .map(|(name, about)| {
                CompletionCandidate::new(name)
                    .help(about.map(|about| about.escape_debug().to_string().into()))
            })
            .collect()
    })
}

/// Whether a shell takes a name as it is. A folder can be called anything, and is the name of a container
/// that has no runtime; what is offered may end up as a part of a command.
fn is_plain(name: &str) -> bool {
    !name.starts_with('-')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | ':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_a_command() {
        assert!(is_plain("web-1.shop_x"));
        for name in
            ["$(reboot)", "a b", "a;b", "`id`", "-o", "a\nb", "é", "~root", "a'b", "a\\b", "*"]
        {
            assert!(!is_plain(name), "{name}");
        }
    }
}
