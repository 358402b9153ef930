//! What is missing on the node, or not there yet, and is no reason to give up.

use std::{fs, time::Duration};

use anyhow::{Result, ensure};
use serde_json::Value;
use tlstap_tests::{
    agent::{EVENT, Launch},
    event::{exchanges, number},
    node::Node,
};

use crate::web;

crate::tests![
    without_type_information,
    an_unreadable_process,
    a_container_that_does_not_exist,
    a_container_that_comes_later,
];

/// Started where these folders of /proc and /sys are empty.
fn hidden(launch: Launch, folder: &str) -> Launch {
    let script = r#"mount -t tmpfs none "$0" && exec "$@""#;
    launch.through(&["unshare", "--mount", "sh", "-c", script, folder])
}

/// Holds an agent to capture the fixture all the same.
fn captures(node: &Node, launch: Launch) -> Result<()> {
    let mut talking = node.talk()?.start(b"ping", b"pong")?;
    let pid = u64::from(talking.pid());
    let mut agent = launch.ready()?;
    talking.go()?;
    let mine = |event: &Value| number(event, "/process/pid") == Some(pid);
    agent.wait_for_count("the fixture's pieces", 4, mine)?;
    agent.stop()?;
    Ok(())
}

fn without_type_information(node: &Node) -> Result<()> {
    let folder = "/sys/kernel/btf";
    ensure!(fs::exists(folder)?, "the kernel has no type information to hide");
    captures(node, hidden(node.tlstap(&["trace", "--raw", "-o", "json"])?, folder))
}

fn an_unreadable_process(node: &Node) -> Result<()> {
    let unseen = node.talk()?.start(b"ping", b"pong")?;
    let folder = format!("/proc/{}", unseen.pid());
    captures(node, hidden(node.tlstap(&["trace", "--raw", "-o", "json"])?, &folder))
}

fn a_container_that_does_not_exist(node: &Node) -> Result<()> {
    let name = "no-such-container";
    let mut agent = node.tlstap(&["trace", "-o", "json", "--container", name])?.start()?;
    agent.complains(name, EVENT)?;
    agent.lives_for(Duration::from_millis(500))?;
    let ended = agent.stop()?;
    ensure!(ended.stdout.is_empty(), "events of nobody: {:?}", ended.stdout);
    Ok(())
}

fn a_container_that_comes_later(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let server = web::server(docker)?;
    let client = docker.run("later")?.network(docker.network());
    let name = client.name().to_owned();
    let mut agent = node.tlstap(&["trace", "-o", "json", "--container", &name])?.start()?;
    agent.complains(&name, EVENT)?;
    let url = web::url(&server, "/hello");
    let (_, _client) = client.finish(&["curl", "--silent", "--insecure", &url])?;
    agent
        .wait_for("its exchange", |events| (!exchanges(events, &name).is_empty()).then_some(()))?;
    let events = agent.stop()?.events()?;
    ensure!(events.len() == 1, "the filter let more through: {events:?}");
    Ok(())
}
