//! Which traffic is shown, and for how long.
//!
//! Unwanted traffic goes first, so that it would be seen before the wanted.

use std::{fs, time::Duration, time::Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tlstap_tests::{
    event::{number, text},
    node::Node,
    talk::Talking,
};

use crate::web;

crate::tests![by_pid, by_command, by_container, after_a_count, after_a_duration, into_a_file];

const REQUEST: &[u8] = b"GET /filtered HTTP/1.1\r\nHost: talk\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

fn talking(node: &Node) -> Result<Talking> {
    node.talk()?.start(REQUEST, RESPONSE)
}

fn by_pid(node: &Node) -> Result<()> {
    let (mut unwanted, mut wanted) = (talking(node)?, talking(node)?);
    let pid = wanted.pid().to_string();
    let mut agent = node.tlstap(&["trace", "-o", "json", "--pid", &pid])?.ready()?;
    unwanted.go()?;
    wanted.go()?;
    agent.wait_for_count("the wanted process", 2, |_| true)?;
    let ended = agent.stop()?;
    // Both ends of the wanted connection; of the unwanted one nothing left the kernel.
    let copied = format!(" {} plaintext bytes,", 2 * (REQUEST.len() + RESPONSE.len()));
    ensure!(ended.stderr.iter().any(|line| line.contains(&copied)), "{:?}", ended.stderr);
    let events = ended.events()?;
    let wanted = |event: &Value| number(event, "/process/pid") == Some(wanted.pid().into());
    ensure!(events.iter().all(wanted), "others too: {events:?}");
    ensure!(events.len() == 2, "{} events, not 2", events.len());
    Ok(())
}

fn by_command(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let server = web::server(docker)?;
    let mut wanted = talking(node)?;
    // A name that is cut short by the kernel, and alternatives.
    let launch = node.tlstap(&["trace", "-o", "json", "--comm", "nobody", "--comm", "talk"])?;
    let mut agent = launch.ready()?;
    web::curl(docker, &server, "/hello", &[])?;
    wanted.go()?;
    agent.wait_for_count("the wanted command", 2, |_| true)?;
    let events = agent.stop()?.events()?;
    let wanted = |event: &Value| text(event, "/process/command") == Some("talk");
    ensure!(events.iter().all(wanted), "others too: {events:?}");
    Ok(())
}

fn by_container(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let (unwanted, named, by_id) =
        (web::server(docker)?, web::server(docker)?, web::server(docker)?);
    let id = by_id.id()?;
    let prefix = id.get(..12).context("a short id")?;
    let filters = ["trace", "-o", "json", "--container", named.name(), "--container", prefix];
    let mut agent = node.tlstap(&filters)?.ready()?;
    for server in [&unwanted, &named, &by_id] {
        web::curl(docker, server, "/hello", &[])?;
    }
    agent.wait_for_count("the wanted containers", 2, |_| true)?;
    let events = agent.stop()?.events()?;
    let mut names: Vec<_> =
        events.iter().map(|event| text(event, "/container/name").unwrap_or_default()).collect();
    names.sort_unstable();
    let mut wanted = [named.name(), by_id.name()];
    wanted.sort_unstable();
    ensure!(names == wanted, "{names:?}, not {wanted:?}");
    Ok(())
}

fn after_a_count(node: &Node) -> Result<()> {
    let mut talking = talking(node)?;
    let pid = talking.pid().to_string();
    let arguments = ["trace", "-o", "json", "--count", "1", "--pid", &pid];
    let agent = node.tlstap(&arguments)?.ready()?;
    talking.go()?;
    let ended = agent.finish(Duration::from_secs(5))?;
    ended.succeeded()?;
    ended.summary()?;
    ensure!(ended.events()?.len() == 1, "{} events, not 1", ended.stdout.len());
    Ok(())
}

fn after_a_duration(node: &Node) -> Result<()> {
    let begun = Instant::now();
    let ended = node.tlstap(&["trace", "-o", "json", "--duration", "1500ms"])?.output()?;
    let took = begun.elapsed();
    ended.succeeded()?;
    ended.summary()?;
    ensure!(took >= Duration::from_millis(1_500), "it ended after {took:?}");
    ensure!(took < Duration::from_secs(6), "it ended after {took:?}");
    Ok(())
}

fn into_a_file(node: &Node) -> Result<()> {
    let mut talking = talking(node)?;
    let file = node.scratch().join("written.json");
    let path = file.to_str().context("the scratch folder is not UTF-8")?;
    let pid = talking.pid().to_string();
    let arguments = ["trace", "-o", "json", "-w", path, "--count", "2", "--pid", &pid];
    let agent = node.tlstap(&arguments)?.ready()?;
    talking.go()?;
    agent.finish(Duration::from_secs(5))?.succeeded()?;
    let written = fs::read_to_string(&file)?;
    let events = written.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let paths: Vec<_> = events.iter().map(|event| text(event, "/url/path")).collect();
    ensure!(paths == [Some("/filtered"); 2], "the file has {written}");
    Ok(())
}
