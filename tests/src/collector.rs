//! A collector of spans that is none of ours: Python, with OpenTelemetry's own messages.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{
    child::Child,
    database::{free_port, listening},
    deadline, packages, tool,
};

const PACKAGES: [&str; 2] = ["opentelemetry-proto==1.34.1", "grpcio==1.71.0"];

/// From the end of an exchange until its span is there, on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// By which protocol it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// OTLP/gRPC
    Grpc,
    /// OTLP/HTTP
    Http,
}

/// A running collector; it ends when dropped.
pub struct Collector {
    process: Child,
}

impl By {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Grpc, Self::Http];

    /// The value of `--otlp-protocol`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http/protobuf",
        }
    }
}

/// A place where nobody listens: its port, and arguments by which the agent exports there.
pub fn place(by: By) -> Result<(u16, [String; 4])> {
    let port = free_port()?;
    let url = format!("http://localhost:{port}");
    Ok((port, ["--otlp".to_owned(), url, "--otlp-protocol".to_owned(), by.as_str().to_owned()]))
}

impl Collector {
    /// One that takes everything.
    pub fn start(by: By, port: u16) -> Result<Self> {
        let mut command = packages::python(&PACKAGES)?;
        command.arg(tool::fixtures().join("otlp/collector.py"));
        command.arg(if by == By::Grpc { "grpc" } else { "http" }).arg(port.to_string());
        Ok(Self { process: listening(command, port)? })
    }

    /// One that takes everything, and the arguments by which the agent exports to it.
    pub fn anywhere(by: By) -> Result<(Self, [String; 4])> {
        let (port, arguments) = place(by)?;
        Ok((Self::start(by, port)?, arguments))
    }

    /// What happens to requests from now on; see the fixture.
    pub fn order(&mut self, order: &str) -> Result<()> {
        self.process.tell(&format!("{order}\n"))?;
        self.process.says(&format!("\"order\": \"{order}\""), LIMIT).map(drop)
    }

    fn said(&self, what: &str) -> Result<Vec<Value>> {
        let mut found = Vec::new();
        for line in self.process.stdout.lines() {
            let mut said: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
            if said.get("error").is_some() {
                bail!("the collector complains: {said}");
            }
            found.extend(said.get_mut(what).map(Value::take).map(|it| (it, said)));
        }
        Ok(found.into_iter().map(|(it, said)| if what == "span" { it } else { said }).collect())
    }

    /// The spans that it has taken.
    pub fn spans(&self) -> Result<Vec<Value>> {
        self.said("span")
    }

    /// The requests that it was asked.
    pub fn requests(&self) -> Result<Vec<Value>> {
        self.said("request")
    }

    /// Waits until there are as many spans as `enough` wants.
    pub fn wait(&self, what: &str, enough: impl Fn(&[Value]) -> bool) -> Result<Vec<Value>> {
        let found = deadline::until(what, LIMIT, || {
            let spans = self.spans()?;
            Ok(enough(&spans).then_some(spans))
        });
        found.with_context(|| self.process.stderr.lines().join("\n"))
    }
}
