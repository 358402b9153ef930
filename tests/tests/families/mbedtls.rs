//! Mbed TLS, by fixtures: Debian has no program that is linked to it.

use anyhow::Result;
use tlstap_tests::{libraries::Installed::MbedTls, node::Node};

use super::{in_turn, web};
use crate::exact::{Mode, in_modes, mode};

crate::tests![
    each_byte_once,
    connections_at_once,
    addresses_used_again,
    objects_used_again,
    with_nginx_and_curl,
    inside_a_container,
];

with_the_fixture!(MbedTls);

/// It takes a record at once, whatever it is given.
const MODES: [Mode; 3] = [
    mode(&[], |end| end.partial > 50),
    mode(&["--nonblocking", "2"], |end| end.write_retries > 50 && end.read_retries > 10),
    mode(&["--nonblocking", "2", "--duplex"], |end| end.write_retries > 50),
];

fn each_byte_once(node: &Node) -> Result<()> {
    in_modes(node, || node.exact_by(MbedTls), &[&MODES])
}

fn objects_used_again(node: &Node) -> Result<()> {
    in_turn(node, MbedTls, &["--way", "reset"])
}

fn with_nginx_and_curl(node: &Node) -> Result<()> {
    web(node, MbedTls, "2.")
}
