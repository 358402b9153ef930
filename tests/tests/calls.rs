//! Calls that come and go in other ways than one after the other, by a stand-in for a TLS library:
//! each scenario of the fixture `calls` is a thread of its name.

use std::{collections::BTreeMap, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tlstap_tests::{
    child::Child,
    event::{number, text},
    node::Node,
    streams::{self, Piece},
};

use crate::links;

crate::tests![each_in_its_way, deeper_than_is_followed];

const LIMIT: Duration = Duration::from_secs(20);
/// Threads of the scenario `crowd`.
const CROWD: usize = 8;

/// Runs all scenarios under an agent with these arguments; the process's id and the events.
fn run(node: &Node, arguments: &[&str]) -> Result<(u32, Vec<Value>, Vec<String>)> {
    let mut child = Child::start(Command::new(node.calls()?))?;
    child.says("ready", LIMIT)?;
    let pid = child.pid();
    let arguments = [&["trace", "--raw", "-o", "json"], arguments].concat();
    let mut agent = node.tlstap(&arguments)?.ready()?;
    child.tell("go\n")?;
    child.says("done", LIMIT)?;
    // The last thing that each of the crowd says.
    agent.wait_for("the crowd's last words", |events| {
        let last = events.iter().filter(|event| {
            let letters = text(event, "/text").unwrap_or_default();
            text(event, "/thread/name") == Some("crowd") && letters.ends_with('r')
        });
        (last.count() == CROWD).then_some(())
    })?;
    child.finish(LIMIT)?;
    let ended = agent.stop()?;
    Ok((pid, ended.events()?, ended.stderr))
}

/// The streams of a scenario, each as `aaa…` shortened to `100a`, or as its gap, in the order in
/// which they began.
fn told(events: &[Value], pid: u32, scenario: &str) -> Result<Vec<String>> {
    let own: Vec<_> = events
        .iter()
        .filter(|event| text(event, "/thread/name") == Some(scenario))
        .cloned()
        .collect();
    let mut began = BTreeMap::new();
    for (place, event) in own.iter().enumerate() {
        let id = text(event, "/network/connection/id").unwrap_or_default();
        began.entry(id.to_owned()).or_insert(place);
    }
    let mut streams: Vec<_> = streams::pieces(&own, pid)?.into_iter().collect();
    streams.sort_by_key(|((id, direction), _)| (began.get(id).copied(), direction.clone()));
    Ok(streams.into_iter().map(|(_, pieces)| shown(&pieces)).collect())
}

fn shown(pieces: &[Piece]) -> String {
    let words = pieces.iter().map(|piece| match piece {
        Piece::Data(bytes) => {
            let letter = char::from(bytes.first().copied().unwrap_or(b'?'));
            format!("{}{letter}", bytes.len())
        }
        Piece::Gap(length, reason) => format!("{length} {reason}"),
    });
    words.collect::<Vec<_>>().join(", ")
}

fn each_in_its_way(node: &Node) -> Result<()> {
    for (kind, _) in links::kinds()? {
        each_by(node, kind).with_context(|| format!("by links of the kind {kind}"))?;
    }
    Ok(())
}

fn each_by(node: &Node, links: &str) -> Result<()> {
    let (pid, events, _) = run(node, &["--links", links])?;
    let wanted: [(&str, &[&str]); 9] = [
        ("plain", &["100a"]),
        ("sendfile", &["100a, 5000 kernel-tls, 50b"]),
        ("within", &["300w"]),
        ("inside", &["70o", "60i, 10j"]),
        ("back", &["90k", "20b"]),
        ("longjump", &["30l, 30l, 20m"]),
        ("peek", &["80p"]),
        ("clear", &["10c", "20d", "30e"]),
        ("fault", &["10f, 5000 fault, 20g"]),
    ];
    for (scenario, wanted) in wanted {
        let found = told(&events, pid, scenario)?;
        ensure!(found == wanted, "{scenario}: {found:?}, not {wanted:?}");
    }
    let crowd = told(&events, pid, "crowd")?;
    ensure!(crowd == ["10q, 10r"; CROWD], "crowd: {crowd:?}");
    Ok(())
}

/// One level more than is followed is told as a loss of unknown length.
fn deeper_than_is_followed(node: &Node) -> Result<()> {
    let (pid, events, stderr) = run(node, &[])?;
    let deep = told(&events, pid, "deep")?;
    ensure!(deep == ["30v", "40u", "0 in-flight-full, 20x"], "deep: {deep:?}");
    ensure!(stderr.iter().any(|line| line.contains("1 in-flight-full")), "{stderr:?}");
    let mut lengths =
        events.iter().filter(|event| text(event, "/reason") == Some("in-flight-full"));
    ensure!(lengths.all(|event| number(event, "/length") == Some(0)), "a length");
    Ok(())
}
