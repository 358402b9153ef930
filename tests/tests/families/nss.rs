//! NSS: fixtures, and the tools of its package. Its functions are found without symbols.

use std::{fs, path::Path};

use anyhow::Result;
use tlstap_tests::{
    libraries::{Installed::Nss, nss},
    node::Node,
    server::Server,
    tool,
};

use super::{Side, asks_nginx, serves_curl};
use crate::exact::{Mode, in_modes, mode};

crate::tests![
    each_byte_once,
    connections_at_once,
    addresses_used_again,
    tstclnt_and_nginx,
    selfserv_and_curl,
    inside_a_container,
];

with_the_fixture!(Nss);

/// NSPR knows sockets of TCP only.
const MODES: [Mode; 8] = [
    mode(&["--tcp"], |_| true),
    mode(&["--tcp", "--peek"], |_| true),
    mode(&["--tcp", "--nonblocking", "2"], |end| end.partial > 10 && end.read_retries > 10),
    mode(&["--tcp", "--nonblocking", "2", "--duplex", "--peek"], |end| end.partial > 10),
    mode(&["--tcp", "--update", "2"], |end| end.updates > 5),
    mode(&["--tcp", "--way", "recv", "--peek"], |_| true),
    mode(&["--tcp", "--way", "recv", "--nonblocking", "2"], |end| end.read_retries > 10),
    mode(&["--tcp", "--way", "writev"], |_| true),
];

fn each_byte_once(node: &Node) -> Result<()> {
    in_modes(node, || node.exact_by(Nss), &[&MODES])
}

/// Nonblocking, by `PR_Send` and `PR_Recv`; what it says comes from a file.
fn tstclnt_and_nginx(node: &Node) -> Result<()> {
    let ask = |server: &Server| {
        let request = server.scratch().join("request");
        fs::write(&request, "GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let script = format!(
            "exec tstclnt -o -D -4 -h localhost -p {} < {}",
            server.port,
            request.display()
        );
        tool::command("sh", ["-c", &script])
    };
    let side = Side { kind: "client", library: "nss", version: "3.", path: "/hello" };
    asks_nginx(node, ask, &side)
}

/// Blocking, by `PR_Read` and `PR_Write`.
fn selfserv_and_curl(node: &Node) -> Result<()> {
    let serve = |port: u16, key: &Path, certificate: &Path| {
        let database = nss::database(key, certificate)?;
        tool::command("selfserv", ["-d", &database, "-n", nss::NICKNAME, "-p", &port.to_string()])
    };
    let side = Side { kind: "server", library: "nss", version: "3.", path: "/some/path" };
    serves_curl(node, &Server::by(serve)?, &side)
}
