//! The usual programs, each as server or client in a container of its own.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tlstap_tests::{
    docker::Container,
    event::{exchanges, expect, number, text},
    node::Node,
};

use crate::web;

crate::tests![openssl_s_server_and_s_client, nginx_and_curl, python_and_python];

/// Traces one request, and holds the two sides' only exchanges to these commands.
fn captured(
    node: &Node,
    server: &Container,
    server_command: &str,
    client_command: &str,
    ask: impl FnOnce() -> Result<Container>,
) -> Result<()> {
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    let client = ask()?;
    let sides = [(server, "server", server_command), (&client, "client", client_command)];
    agent.wait_for("an exchange on each side", |events| {
        let seen = |container: &Container| !exchanges(events, container.name()).is_empty();
        (seen(server) && seen(&client)).then_some(())
    })?;
    let events = agent.stop()?.events()?;
    for (container, kind, command) in sides {
        let found = exchanges(&events, container.name());
        ensure!(found.len() == 1, "{} exchanges of the {kind}: {found:?}", found.len());
        let event = found.first().context("none")?;
        expect(
            event,
            &[
                ("/kind", json!(kind)),
                ("/process/command", json!(command)),
                ("/http/request/method", json!("GET")),
                ("/http/response/status_code", json!(200)),
                ("/url/path", json!("/some/path")),
                ("/tls/library", json!("openssl")),
            ],
        )?;
        let size = number(event, "/http/response/body/size").unwrap_or(0);
        ensure!(size > 0, "no body in {event}");
        ensure!(text(event, "/container/image/name").is_some(), "no image in {event}");
    }
    Ok(())
}

/// `s_server -www` writes through a BIO, which calls neither SSL_write nor SSL_write_ex but
/// what lies below both.
fn openssl_s_server_and_s_client(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let run = docker.run("s-server")?.network(docker.network());
    let server = run.start(&[
        "openssl",
        "s_server",
        "-accept",
        web::PORT,
        "-www",
        "-cert",
        "/fixture/certificate.pem",
        "-key",
        "/fixture/key.pem",
    ])?;
    server.wait_for_log("ACCEPT")?;
    captured(node, &server, "openssl", "openssl", || {
        let script = format!(
            r"printf 'GET /some/path HTTP/1.0\r\nHost: {name}\r\n\r\n' |
              openssl s_client -quiet -ign_eof -connect {name}:{port}",
            name = server.name(),
            port = web::PORT
        );
        let run = docker.run("s-client")?.network(docker.network());
        let (page, client) = run.finish(&["sh", "-c", &script])?;
        ensure!(page.contains("s_server"), "not the server's page: {page}");
        Ok(client)
    })
}

fn nginx_and_curl(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let run = docker.run("nginx")?.network(docker.network());
    let server = run.start(&["nginx", "-c", "/fixture/nginx.conf"])?;
    server.wait_for_log("start worker process")?;
    captured(node, &server, "nginx", "curl", || {
        let (body, client) = web::curl(docker, &server, "/some/path", &[])?;
        ensure!(body == "hello from nginx", "curl got {body:?}");
        Ok(client)
    })
}

/// Python calls SSL_read_ex and SSL_write_ex only.
fn python_and_python(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let server = web::server(docker)?;
    captured(node, &server, "python3", "python3", || {
        let url = web::url(&server, "/some/path");
        let run = docker.run("urllib")?.network(docker.network());
        let (_, client) = run.finish(&["python3", "/fixture/https_client.py", &url])?;
        Ok(client)
    })
}
