//! Load on a web server, of which every answer counts: `h2load` with many connections at a time, and a
//! client in Python that asks for numbers and looks at each answer. Both use the machine's OpenSSL.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::{child::Child, server::Server, tool};

const LIMIT: Duration = Duration::from_secs(30);

/// Requests of one run of `h2load`, which takes about two seconds.
const RUN: u64 = 4_000;

/// Of each of its connections in a second: what keeps an agent at work, and leaves it time to start.
const RATE: &str = "--rps=250";

/// Load on an nginx, until it is ended.
pub struct Pressure {
    server: Server,
    client: Child,
    over: Arc<AtomicBool>,
    crowd: Option<JoinHandle<Result<u64>>>,
}

impl Pressure {
    /// Starts the server and its clients, until the first answer.
    pub fn start() -> Result<Self> {
        let server = Server::nginx()?;
        let script = tool::fixtures().join("asking.py");
        let mut client = tool::command("python3", [script])?;
        client.arg(server.port.to_string());
        let client = Child::start(client)?;
        client.says("asking", LIMIT)?;
        let over = Arc::new(AtomicBool::new(false));
        let (url, end) = (server.url("/hello"), Arc::clone(&over));
        let crowd = Some(thread::spawn(move || crowd(&url, &end)));
        Ok(Self { server, client, over, crowd })
    }

    /// Processes that live as long as the load: the server, and the client in Python.
    pub fn pids(&self) -> [u32; 2] {
        [self.server.pid(), self.client.pid()]
    }

    /// The URL of a number; the answer is it.
    pub fn number(&self, number: u64) -> String {
        self.server.url(&format!("/number?n={number}"))
    }

    /// Whether everybody still asks.
    pub fn goes_on(&mut self) -> Result<()> {
        let failed = self.crowd.take_if(|crowd| crowd.is_finished());
        failed.map_or(Ok(0), joined)?;
        self.client.lives_for(Duration::ZERO)
    }

    /// Ends it; how many requests there were, each of which was answered.
    pub fn end(mut self) -> Result<u64> {
        self.over.store(true, Ordering::Relaxed);
        let crowd = joined(self.crowd.take().context("ended before")?)?;
        let status = self.client.finish(LIMIT)?;
        ensure!(status.success(), "{}", self.client.stderr.lines().join("\n"));
        let said = self.client.says("asked ", LIMIT)?;
        let asked: u64 = said.trim_start_matches("asked ").parse().context(said.clone())?;
        Ok(crowd + asked)
    }
}

impl Drop for Pressure {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn joined(crowd: JoinHandle<Result<u64>>) -> Result<u64> {
    // What it panicked with was printed.
    crowd.join().unwrap_or_else(|_| Err(anyhow!("the thread that runs h2load panicked")))
}

/// Runs `h2load` by HTTP/2 and HTTP/1 in turns; how many requests it made.
fn crowd(url: &str, over: &AtomicBool) -> Result<u64> {
    let mut asked = 0;
    let number = RUN.to_string();
    let protocols: [&[&str]; 2] = [&["-m", "4"], &["--h1"]];
    for protocol in protocols.into_iter().cycle() {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let mut h2load = tool::command("h2load", ["-n", &number, "-c", "8", RATE])?;
        h2load.args(protocol).arg(url);
        let said = tool::run(h2load)?;
        let all = format!("{RUN} done, {RUN} succeeded, 0 failed, 0 errored, 0 timeout");
        ensure!(said.contains(&all), "not every request was answered:\n{said}");
        asked += RUN;
    }
    Ok(asked)
}
