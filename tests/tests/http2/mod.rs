//! HTTP as programs of this machine speak it over TLS: what a client prints of its requests is what
//! is told, on both sides.

pub(crate) mod late;
pub(crate) mod nghttp;

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tlstap_tests::{
    event::{number, of_type, text},
    node::Node,
    packages,
    server::Server,
    tool,
};

crate::tests![
    curl_and_nginx,
    curl_and_node,
    node_http2_and_node,
    node_https_and_node,
    httpx_and_node,
    httpx_and_nginx,
    requests_and_node,
    aiohttp_and_node,
];

const PYTHON: [&str; 3] = ["httpx[http2]==0.28.1", "requests==2.32.3", "aiohttp==3.11.11"];

/// A request with its response, printed by a client or told by the agent.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Exchange {
    method: String,
    target: String,
    status: u64,
    sent: String,
    got: String,
}

impl Exchange {
    /// What one of the fixtures prints.
    fn printed(line: &str) -> Result<Self> {
        let said: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let field =
            |name| anyhow::Ok(text(&said, name).with_context(|| line.to_owned())?.to_owned());
        Ok(Self {
            method: field("/method")?,
            target: field("/target")?,
            status: number(&said, "/status").context("no status")?,
            sent: field("/sent")?,
            got: field("/got")?,
        })
    }

    /// What the agent tells.
    fn told(event: &Value) -> Result<Self> {
        let field = |name| text(event, name).unwrap_or("?").to_owned();
        let query = text(event, "/url/query").map_or(String::new(), |query| format!("?{query}"));
        Ok(Self {
            method: field("/http/request/method"),
            target: field("/url/path") + &query,
            status: number(event, "/http/response/status_code").unwrap_or_default(),
            sent: body(event, "/http/request/body")?,
            got: body(event, "/http/response/body")?,
        })
    }
}

/// A whole body that is text.
fn body(event: &Value, field: &str) -> Result<String> {
    let body = event.pointer(field).with_context(|| format!("no {field} in {event}"))?;
    let text = text(body, "/text").unwrap_or_default();
    let expect = if text.is_empty() {
        json!({"size": 0})
    } else {
        json!({"size": text.len(), "text": text})
    };
    ensure!(*body == expect, "not a whole text but {body}");
    Ok(text.to_owned())
}

/// The exchanges of one side of the connections to a server.
fn side<'a>(events: &'a [Value], server: &Server, kind: &str) -> Vec<&'a Value> {
    let url = server.url("/");
    of_type(events, "http")
        .filter(|event| text(event, "/kind") == Some(kind))
        .filter(|event| text(event, "/url/full").is_some_and(|full| full.starts_with(&url)))
        .collect()
}

/// Traces a client, and holds what is told of both sides against what it says it has done.
fn captured(
    node: &Node,
    server: &Server,
    version: &str,
    client: impl FnOnce() -> Result<Vec<Exchange>>,
) -> Result<()> {
    let mut agent = node.tlstap(&["trace", "-o", "json", "--body"])?.ready()?;
    let mut printed = client()?;
    printed.sort();
    agent.wait_for("all exchanges on each side", |events| {
        let enough = |kind| side(events, server, kind).len() >= printed.len();
        (enough("client") && enough("server")).then_some(())
    })?;
    let events = agent.stop()?.events()?;
    for kind in ["client", "server"] {
        let found = side(&events, server, kind);
        let mut told =
            found.iter().map(|event| Exchange::told(event)).collect::<Result<Vec<_>>>()?;
        told.sort();
        ensure!(told == printed, "the {kind} is told to have done {told:#?}, not {printed:#?}");
        for event in found {
            let found = text(event, "/http/version");
            ensure!(found == Some(version), "{found:?}, not {version}, in {event}");
        }
    }
    Ok(())
}

/// A method, a target, and a body.
type Wanted = (&'static str, &'static str, String);

/// Without a body, with one that is text, and with one of more than a frame.
fn wanted() -> Vec<Wanted> {
    let mut wanted = vec![
        ("GET", "/hello", String::new()),
        ("POST", "/echo?a=1&b=%20", "c=2 and a letter of two bytes: é".to_owned()),
        ("PUT", "/echo", "0123456789".repeat(10_000)),
        ("HEAD", "/hello", String::new()),
        ("GET", "/nowhere", String::new()),
        ("DELETE", "/hello/2?x", String::new()),
    ];
    // More streams than one segment has.
    wanted.extend((0..20).map(|number| ("POST", "/echo/many", format!("number {number}\n"))));
    wanted
}

