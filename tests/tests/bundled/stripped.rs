//! Programs with OpenSSL or BoringSSL linked in and all symbols stripped.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tlstap_tests::{
    account,
    compile::{self, Linked},
    event::{expect, number, text},
    exact::Exact,
    libraries::Library,
    node::Node,
    talk::Talk,
    tool,
};

use crate::{
    exact::{SIZES, session::Session},
    odd,
};

crate::tests![
    static_executables,
    on_openssl_1_1_1,
    on_the_newest_openssl_3,
    on_boringssl,
    on_aws_lc,
    one_static_binary,
    connections_at_one_address,
    boringssls_connections_at_one_address,
    listed_as_found_by_fingerprint,
];

/// Strips a copy.
pub(super) fn strip(whole: &Path, stripped: &Path) -> Result<()> {
    let mut strip = tool::command("strip", ["-o"])?;
    strip.arg(stripped).arg(whole);
    tool::run(strip).map(drop)
}

/// The fixture that counts, linked like this, and stripped, in a folder.
fn exact(into: &Path, linked: &Linked) -> Result<PathBuf> {
    let stripped = into.join("stripped");
    strip(&compile::exact(into, linked)?, &stripped)?;
    Ok(stripped)
}

fn by(binary: &Path) -> Exact {
    Exact::by(Command::new(binary))
}

/// Holds the fixture to be told whole in these ways to use the library.
fn whole(node: &Node, linked: &Linked, modes: &[&[&str]]) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let binary = exact(folder.path(), linked)?;
    // It is probed when the agent starts, and needs nothing when others map it.
    let _first = by(&binary).start(&[])?;
    let mut session = Session::start(node, &[], 2)?;
    for flags in modes {
        let (ends, told) = session.exchange(by(&binary).flags(flags), &SIZES)?;
        ensure!(ends.len() == 2, "{} ends", ends.len());
        account::whole(&told).with_context(|| format!("with {flags:?}"))?;
        let known = account::ports(&told, &ends)?;
        ensure!(known == told.len(), "ports of {known} directions with {flags:?}");
    }
    session.stop()
}

const PLAIN: &[&[&str]] =
    &[&["--tcp"], &["--tcp", "--nonblocking", "2", "--duplex", "--partial", "--peek"]];
const WITH_EX: &[&[&str]] =
    &[&["--tcp"], &["--tcp", "--ex", "--peek"], &["--tcp", "--ex", "--nonblocking", "2"]];

/// Debian's OpenSSL 3.0: static, static and moved, and beside a shared libc. The first has no index of
/// its functions.
fn static_executables(node: &Node) -> Result<()> {
    for kind in [&["-static"][..], &["-static-pie"], &[]] {
        whole(node, &Linked::archives(kind), WITH_EX)
            .with_context(|| format!("linked {kind:?}"))?;
    }
    Ok(())
}

fn on_openssl_1_1_1(node: &Node) -> Result<()> {
    whole(node, &Library::OpenSsl111.linked()?, WITH_EX)
}

fn on_the_newest_openssl_3(node: &Node) -> Result<()> {
    whole(node, &Library::OpenSsl3.linked()?, WITH_EX)
}

fn on_boringssl(node: &Node) -> Result<()> {
    whole(node, &Library::BoringSsl.linked()?, PLAIN)
}

fn on_aws_lc(node: &Node) -> Result<()> {
    whole(node, &Library::AwsLc.linked()?, WITH_EX)
}

/// With nothing beside it in its container.
fn one_static_binary(node: &Node) -> Result<()> {
    let folder = tempfile::tempdir()?;
    Talk::compile_static(folder.path())?;
    let binary = folder.path().join("talk");
    strip(&binary, &binary)?;
    odd::from_scratch(node, folder.path(), &[("/tls/path", json!("/talk"))])
}

/// Objects come where others were, and each connection is one of its own all the same.
fn at_one_address(node: &Node, linked: &Linked) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let binary = exact(folder.path(), linked)?;
    let _first = by(&binary).start(&[])?;
    let mut session = Session::start(node, &[], 64)?;
    let flags = ["--times", "30", "--tcp"];
    let (ends, told) = session.exchange(by(&binary).flags(&flags), &[1, 100, 5000])?;
    let mut objects: Vec<_> = ends.iter().map(|end| end.object).collect();
    objects.sort_unstable();
    objects.dedup();
    ensure!(objects.len() < ends.len(), "no address was used again");
    account::whole(&told)?;
    session.stop()
}

fn connections_at_one_address(node: &Node) -> Result<()> {
    at_one_address(node, &Linked::archives(&[]))
}

/// Of BoringSSL `SSL_free` is not found, so `SSL_new` tells.
fn boringssls_connections_at_one_address(node: &Node) -> Result<()> {
    at_one_address(node, &Library::BoringSsl.linked()?)
}

fn listed_as_found_by_fingerprint(node: &Node) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let binary = exact(folder.path(), &Linked::archives(&[]))?;
    let exchange = by(&binary).start(&[1])?;
    let ended = node.tlstap(&["list", "-o", "json"])?.output()?;
    ended.succeeded()?;
    let rows = ended.rows()?;
    let mine = |row: &&Value| number(row, "/process/pid") == Some(exchange.pid().into());
    let row = rows.iter().find(mine).context("not listed")?;
    expect(row, &[("/tls/library", json!("openssl")), ("/status", json!("hooked"))])?;
    let probes = row.pointer("/probes").and_then(Value::as_array).context("no probes")?;
    for symbol in ["ssl_read_internal", "ssl_write_internal", "SSL_new"] {
        let found = probes.iter().find(|probe| text(probe, "/symbol") == Some(symbol));
        let probe = found.with_context(|| format!("no {symbol} in {row}"))?;
        expect(probe, &[("/method", json!("fingerprint"))])?;
    }
    Ok(())
}
