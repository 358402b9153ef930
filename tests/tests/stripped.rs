//! Issue 7: programs with OpenSSL linked in whose symbols lie elsewhere, by what programs say of
//! themselves.

use std::{
    fs,
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
    node::Node,
    symbols, tool,
};

use crate::exact::{SIZES, session::Session};

crate::tests![
    packed_into_the_program,
    in_a_file_by_build_id,
    in_a_file_by_name,
    given_by_the_user,
    given_as_nonsense,
];

/// The fixture that counts, with OpenSSL linked in.
fn exact(into: &Path, options: &[&str]) -> Result<PathBuf> {
    let options = [&["-Wl,--build-id=sha1"], options].concat();
    compile::exact(into, &Linked::archives(&options))
}

/// Holds a program to be told whole by agents with these arguments, and its functions to be listed as
/// found in this way.
fn whole(
    node: &Node,
    program: impl Fn() -> Command,
    arguments: &[&str],
    method: &str,
) -> Result<()> {
    let exchange = Exact::by(program()).start(&[1])?;
    let list = node.tlstap(&[&["list", "-o", "json"], arguments].concat())?.output()?;
    list.succeeded()?;
    let rows = list.rows()?;
    let mine = |row: &&Value| number(row, "/process/pid") == Some(exchange.pid().into());
    found_by(rows.iter().find(mine).context("not listed")?, method)?;

    let mut session = Session::start(node, arguments, 2)?;
    let modes = [&["--tcp"][..], &["--ex", "--peek"], &["--nonblocking", "2", "--duplex"]];
    for flags in modes {
        let (ends, told) = session.exchange(Exact::by(program()).flags(flags), &SIZES)?;
        ensure!(ends.len() == 2, "{} ends", ends.len());
        account::whole(&told).with_context(|| format!("with {flags:?}"))?;
    }
    session.stop()
}

fn found_by(row: &Value, method: &str) -> Result<()> {
    expect(row, &[("/tls/library", json!("openssl")), ("/status", json!("hooked"))])?;
    let probes = row.pointer("/probes").and_then(Value::as_array).context("no probes")?;
    let methods = |symbol: &str| {
        let mine = probes.iter().find(|probe| text(probe, "/symbol") == Some(symbol));
        mine.and_then(|probe| text(probe, "/method"))
    };
    ensure!(methods("SSL_free") == Some(method), "SSL_free is not found by {method}: {row}");
    ensure!(methods("ssl_write_internal") == Some("callee"), "it is not followed: {row}");
    Ok(())
}

fn packed_into_the_program(node: &Node) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let stripped = folder.path().join("stripped");
    symbols::pack(&exact(folder.path(), &[])?, &stripped)?;
    whole(node, || Command::new(&stripped), &[], "gnu_debugdata")
}

/// In the root of the program, which is not the host's.
fn in_a_file_by_build_id(node: &Node) -> Result<()> {
    let (folder, root) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let program = exact(folder.path(), &["-static"])?;
    let debug = root.path().join(symbols::place(&symbols::build_id(&program)?));
    fs::create_dir_all(debug.parent().context("no folder")?)?;
    symbols::debug_file(&program, &debug)?;
    symbols::strip(&program, &root.path().join("exact"))?;
    let chroot = tool::find("chroot")?;
    let start = || {
        let mut command = Command::new(&chroot);
        command.arg(root.path()).arg("/exact");
        command
    };
    whole(node, start, &[], "debug-file")
}

fn in_a_file_by_name(node: &Node) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let program = exact(folder.path(), &["-static-pie"])?;
    let stripped = folder.path().join("stripped");
    let debug = folder.path().join(".debug/exact.debug");
    fs::create_dir(folder.path().join(".debug"))?;
    symbols::debug_file(&program, &debug)?;
    symbols::strip(&program, &stripped)?;
    symbols::link(&stripped, &debug)?;
    whole(node, || Command::new(&stripped), &[], "debug-file")
}

fn given_by_the_user(node: &Node) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let program = exact(folder.path(), &[])?;
    let (stripped, given) = (folder.path().join("stripped"), folder.path().join("symbols.json"));
    symbols::strip(&program, &stripped)?;
    let functions: serde_json::Map<_, _> = symbols::functions(&program, &[])?
        .into_iter()
        .map(|(name, address)| (name, json!(format!("{address:#x}"))))
        .collect();
    let id = symbols::build_id(&program)?;
    fs::write(&given, json!({ id: functions }).to_string())?;
    let given = given.to_str().context("a path that is not UTF-8")?;
    whole(node, || Command::new(&stripped), &["--symbols", given], "symbols")
}

fn given_as_nonsense(node: &Node) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let given = folder.path().join("symbols.json");
    fs::write(&given, r#"{"not hexadecimal": {"SSL_read": 1}}"#)?;
    let given = given.to_str().context("a path that is not UTF-8")?;
    for verb in ["trace", "list"] {
        let ended = node.tlstap(&[verb, "--symbols", given])?.output()?;
        ended.refused(&["symbols.json: \"not hexadecimal\" is no build-id"])?;
    }
    Ok(())
}