/// Those that nginx answers when it has all of them, not while they are being sent.
fn unrefused() -> Vec<Wanted> {
    wanted().into_iter().filter(|(method, ..)| *method != "POST").collect()
}

/// Lets a program do them; what it prints.
fn done(mut program: Command, server: &Server, wanted: &[Wanted]) -> Result<Vec<Exchange>> {
    program.arg(server.url("")).arg(serde_json::to_string(wanted)?);
    let printed = tool::run(program)?;
    let printed = printed.lines().map(Exchange::printed).collect::<Result<Vec<_>>>()?;
    ensure!(printed.len() == wanted.len(), "it printed {printed:?}");
    Ok(printed)
}

fn node_server() -> Result<Server> {
    Server::program(tool::command("node", [tool::fixtures().join("http/server.js")])?)
}

fn by_node(node: &Node, kind: &str, version: &str) -> Result<()> {
    let server = node_server()?;
    let mut client = tool::command("node", [tool::fixtures().join("http/client.js")])?;
    client.arg(kind);
    captured(node, &server, version, || done(client, &server, &wanted()))
}

fn node_http2_and_node(node: &Node) -> Result<()> {
    by_node(node, "http2", "2")
}

fn node_https_and_node(node: &Node) -> Result<()> {
    by_node(node, "https", "1.1")
}

fn by_python(
    node: &Node,
    (library, version): (&str, &str),
    server: &Server,
    wanted: &[Wanted],
) -> Result<()> {
    let mut client = packages::python(&PYTHON)?;
    client.arg(tool::fixtures().join("http/client.py")).arg(library);
    captured(node, server, version, || done(client, server, wanted))
}

fn httpx_and_node(node: &Node) -> Result<()> {
    by_python(node, ("httpx", "2"), &node_server()?, &wanted())
}

fn httpx_and_nginx(node: &Node) -> Result<()> {
    by_python(node, ("httpx", "2"), &Server::nginx()?, &unrefused())
}

fn requests_and_node(node: &Node) -> Result<()> {
    by_python(node, ("requests", "1.1"), &node_server()?, &wanted())
}

fn aiohttp_and_node(node: &Node) -> Result<()> {
    by_python(node, ("aiohttp", "1.1"), &node_server()?, &wanted())
}

fn curl_and_nginx(node: &Node) -> Result<()> {
    let server = Server::nginx()?;
    captured(node, &server, "2", || by_curl(&server, unrefused()))
}

fn curl_and_node(node: &Node) -> Result<()> {
    let server = node_server()?;
    captured(node, &server, "2", || by_curl(&server, wanted()))
}

/// curl does all of them on one connection, at the same time.
fn by_curl(server: &Server, wanted: Vec<Wanted>) -> Result<Vec<Exchange>> {
    let mut curl = tool::command("curl", ["--parallel"])?;
    for (number, (method, target, sent)) in wanted.iter().enumerate() {
        let name = |what: &str| server.scratch().join(format!("{number}.{what}"));
        fs::write(name("sent"), sent)?;
        // An empty answer makes no file.
        fs::write(name("got"), "")?;
        if number > 0 {
            curl.arg("--next");
        }
        curl.args(["--silent", "--show-error", "--insecure", "--http2", "--write-out"]);
        curl.arg(format!("{number} %{{method}} %{{url_effective}} %{{response_code}}\\n"));
        curl.arg("--output").arg(name("got"));
        match *method {
            "HEAD" => curl.arg("--head"),
            _ if sent.is_empty() => curl.args(["--request", method]),
            _ => {
                let data = format!("@{}", name("sent").display());
                curl.args(["--request", method, "--data-binary", &data])
            }
        };
        curl.arg(server.url(target));
    }
    let printed = tool::run(curl)?;
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let &[number, method, url, status] = &words[..] else {
            anyhow::bail!("curl printed {line:?}");
        };
        let file =
            |what: &str| fs::read_to_string(server.scratch().join(format!("{number}.{what}")));
        // With --head, curl writes the head there.
        let got = if method == "HEAD" { String::new() } else { file("got")? };
        let target = url.strip_prefix(&server.url("")).context("another URL")?.to_owned();
        let (method, status) = (method.to_owned(), status.parse()?);
        anyhow::Ok(Exchange { method, target, status, sent: file("sent")?, got })
    };
    printed.lines().map(line).collect()
}
