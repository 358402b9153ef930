//! Issue 3: the runtime crashes and comes back during a trace.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tlstap_tests::{
    agent::Agent,
    docker::Container,
    event::{exchanges, text},
    node::Node,
    tool,
};

use crate::web;

crate::tests![the_daemon_crashes];

fn the_daemon_crashes(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let server = web::server(docker)?;
    let address = server.address()?;
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    ask(&address, 0)?;
    wait_for(&mut agent, &server, 0)?;
    docker.kill_daemon()?;
    for number in 1..=5 {
        ask(&address, number)?;
        wait_for(&mut agent, &server, number)?;
    }
    // A daemon that comes back stops the containers of the one that crashed.
    docker.restart_daemon()?;
    let new = web::server(docker)?;
    ask(&new.address()?, 6)?;
    wait_for(&mut agent, &new, 6)?;
    let events = agent.stop()?.events()?;
    let served = exchanges(&events, server.name()).len();
    ensure!(served == 6, "{served} exchanges of the server, not 6");
    Ok(())
}

/// Asks from the host.
fn ask(address: &str, number: u32) -> Result<()> {
    let url = format!("https://{address}:{}/hello?n={number}", web::PORT);
    tool::run(tool::command("curl", ["--silent", "--insecure", &url])?).context("failed to ask")?;
    Ok(())
}

fn wait_for(agent: &mut Agent, server: &Container, number: u32) -> Result<()> {
    let query = format!("n={number}");
    agent.wait_for(&format!("request {number} under its name"), |events| {
        let asked = |event: &&Value| text(event, "/url/query") == Some(&query);
        exchanges(events, server.name()).into_iter().find(asked).map(drop)
    })
}
