//! Options of `trace` that limit what the agent takes: docs/limits.md.

use clap::Args;

use super::unit;
use crate::limits::Limits;

/// Most bytes of a limit: below 2^34, so that the kernel half can multiply them by nanoseconds.
const MOST: u64 = (1 << 34) - 1;

/// What the agent may take.
#[derive(Clone, Copy, Debug, Args)]
pub struct LimitArgs {
    /// Most processor time that the agent may take: 0.5 or 50% is half of that of one processor. Above,
    /// less and less is traced until it holds (docs/limits.md)
    #[arg(long, value_name = "CPUS|PERCENT", value_parser = processors)]
    pub max_cpu: Option<f64>,
    /// Most memory that the agent may take: 256m, 1g. Likewise
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub max_memory: Option<u64>,
    /// Most bytes a second that are copied from one process: 64k, 1m. What is beyond is reported as a gap
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub max_rate: Option<u64>,
}

impl LimitArgs {
    /// The limits of the agent as a whole.
    pub const fn limits(&self) -> Limits {
        Limits { cpu: self.max_cpu, memory: self.max_memory }
    }
}

/// Processors: `0.5` and `50%` are half of the time of one, `2` and `200%` that of two.
fn processors(text: &str) -> Result<f64, String> {
    const WRONG: &str = "write processors, such as 0.5, or per cent of one, such as 50%";
    let (number, unit) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    let number: f64 = number.parse().map_err(|_invalid: std::num::ParseFloatError| WRONG)?;
    let processors = number / unit;
    // Also what is not finite.
    if (0.001..=4_096.0).contains(&processors) { Ok(processors) } else { Err(WRONG.to_owned()) }
}

/// Bytes: `65536`, `64k`, `1m`, `2g`.
fn bytes(text: &str) -> Result<u64, String> {
    let bytes = unit::bytes(text, unit::LARGE)?;
    bytes.filter(|bytes| (1..=MOST).contains(bytes)).ok_or_else(|| "write 1 to 15g".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_they_are_written() {
        for (text, expect) in
            [("0.5", 0.5), ("50%", 0.5), ("2", 2.0), ("150%", 1.5), ("0.1%", 0.001)]
        {
            assert_eq!(processors(text), Ok(expect), "{text}");
        }
        for wrong in ["", "%", "0", "-1", "1 %", "nan", "inf", "1e9", "5c", "0.01%"] {
            assert!(processors(wrong).is_err(), "{wrong}");
        }
        for (text, expect) in [("1", 1), ("64k", 65_536), ("3M", 3 << 20), ("15g", 15 << 30)] {
            assert_eq!(bytes(text), Ok(expect), "{text}");
        }
        for wrong in ["", "0", "k", "16g", "1t", "-1", "+1", "1.5m", "99999999999999999999"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
