//! s2n, out of its crate, linked into fixtures with its symbols.

use anyhow::{Result, ensure};
use tlstap_tests::{
    account::{self, Told},
    libraries::Installed::S2n,
    node::Node,
};

use super::{in_turn, web};
use crate::exact::{Mode, SIZES, in_modes, mode, session::Session};

crate::tests![
    each_byte_once,
    more_vectors_than_are_looked_at,
    connections_at_once,
    addresses_used_again,
    objects_used_again,
    with_nginx_and_curl,
    inside_a_container,
];

with_the_fixture!(S2n);

const MODES: [Mode; 7] = [
    mode(&[], |_| true),
    mode(&["--nonblocking", "2"], |end| end.write_retries > 50 && end.partial > 50),
    mode(&["--nonblocking", "2", "--duplex"], |end| end.write_retries > 50),
    mode(&["--way", "sendv"], |_| true),
    mode(&["--way", "sendv", "--nonblocking", "2"], |end| end.partial > 50),
    mode(&["--way", "offset"], |_| true),
    mode(&["--way", "offset", "--nonblocking", "2"], |end| end.partial > 50),
];

fn each_byte_once(node: &Node) -> Result<()> {
    in_modes(node, || node.exact_by(S2n), &[&MODES])
}

/// What lies in vectors behind the 64th is a gap, to the byte.
fn more_vectors_than_are_looked_at(node: &Node) -> Result<()> {
    let mut session = Session::start(node, &[], 2)?;
    let exact = node.exact_by(S2n)?.flags(&["--way", "many"]);
    let (ends, told) = session.exchange(exact, &SIZES)?;
    ensure!(ends.len() == 2 && told.len() == 4, "ends {ends:?}");
    session.stop()?;
    let (sent, received): (Vec<_>, Vec<_>) =
        told.into_iter().partition(|told| told.direction == "transmit");
    account::whole(&received)?;
    for Told { end, seen, .. } in sent {
        // Three of four hold a 200th of the message, and the last the rest.
        let hidden: u64 = SIZES.iter().map(|&size| (size - size / 200 * 48) as u64).sum();
        let missing: u64 = seen.gaps.iter().map(|gap| gap.length).sum();
        ensure!(missing == hidden, "{missing} bytes of {end:?} missing, not {hidden}");
        let other = seen.gaps.iter().find(|gap| gap.reason != "limit");
        ensure!(other.is_none(), "a gap for another reason: {other:?}");
    }
    Ok(())
}

fn objects_used_again(node: &Node) -> Result<()> {
    in_turn(node, S2n, &["--way", "wipe"])
}

fn with_nginx_and_curl(node: &Node) -> Result<()> {
    web(node, S2n, "")
}
