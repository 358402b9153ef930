//! WebSocket over TLS by the Python package `websockets`, and on streams of HTTP/2 by hypercorn and
//! wsproto: messages are what the programs print.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tlstap_tests::{
    child::Child,
    database,
    event::{expect, number, of_type, text},
    node::Node,
    packages, tool,
    tshark::sha256,
};

crate::tests![
    messages_as_printed,
    messages_as_printed_with_deflate,
    messages_on_a_stream_of_http2,
    messages_on_a_stream_of_http2_with_deflate,
];

const PACKAGE: &str = "websockets==15.0.1";
const HTTP2: &str = "hypercorn==0.17.3";
const LIMIT: Duration = Duration::from_secs(20);

fn messages_as_printed(node: &Node) -> Result<()> {
    talk(node, ("websockets_talk.py", PACKAGE), "none").map(drop)
}

fn messages_as_printed_with_deflate(node: &Node) -> Result<()> {
    talk(node, ("websockets_talk.py", PACKAGE), "deflate").map(drop)
}

fn messages_on_a_stream_of_http2(node: &Node) -> Result<()> {
    on_a_stream(&talk(node, ("websockets_h2.py", HTTP2), "none")?)
}

fn messages_on_a_stream_of_http2_with_deflate(node: &Node) -> Result<()> {
    on_a_stream(&talk(node, ("websockets_h2.py", HTTP2), "deflate")?)
}

/// All of them, and the request that they came behind.
fn on_a_stream(events: &[Value]) -> Result<()> {
    for event in of_type(events, "websocket") {
        ensure!(number(event, "/http/stream/id") == Some(1), "not on the stream: {event}");
    }
    let ended: Vec<_> = of_type(events, "http")
        .filter(|event| text(event, "/http/request/method") == Some("CONNECT"))
        .collect();
    ensure!(ended.len() == 2, "not one of each side: {ended:#?}");
    for event in ended {
        expect(
            event,
            &[("/http/response/status_code", json!(200)), ("/url/path", json!("/talk"))],
        )?;
    }
    Ok(())
}

/// What was told of a conversation, held against what both programs print.
fn talk(node: &Node, (program, package): (&str, &str), compression: &str) -> Result<Vec<Value>> {
    let folder = database::scratch()?;
    let port = database::free_port()?.to_string();
    let certificate = folder.path().join("certificate.pem");
    let key = folder.path().join("key.pem");
    let start = |role: &str| {
        let mut command = packages::python(&[package])?;
        command.arg(tool::fixtures().join(program)).args([role, &port]);
        command.arg(&certificate).arg(&key).arg(compression);
        Child::start(command)
    };
    let server = start("server")?;
    server.says("listening", LIMIT)?;
    let mut client = start("client")?;
    client.says("ready", LIMIT)?;
    let mut agent = node.tlstap(&["-o", "json", "--body", "--show-secrets"])?.ready()?;
    client.tell("go\n")?;
    ensure!(client.finish(LIMIT)?.success(), "{:?}", client.stderr.lines());
    agent.wait_for("both closes of each side", |events| {
        let closed = |event: &&Value| text(event, "/websocket/opcode") == Some("close");
        (of_type(events, "websocket").filter(closed).count() >= 4).then_some(())
    })?;
    let events = agent.stop()?.events()?;
    for (kind, program) in [("client", &client), ("server", &server)] {
        let pid = u64::from(program.pid());
        let of = |event: &&Value| number(event, "/process/pid") == Some(pid);
        let mine: Vec<_> = of_type(&events, "websocket").filter(of).collect();
        as_printed(&mine, kind, program).with_context(|| format!("on the {kind}'s side"))?;
        let compressed =
            mine.iter().filter(|event| event.pointer("/websocket/compressed").is_some());
        ensure!((compressed.count() > 0) == (compression == "deflate"), "not {compression}");
        let opaque = of_type(&events, "opaque").find(of);
        ensure!(opaque.is_none(), "not all was decoded: {opaque:?}");
    }
    Ok(events)
}

fn as_printed(events: &[&Value], kind: &str, program: &Child) -> Result<()> {
    for (way, direction) in [("sent", "transmit"), ("received", "receive")] {
        let of = |event: &&&Value| text(event, "/network/io/direction") == Some(direction);
        let mine: Vec<_> = events.iter().filter(of).copied().collect();
        let printed = program.stdout.lines();
        let printed: Vec<_> = printed.iter().filter_map(|line| line.strip_prefix(way)).collect();
        let told = mine.iter().filter_map(|event| message(event)).collect::<Vec<_>>();
        ensure!(told == printed, "{way}: {told:#?}, not {printed:#?}");
        ensure!(told.len() == 8, "{} messages", told.len());
        let close = mine.last().context("no close")?;
        let by_client = (kind == "client") == (way == "sent");
        expect(close, &[("/kind", json!(kind)), ("/websocket/close/code", json!(4001))])?;
        if by_client {
            expect(close, &[("/websocket/close/reason", json!("all said"))])?;
            let fragments = mine.iter().filter_map(|event| number(event, "/websocket/frames"));
            ensure!(fragments.max() >= Some(3), "no message in fragments");
        }
        let wanted = if by_client { "ping" } else { "pong" };
        let control = |event: &&&Value| text(event, "/websocket/opcode") == Some(wanted);
        let control = mine.iter().find(control).with_context(|| format!("no {wanted}"))?;
        expect(control, &[("/websocket/body/text", json!("still there"))])?;
    }
    Ok(())
}

/// ` text SHA-256`, as the programs print it.
fn message(event: &Value) -> Option<String> {
    let opcode =
        text(event, "/websocket/opcode").filter(|word| ["text", "binary"].contains(word))?;
    let coded = text(event, "/websocket/body/base64");
    let bytes = match coded {
        Some(coded) => BASE64_STANDARD.decode(coded).ok()?,
        None => text(event, "/websocket/body/text").unwrap_or_default().as_bytes().to_vec(),
    };
    Some(format!(" {opcode} {}", sha256(&bytes)))
}
