//! Issue 3: a container whose libssl is no longer the image's: copied up, or replaced.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tlstap_tests::{
    agent::Agent,
    docker::Container,
    event::{exchanges, text},
    node::Node,
};

use crate::web;

crate::tests![copied_up, replaced_while_it_runs];

/// A file that was never mapped before can lose its first requests; this many, no more.
const TRIES: usize = 10;

fn copied_up(node: &Node) -> Result<()> {
    changed(node, "touch $(readlink -f /usr/lib/*/libssl.so.3)")
}

fn replaced_while_it_runs(node: &Node) -> Result<()> {
    changed(node, "cd /usr/lib/*-linux-gnu && cp libssl.so.3 new && mv new libssl.so.3")
}

/// Changes libssl under a running server, which keeps the old one, while the agent runs; then
/// asks from inside, with the new one.
fn changed(node: &Node, script: &str) -> Result<()> {
    let docker = node.docker()?;
    let (server, other) = (web::server(docker)?, web::server(docker)?);
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    server.exec(&["sh", "-c", script])?;
    let last = ask_until_captured(&mut agent, &server)?;
    web::curl(docker, &other, "/hello", &[])?;
    agent.wait_for("the unchanged container", |events| {
        exchanges(events, other.name()).first().map(drop)
    })?;
    let events = agent.stop()?.events()?;
    let mut seen = queries(&events, &server, "server");
    seen.sort();
    let asked: Vec<_> = (0..=last).map(|number| format!("n={number}")).collect();
    ensure!(seen == asked, "the server's side: {seen:?}, not {asked:?}");
    let seen = queries(&events, &server, "client");
    let once = |query: &String| seen.iter().filter(|other| *other == query).count() == 1;
    ensure!(seen.iter().all(once), "seen twice on the client's side: {seen:?}");
    ensure!(exchanges(&events, other.name()).len() == 1, "the other container: not once");
    Ok(())
}

/// Asks again until the client's side is captured; the number of that request.
fn ask_until_captured(agent: &mut Agent, server: &Container) -> Result<usize> {
    for number in 0..TRIES {
        let url = format!("https://localhost:{}/hello?n={number}", web::PORT);
        server.exec(&["curl", "--silent", "--insecure", &url])?;
        let query = format!("n={number}");
        let both = agent.wait_for("the server's side", |events| {
            let served = queries(events, server, "server").contains(&query);
            served.then(|| queries(events, server, "client"))
        })?;
        if both.contains(&query) {
            return Ok(number);
        }
    }
    None.with_context(|| format!("none of {TRIES} requests by the changed libssl was captured"))
}

fn queries(events: &[Value], container: &Container, kind: &str) -> Vec<String> {
    let found = exchanges(events, container.name());
    let side = found.into_iter().filter(|event| text(event, "/kind") == Some(kind));
    side.filter_map(|event| text(event, "/url/query").map(str::to_owned)).collect()
}
