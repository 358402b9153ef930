//! Every byte once, in order: a program on the machine's own libssl, without containers.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tlstap_tests::{
    agent::Agent,
    event::{expect, number, text},
    node::Node,
    streams,
};

crate::tests![
    plain_calls,
    ex_calls,
    peeked_bytes_come_once,
    bytes_that_are_no_text,
    a_call_of_a_mebibyte,
    many_connections_at_once,
    a_connection_used_again,
    two_requests_in_one_call,
];

/// How the fixture talks.
struct Conversation<'a> {
    flags: &'a [&'a str],
    request: &'a [u8],
    response: &'a [u8],
    /// Connections, and rounds on each.
    times: (usize, usize),
}

fn raw(node: &Node, conversation: &Conversation<'_>) -> Result<()> {
    let Conversation { flags, request, response, times: (pairs, rounds) } = *conversation;
    let (pairs_flag, rounds_flag) = (pairs.to_string(), rounds.to_string());
    let talk = node.talk()?.flags(flags).flags(&["--pairs", &pairs_flag, "--rounds", &rounds_flag]);
    let mut talking = talk.start(request, response)?;
    let pid = talking.pid();
    let mut agent = node.tlstap(&["trace", "--raw", "-o", "json"])?.ready()?;
    talking.go()?;
    let total = 2 * pairs * rounds * (request.len() + response.len());
    wait_for_bytes(&mut agent, pid, total)?;
    talking.end()?;
    let events = agent.stop()?.events()?;
    let of_talk = |event: &Value| number(event, "/process/pid") == Some(pid.into());
    let of_talk: Vec<_> = events.into_iter().filter(of_talk).collect();
    heard_and_said(&of_talk, pid, conversation)?;
    of_talk.iter().try_for_each(named)
}

fn wait_for_bytes(agent: &mut Agent, pid: u32, total: usize) -> Result<()> {
    agent.wait_for(&format!("{total} bytes of the fixture"), |events| {
        let mine = events.iter().filter(|event| number(event, "/process/pid") == Some(pid.into()));
        let bytes: u64 = mine.filter_map(|event| number(event, "/length")).sum();
        (bytes >= total as u64).then_some(())
    })
}

/// Holds the streams to what each end of each connection sent and received.
fn heard_and_said(events: &[Value], pid: u32, conversation: &Conversation<'_>) -> Result<()> {
    let (pairs, rounds) = conversation.times;
    let (request, response) =
        (conversation.request.repeat(rounds), conversation.response.repeat(rounds));
    let mut wanted = Vec::new();
    for _ in 0..pairs {
        // The client's two directions, then the server's.
        wanted.push(("transmit", request.clone()));
        wanted.push(("receive", response.clone()));
        wanted.push(("transmit", response.clone()));
        wanted.push(("receive", request.clone()));
    }
    wanted.retain(|(_, bytes)| !bytes.is_empty());
    let mut found: Vec<_> = streams::whole(events, pid)?
        .into_iter()
        .map(|((_, direction), bytes)| (direction, bytes))
        .collect();
    found.sort();
    wanted.sort();
    let same = found.iter().map(|(direction, bytes)| (direction.as_str(), bytes.as_slice()));
    ensure!(
        same.eq(wanted.iter().map(|(direction, bytes)| (*direction, bytes.as_slice()))),
        "streams of {:?} bytes, not {:?}, or other bytes",
        found.iter().map(|(_, bytes)| bytes.len()).collect::<Vec<_>>(),
        wanted.iter().map(|(_, bytes)| bytes.len()).collect::<Vec<_>>()
    );
    Ok(())
}

fn named(event: &Value) -> Result<()> {
    let thread = text(event, "/thread/name");
    ensure!(matches!(thread, Some("client" | "server")), "thread {thread:?} in {event}");
    ensure!(event.pointer("/container").is_none(), "a container on the host: {event}");
    expect(
        event,
        &[
            ("/schema", json!("tlstap/v1")),
            ("/process/command", json!("talk")),
            ("/tls/library", json!("openssl")),
        ],
    )
}

