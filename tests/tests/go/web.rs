//! Servers and clients of `net/http`.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tlstap_tests::{
    child::Child,
    event::{exchanges, expect, number, text},
    go::{self, Pair},
    node::Node,
    probed,
};

const LIMIT: Duration = Duration::from_secs(60);

const COUNT: usize = 5;

struct Asked {
    /// The client's port.
    port: u64,
    /// What it sent, and got back.
    sizes: Vec<u64>,
}

fn web(program: &Path, arguments: &[&str]) -> Result<Child> {
    let mut command = Command::new(program);
    command.args(arguments);
    Child::start(command)
}

/// What the client says when it is done.
fn asked(client: &mut Child) -> Result<Asked> {
    client.tell("go\n")?;
    client.says("done", LIMIT)?;
    let lines = client.stdout.lines();
    let last = |line: &str| line.rsplit(' ').next().and_then(|word| word.parse().ok());
    let port = lines.iter().find(|line| line.starts_with("port ")).context("no port")?;
    let sizes = lines.iter().filter(|line| line.starts_with("asked "));
    let sizes: Vec<_> = sizes.filter_map(|line| last(line)).collect();
    ensure!(sizes.len() == COUNT, "asked {} times", sizes.len());
    Ok(Asked { port: last(port).context("no number")?, sizes })
}

pub(crate) fn requests_of_http_1(node: &Node) -> Result<()> {
    requests(node, "1.1")
}

pub(crate) fn requests_of_http_2(node: &Node) -> Result<()> {
    requests(node, "2")
}

fn requests(node: &Node, version: &str) -> Result<()> {
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    for pair in go::pairs()? {
        let told = || format!("{} {}", pair.version, pair.form);
        let server = web(&pair.web(), &["serve", "127.0.0.1:0"])?;
        let listening = server.says("listening ", LIMIT)?;
        let port: u64 = listening.trim_start_matches("listening ").parse()?;
        let address = format!("127.0.0.1:{port}");
        let arguments = ["ask", &address, version, &COUNT.to_string()];
        let mut client = web(&pair.web(), &arguments)?;
        client.says("ready", LIMIT)?;
        probed::wait(node, server.pid())?;
        probed::wait(node, client.pid())?;
        let asked = asked(&mut client)?;
        for (process, kind, ports) in
            [(&client, "client", (asked.port, port)), (&server, "server", (port, asked.port))]
        {
            let pid = u64::from(process.pid());
            let found = agent
                .wait_for_count("exchanges", COUNT, |event| {
                    number(event, "/process/pid") == Some(pid)
                        && text(event, "/type") == Some("http")
                })
                .with_context(told)?;
            exchanged(&found, &pair, kind, version, ports, &asked.sizes).with_context(told)?;
        }
        ensure!(client.finish(LIMIT)?.success(), "the client failed");
    }
    agent.stop().map(drop)
}

fn exchanged(
    found: &[Value],
    pair: &Pair,
    kind: &str,
    version: &str,
    (local, peer): (u64, u64),
    sizes: &[u64],
) -> Result<()> {
    ensure!(found.len() == sizes.len(), "{} exchanges", found.len());
    for (number, (event, size)) in found.iter().zip(sizes).enumerate() {
        expect(
            event,
            &[
                ("/kind", json!(kind)),
                ("/tls/library", json!("go")),
                ("/tls/version", json!(pair.version)),
                ("/network/local/address", json!("127.0.0.1")),
                ("/network/local/port", json!(local)),
                ("/network/peer/address", json!("127.0.0.1")),
                ("/network/peer/port", json!(peer)),
                ("/http/version", json!(version)),
                ("/http/request/method", json!("POST")),
                ("/http/request/body/size", json!(size)),
                ("/http/response/status_code", json!(200)),
                ("/http/response/header/x-echo", json!([size.to_string()])),
                ("/http/response/body/size", json!(size)),
                ("/url/path", json!("/echo")),
                ("/url/query", json!(format!("number={number}"))),
            ],
        )?;
    }
    Ok(())
}

/// Server and client in containers that have no Go, and no symbols.
pub(crate) fn in_containers(node: &Node) -> Result<()> {
    const PORT: &str = "8443";
    let docker = node.docker()?;
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    for pair in go::pairs()?.iter().filter(|pair| pair.form == "stripped") {
        let run = |role| {
            let run = docker.run(role)?.network(docker.network());
            Ok::<_, anyhow::Error>(run.mount(&pair.web(), "/web"))
        };
        let server = run("go-server")?.start(&["/web", "serve", &format!(":{PORT}")])?;
        server.wait_for_log("listening")?;
        let address = format!("{}:{PORT}", server.name());
        let count = COUNT.to_string();
        let (mut client, container) =
            run("go-client")?.attached(&["/web", "ask", &address, "2", &count])?;
        client.says("ready", LIMIT)?;
        probed::wait(node, container.pid()?)?;
        let asked = asked(&mut client)?;
        let (inside, outside) = (container.address()?, server.address()?);
        for (name, kind, local, peer) in [
            (container.name(), "client", &inside, &outside),
            (server.name(), "server", &outside, &inside),
        ] {
            agent.wait_for("exchanges of both", |events| {
                (exchanges(events, name).len() == COUNT).then_some(())
            })?;
            let found = agent.wait_for("them", |events| Some(events.to_vec()))?;
            for (event, size) in exchanges(&found, name).into_iter().zip(&asked.sizes) {
                expect(
                    event,
                    &[
                        ("/kind", json!(kind)),
                        ("/tls/library", json!("go")),
                        ("/tls/path", json!("/web")),
                        ("/network/local/address", json!(local)),
                        ("/network/peer/address", json!(peer)),
                        ("/http/version", json!("2")),
                        ("/http/request/body/size", json!(size)),
                        ("/http/response/body/size", json!(size)),
                    ],
                )?;
            }
        }
        ensure!(client.finish(LIMIT)?.success(), "the client failed");
    }
    agent.stop().map(drop)
}
