//! GnuTLS: fixtures, and programs that Debian links to it.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tlstap_tests::{
    account::{self, Told},
    child::Child,
    event::{number, text},
    libraries::Installed::{GnuTls, GnuTlsOpenSsl},
    node::Node,
    server::Server,
    streams, tool,
};

use super::{LIMIT, Side, asks_nginx, serves_curl, web};
use crate::exact::{Mode, SIZES, in_modes, mode, session::Session};

crate::tests![
    wget_and_nginx,
    each_byte_once,
    connections_at_once,
    addresses_used_again,
    calls_without_a_buffer,
    packets_of_its_own,
    with_nginx_and_curl,
    libcurl_in_python,
    gnutls_serv_and_curl,
    early_data,
    under_the_names_of_openssl,
    inside_a_container,
];

with_the_fixture!(GnuTls);

/// It takes a record at once, whatever it is given.
const MODES: [Mode; 6] = [
    mode(&[], |end| end.partial > 50),
    mode(&["--nonblocking", "2"], |end| end.write_retries > 50 && end.read_retries > 10),
    mode(&["--nonblocking", "2", "--duplex"], |end| end.write_retries > 50),
    mode(&["--way", "cork"], |end| end.partial == 0),
    mode(&["--way", "cork", "--nonblocking", "2"], |end| end.write_retries > 50),
    mode(&["--way", "seq"], |_| true),
];

const CLIENT: Side<'_> = Side { kind: "client", library: "gnutls", version: "3.", path: "/hello" };
const SERVER: Side<'_> = Side { kind: "server", library: "gnutls", version: "3.", path: "/" };

fn wget_and_nginx(node: &Node) -> Result<()> {
    let ask = |server: &Server| {
        let url = server.url("/hello");
        tool::command("wget", ["--quiet", "--no-check-certificate", "--output-document=-", &url])
    };
    asks_nginx(node, ask, &CLIENT)
}

fn each_byte_once(node: &Node) -> Result<()> {
    in_modes(node, || node.exact_by(GnuTls), &[&MODES])
}

/// Exchanges messages by functions that hide the bytes of one direction: each direction has its whole
/// length, and what is missing is a gap that says so.
fn hidden(node: &Node, flags: &[&str], direction: &str) -> Result<Vec<Told>> {
    let mut session = Session::start(node, &[], 2)?;
    let (ends, told) = session.exchange(node.exact_by(GnuTls)?.flags(flags), &SIZES)?;
    ensure!(told.len() == 2 * ends.len(), "ends {ends:?}");
    session.stop()?;
    let (hidden, others): (Vec<_>, Vec<_>) =
        told.into_iter().partition(|told| told.direction == direction);
    account::whole(&others)?;
    for Told { end, seen, .. } in &hidden {
        let other = seen.gaps.iter().find(|gap| gap.reason != "fault");
        ensure!(!seen.gaps.is_empty() && other.is_none(), "gaps of {end:?}: {:?}", seen.gaps);
    }
    Ok(hidden)
}

/// What a call without a buffer sends on was given to one that failed.
fn calls_without_a_buffer(node: &Node) -> Result<()> {
    for told in hidden(node, &["--way", "null", "--nonblocking", "2"], "transmit")? {
        ensure!(told.end.write_retries > 50, "not in this mode: {:?}", told.end);
        ensure!(told.seen.told() > 0, "nothing told of {:?}", told.end);
    }
    Ok(())
}

fn packets_of_its_own(node: &Node) -> Result<()> {
    for told in hidden(node, &["--way", "packet"], "receive")? {
        ensure!(told.seen.told() == 0, "told of {:?}", told.end);
    }
    Ok(())
}

fn with_nginx_and_curl(node: &Node) -> Result<()> {
    web(node, GnuTls, "3.")
}

/// Debian's pycurl is linked to the libcurl that uses GnuTLS.
fn libcurl_in_python(node: &Node) -> Result<()> {
    let ask = |server: &Server| {
        let script = "import pycurl, sys\n\
                      curl = pycurl.Curl()\n\
                      assert 'GnuTLS' in pycurl.version, pycurl.version\n\
                      curl.setopt(curl.URL, sys.argv[1])\n\
                      curl.setopt(curl.SSL_VERIFYPEER, 0)\n\
                      curl.perform()\n";
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-c", script, &server.url("/hello")]);
        Ok(command)
    };
    asks_nginx(node, ask, &CLIENT)
}

/// A `gnutls-serv`.
fn serv(options: &[&str]) -> Result<Server> {
    Server::by(|port, key, certificate| {
        let mut command = tool::command("gnutls-serv", options)?;
        command.args(["--port", &port.to_string(), "--x509keyfile"]).arg(key);
        command.arg("--x509certfile").arg(certificate);
        Ok(command)
    })
}

fn gnutls_serv_and_curl(node: &Node) -> Result<()> {
    serves_curl(node, &serv(&["--http"])?, &SERVER)
}

/// `gnutls-cli` connects twice, and sends a file with the second ClientHello.
fn early_data(node: &Node) -> Result<()> {
    const EARLY: &str = "sent before the handshake is done\n";
    let server = serv(&["--echo", "--earlydata", "--maxearlydata", "1000"])?;
    let file = server.scratch().join("early");
    fs::write(&file, EARLY)?;
    let mut agent = node.tlstap(&["trace", "--raw", "-o", "json"])?.ready()?;
    let mut command = tool::command("gnutls-cli", ["--insecure", "--resume", "--waitresumption"])?;
    command.arg("--earlydata").arg(file).args(["--port", &server.port.to_string(), "127.0.0.1"]);
    let mut client = Child::start(command)?;
    let pid = client.pid();
    client.tell("and this after it\n")?;
    client.says("and this after it", LIMIT)?;
    client.finish(LIMIT)?;
    let of = |event: &Value, pid: u32| number(event, "/process/pid") == Some(pid.into());
    let early = |event: &Value| text(event, "/text").is_some_and(|text| text.contains(EARLY));
    agent.wait_for("the early data of both sides", |events| {
        let seen = |pid| events.iter().any(|event| of(event, pid) && early(event));
        (seen(pid) && seen(server.pid())).then_some(())
    })?;
    let events = agent.stop()?.events()?;
    for (pid, direction) in [(pid, "transmit"), (server.pid(), "receive")] {
        let streams = streams::whole(&events, pid)?;
        let holds = |(_, way): &(String, String), bytes: &[u8]| {
            way == direction && bytes.starts_with(EARLY.as_bytes())
        };
        let found: Vec<_> = streams.iter().filter(|(key, bytes)| holds(key, bytes)).collect();
        let (_, bytes) = found.first().context("no stream begins with the early data")?;
        let text = String::from_utf8_lossy(bytes);
        ensure!(found.len() == 1 && text.matches(EARLY).count() == 1, "more than once: {text:?}");
    }
    Ok(())
}

/// What goes through them is told once, and as GnuTLS's.
fn under_the_names_of_openssl(node: &Node) -> Result<()> {
    let web = node.by("web", GnuTlsOpenSsl)?;
    let ask = |server: &Server| {
        let mut command = Command::new(&web);
        command.args(["get", &server.port.to_string(), "/hello"]);
        Ok(command)
    };
    asks_nginx(node, ask, &CLIENT)
}
