//! Two containers of one image, a server and a client: one event each, and all of its fields.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tlstap_tests::{
    agent::Launch,
    docker::{Container, Docker},
    event::{absent, exchanges, expect, number, text},
    node::Node,
};

use crate::web;

crate::tests![
    one_event_on_each_side,
    one_real_file_for_both,
    names_go_but_traffic_stays_without_a_runtime,
];

const LIMIT: Duration = Duration::from_secs(20);

fn one_event_on_each_side(node: &Node) -> Result<()> {
    seen_once_on_each_side(node.docker()?, node.tlstap(&["trace", "-o", "json"])?)
}

/// Libraries are probed first, and then their versions are looked for.
const VERSIONS: Duration = Duration::from_secs(1);

/// Holds an agent to see a request on both sides, with all there is to know about it.
pub(crate) fn seen_once_on_each_side(docker: &Docker, launch: Launch) -> Result<()> {
    let server = web::server(docker)?;
    let mut agent = launch.ready()?;
    thread::sleep(VERSIONS);
    let (client, pid) = curl_with_known_pid(docker, &web::url(&server, "/hello?n=1"))?;
    agent.wait_for("an exchange on each side", |events| {
        let both = [&server, &client].map(|side| !exchanges(events, side.name()).is_empty());
        (both == [true, true]).then_some(())
    })?;
    let events = agent.stop()?.events()?;
    let client_event = only(&events, &client)?;
    let server_event = only(&events, &server)?;
    the_client(client_event, &client, &server, pid)?;
    the_server(server_event, &server)?;
    for (event, container) in [(client_event, &client), (server_event, &server)] {
        the_exchange(event, &server)?;
        the_library(event, docker)?;
        the_container(event, container, docker)?;
    }
    the_addresses(client_event, server_event)
}

/// What is local to the one is the other's peer, and the server's port is the one it listens on.
fn the_addresses(client: &Value, server: &Value) -> Result<()> {
    for (one, other) in [("/network/local", "/network/peer"), ("/network/peer", "/network/local")] {
        for part in ["address", "port"] {
            let one = client.pointer(&format!("{one}/{part}"));
            let other = server.pointer(&format!("{other}/{part}"));
            ensure!(one.is_some() && one == other, "{one:?} is not {other:?}");
        }
    }
    expect(client, &[("/network/peer/port", json!(web::PORT.parse::<u16>()?))])
}

/// Runs curl in a container; its host pid, which curl takes over from a waiting shell.
fn curl_with_known_pid(docker: &Docker, url: &str) -> Result<(Container, u32)> {
    let script = format!("read go; exec curl --silent --insecure '{url}'");
    let run = docker.run("client")?.network(docker.network());
    let (mut child, container) = run.attached(&["sh", "-c", &script])?;
    let pid = container.pid()?;
    child.tell("go\n")?;
    let status = child.finish(LIMIT)?;
    ensure!(status.success(), "curl failed: {status}");
    ensure!(child.stdout.lines() == [web::HELLO.trim_end()], "curl got something else");
    Ok((container, pid))
}

fn only<'a>(events: &'a [Value], container: &Container) -> Result<&'a Value> {
    let of_container = |event: &&Value| text(event, "/container/name") == Some(container.name());
    let found: Vec<_> = events.iter().filter(of_container).collect();
    ensure!(found.len() == 1, "{} events, not 1: {found:?}", found.len());
    found.into_iter().next().context("none")
}

fn the_client(event: &Value, client: &Container, server: &Container, pid: u32) -> Result<()> {
    expect(
        event,
        &[
            ("/kind", json!("client")),
            ("/process/pid", json!(pid)),
            ("/process/command", json!("curl")),
            ("/process/executable/path", json!("/usr/bin/curl")),
            ("/thread/id", json!(pid)),
            ("/container/id", json!(client.id()?)),
            ("/url/full", json!(web::url(server, "/hello?n=1"))),
        ],
    )
}

