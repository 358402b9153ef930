//! wolfSSL: fixtures, and the examples that Debian's package has.

use std::{fs, path::Path, process::Command};

use anyhow::Result;
use tlstap_tests::{libraries::Installed::WolfSsl, node::Node, server::Server, tool};

use super::{Side, asks_nginx, in_turn, serves, web};
use crate::exact::{Mode, in_modes, mode};

crate::tests![
    each_byte_once,
    connections_at_once,
    addresses_used_again,
    objects_used_again,
    with_nginx_and_curl,
    examples_of_the_package,
    inside_a_container,
];

with_the_fixture!(WolfSsl);

const MODES: [Mode; 10] = [
    mode(&[], |_| true),
    mode(&["--peek"], |_| true),
    mode(&["--partial"], |end| end.partial > 50),
    mode(&["--nonblocking", "2"], |end| end.write_retries > 50 && end.read_retries > 10),
    mode(&["--nonblocking", "2", "--duplex", "--partial", "--peek"], |end| end.write_retries > 50),
    mode(&["--update", "2", "--nonblocking", "2"], |end| end.updates > 5 && end.write_retries > 50),
    mode(&["--way", "recv"], |_| true),
    mode(&["--way", "recv", "--nonblocking", "2"], |end| end.read_retries > 10),
    mode(&["--way", "writev"], |_| true),
    mode(&["--way", "writev", "--nonblocking", "2"], |end| end.write_retries > 50),
];

fn each_byte_once(node: &Node) -> Result<()> {
    in_modes(node, || node.exact_by(WolfSsl), &[&MODES])
}

fn objects_used_again(node: &Node) -> Result<()> {
    in_turn(node, WolfSsl, &["--way", "clear"])
}

fn with_nginx_and_curl(node: &Node) -> Result<()> {
    web(node, WolfSsl, "5.")
}

/// Compiles an example of the package into a folder, from which it is to run.
///
/// The header that it includes only declares its own function. It looks for certificates that are not
/// in the package: some must be there, but are not used, since others are given.
fn example(name: &str, folder: &Path, certificate: &Path) -> Result<Command> {
    let headers = folder.join("examples").join(name);
    fs::create_dir_all(&headers)?;
    fs::write(headers.join(format!("{name}.h")), "")?;
    fs::create_dir_all(folder.join("certs/ocsp"))?;
    fs::write(folder.join("certs/dh2048.pem"), "")?;
    for number in 1..=3 {
        let unused = format!("certs/ocsp/intermediate{number}-ca-cert.pem");
        fs::copy(certificate, folder.join(unused))?;
    }
    let binary = folder.join(name);
    let mut command = tool::command("cc", ["-w", "-I"])?;
    command.arg(folder).arg("-o").arg(&binary);
    command.arg(format!("/usr/share/doc/libwolfssl-dev/examples/{name}.c"));
    command.args(["-lwolfssl", "-lm"]);
    tool::run(command)?;
    let mut example = Command::new(binary);
    example.current_dir(folder);
    Ok(example)
}

/// Neither verifies the other.
fn examples_of_the_package(node: &Node) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let side = |kind, path| Side { kind, library: "wolfssl", version: "5.", path };
    let ask = |server: &Server| {
        let mut client = example("client", folder.path(), &server.certificate())?;
        client.args(["-h", "127.0.0.1", "-d", "-g", "-x", "-p", &server.port.to_string()]);
        Ok(client)
    };
    asks_nginx(node, ask, &side("client", "/index.html"))?;
    let serve = |port: u16, key: &Path, certificate: &Path| {
        let mut server = example("server", folder.path(), certificate)?;
        server.args(["-b", "-d", "-i", "-x", "-g", "-p", &port.to_string(), "-k"]).arg(key);
        server.arg("-c").arg(certificate);
        Ok(server)
    };
    let server = Server::by(serve)?;
    // It reads 32 bytes of a request, and no more.
    let script = format!(
        r"printf 'GET / HTTP/1.0\r\n\r\n' | openssl s_client -quiet -connect 127.0.0.1:{}",
        server.port
    );
    serves(node, &server, &side("server", "/"), tool::command("sh", ["-c", &script])?)
}
