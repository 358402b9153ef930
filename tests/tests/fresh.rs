//! Issue 3: the first request of an image that nobody has seen before.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tlstap_tests::{
    agent::EVENT,
    child::Child,
    docker::{Derived, Docker},
    event::exchanges,
    node::Node,
    tool,
};

use crate::web;

crate::tests![first_request_of_a_fresh_image, gone_before_anybody_looked];

const RUNS: usize = 20;
const CAPTURED: usize = 18;

/// Images with a libssl of their own each: no inode that was mapped before.
fn images(docker: &Docker) -> Result<Vec<Derived>> {
    let folder = tempfile::tempdir()?;
    let find = ["sh", "-c", "echo /usr/lib/*/libssl.so.3"];
    let (path, container) = docker.run("source")?.finish(&find)?;
    let inside = folder.path().join(format!("root{path}"));
    fs::create_dir_all(inside.parent().context("no folder")?)?;
    container.copy_out(&path, &inside)?;
    let dockerfile = format!("FROM {}\nCOPY root /\n", docker.image()?);
    (0..RUNS)
        .map(|number| {
            // Layers of the same content would be one layer.
            fs::write(folder.path().join("root/number"), number.to_string())?;
            docker.derive(&dockerfile, folder.path())
        })
        .collect()
}

fn busy() -> Result<Child> {
    Child::start(tool::command("sh", ["-c", "while :; do :; done"])?)
}

fn first_request_of_a_fresh_image(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let images = images(docker)?;
    let server = web::server(docker)?;
    let url = web::url(&server, "/hello");
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    let _cores = [busy()?, busy()?];
    let mut clients = Vec::new();
    for image in &images {
        let run = docker.run("fresh")?.of_image(image.name()).network(docker.network());
        let (_, client) = run.finish(&["curl", "--silent", "--insecure", &url])?;
        clients.push(client);
    }
    agent.wait_for("all exchanges of the server", |events| {
        (exchanges(events, server.name()).len() >= RUNS).then_some(())
    })?;
    let ended = agent.stop()?;
    let events = ended.events()?;
    let (captured, lost): (Vec<_>, Vec<_>) =
        clients.iter().partition(|client| !exchanges(&events, client.name()).is_empty());
    let captured = captured.len();
    ensure!(captured >= CAPTURED, "{captured} of {RUNS} first requests captured");
    for client in lost {
        let named = ended.stderr.iter().any(|line| line.contains(client.name()));
        ensure!(named, "not a word about the lost request of {}", client.name());
    }
    Ok(())
}

/// Programs that came and went while the agent had no time. One used a library that had been looked at before;
/// of one that brought its own is said that its calls may be missing.
fn gone_before_anybody_looked(node: &Node) -> Result<()> {
    let server = web::server(node.docker()?)?;
    let curl = format!("curl --silent --insecure {}", web::url(&server, "/hello"));
    let own =
        format!("mkdir /own && cp /usr/lib/*/libssl.so.3 /own && LD_LIBRARY_PATH=/own exec {curl}");
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    agent.signal(Signal::STOP)?;
    for script in [&curl, &own] {
        server.exec(&["sh", "-ec", script])?;
    }
    agent.signal(Signal::CONT)?;
    agent.complains("/own/libssl.so.3", EVENT)?;
    // The server's side of both, and the client's of one.
    let told = |events: &[Value]| (events.len() >= 3).then_some(());
    agent.wait_for("what was told", told)?;
    let ended = agent.stop()?;
    let said: Vec<_> = ended.stderr.iter().filter(|line| line.contains("may be missing")).collect();
    let named = said.iter().all(|line| line.contains("/own/"));
    ensure!(named && said.len() == 1, "{said:?}");
    Ok(())
}
