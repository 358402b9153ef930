//! What `cargo xtask` asks of tests, by the environment: `soak` of one that is short otherwise, `ci` of all.

use std::env;

use anyhow::{Context as _, Result};

/// How long, in seconds.
pub const SECONDS: &str = "TLSTAP_SOAK_SECONDS";

/// How often.
pub const TIMES: &str = "TLSTAP_SOAK_TIMES";

/// Where random numbers begin.
pub const SEED: &str = "TLSTAP_SOAK_SEED";

/// How many tests that fail are tried once more.
pub const SECOND: &str = "TLSTAP_SECOND_TRIES";

/// The number that is set, or this one.
pub fn number(name: &str, otherwise: u64) -> Result<u64> {
    match env::var(name) {
        Ok(set) => set.parse().with_context(|| format!("{name} is no number: {set:?}")),
        Err(_) => Ok(otherwise),
    }
}
