//! What the agent says of itself among the records: that it traces more or less from now on.

use std::{
    io::{self, Write},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Serialize;

use super::json;
use crate::limits::{Cause, Level, Step};

/// A step between the levels of [`crate::limits`], and when it was taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Notice {
    /// `CLOCK_REALTIME` nanoseconds since the epoch.
    pub timestamp_ns: i64,
    /// The step.
    pub step: Step,
}

/// In JSON.
#[derive(Serialize)]
struct Line {
    schema: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: String,
    limit: Limit,
}

#[derive(Serialize)]
struct Limit {
    level: Level,
    previous: Level,
    cause: Cause,
    cpu: Share<f64>,
    memory: Share<u64>,
}

#[derive(Serialize)]
struct Share<N> {
    used: N,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<N>,
}

impl Notice {
    /// A step that is taken now.
    pub fn now(step: Step) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { timestamp_ns: i64::try_from(now.as_nanos()).unwrap_or(i64::MAX), step }
    }

    /// Writes it as a line of JSON.
    pub(super) fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        let Step { from, to, cause, usage, limits } = self.step;
        let line = Line {
            schema: json::SCHEMA,
            kind: "limit",
            timestamp: json::time(self.timestamp_ns)?,
            limit: Limit {
                level: to,
                previous: from,
                cause,
                cpu: Share { used: thousandths(usage.cpu), max: limits.cpu },
                memory: Share { used: usage.memory, max: limits.memory },
            },
        };
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")
    }
}

/// More digits would say nothing.
fn thousandths(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use crate::{
        emit::{Format, Notice, Writer, sample::PLAIN},
        limits::{Cause, Level, Limits, Step, Usage},
    };

    fn written(format: Format) -> String {
        let step = Step {
            from: Level::Full,
            to: Level::Headers,
            cause: Cause::Cpu,
            usage: Usage { cpu: 1.31849, memory: 92_274_688 },
            limits: Limits { cpu: Some(0.5), memory: None },
        };
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out, format, PLAIN);
        writer.notice(&Notice { timestamp_ns: 1_795_292_692_708_165_404, step }).unwrap();
        writer.flush().unwrap();
        drop(writer);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn in_json() {
        let expect = r#"{"schema":"tlstap/v1","type":"limit","timestamp":"2026-11-21T20:24:52.708165404Z","limit":{"level":"headers","previous":"full","cause":"cpu","cpu":{"used":1.318,"max":0.5},"memory":{"used":92274688}}}"#;
        assert_eq!(written(Format::Json).trim_end(), expect);
    }

    #[test]
    fn in_text_and_not_at_all() {
        let expect = "20:24:52.708  limit         headers: only the first 1024 B of each call are \
                      copied (cpu: 1.32 of 0.50 processors, 88 MiB)\n";
        assert_eq!(written(Format::Text), expect);
        assert_eq!(written(Format::None), "");
    }
}
