//! nghttp2's programs, which print every field and the size of every frame.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem::take,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tlstap_tests::{
    event::{expect, number, text},
    node::Node,
    server::Server,
    tool,
};

use super::side;

crate::tests![
    nghttp_and_nghttpd,
    nghttp_is_pushed_to_by_nghttpd,
    h2load_and_nghttpd,
    h2load_and_nginx,
];

/// The values of each name, in order.
type Fields = BTreeMap<String, Vec<String>>;

/// What one side of a stream sent.
#[derive(Debug, Default, PartialEq, Eq)]
struct Half {
    /// The head, and the trailers if there are any.
    blocks: Vec<Fields>,
    size: u64,
}

/// A stream as a program printed it, or as it is told.
#[derive(Debug, Default, PartialEq, Eq)]
struct Stream {
    request: Half,
    response: Half,
}

/// What a program with `-v` prints of its streams.
#[derive(Default)]
struct Log {
    server: bool,
    streams: BTreeMap<u64, Stream>,
    /// Fields that were received before their frame is told.
    received: Fields,
    /// The stream and the direction of the frame that is being told.
    frame: Option<(u64, bool)>,
    /// Whether it is one with fields.
    block: bool,
    /// The fields of a promise, until its stream is told.
    promise: Option<Fields>,
    /// The stream that it promises, while its fields are told.
    promised: Option<u64>,
}

impl Log {
    fn read(server: bool, lines: &[String]) -> Result<BTreeMap<u64, Stream>> {
        let mut log = Self { server, ..Self::default() };
        lines.iter().try_for_each(|line| log.line(line).with_context(|| line.clone()))?;
        Ok(log.streams)
    }

    fn half(&mut self, stream: u64, sent: bool) -> &mut Half {
        let stream = self.streams.entry(stream).or_default();
        if sent == self.server { &mut stream.response } else { &mut stream.request }
    }

    fn line(&mut self, line: &str) -> Result<()> {
        // "[  0.023] recv (stream_id=13) :status: 200", of a server behind "[id=2] ".
        let numbered = line.strip_prefix("[id=").and_then(|rest| rest.split_once("] "));
        let line = numbered.map_or(line, |(_, rest)| rest);
        if let Some((_, told)) = line.split_once("] ").filter(|_| line.starts_with('[')) {
            (self.frame, self.promise, self.promised) = (None, None, None);
            if let Some(field) = told.strip_prefix("recv (stream_id=") {
                let (_, field) = field.split_once(") ").context("no field")?;
                add(&mut self.received, field)?;
            } else if let Some((sent, kind, rest)) = frame(told) {
                self.frame(sent, kind, rest)?;
            }
            return Ok(());
        }
        let (Some((stream, sent)), Some(detail)) = (self.frame, line.strip_prefix("          "))
        else {
            return Ok(());
        };
        if let Some((_, id)) = detail.split_once("promised_stream_id=")
            && let Some(block) = self.promise.take()
        {
            let id = id.trim_end_matches(')').parse()?;
            self.streams.entry(id).or_default().request.blocks.push(block);
            self.promised = Some(id);
        } else if let Some(padding) = detail.strip_prefix("(padlen=").filter(|_| !self.block) {
            let padding: u64 = padding.trim_end_matches(')').parse()?;
            self.half(stream, sent).size -= padding;
        } else if sent && self.block && !detail.starts_with([';', '(']) {
            let half = match self.promised {
                Some(id) => &mut self.streams.entry(id).or_default().request,
                None => self.half(stream, sent),
            };
            let block = half.blocks.last_mut().context("no block")?;
            add(block, detail)?;
        }
        Ok(())
    }

    /// "HEADERS frame <length=70, flags=0x24, stream_id=13>"
    fn frame(&mut self, sent: bool, kind: &str, rest: &str) -> Result<()> {
        let value = |name: &str| {
            let (_, rest) = rest.split_once(name)?;
            rest.split([',', '>']).next()?.parse::<u64>().ok()
        };
        let stream = value("stream_id=").context("no stream")?;
        self.block = matches!(kind, "HEADERS" | "PUSH_PROMISE");
        let fields = if sent || !self.block { Fields::new() } else { take(&mut self.received) };
        match kind {
            "HEADERS" => self.half(stream, sent).blocks.push(fields),
            "PUSH_PROMISE" => self.promise = Some(fields),
            "DATA" => self.half(stream, sent).size += value("length=").context("no length")?,
            _ => return Ok(()),
        }
        self.frame = Some((stream, sent));
        Ok(())
    }
}

/// Whether it was sent, its type, and the rest.
fn frame(told: &str) -> Option<(bool, &str, &str)> {
    let (direction, rest) = told.split_once(' ')?;
    let (kind, rest) = rest.split_once(" frame <")?;
    Some((direction == "send", kind, rest))
}

/// Adds a field, "name: value".
fn add(fields: &mut Fields, field: &str) -> Result<()> {
    let at = field.get(1..).and_then(|rest| rest.find(": ")).context("no value")? + 1;
    let (name, value) = field.split_at(at);
    let value = value.trim_start_matches(": ").to_owned();
    fields.entry(name.to_owned()).or_default().push(value);
    Ok(())
}

