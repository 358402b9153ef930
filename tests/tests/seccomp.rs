//! Issue 9: programs under a seccomp filter live on when they are traced, and what cannot be probed without
//! killing them is refused.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tlstap_tests::{
    agent::EVENT,
    event::{number, text},
    node::Node,
    probed, process,
    server::Server,
    tool,
};

use crate::{links, web};

crate::tests![
    a_program_that_is_killed_at_other_calls,
    an_nginx_that_is_killed_at_other_calls,
    a_container_under_dockers_filter,
    an_unsafe_kernel_is_refused,
    an_unsafe_kernel_is_told,
    this_kernel_is_tried,
];

/// What runs on every kernel: no nginx, no Docker.
pub(crate) const ON_ANY_KERNEL: [&str; 4] = [
    "seccomp::a_program_that_is_killed_at_other_calls",
    "seccomp::an_unsafe_kernel_is_refused",
    "seccomp::an_unsafe_kernel_is_told",
    "seccomp::this_kernel_is_tried",
];

const LIBRARY: &str = "libssl.so.3";
const REQUEST: &[u8] = b"GET /sealed HTTP/1.1\r\nHost: talk\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

/// As on a kernel that kills.
const UNSAFE: [&str; 2] = ["--return-probes", "refused"];

fn a_program_that_is_killed_at_other_calls(node: &Node) -> Result<()> {
    for (kind, _) in links::kinds()? {
        let mut talking = node.talk()?.start_by(node.sealed()?, REQUEST, RESPONSE)?;
        let filters = process::seccomp_filters(talking.pid())?;
        ensure!(filters > 0, "no filter: tests nothing");
        let arguments = ["trace", "-o", "json", "--links", kind];
        let mut agent = node.tlstap(&arguments)?.ready()?;
        ensure!(probed::places(talking.pid(), LIBRARY)? > 0, "not probed: tests nothing");
        talking.go()?;
        let both = agent.wait_for_count("both ends", 2, |_| true)?;
        let path = |event: &Value| text(event, "/url/path") == Some("/sealed");
        ensure!(both.iter().all(path), "{both:?}");
        talking.end().with_context(|| format!("by links of the kind {kind}"))?;
        agent.stop()?;
    }
    Ok(())
}

fn an_nginx_that_is_killed_at_other_calls(node: &Node) -> Result<()> {
    const REQUESTS: usize = 20;
    let server = Server::nginx_through(node.sealed()?)?;
    ensure!(process::seccomp_filters(server.pid())? > 0, "no filter: tests nothing");
    let mut agent = node.tlstap(&["trace", "-o", "json", "--comm", "nginx"])?.ready()?;
    for _ in 0..REQUESTS {
        tool::run(curl(&server.url("/hello"))?)?;
    }
    let pid = u64::from(server.pid());
    let served = |event: &Value| {
        number(event, "/process/pid") == Some(pid)
            && number(event, "/http/response/status_code") == Some(200)
    };
    agent.wait_for_count("requests", REQUESTS, served)?;
    agent.stop()?;
    // Without probes, too.
    tool::run(curl(&server.url("/hello"))?)?;
    ensure!(!process::ended(server.pid()), "nginx has ended");
    Ok(())
}

fn curl(url: &str) -> Result<Command> {
    tool::command("curl", ["--silent", "--fail", "--insecure", url])
}

fn a_container_under_dockers_filter(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let server = web::server(docker)?;
    ensure!(process::seccomp_filters(server.pid()?)? > 0, "no filter: tests nothing");
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    for _ in 0..5 {
        web::curl(docker, &server, "/hello", &[])?;
    }
    agent.wait_for("five answers", |events| {
        let answered = |event: &&Value| {
            text(event, "/container/name") == Some(server.name())
                && number(event, "/http/response/status_code") == Some(200)
        };
        (events.iter().filter(answered).count() >= 5).then_some(())
    })?;
    agent.stop().map(drop)
}

/// Nothing of OpenSSL is probed, and the program is none the wiser.
fn an_unsafe_kernel_is_refused(node: &Node) -> Result<()> {
    let mut talking = node.talk()?.start(REQUEST, RESPONSE)?;
    let arguments = [&["trace", "-o", "json"], &UNSAFE[..]].concat();
    let agent = node.tlstap(&arguments)?.ready()?;
    agent.complains("kill processes under a seccomp filter", EVENT)?;
    let places = probed::places(talking.pid(), LIBRARY)?;
    ensure!(places == 0, "{places} places are probed");
    talking.go()?;
    talking.end()?;
    let events = agent.stop()?.events()?;
    ensure!(events.is_empty(), "{events:?}");
    Ok(())
}

fn an_unsafe_kernel_is_told(node: &Node) -> Result<()> {
    let talking = node.talk()?.start(REQUEST, RESPONSE)?;
    let list = node.tlstap(&[&["list", "-o", "json"], &UNSAFE[..]].concat())?.output()?;
    list.succeeded()?;
    let pid = Some(u64::from(talking.pid()));
    let rows = list.events()?;
    let row = rows.iter().find(|row| number(row, "/process/pid") == pid).context("no row")?;
    ensure!(text(row, "/status") == Some("skipped"), "{row}");
    ensure!(text(row, "/reason") == Some("unsafe-kernel"), "{row}");
    let check = node.tlstap(&[&["check"], &UNSAFE[..]].concat())?.output()?;
    check.succeeded()?;
    let line = check.stdout.iter().find(|line| line.contains("return probes"));
    let line = line.context("nothing about them")?;
    ensure!(line.starts_with("degraded") && line.contains("does not survive"), "{line:?}");
    Ok(())
}

/// What the agent says is what it has seen, on a kernel on which these tests pass.
fn this_kernel_is_tried(node: &Node) -> Result<()> {
    let check = node.tlstap(&["check"])?.output()?;
    check.succeeded()?;
    let line = check.stdout.iter().find(|line| line.contains("return probes"));
    let line = line.context("nothing about them")?;
    ensure!(line.starts_with("ok") && line.contains("survived"), "{line:?}");
    Ok(())
}
