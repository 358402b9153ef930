//! Issue 3: ten containers of one image; every exchange once, under the right name.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tlstap_tests::{
    agent::Agent,
    docker::{Container, Docker},
    event::{exchanges, text},
    node::Node,
};

use crate::web;

crate::tests![ten_containers_of_one_image];

const CONTAINERS: usize = 10;
const REQUESTS: usize = 50;

fn ten_containers_of_one_image(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let server = web::server(docker)?;
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    let clients = (0..CONTAINERS).map(|_| client(docker, &server)).collect::<Result<Vec<_>>>()?;
    for client in &clients {
        client.wait_for_log("staying")?;
    }
    wait_for_all(&mut agent, &clients, &server)?;
    one_attachment(node, &clients)?;
    let events = agent.stop()?.events()?;
    for client in &clients {
        let count = exchanges(&events, client.name()).len();
        ensure!(count == REQUESTS, "{count} exchanges of {}, not {REQUESTS}", client.name());
    }
    let all = asked(&events, &web::url(&server, "/hello"));
    ensure!(all == CONTAINERS * REQUESTS, "{all} client exchanges under all names");
    let served = exchanges(&events, server.name()).len();
    ensure!(served == CONTAINERS * REQUESTS, "{served} exchanges of the server");
    Ok(())
}

/// How often any client asked for the URL.
fn asked(events: &[Value], url: &str) -> usize {
    let client = |event: &&Value| text(event, "/kind") == Some("client");
    let asked = |event: &&Value| text(event, "/url/full") == Some(url);
    events.iter().filter(client).filter(asked).count()
}

/// A client that stays alive after its requests.
fn client(docker: &Docker, server: &Container) -> Result<Container> {
    let (url, count) = (web::url(server, "/hello"), REQUESTS.to_string());
    let run = docker.run("client")?.network(docker.network());
    run.start(&["python3", "/fixture/https_client.py", &url, &count, "stay"])
}

fn wait_for_all(agent: &mut Agent, clients: &[Container], server: &Container) -> Result<()> {
    let sides = || clients.iter().map(|side| (side, 1)).chain([(server, CONTAINERS)]);
    agent.wait_for("all exchanges of all containers", |events| {
        sides()
            .all(|(side, times)| exchanges(events, side.name()).len() >= times * REQUESTS)
            .then_some(())
    })
}

fn one_attachment(node: &Node, clients: &[Container]) -> Result<()> {
    let rows = node.tlstap(&["list", "-o", "json"])?.output()?.rows()?;
    let mut keys = Vec::new();
    for client in clients {
        let mine = rows.iter().find(|row| text(row, "/container/name") == Some(client.name()));
        let row = mine.with_context(|| format!("no row of {}", client.name()))?;
        keys.push(text(row, "/file/key").context("no file key")?);
    }
    keys.dedup();
    ensure!(keys.len() == 1, "one image layer, but keys {keys:?}");
    Ok(())
}
