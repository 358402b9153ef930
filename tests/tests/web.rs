//! The HTTPS server and its clients in containers of one image.

use anyhow::{Context as _, Result};
use serde_json::Value;
use tlstap_tests::{
    docker::{Container, Docker},
    event::{exchanges, text},
};

pub(crate) const PORT: &str = "8443";

/// What the Python server answers on `/hello`.
pub(crate) const HELLO: &str = "hello from the fixture\n";

/// The Python server in a container.
pub(crate) fn server(docker: &Docker) -> Result<Container> {
    let run = docker.run("server")?.network(docker.network());
    let container = run.start(&["python3", "/fixture/https_server.py", PORT])?;
    container.wait_for_log("listening")?;
    Ok(container)
}

/// The URL of a path on a server.
pub(crate) fn url(server: &Container, path: &str) -> String {
    format!("https://{}:{PORT}{path}", server.name())
}

/// Runs curl in a container of its own; the body it got, and the container that ended.
pub(crate) fn curl(
    docker: &Docker,
    server: &Container,
    path: &str,
    options: &[&str],
) -> Result<(String, Container)> {
    let url = url(server, path);
    let command = [&["curl", "--silent", "--show-error", "--insecure"], options, &[&url]].concat();
    docker.run("client")?.network(docker.network()).finish(&command)
}

/// The version of OpenSSL in the image, such as `3.0.17`.
pub(crate) fn openssl_version(docker: &Docker) -> Result<String> {
    let (said, _container) = docker.run("version")?.finish(&["openssl", "version"])?;
    Ok(said.split_whitespace().nth(1).context("openssl version says nothing")?.to_owned())
}

/// The exchanges of a container with this path.
pub(crate) fn with_path<'a>(events: &'a [Value], container: &'a str, path: &str) -> Vec<&'a Value> {
    let mut found = exchanges(events, container);
    found.retain(|event| text(event, "/url/path") == Some(path));
    found
}
