//! Issue 7: TLS libraries other than OpenSSL and its like, with programs that use them.

/// The tests that all libraries with a fixture have.
macro_rules! with_the_fixture {
    ($library:ident) => {
        fn connections_at_once(node: &Node) -> Result<()> {
            super::at_once(node, $library)
        }

        fn addresses_used_again(node: &Node) -> Result<()> {
            super::in_turn(node, $library, &[])
        }

        fn inside_a_container(node: &Node) -> Result<()> {
            super::in_a_container(node, $library)
        }
    };
}

pub(crate) mod gnutls;
pub(crate) mod mbedtls;
pub(crate) mod nss;
pub(crate) mod s2n;
pub(crate) mod wolfssl;

use std::{process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tlstap_tests::{
    account,
    child::Child,
    event::{expect, number, text},
    exact::Exchange,
    libraries::Installed,
    node::Node,
    server::Server,
    tool,
};

use crate::exact::{SIZES, session::Session};

const LIMIT: Duration = Duration::from_secs(20);

/// One side of an exchange: its library, how the version begins, the path that was asked for.
struct Side<'a> {
    kind: &'static str,
    library: &'static str,
    version: &'static str,
    path: &'a str,
}

/// Holds the only exchange of a process to be told on this side, with the port of the server.
fn tell_exchange(events: &[Value], pid: u32, port: u16, side: &Side<'_>) -> Result<()> {
    let mine = |event: &&Value| number(event, "/process/pid") == Some(pid.into());
    let found: Vec<_> = events.iter().filter(mine).collect();
    ensure!(found.len() == 1, "{} events of the {}: {found:?}", found.len(), side.kind);
    let event = *found.first().context("none")?;
    let end = if side.kind == "client" { "peer" } else { "local" };
    let address = |field| format!("/network/{end}/{field}");
    expect(
        event,
        &[
            ("/type", json!("http")),
            ("/kind", json!(side.kind)),
            ("/tls/library", json!(side.library)),
            ("/http/request/method", json!("GET")),
            ("/http/response/status_code", json!(200)),
            ("/url/path", json!(side.path)),
            (&address("port"), json!(port)),
            (&address("address"), json!("127.0.0.1")),
        ],
    )?;
    let version = text(event, "/tls/version").unwrap_or_default();
    ensure!(version.starts_with(side.version), "version {version:?}");
    Ok(())
}

/// Has a client ask nginx, and holds that to be told of the client.
fn asks_nginx(
    node: &Node,
    ask: impl Fn(&Server) -> Result<Command>,
    side: &Side<'_>,
) -> Result<()> {
    let server = Server::nginx()?;
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    let mut client = Child::start(ask(&server)?)?;
    let pid = client.pid();
    client.says("hello from a file", LIMIT)?;
    ensure!(client.finish(LIMIT)?.success(), "the client failed");
    agent.wait_for_count("exchanges of the client", 1, |event| {
        number(event, "/process/pid") == Some(pid.into())
    })?;
    tell_exchange(&agent.stop()?.events()?, pid, server.port, side)
}

/// Has curl ask a server, and holds that to be told of the server.
fn serves_curl(node: &Node, server: &Server, side: &Side<'_>) -> Result<()> {
    let url = server.url(side.path).replace("localhost", "127.0.0.1");
    serves(node, server, side, tool::command("curl", ["--silent", "--insecure", &url])?)
}

/// Has a client ask a server, and holds that to be told of the server.
fn serves(node: &Node, server: &Server, side: &Side<'_>, client: Command) -> Result<()> {
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    tool::run(client)?;
    let pid = server.pid();
    agent.wait_for_count("exchanges of the server", 1, |event| {
        number(event, "/process/pid") == Some(pid.into())
    })?;
    tell_exchange(&agent.stop()?.events()?, pid, server.port, side)
}

/// The fixture `web` as a client of nginx, and as a server of curl.
fn web(node: &Node, library: Installed, version: &'static str) -> Result<()> {
    let web = node.by("web", library)?;
    let library = library.name();
    let ask = |server: &Server| {
        let mut command = Command::new(&web);
        command.args(["get", &server.port.to_string(), "/hello"]);
        command.current_dir(server.certificate().parent().context("no folder")?);
        Ok(command)
    };
    asks_nginx(node, ask, &Side { kind: "client", library, version, path: "/hello" })?;
    let mut command = Command::new(&web);
    command.arg("serve");
    let server = Server::program(command)?;
    serves_curl(node, &server, &Side { kind: "server", library, version, path: "/some/path" })
}

/// Holds connections over loopback, one after the other, to be told apart, whole, and with their
/// ports, though their objects lie at the same addresses.
fn in_turn(node: &Node, library: Installed, flags: &[&str]) -> Result<()> {
    const TIMES: usize = 6;
    let mut session = Session::start(node, &[], 2 * TIMES as u64)?;
    let exact = node.exact_by(library)?.flags(&["--tcp", "--times", &TIMES.to_string()]);
    let (ends, told) = session.exchange(exact.flags(flags), &[1, 300, 20_000])?;
    ensure!(ends.len() == 2 * TIMES, "ends {ends:?}");
    let mut objects: Vec<_> = ends.iter().map(|end| end.object).collect();
    objects.sort_unstable();
    objects.dedup();
    ensure!(objects.len() < ends.len(), "no address was used again: {ends:?}");
    account::whole(&told)?;
    let known = account::ports(&told, &ends)?;
    ensure!(known == told.len(), "ports of {known} directions of {}", told.len());
    session.stop()
}

/// Many connections at once, by threads that share them.
fn at_once(node: &Node, library: Installed) -> Result<()> {
    let mut session = Session::start(node, &[], 80)?;
    let flags = ["--tcp", "--pairs", "40", "--nonblocking", "4"];
    let (ends, told) = session.exchange(node.exact_by(library)?.flags(&flags), &[1, 300, 9_000])?;
    ensure!(ends.len() == 80 && told.len() == 160, "ends {ends:?}");
    account::whole(&told)?;
    account::ports(&told, &ends)?;
    session.stop()
}

/// The fixture in a container of its own, with the library's own files.
fn in_a_container(node: &Node, library: Installed) -> Result<()> {
    let docker = node.docker()?;
    let folder = node.folder_of(library)?;
    let exact = node.by("exact", library)?;
    let mut files = library.files(&folder);
    files.push(exact.clone());
    let image = docker.of_files(&files)?;
    let [exact, folder] = [&exact, &folder].map(|path| path.to_str().unwrap_or_default());
    let sizes = SIZES.map(|size| size.to_string());
    let command = [exact, "--tcp", "--folder", folder];
    let command: Vec<_> = command.into_iter().chain(sizes.iter().map(String::as_str)).collect();
    // The numbers that it prints are those of the host.
    let run = docker.run("exact")?.of_image(image.name()).options(&["--pid", "host"]);
    let (child, container) = run.attached(&command)?;
    let mut exchange = Exchange::ready(child)?;
    // Its library is mapped: all is seen from the first call on.
    let mut session = Session::start(node, &[], 2)?;
    let ends = exchange.go()?;
    exchange.end()?;
    let told = session.told(&ends)?;
    ensure!(told.len() == 4, "ends {ends:?}");
    account::whole(&told)?;
    let known = account::ports(&told, &ends)?;
    ensure!(known == told.len(), "ports of {known} directions of {}", told.len());
    drop(container);
    session.stop()
}
