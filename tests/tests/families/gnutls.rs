//! GnuTLS: wget, which Debian links to it, asks nginx, which uses OpenSSL.

use anyhow::Result;
use tlstap_tests::{node::Node, server::Server, tool};

use super::{Side, asks_nginx};

crate::tests![wget_and_nginx];

fn wget_and_nginx(node: &Node) -> Result<()> {
    let ask = |server: &Server| {
        let url = server.url("/hello");
        tool::command("wget", ["--quiet", "--no-check-certificate", "--output-document=-", &url])
    };
    let side = Side { kind: "client", library: "gnutls", version: "3.", path: "/hello" };
    asks_nginx(node, ask, &side)
}
