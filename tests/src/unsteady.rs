//! Tests that failed once. A machine that stands still for a while fails one that waits or measures, and a
//! run of hundreds is seldom without. So where it is asked for, a few are tried once more; what failed
//! first is told at the end, so that a fault that comes and goes is seen.

use anyhow::{Error, Result};

/// What failed at first, and how many tests more may.
#[derive(Debug)]
pub struct Unsteady {
    left: u64,
    failed: Vec<String>,
}

impl Unsteady {
    /// So many tests may.
    pub const fn new(left: u64) -> Self {
        Self { left, failed: Vec::new() }
    }

    /// Runs a test, and once more if it fails and may.
    pub fn run(&mut self, name: &str, test: impl Fn() -> Result<()>) -> Result<()> {
        let Err(first) = test() else { return Ok(()) };
        if self.left == 0 {
            return Err(first);
        }
        self.left -= 1;
        let why = chain(&first);
        eprint!("failed, and is tried once more: {why}\n... ");
        self.failed.push(format!("{name}: {why}"));
        test()
    }

    /// Those that failed at first, each with why.
    pub fn failed(&self) -> &[String] {
        &self.failed
    }
}

/// The error with its causes, without the stack traces that the environment may ask for.
pub fn chain(error: &Error) -> String {
    error.chain().map(ToString::to_string).collect::<Vec<_>>().join("\n  caused by: ")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use anyhow::ensure;

    use super::*;

    /// Fails so many times.
    fn failing(times: u32) -> impl Fn() -> Result<()> {
        let left = Cell::new(times);
        move || {
            let now = left.get();
            left.set(now.saturating_sub(1));
            ensure!(now == 0, "{now} left");
            Ok(())
        }
    }

    #[test]
    fn a_few_are_tried_once_more() {
        let mut unsteady = Unsteady::new(2);
        assert!(unsteady.run("steady", failing(0)).is_ok());
        assert!(unsteady.run("twice", failing(2)).is_err());
        assert!(unsteady.run("once", failing(1)).is_ok());
        assert!(unsteady.run("too many", failing(1)).is_err());
        assert_eq!(unsteady.failed(), ["twice: 2 left", "once: 1 left"]);
    }
}
