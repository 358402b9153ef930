//! Which traffic is shown, and for how long.
//!
//! Unwanted traffic goes first, so that it would be seen before the wanted.

use std::{fs, time::Duration, time::Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tlstap_tests::{
    event::{expect, number, text},
    node::Node,
    talk::Talking,
};

use crate::web;

crate::tests![
    by_pid,
    by_command,
    by_container,
    by_content,
    a_wrong_expression_is_explained,
    by_connection,
    headers_without_bodies,
    after_a_count,
    after_a_duration,
    into_a_file
];

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

fn by_content(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let server = web::server(docker)?;
    let expression = format!(
        r#"http.response.status_code >= 400 && container.name.matches("^{}$")"#,
        server.name()
    );
    let file = node.scratch().join("content.tlstap");
    let path = file.to_str().context("a path that is not UTF-8")?;
    let arguments = ["trace", "-o", "json", "--filter", &expression, "--record", path];
    let mut agent = node.tlstap(&arguments)?.ready()?;
    web::curl(docker, &server, "/hello", &[])?;
    web::curl(docker, &server, "/nowhere", &[])?;
    web::curl(docker, &server, "/hello", &[])?;
    web::curl(docker, &server, "/nowhere?again", &[])?;
    agent.wait_for_count("both failures", 2, |_| true)?;
    let traced = agent.stop()?;
    let replayed =
        node.tlstap(&["replay", path, "-o", "json", "--filter", &expression])?.output()?;
    for ended in [traced, replayed] {
        let events = ended.events()?;
        let wanted = |event: &Value| {
            number(event, "/http/response/status_code") == Some(404)
                && text(event, "/container/name") == Some(server.name())
        };
        ensure!(events.len() == 2 && events.iter().all(wanted), "{events:?}");
    }
    Ok(())
}

fn a_wrong_expression_is_explained(node: &Node) -> Result<()> {
    let deep = "(".repeat(3000);
    let wrong = [
        ("http.respnse.status_code > 1", "no field is called http.respnse"),
        ("http.version = '2'", "^"),
        ("container.name.matches('(a{100}){100}{100}')", "size limit"),
        (deep.as_str(), "error"),
    ];
    for (expression, words) in wrong {
        let ended = node.tlstap(&["--filter", expression])?.output()?;
        ensure!(ended.code == Some(2), "exit {:?}, not 2", ended.code);
        ended.no_accident()?;
        let stderr = ended.stderr.join("\n");
        ensure!(stderr.contains(words), "no {words:?} in {stderr}");
    }
    Ok(())
}

fn by_connection(node: &Node) -> Result<()> {
    let rounds = ["--pairs", "2", "--rounds", "3"];
    let mut talking = node.talk()?.flags(&rounds).start(REQUEST, RESPONSE)?;
    let file = node.scratch().join("connection.tlstap");
    let path = file.to_str().context("a path that is not UTF-8")?;
    let pid = talking.pid().to_string();
    let mut agent = node.tlstap(&["-o", "json", "--pid", &pid, "--record", path])?.ready()?;
    talking.go()?;
    let events = agent.wait_for_count("all exchanges", 12, |_| true)?;
    agent.stop()?;
    let id = events.first().and_then(|event| text(event, "/network/connection/id"));
    let id = id.context("no connection")?;
    let followed =
        node.tlstap(&["replay", path, "-o", "json", "--follow-connection", id])?.output()?;
    let followed = followed.events()?;
    let same = |event: &Value| text(event, "/network/connection/id") == Some(id);
    ensure!(followed.len() == 3 && followed.iter().all(same), "{followed:?}");
    Ok(())
}

/// Of a long call not much more than its head is copied, and the exchange is told all the same.
fn headers_without_bodies(node: &Node) -> Result<()> {
    const LENGTH: usize = 100_000;
    let body = "x".repeat(LENGTH);
    let response =
        format!("HTTP/1.1 200 OK\r\nX-Head: seen\r\nContent-Length: {LENGTH}\r\n\r\n{body}");
    let mut talking = node.talk()?.start(REQUEST, response.as_bytes())?;
    let pid = talking.pid().to_string();
    let mut agent = node.tlstap(&["-o", "json", "--headers-only", "--pid", &pid])?.ready()?;
    talking.go()?;
    let told =
        agent.wait_for_count("both sides", 2, |event| text(event, "/type") == Some("http"))?;
    let ended = agent.stop()?;
    for event in told {
        expect(
            &event,
            &[
                ("/http/response/header/x-head", json!(["seen"])),
                ("/http/response/body", json!({"size": LENGTH, "truncated": true})),
            ],
        )?;
    }
    let copied: usize = ended
        .summary()?
        .split_whitespace()
        .zip(ended.summary()?.split_whitespace().skip(1))
        .find(|(_, word)| *word == "plaintext")
        .context("no bytes")?
        .0
        .parse()?;
    ensure!(copied < LENGTH * 2 * 3 / 4, "{copied} bytes were copied");
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
