//! GnuTLS: wget, which Debian links to it, asks nginx, which uses OpenSSL.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tlstap_tests::{
    child::Child,
    event::{expect, number, text},
    node::Node,
    server::Server,
    tool,
};

crate::tests![wget_and_nginx];

const LIMIT: Duration = Duration::from_secs(20);

fn wget_and_nginx(node: &Node) -> Result<()> {
    let server = Server::nginx()?;
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    let url = server.url("/hello");
    let arguments = ["--quiet", "--no-check-certificate", "--output-document=-", &url];
    let mut client = Child::start(tool::command("wget", arguments)?)?;
    let pid = client.pid();
    ensure!(client.finish(LIMIT)?.success(), "wget failed");
    ensure!(client.stdout.lines() == ["hello from a file"], "wget got something else");
    let found = agent.wait_for_count("exchanges of wget", 1, |event| {
        number(event, "/process/pid") == Some(pid.into()) && text(event, "/type") == Some("http")
    })?;
    agent.stop()?;
    let event = found.first().context("none")?;
    expect(
        event,
        &[
            ("/kind", json!("client")),
            ("/tls/library", json!("gnutls")),
            ("/http/request/method", json!("GET")),
            ("/http/response/status_code", json!(200)),
            ("/http/response/body/size", json!("hello from a file\n".len())),
            ("/network/peer/port", json!(server.port)),
            ("/url/path", json!("/hello")),
        ],
    )?;
    ensure!(text(event, "/tls/version").is_some_and(|version| version.starts_with("3.")));
    Ok(())
}
