//! HTTP/1.1 as real programs speak it: connections used again, bodies of all kinds, slow answers.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tlstap_tests::{
    event::{absent, exchanges, expect, number, text},
    node::Node,
};

use crate::web;

crate::tests![every_request_of_one_connection, a_slow_answer_takes_its_time, bodies_on_demand];

const MIB: u64 = 1 << 20;

/// Paths that curl asks for on one connection, with the size of the body.
fn asked() -> [(&'static str, u64); 5] {
    let hello = web::HELLO.len() as u64;
    [
        ("/hello", hello),
        ("/chunked", hello),
        ("/big?size=1048576", MIB),
        ("/nowhere", "not here\n".len() as u64),
        ("/hello", hello),
    ]
}

fn every_request_of_one_connection(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let server = web::server(docker)?;
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    let rest = asked().map(|(path, _)| web::url(&server, path));
    let rest: Vec<&str> = rest.iter().skip(1).map(String::as_str).collect();
    let (_, client) = web::curl(docker, &server, "/hello", &rest)?;
    for (side, kind) in [(&client, "client"), (&server, "server")] {
        let found = agent.wait_for("all exchanges of a side", |events| {
            let found = exchanges(events, side.name());
            (found.len() >= asked().len()).then(|| found.into_iter().cloned().collect::<Vec<_>>())
        })?;
        the_asked(&found, kind).with_context(|| format!("on the {kind}'s side"))?;
    }
    agent.stop()?;
    Ok(())
}

fn the_asked(found: &[Value], kind: &str) -> Result<()> {
    let mut seen: Vec<_> = found
        .iter()
        .map(|event| {
            let path = text(event, "/url/path").unwrap_or_default();
            (path.to_owned(), number(event, "/http/response/body/size").unwrap_or(u64::MAX))
        })
        .collect();
    let mut wanted =
        asked().map(|(path, size)| (path.split('?').next().unwrap_or_default().to_owned(), size));
    seen.sort();
    wanted.sort();
    ensure!(seen == wanted, "{seen:?}, not {wanted:?}");
    let connection = found.first().and_then(|event| text(event, "/network/connection/id"));
    ensure!(connection.is_some(), "no connection id");
    for event in found {
        expect(event, &[("/kind", json!(kind)), ("/network/connection/id", json!(connection))])?;
    }
    Ok(())
}

fn a_slow_answer_takes_its_time(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let server = web::server(docker)?;
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    let (_, client) = web::curl(docker, &server, "/slow?ms=700", &[])?;
    for side in [&client, &server] {
        let event = agent.wait_for("the slow exchange", |events| {
            exchanges(events, side.name()).first().map(|&event| event.clone())
        })?;
        let duration = number(&event, "/duration_ns").context("no duration")?;
        ensure!((700_000_000..3_000_000_000).contains(&duration), "{duration} ns, not 0.7 s");
    }
    agent.stop()?;
    Ok(())
}

fn bodies_on_demand(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let server = web::server(docker)?;
    let mut agent = node.tlstap(&["trace", "-o", "json", "--body"])?.ready()?;
    web::curl(docker, &server, "/echo", &["--data", "a=1&b=2"])?;
    web::curl(docker, &server, "/hello", &["--head"])?;
    web::curl(docker, &server, "/gzip", &[])?;
    let mut event = |path: &str| {
        agent.wait_for(path, |events| {
            web::with_path(events, server.name(), path).first().map(|&event| event.clone())
        })
    };
    let echo = event("/echo")?;
    expect(
        &echo,
        &[
            ("/http/request/method", json!("POST")),
            ("/http/request/body", json!({"size": 7, "text": "a=1&b=2"})),
            ("/http/response/status_code", json!(201)),
            ("/http/response/body", json!({"size": 7, "text": "a=1&b=2"})),
        ],
    )?;
    let head = event("/hello")?;
    expect(
        &head,
        &[("/http/request/method", json!("HEAD")), ("/http/response/body/size", json!(0))],
    )?;
    absent(&head, "/http/response/body/text")?;
    let zipped = event("/gzip")?;
    expect(&zipped, &[("/http/response/body/text", json!(web::HELLO))])?;
    agent.stop()?;
    Ok(())
}
