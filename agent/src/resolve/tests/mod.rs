//! What resolution costs, and what it refuses.

mod aarch64;
mod bounded;
mod cost;
mod hostile;
mod known;
mod layers;
mod machine;
mod made;
mod opened;

use std::fs::File;

use super::{Probe, Resolution, Resolver, source::Source};

/// Resolves a file; gives the bytes too that were read of it and that were kept.
fn measured(resolver: &mut Resolver, file: &File) -> (Resolution, u64, u64) {
    let source = Source::new(file.try_clone().unwrap());
    let resolution = resolver.resolve_source(&source, None);
    (resolution, source.bytes_read(), source.bytes_kept())
}

fn probes(resolution: &Resolution) -> &[Probe] {
    match resolution {
        Resolution::Library { probes, .. } => probes,
        _ => &[],
    }
}
