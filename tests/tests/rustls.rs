//! rustls: tokio-rustls on both ends, compiled as releases are, and as small as they get.

use std::{fs, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tlstap_tests::{
    account,
    child::Child,
    event::{expect, number, text},
    exact::{Exact, Exchange},
    node::Node,
    probed, rustls, tool,
};

use crate::{
    addresses::{ends as ends_of, reported},
    exact::session::Session,
};

crate::tests![
    every_byte_once,
    addresses_that_are_used_again,
    the_only_connection_of_a_server,
    inside_a_container,
    a_stripped_one_is_named,
];

/// Around the borders of records, of what rustls queues, and of ours.
const SIZES: [usize; 12] = [1, 2, 511, 1024, 8192, 16_384, 16_385, 65_537, 1 << 20, 0, 3, 40_000];
const LIMIT: Duration = Duration::from_secs(20);

/// Lets the fixture exchange messages, of which everything must be told.
fn exchange(
    node: &Node,
    session: &mut Session,
    profile: &str,
    flags: &[&str],
    sizes: &[usize],
) -> Result<()> {
    let exact = Exact::new(rustls::program(profile)?).flags(flags);
    let mut exchange = exact.start(sizes)?;
    probed::wait(node, exchange.pid())?;
    let ends = exchange.go()?;
    exchange.end()?;
    account::whole(&session.told(&ends)?).with_context(|| format!("{profile} with {flags:?}"))
}

/// Ten megabytes come within milliseconds, more than the ring of a small machine has room for while its
/// reader waits for a processor.
fn every_byte_once(node: &Node) -> Result<()> {
    let mut session = Session::start(node, &["--ring-size", "65536"], 6)?;
    for profile in rustls::PROFILES {
        exchange(node, &mut session, profile, &["--pairs", "3"], &SIZES)?;
        exchange(node, &mut session, profile, &["--pairs", "2", "--vectored"], &SIZES)?;
    }
    session.stop()
}

/// A connection's state lies where another's lay.
fn addresses_that_are_used_again(node: &Node) -> Result<()> {
    let mut session = Session::start(node, &[], 60)?;
    for profile in rustls::PROFILES {
        exchange(node, &mut session, profile, &["--sequential", "--pairs", "30"], &[1, 40_000, 3])?;
    }
    session.stop()
}

/// Where the I/O is done outside of the calls, the only socket there is must be the connection's.
fn the_only_connection_of_a_server(node: &Node) -> Result<()> {
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    let mut serve = std::process::Command::new(rustls::program("release")?);
    serve.arg("--serve");
    let server = Child::start(serve)?;
    let ready = server.says("ready", LIMIT)?;
    let port: u16 = ready.trim_start_matches("ready").trim().parse()?;
    probed::wait(node, server.pid())?;
    // It stays connected until the agent has looked.
    let address = format!("127.0.0.1:{port}");
    let mut client = Child::start(tool::command(
        "openssl",
        ["s_client", "-quiet", "-no_ign_eof", "-connect", &address],
    )?)?;
    // What comes with the end of the handshake is told of another connection.
    client.complains("verify return", LIMIT)?;
    thread::sleep(Duration::from_millis(300));
    client.tell("GET /any?a=b HTTP/1.1\r\nHost: any\r\n\r\n")?;
    let found = agent.wait_for_count("exchanges of the server", 1, |event| {
        number(event, "/process/pid") == Some(server.pid().into())
            && text(event, "/type") == Some("http")
    })?;
    client.finish(LIMIT)?;
    agent.stop()?;
    let event = found.first().context("none")?;
    expect(
        event,
        &[
            ("/kind", json!("server")),
            ("/tls/library", json!("rustls")),
            ("/url/path", json!("/any")),
            ("/http/response/status_code", json!(200)),
            ("/network/local/port", json!(port)),
        ],
    )?;
    ensure!(number(event, "/network/peer/port").is_some(), "no peer: {event}");
    Ok(())
}

/// A client in the container: PORT. It prints its own address, and stays until the agent has looked.
const CLIENT: &str = r#"
import json, socket, ssl, sys, time
context = ssl._create_unverified_context()
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as tcp, context.wrap_socket(tcp) as tls:
    time.sleep(0.3)
    tls.sendall(b"GET /inside HTTP/1.1\r\nHost: any\r\n\r\n")
    tls.recv(4096)
    print(json.dumps({"path": "/inside", "local": tls.getsockname(), "peer": tls.getpeername()}))
    time.sleep(0.3)
"#;

/// Both ends as programs of a container, and a server there that another program asks.
fn inside_a_container(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let program = rustls::program("lto")?;
    let inside =
        ["/rustls/", program.file_name().and_then(|name| name.to_str()).context("no name")?];
    let inside = inside.concat();
    let run = |role| {
        let folder = program.parent().context("no folder")?;
        anyhow::Ok(docker.run(role)?.mount(folder, "/rustls"))
    };
    // The numbers that it prints are those of the host.
    let exact = run("exact")?.options(&["--pid", "host"]);
    let (child, container) = exact.attached(&[&inside, "--pairs", "2", "1", "40000"])?;
    let mut exchange = Exchange::ready(child)?;
    let mut session = Session::start(node, &[], 4)?;
    let ends = exchange.go()?;
    exchange.end()?;
    account::whole(&session.told(&ends)?)?;
    session.stop()?;
    drop(container);

    let (server, container) = run("server")?.attached(&[&inside, "--serve"])?;
    let ready = server.says("ready", LIMIT)?;
    let port = ready.trim_start_matches("ready").trim().to_owned();
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    let said = reported(&container.exec(&["python3", "-c", CLIENT, &port])?)?;
    let (local, peer) = said.get("/inside").context("the client said nothing")?;
    let found = agent.wait_for_count("the server's exchange", 1, |event| {
        text(event, "/kind") == Some("server") && text(event, "/type") == Some("http")
    })?;
    agent.stop()?;
    let event = found.first().context("none")?;
    expect(
        event,
        &[
            ("/tls/library", json!("rustls")),
            ("/container/name", json!(container.name())),
            ("/url/path", json!("/inside")),
            ("/http/response/status_code", json!(200)),
        ],
    )?;
    let wanted = (peer.clone(), local.clone());
    ensure!(ends_of(event).as_ref() == Some(&wanted), "{event}, not {wanted:?}");
    Ok(())
}

/// Without symbols it is not probed, which is said, with the reason.
fn a_stripped_one_is_named(node: &Node) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let program = folder.path().join("stripped");
    fs::copy(rustls::program("lto")?, &program)?;
    tool::run(tool::command("strip", [&program])?)?;
    let mut exchange = Exact::new(program).start(&[1])?;
    let rows = node.tlstap(&["list", "-o", "json"])?.output()?.events()?;
    let mut rows =
        rows.iter().filter(|row| number(row, "/process/pid") == Some(exchange.pid().into()));
    let row = rows.next().context("it is not listed")?;
    expect(
        row,
        &[
            ("/tls/library", json!("rustls")),
            ("/status", json!("skipped")),
            ("/reason", json!("stripped")),
        ],
    )?;
    exchange.go()?;
    exchange.end()
}
