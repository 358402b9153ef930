//! What the agent serves by `--metrics`: a client of HTTP, and the text as values.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::{agent::Agent, tool};

/// From the start until it listens, and for an answer.
const LIMIT: Duration = Duration::from_secs(20);

/// Asks the agent to listen where nobody else does, and to say where.
pub const ANYWHERE: [&str; 3] = ["-v", "--metrics", "127.0.0.1:0"];

/// Where a running agent listens.
#[derive(Clone, Copy, Debug)]
pub struct Site(SocketAddr);

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Lines of the head.
    pub head: String,
    /// What comes behind it.
    pub body: String,
}

/// Names with their values, in the order of the names.
type Labels = Vec<(String, String)>;

/// The values of a metric, by all labels.
type Values = BTreeMap<Labels, f64>;

/// The text of `/metrics`.
#[derive(Debug)]
pub struct Metrics {
    /// As it came.
    pub text: String,
    values: BTreeMap<String, Values>,
}

impl Site {
    /// That of an agent which was started with [`ANYWHERE`].
    pub fn of(agent: &Agent) -> Result<Self> {
        let line = agent.complains("metrics are served", LIMIT)?;
        let (_, address) = line.split_once("address=").with_context(|| line.clone())?;
        Ok(Self(address.trim().parse().with_context(|| line.clone())?))
    }

    /// A connection on which nothing was said yet.
    pub fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.0, LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        Ok(stream)
    }

    /// The answer to a path.
    pub fn get(&self, path: &str) -> Result<Answer> {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: tlstap\r\n\r\n"))
            .with_context(|| format!("failed to get {path}"))
    }

    /// The answer to whatever is sent.
    pub fn ask(&self, request: &str) -> Result<Answer> {
        let mut stream = self.connect()?;
        stream.write_all(request.as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let (head, body) = text.split_once("\r\n\r\n").with_context(|| format!("{text:?}"))?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("no status: {head:?}"))?;
        Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
    }

    /// All metrics.
    pub fn metrics(&self) -> Result<Metrics> {
        let Answer { status, head, body } = self.get("/metrics")?;
        ensure!(status == 200 && head.contains("text/plain; version=0.0.4"), "{head}");
        Metrics::parse(body)
    }
}

impl Metrics {
    fn parse(text: String) -> Result<Self> {
        let mut values = BTreeMap::<String, Values>::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, labels, value) = sample(line).with_context(|| line.to_owned())?;
            let former = values.entry(name).or_default().insert(labels, value);
            ensure!(former.is_none(), "twice: {line}");
        }
        Ok(Self { text, values })
    }

    /// The sum of those values of a metric that have these labels.
    pub fn sum(&self, metric: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |found: &[(String, String)]| {
            labels.iter().all(|(name, value)| found.iter().any(|(n, v)| n == name && v == value))
        };
        let values = self.values.get(metric).into_iter().flatten();
        values.filter(|(found, _)| has(found)).map(|(_, value)| value).sum()
    }

    /// Holds the text to be as Prometheus wants it.
    pub fn check(&self) -> Result<()> {
        let mut command = tool::command("promtool", ["check", "metrics"])?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        child.stdin.take().context("no stdin")?.write_all(self.text.as_bytes())?;
        let output = child.wait_with_output()?;
        let said = tool::checked("promtool check metrics", &output)?;
        ensure!(said.is_empty() && output.stderr.is_empty(), "promtool complains: {output:?}");
        Ok(())
    }
}

/// A line that is no comment. No test has a name that needs to be escaped.
fn sample(line: &str) -> Option<(String, Labels, f64)> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let mut pairs = Vec::new();
    for pair in labels.strip_suffix('}')?.split_terminator("\",") {
        let (name, value) = pair.split_once("=\"")?;
        pairs.push((name.to_owned(), value.trim_end_matches('"').to_owned()));
    }
    pairs.sort();
    let value = if value == "+Inf" { f64::INFINITY } else { value.parse().ok()? };
    Some((name.to_owned(), pairs, value))
}
