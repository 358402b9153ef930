//! Connections that are older than the agent: what is told of them is what the client prints, or
//! unknown, never wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use tlstap_tests::{
    child::Child,
    event::{expect, number, of_type, text},
    node::Node,
    packages,
    server::Server,
    tool,
};

crate::tests![by_node, by_httpx, by_httpx_and_nginx];

const LIMIT: Duration = Duration::from_secs(30);
/// Requests that are made after the agent has come: so many that no field of before is left in a
/// table at their end. A name may still be known to the two ends only: it stands in the table by
/// each field that refers to it.
const COUNT: usize = 200;

/// The values of each name, in order.
type Fields = BTreeMap<String, Vec<String>>;

/// A request and its response as the client prints them.
#[derive(Deserialize)]
struct Printed {
    stream: u64,
    request: Fields,
    response: Fields,
}

/// Lets a client make requests before and after the agent starts. How many fields were unknown in
/// the requests and in the responses.
fn joined(node: &Node, server: &Server, mut client: Command) -> Result<[u64; 2]> {
    client.arg(server.url(""));
    let mut client = Child::start(client)?;
    client.says("open", LIMIT)?;
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    client.tell(&format!("{COUNT}\n"))?;
    client.says("done", LIMIT)?;
    let pids = [("client", client.pid()), ("server", server.pid())];
    agent.wait_for("all requests on both sides", |events| {
        pids.iter().all(|side| told(events, *side).len() >= COUNT).then_some(())
    })?;
    let events = agent.stop()?.events()?;
    let lines = client.stdout.lines();
    let printed = lines.iter().filter(|line| line.starts_with('{'));
    let printed =
        printed.map(|line| Ok(serde_json::from_str(line)?)).collect::<Result<Vec<_>>>()?;
    ensure!(printed.len() == COUNT, "{} requests are printed", printed.len());
    let mut unknown = [0; 2];
    for side in pids {
        let of_side = hold(&told(&events, side), &printed)
            .with_context(|| format!("on the {}'s side", side.0))?;
        unknown.iter_mut().zip(of_side).for_each(|(sum, count)| *sum += count);
    }
    Ok(unknown)
}

fn told<'a>(events: &'a [Value], (kind, pid): (&str, u32)) -> Vec<&'a Value> {
    of_type(events, "http")
        .filter(|event| text(event, "/kind") == Some(kind))
        .filter(|event| number(event, "/process/pid") == Some(pid.into()))
        .collect()
}

/// Holds what is told of one side against what was printed; how many fields are unknown.
fn hold(told: &[&Value], printed: &[Printed]) -> Result<[u64; 2]> {
    let streams = told.iter().filter_map(|event| number(event, "/http/stream/id"));
    let streams: BTreeSet<u64> = streams.collect();
    ensure!(streams.len() == COUNT && told.len() == COUNT, "{} streams", streams.len());
    let mut sum = [0; 2];
    for wanted in printed {
        let of_stream = |event: &&&Value| number(event, "/http/stream/id") == Some(wanted.stream);
        let event = told.iter().find(of_stream).context("a stream is missing")?;
        sum[0] += fields(event, "request", &wanted.request)?;
        sum[1] += fields(event, "response", &wanted.response)?;
        line(event, wanted)?;
    }
    let last = told.iter().max_by_key(|event| number(event, "/http/stream/id")).context("none")?;
    expect(last, &[("/http/request/header/x-always", json!(["the same in each request"]))])?;
    Ok(sum)
}

/// Each field that is told was sent, and all others are counted.
fn fields(event: &Value, message: &str, sent: &Fields) -> Result<u64> {
    let header = event.pointer(&format!("/http/{message}/header")).context("no fields")?;
    let told: Fields = serde_json::from_value(header.clone())?;
    for (name, values) in &told {
        ensure!(sent.get(name) == Some(values), "{name} is {values:?} in {event}, not in {sent:?}");
    }
    let unknown = number(event, &format!("/http/{message}/unknown_fields")).unwrap_or(0);
    let count = |fields: &Fields| fields.values().map(Vec::len).sum::<usize>() as u64;
    ensure!(count(&told) + unknown == count(sent), "not all of {sent:?} in {event}");
    Ok(unknown)
}

/// The target is new each time; method and status are right, or absent.
fn line(event: &Value, wanted: &Printed) -> Result<()> {
    let sent = |fields: &Fields, name| fields.get(name).and_then(|values| values.first()).cloned();
    let path = sent(&wanted.request, ":path");
    ensure!(text(event, "/url/path") == path.as_deref(), "not {path:?} in {event}");
    let method = text(event, "/http/request/method");
    let status = number(event, "/http/response/status_code").map(|status| status.to_string());
    for (told, name, fields) in
        [(method, ":method", &wanted.request), (status.as_deref(), ":status", &wanted.response)]
    {
        let right = told.is_none() || told == sent(fields, name).as_deref();
        ensure!(right, "{name} is {told:?} in {event}");
    }
    Ok(())
}

/// Both ends refer to what they have sent before.
fn by_node(node: &Node) -> Result<()> {
    let client = tool::command("node", [tool::fixtures().join("http/late.js")])?;
    let unknown = joined(node, &super::node_server()?, client)?;
    ensure!(unknown.iter().all(|count| *count > 0), "{unknown:?} fields are unknown");
    Ok(())
}

fn httpx() -> Result<Command> {
    let mut client = packages::python(&super::PYTHON)?;
    client.arg(tool::fixtures().join("http/late.py"));
    Ok(client)
}

fn by_httpx(node: &Node) -> Result<()> {
    let unknown = joined(node, &super::node_server()?, httpx()?)?;
    ensure!(unknown.iter().all(|count| *count > 0), "{unknown:?} fields are unknown");
    Ok(())
}

/// nginx refers to nothing that it has sent before.
fn by_httpx_and_nginx(node: &Node) -> Result<()> {
    let unknown = joined(node, &Server::nginx()?, httpx()?)?;
    ensure!(unknown[0] > 0 && unknown[1] == 0, "{unknown:?} fields are unknown");
    Ok(())
}