fn the_server(event: &Value, server: &Container) -> Result<()> {
    let executable = text(event, "/process/executable/path").context("no executable")?;
    ensure!(executable.starts_with("/usr/bin/python3"), "not Python: {executable}");
    expect(
        event,
        &[
            ("/kind", json!("server")),
            ("/process/pid", json!(server.pid()?)),
            ("/process/command", json!("python3")),
            ("/container/id", json!(server.id()?)),
        ],
    )
}

fn the_exchange(event: &Value, server: &Container) -> Result<()> {
    let authority = format!("{}:{}", server.name(), web::PORT);
    expect(
        event,
        &[
            ("/schema", json!("tlstap/v1")),
            ("/type", json!("http")),
            ("/http/version", json!("1.1")),
            ("/http/request/method", json!("GET")),
            ("/http/request/header/host", json!([authority])),
            ("/http/request/header/accept", json!(["*/*"])),
            ("/http/request/body/size", json!(0)),
            ("/http/response/status_code", json!(200)),
            ("/http/response/header/server", json!(["fixture/1"])),
            ("/http/response/header/content-type", json!(["text/plain"])),
            ("/http/response/header/content-length", json!([web::HELLO.len().to_string()])),
            ("/http/response/body/size", json!(web::HELLO.len())),
            ("/url/path", json!("/hello")),
            ("/url/query", json!("n=1")),
        ],
    )?;
    let duration = number(event, "/duration_ns").context("no duration")?;
    ensure!((1_000..10_000_000_000).contains(&duration), "not a duration: {duration} ns");
    let timestamp = text(event, "/timestamp").context("no timestamp")?;
    ensure!(timestamp.len() >= 20 && timestamp.ends_with('Z'), "not RFC 3339: {timestamp}");
    Ok(())
}

fn the_library(event: &Value, docker: &Docker) -> Result<()> {
    let path = text(event, "/tls/path").context("no path of the library")?;
    ensure!(path.starts_with("/usr/lib/") && path.ends_with("/libssl.so.3"), "path {path}");
    let version = web::openssl_version(docker)?;
    expect(event, &[("/tls/library", json!("openssl")), ("/tls/version", json!(version))])
}

fn the_container(event: &Value, container: &Container, docker: &Docker) -> Result<()> {
    expect(
        event,
        &[
            ("/container/name", json!(container.name())),
            ("/container/runtime", json!("docker")),
            ("/container/image/name", json!(docker.image()?)),
        ],
    )
}

fn one_real_file_for_both(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let containers = [web::server(docker)?, web::server(docker)?];
    let rows = node.tlstap(&["list", "-o", "json"])?.output()?.rows()?;
    let mut keys = Vec::new();
    for container in &containers {
        let row = only(&rows, container)?;
        expect(
            row,
            &[
                ("/status", json!("hooked")),
                ("/process/pid", json!(container.pid()?)),
                ("/process/command", json!("python3")),
                ("/tls/library", json!("openssl")),
                ("/container/image/name", json!(docker.image()?)),
            ],
        )?;
        absent(row, "/reason")?;
        keys.push(text(row, "/file/key").context("no file key")?);
    }
    ensure!(keys.first() == keys.last(), "one layer, but keys {keys:?}");
    Ok(())
}

fn names_go_but_traffic_stays_without_a_runtime(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let server = web::server(docker)?;
    let id = server.id()?;
    let launch = node.tlstap(&["trace", "-o", "json"])?;
    let script = r#"mount --bind /dev/null /run/docker.sock && exec "$@""#;
    let unreachable = ["unshare", "--mount", "env", "--unset", "DOCKER_HOST", "sh", "-c", script];
    let mut agent = launch.through(&[&unreachable[..], &["sh"]].concat()).ready()?;
    web::curl(docker, &server, "/hello", &[])?;
    let event = agent.wait_for("an exchange with the container's id", |events| {
        let of_server = |event: &&Value| text(event, "/container/id") == Some(&id);
        events.iter().find(of_server).cloned()
    })?;
    absent(&event, "/container/name")?;
    agent.stop()?;
    Ok(())
}
