//! Issue 3: a container whose libssl is no longer the image's: copied up, or replaced.

use std::{
    env::consts::ARCH,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    thread,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::Value;
use tlstap_tests::{
    agent::Agent,
    docker::Container,
    event::{exchanges, text},
    node::Node,
    probed, tool,
};

use crate::web;

crate::tests![
    copied_up,
    replaced_while_it_runs,
    probed_anew_while_it_runs,
    a_build_id_that_another_file_claims,
];

/// A file that was never mapped before can lose its first requests; this many, no more.
const TRIES: usize = 10;
/// Bytes of what pace says in a call.
const MESSAGE: u64 = 64;

fn copied_up(node: &Node) -> Result<()> {
    changed(node, "touch $(readlink -f /usr/lib/*/libssl.so.3)")
}

fn replaced_while_it_runs(node: &Node) -> Result<()> {
    changed(node, "cd /usr/lib/*-linux-gnu && cp libssl.so.3 new && mv new libssl.so.3")
}

/// The file is another to the agent when its change time is: it is probed anew when a program maps it.
/// For a while it is probed twice, and each call is told once all the same.
fn probed_anew_while_it_runs(node: &Node) -> Result<()> {
    const CALLS: u64 = 200_000;
    let folder = tempfile::tempdir()?;
    let library = folder.path().join("libssl.so.3");
    fs::copy(format!("/usr/lib/{ARCH}-linux-gnu/libssl.so.3"), &library)?;
    let mut pace = node.pace_with(folder.path())?;
    let launch = node.tlstap(&["trace", "-o", "none", "--comm", "pace"])?;
    let agent = launch.ready()?;
    let calling = thread::spawn(move || pace.go(CALLS));
    let mut changes = 0;
    while !calling.is_finished() && changes < 10 {
        changes += 1;
        fs::set_permissions(&library, Permissions::from_mode(0o644 + changes % 2))?;
        node.pace_with(folder.path())?.end()?;
    }
    let cost = calling.join().map_err(|_panic| anyhow!("the caller panicked"))??;
    let ended = agent.stop()?;
    let (summary, expect) = (ended.summary()?, cost.calls * MESSAGE);
    ensure!(changes > 2, "too little was changed");
    ensure!(summary.contains(&format!("{expect} plaintext bytes")), "{summary}, not {expect}");
    Ok(())
}

/// A file that is no library, and has the build-id of one, hides none.
fn a_build_id_that_another_file_claims(node: &Node) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let genuine = format!("/usr/lib/{ARCH}-linux-gnu/libssl.so.3");
    let agent = node.tlstap(&["trace", "-o", "none", "--comm", "pace"])?.ready()?;
    let script = tool::fixtures().join("claims.py");
    let arguments = [&script, Path::new(&genuine), &folder.path().join("false.so")];
    let mapped = Command::new("python3").args(arguments).status()?;
    ensure!(mapped.success(), "python3 ended with {mapped}");
    // What was mapped first is looked at first.
    fs::copy(genuine, folder.path().join("libssl.so.3"))?;
    let mut pace = node.pace_with(folder.path())?;
    probed::wait_in(pace.pid(), "libssl.so.3")?;
    let told = pace.go(1_000)?.calls * MESSAGE;
    let ended = agent.stop()?;
    let summary = ended.summary()?;
    ensure!(summary.contains(&format!("{told} plaintext bytes")), "{summary}, not {told}");
    Ok(())
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
