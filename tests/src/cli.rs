//! A run of tlstap that came to its end.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{coverage, schema};

/// What a finished run left.
#[derive(Debug)]
pub struct Ended {
    /// Exit status; none when a signal ended it.
    pub code: Option<i32>,
    /// From the signal, or from the start of waiting, until its end and the end of its output.
    pub took: Duration,
    /// Lines of stdout.
    pub stdout: Vec<String>,
    /// Lines of stderr.
    pub stderr: Vec<String>,
}

/// What the runtime prints when a program failed in a way that nobody planned.
const ACCIDENTS: [&str; 4] = ["panicked", "stack backtrace", "RUST_BACKTRACE", "Caused by"];

impl Ended {
    /// The lines of stdout as records of the schema.
    pub fn events(&self) -> Result<Vec<Value>> {
        let record = |line: &String| schema::record(line).inspect(coverage::saw);
        self.stdout.iter().map(record).collect()
    }

    /// The lines of stdout as JSON of any form.
    pub fn rows(&self) -> Result<Vec<Value>> {
        let parse = |line: &String| {
            serde_json::from_str(line).with_context(|| format!("stdout has no JSON: {line:?}"))
        };
        self.stdout.iter().map(parse).collect()
    }

    /// Holds it to exit 0 and to a stderr without accidents.
    pub fn succeeded(&self) -> Result<()> {
        ensure!(self.code == Some(0), "exit {:?}, not 0\n{}", self.code, self.stderr.join("\n"));
        self.no_accident()
    }

    /// Holds it to exit 1 after one plain line that has one of these words.
    pub fn refused(&self, words: &[&str]) -> Result<()> {
        let stderr = self.stderr.join("\n");
        ensure!(self.code == Some(1), "exit {:?}, not 1\n{stderr}", self.code);
        self.no_accident()?;
        let lines = self.stderr.iter().filter(|line| !line.trim().is_empty());
        let lines: Vec<_> = lines.collect();
        ensure!(lines.len() == 1, "not one line but {}:\n{stderr}", lines.len());
        ensure!(words.iter().any(|word| stderr.contains(word)), "none of {words:?} in: {stderr}");
        ensure!(self.stdout.is_empty(), "stdout carries records only: {:?}", self.stdout);
        Ok(())
    }

    /// Holds its stderr to be free of panics and stack traces.
    pub fn no_accident(&self) -> Result<()> {
        let stderr = self.stderr.join("\n");
        ensure!(!ACCIDENTS.iter().any(|word| stderr.contains(word)), "an accident:\n{stderr}");
        Ok(())
    }

    /// The one summary line at the end of a trace.
    pub fn summary(&self) -> Result<&str> {
        let counts = |line: &&String| line.contains("event") && line.contains("byte");
        let mut summaries = self.stderr.iter().filter(counts);
        let summary = summaries.next();
        let summary = summary
            .with_context(|| format!("no summary on stderr:\n{}", self.stderr.join("\n")))?;
        ensure!(summaries.next().is_none(), "two summaries:\n{}", self.stderr.join("\n"));
        Ok(summary)
    }
}
