//! The clients: wrk for HTTP/1, h2load for HTTP/2, a small one of our own for a fixed rate.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, bail};

use super::{
    ground::Ground,
    process::{Core, on},
    server::Server,
};
use crate::command;

/// What is asked of the server, and how.
#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) name: &'static str,
    page: &'static str,
    pub(super) style: Style,
    /// Requests a second to untraced that are to be left.
    pub(super) goal: f64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// HTTP/1.1 on connections that stay, as fast as it goes.
    KeepAlive,
    /// HTTP/1.1, a connection for each request.
    Fresh,
    /// HTTP/2, as fast as it goes.
    Http2,
    /// HTTP/1.1 at a tenth of what goes.
    Paced,
}

pub(super) const CASES: [Case; 7] = [
    Case { name: "100B", page: "100", style: Style::KeepAlive, goal: 0.62 },
    Case { name: "1KiB-http2", page: "1k", style: Style::Http2, goal: 0.62 },
    Case { name: "16KiB", page: "16k", style: Style::KeepAlive, goal: 0.62 },
    Case { name: "1MiB", page: "1m", style: Style::KeepAlive, goal: 0.72 },
    Case { name: "100B-new-connections", page: "100", style: Style::Fresh, goal: 0.95 },
    Case { name: "100B-paced", page: "100", style: Style::Paced, goal: 0.0 },
    Case { name: "16KiB-paced", page: "16k", style: Style::Paced, goal: 0.0 },
];

/// What a run of a client did.
pub(super) struct Load {
    pub(super) requests: u64,
    /// Plaintext, both ways.
    pub(super) bytes: u64,
    pub(super) seconds: f64,
    /// Latencies in nanoseconds: median and 99th percentile.
    pub(super) latency: Option<(f64, f64)>,
}

const CONNECTIONS: &str = "32";

pub(super) struct Client<'a> {
    ground: &'a Ground,
    port: u16,
}

impl<'a> Client<'a> {
    pub(super) fn new(ground: &'a Ground, server: &Server) -> Result<Self> {
        fs::write(ground.path("wrk.lua"), COUNTS).context("failed to write wrk's script")?;
        Ok(Self { ground, port: server.port })
    }

    /// How many requests a second there are at most.
    pub(super) fn limit(&self, case: Case, seconds: f64) -> Result<f64> {
        let load = self.wrk(case, seconds, false)?;
        Ok(load.requests as f64 / load.seconds)
    }

    /// Runs a case; `rate` is for those that are paced.
    pub(super) fn run(&self, case: Case, seconds: f64, rate: f64) -> Result<Load> {
        match case.style {
            Style::KeepAlive => self.wrk(case, seconds, false),
            Style::Fresh => self.wrk(case, seconds, true),
            Style::Http2 => self.h2load(case, seconds),
            Style::Paced => self.pacer(case, seconds, rate),
        }
    }

    fn client(&self, program: &str) -> Command {
        let mut command = on(Core::Others, program);
        command.env("LD_LIBRARY_PATH", self.ground.path("client"));
        command
    }

    fn url(&self, case: Case) -> String {
        format!("https://127.0.0.1:{}/{}", self.port, case.page)
    }

    fn wrk(&self, case: Case, seconds: f64, fresh: bool) -> Result<Load> {
        let mut wrk = self.client("wrk");
        wrk.args(["--threads", "1", "--connections", CONNECTIONS, "--script"]);
        // It takes whole seconds only.
        wrk.arg(self.ground.path("wrk.lua"))
            .args(["--duration", &format!("{:.0}", seconds.ceil())]);
        if fresh {
            wrk.args(["--header", "Connection: close"]);
        }
        let said = command::output(wrk.arg(self.url(case)))?;
        let line = said.lines().find_map(|line| line.strip_prefix("counts "));
        let counts = numbers(line.context("wrk said no counts")?)?;
        let &[requests, bytes, microseconds, errors] = counts.as_slice() else {
            bail!("wrk said {counts:?}");
        };
        if errors > 0 {
            bail!("{errors} errors of wrk with {}", case.name);
        }
        let sent = requests * self.request_length(case, fresh);
        let seconds = microseconds as f64 / 1e6;
        Ok(Load { requests, bytes: bytes + sent, seconds, latency: None })
    }

    /// The length of what wrk asks.
    fn request_length(&self, case: Case, fresh: bool) -> u64 {
        let close = if fresh { "Connection: close\r\n" } else { "" };
        let (page, port) = (case.page, self.port);
        format!("GET /{page} HTTP/1.1\r\n{close}Host: 127.0.0.1:{port}\r\n\r\n").len() as u64
    }

    fn h2load(&self, case: Case, seconds: f64) -> Result<Load> {
        let mut h2load = self.client("h2load");
        h2load.args(["--threads=1", "--clients", CONNECTIONS, "--max-concurrent-streams=4"]);
        h2load.arg(format!("--duration={:.0}", seconds.ceil())).arg(self.url(case));
        let said = command::output(&mut h2load)?;
        let line = |name: &str| said.lines().find_map(|line| line.strip_prefix(name));
        let requests = line("requests: ").and_then(|line| line.split(", ").nth(1));
        let requests = numbers(requests.context("h2load said no requests")?)?;
        let traffic = line("traffic: ").and_then(|line| line.split(['(', ')']).nth(1));
        let received = numbers(traffic.context("h2load said no traffic")?)?;
        let (requests, received) = requests.first().zip(received.first()).context("no numbers")?;
        // All its header fields are in the dynamic table after the first request: a frame of 5.
        let sent = requests * 14;
        Ok(Load { requests: *requests, bytes: received + sent, seconds, latency: None })
    }

    fn pacer(&self, case: Case, seconds: f64, rate: f64) -> Result<Load> {
        let mut pacer = self.client(&self.ground.path("pacer").to_string_lossy());
        pacer.args([self.port.to_string(), format!("/{}", case.page), "8".to_owned()]);
        let said = command::output(pacer.args([rate.to_string(), seconds.to_string()]))?;
        let counts = numbers(&said.replace(['=', '\n'], " "))?;
        let &[requests, bytes, p50, p99, _mean] = counts.as_slice() else {
            bail!("the pacer said {said}");
        };
        let latency = Some((p50 as f64, p99 as f64));
        Ok(Load { requests, bytes, seconds, latency })
    }
}

/// The words that are numbers.
fn numbers(text: &str) -> Result<Vec<u64>> {
    let words = text.split_whitespace().filter(|word| word.starts_with(|c: char| c.is_numeric()));
    words.map(|word| word.parse().with_context(|| format!("{word} is no number"))).collect()
}

const COUNTS: &str = r#"done = function(summary)
    local errors = summary.errors
    io.write("counts "); print(summary.requests, summary.bytes, summary.duration,
          errors.connect + errors.read + errors.write + errors.timeout + errors.status)
end
"#;