/// The same by the agent.
fn told(event: &Value) -> Result<(u64, Stream)> {
    let stream = number(event, "/http/stream/id").context("no stream")?;
    let half = |name: &str| {
        let part = |part: &str| event.pointer(&format!("/http/{name}/{part}"));
        let blocks = [part("header"), part("trailer")].into_iter().flatten().cloned();
        let blocks = blocks.map(serde_json::from_value).collect::<Result<_, _>>()?;
        let size = part("body/size").and_then(Value::as_u64).context("no size")?;
        anyhow::Ok(Half { blocks, size })
    };
    Ok((stream, Stream { request: half("request")?, response: half("response")? }))
}

/// Streams at the same time, with bodies, padding, and trailers.
fn nghttp_and_nghttpd(node: &Node) -> Result<()> {
    let server = Server::nghttpd(&["-v", "--padding=40", "--trailer=x-sum: 7"])?;
    let body = server.scratch().join("body");
    std::fs::write(&body, "0123456789".repeat(5000))?;
    let mut nghttp = nghttp()?;
    nghttp.args(["-m", "7", "--padding=9", "-d"]).arg(body).arg("--trailer=x-late: and why");
    nghttp.args(["-H", "x-test: a", "-H", "x-test: b"]);
    nghttp.args([server.url("/echo?a"), server.url("/hello")]);
    as_both_print(node, &server, nghttp, 14)
}

/// The requests of pushed responses are the server's.
fn nghttp_is_pushed_to_by_nghttpd(node: &Node) -> Result<()> {
    let server = Server::nghttpd(&["-v", "--push=/hello=/empty,/nowhere"])?;
    let mut nghttp = nghttp()?;
    nghttp.arg(server.url("/hello"));
    as_both_print(node, &server, nghttp, 3)
}

fn nghttp() -> Result<Command> {
    tool::command("nghttp", ["-v", "-n"])
}

/// A client prints so many streams, the server too, and both are told so.
fn as_both_print(node: &Node, server: &Server, mut nghttp: Command, streams: usize) -> Result<()> {
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    let output = nghttp.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed: Vec<String> =
        String::from_utf8_lossy(&output.stdout).lines().map(ToOwned::to_owned).collect();
    let client = Log::read(false, &printed)?;
    ensure!(client.len() == streams, "nghttp printed {} streams", client.len());
    agent.wait_for("all streams of both sides", |events| {
        let enough = |kind| side(events, server, kind).len() >= client.len();
        (enough("client") && enough("server")).then_some(())
    })?;
    let events = agent.stop()?.events()?;
    let printed = [("client", client), ("server", Log::read(true, &server.printed())?)];
    for (kind, printed) in printed {
        let found = side(&events, server, kind).into_iter();
        let found: BTreeMap<u64, Stream> = found.map(told).collect::<Result<_>>()?;
        ensure!(found == printed, "the {kind} is told {found:#?}, not {printed:#?}");
    }
    Ok(())
}

fn h2load_and_nghttpd(node: &Node) -> Result<()> {
    h2load(node, &Server::nghttpd(&[])?)
}

fn h2load_and_nginx(node: &Node) -> Result<()> {
    h2load(node, &Server::nginx()?)
}

/// A thousand requests on four connections, ten at the same time on each.
fn h2load(node: &Node, server: &Server) -> Result<()> {
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    let options = ["-n", "1000", "-c", "4", "-m", "10", "-H", "x-test: of h2load"];
    let mut h2load = tool::command("h2load", options)?;
    h2load.arg(server.url("/hello?a=1"));
    let printed = tool::run(h2load)?;
    let count = |line: &str, before: &str| {
        let line = printed.lines().find(|printed| printed.starts_with(line))?;
        line.split(before).next()?.rsplit([' ', '(']).next()?.parse::<u64>().ok()
    };
    let succeeded = count("status codes:", " 2xx").context("no status codes")?;
    let size = count("traffic:", ") data").context("no traffic")?;
    ensure!(succeeded == 1000, "h2load printed {printed}");
    agent.wait_for("all requests on both sides", |events| {
        let enough = |kind| side(events, server, kind).len() as u64 >= succeeded;
        (enough("client") && enough("server")).then_some(())
    })?;
    let events = agent.stop()?.events()?;
    for kind in ["client", "server"] {
        let found = side(&events, server, kind);
        ensure!(found.len() as u64 == succeeded, "{} requests of the {kind}", found.len());
        let sum: Option<u64> =
            found.iter().map(|event| number(event, "/http/response/body/size")).sum();
        ensure!(sum == Some(size), "bodies of {sum:?} bytes of the {kind}, not {size}");
        let mut streams = BTreeSet::new();
        let mut connections = BTreeSet::new();
        for event in found {
            expect(
                event,
                &[
                    ("/http/request/method", "GET".into()),
                    ("/http/request/header/x-test", ["of h2load"].into()),
                    ("/url/full", server.url("/hello?a=1").into()),
                    ("/http/response/status_code", 200.into()),
                ],
            )?;
            let connection = text(event, "/network/connection/id").context("no connection")?;
            connections.insert(connection);
            streams.insert((connection, number(event, "/http/stream/id")));
        }
        let distinct = (connections.len(), streams.len() as u64);
        ensure!(distinct == (4, succeeded), "{distinct:?} connections and streams of the {kind}");
    }
    Ok(())
}