fn plain_calls(node: &Node) -> Result<()> {
    raw(node, &Conversation { flags: &[], request: b"ping", response: b"pong!", times: (1, 1) })
}

fn ex_calls(node: &Node) -> Result<()> {
    let flags = &["--ex"];
    raw(node, &Conversation { flags, request: b"ping", response: b"pong!", times: (1, 3) })
}

fn peeked_bytes_come_once(node: &Node) -> Result<()> {
    let flags = &["--peek"];
    let response = &[b'p'; 5_000];
    raw(node, &Conversation { flags, request: b"ping", response, times: (1, 3) })
}

fn bytes_that_are_no_text(node: &Node) -> Result<()> {
    let request: Vec<u8> = (0..=255).cycle().take(20_000).collect();
    let response = "ünïcödé\u{1b}[31m\0".as_bytes();
    raw(node, &Conversation { flags: &[], request: &request, response, times: (1, 2) })
}

fn a_call_of_a_mebibyte(node: &Node) -> Result<()> {
    let request: Vec<u8> =
        (0..(1 << 20)).map(|n: u32| n.wrapping_mul(97).to_le_bytes()[1]).collect();
    let response = &[b'x'; 16_385];
    raw(node, &Conversation { flags: &[], request: &request, response, times: (1, 1) })?;
    raw(node, &Conversation { flags: &["--ex"], request: &request, response, times: (1, 1) })
}

fn many_connections_at_once(node: &Node) -> Result<()> {
    let response = &[b'r'; 3_000];
    raw(node, &Conversation { flags: &["--ex"], request: &[b'q'; 100], response, times: (24, 20) })
}

const REQUEST: &[u8] = b"POST /talk?n=1 HTTP/1.1\r\nHost: talk\r\nContent-Length: 3\r\n\r\nabc";
const RESPONSE: &[u8] =
    b"HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\nX-Fixture: talk\r\n\r\nhello";

/// Traces rounds of HTTP, and holds each side to so many exchanges.
fn http(node: &Node, request: &[u8], response: &[u8], wanted: usize) -> Result<()> {
    let rounds = "50";
    let talk = node.talk()?.flags(&["--rounds", rounds]);
    let mut talking = talk.start(request, response)?;
    let pid = u64::from(talking.pid());
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    talking.go()?;
    let mine = |event: &Value| number(event, "/process/pid") == Some(pid);
    agent.wait_for_count("the fixture's exchanges", 2 * wanted, mine)?;
    talking.end()?;
    let events = agent.stop()?.events()?;
    for kind in ["client", "server"] {
        let side = |event: &&Value| mine(event) && text(event, "/kind") == Some(kind);
        let found: Vec<_> = events.iter().filter(side).collect();
        ensure!(found.len() == wanted, "{} exchanges of the {kind}, not {wanted}", found.len());
        found.into_iter().try_for_each(|event| an_exchange(event, kind))?;
    }
    let count = events.iter().filter(|event| mine(event)).count();
    ensure!(count == 2 * wanted, "{count} events, not {}", 2 * wanted);
    Ok(())
}

fn an_exchange(event: &Value, kind: &str) -> Result<()> {
    expect(
        event,
        &[
            ("/type", json!("http")),
            ("/thread/name", json!(kind)),
            ("/process/command", json!("talk")),
            ("/http/request/method", json!("POST")),
            ("/http/request/header/host", json!(["talk"])),
            ("/http/request/body/size", json!(3)),
            ("/http/response/status_code", json!(202)),
            ("/http/response/header/x-fixture", json!(["talk"])),
            ("/http/response/body/size", json!(5)),
            ("/url/path", json!("/talk")),
            ("/url/query", json!("n=1")),
        ],
    )
}

fn a_connection_used_again(node: &Node) -> Result<()> {
    http(node, REQUEST, RESPONSE, 50)
}

fn two_requests_in_one_call(node: &Node) -> Result<()> {
    http(node, &REQUEST.repeat(2), &RESPONSE.repeat(2), 100)
}
