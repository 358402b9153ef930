//! Which kernel this is.

use anyhow::{Context as _, Result};

/// The first two numbers of its version.
pub fn version() -> Result<(u32, u32)> {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let mut next = || numbers.next().context("a version without two numbers")?.context("no number");
    Ok((next()?, next()?))
}
