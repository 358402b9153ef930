//! `list` and `check`, on a program of the host.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tlstap_tests::{
    event::{absent, expect, number, text},
    node::Node,
};

crate::tests![list_as_json, list_as_table, list_with_sites, check_says_what_works];

fn list_as_json(node: &Node) -> Result<()> {
    let talking = node.talk()?.start(b"", b"")?;
    let ended = node.tlstap(&["list", "-o", "json"])?.output()?;
    ended.succeeded()?;
    let rows = ended.rows()?;
    let mine = |row: &&Value| number(row, "/process/pid") == Some(talking.pid().into());
    let rows: Vec<_> = rows.iter().filter(mine).collect();
    ensure!(rows.len() == 1, "{} rows of one process with one library", rows.len());
    let row = rows.first().context("none")?;
    expect(
        row,
        &[
            ("/process/command", json!("talk")),
            ("/tls/library", json!("openssl")),
            ("/status", json!("hooked")),
        ],
    )?;
    absent(row, "/reason")?;
    absent(row, "/container")?;
    let executable = text(row, "/process/executable/path").context("no executable")?;
    ensure!(executable.ends_with("/talk"), "executable {executable}");
    ensure!(text(row, "/file/key").is_some_and(|key| !key.is_empty()), "no file key");
    the_probes(row)
}

fn the_probes(row: &Value) -> Result<()> {
    let probes = row.pointer("/probes").and_then(Value::as_array).context("no probes")?;
    let symbols: Vec<_> = probes.iter().filter_map(|probe| text(probe, "/symbol")).collect();
    // The exported functions, or what all of them call.
    for wanted in ["read", "write", "free"] {
        let found = symbols.iter().any(|symbol| symbol.to_lowercase().contains(wanted));
        ensure!(found, "no probe on a function to {wanted}: {probes:?}");
    }
    ensure!(probes.iter().all(|probe| text(probe, "/method").is_some()), "no method: {probes:?}");
    the_sites(probes)
}

/// Every function of Debian's library has an instruction that is cheap to probe.
fn the_sites(probes: &[Value]) -> Result<()> {
    for probe in probes {
        let class = text(probe, "/sites/0/class").context("no class")?;
        let offset = number(probe, "/sites/0/offset").context("no offset")?;
        let in_file = number(probe, "/sites/0/file_offset").context("no offset in the file")?;
        ensure!(in_file > offset, "{offset} lies at {in_file} in the file");
        if cfg!(target_arch = "x86_64") {
            ensure!(class == "emulated", "{class}: {probe}");
        }
    }
    Ok(())
}

fn list_as_table(node: &Node) -> Result<()> {
    let talking = node.talk()?.start(b"", b"")?;
    let ended = node.tlstap(&["list"])?.output()?;
    ended.succeeded()?;
    let pid = talking.pid().to_string();
    let row = ended.stdout.iter().find(|line| line.contains(&pid)).context("no row")?;
    for word in ["talk", "openssl", "hooked"] {
        ensure!(row.contains(word), "no {word:?} in {row:?}");
    }
    ensure!(!ended.stdout.concat().contains('\u{1b}'), "colours without a terminal");
    ensure!(!ended.stdout.concat().contains("SSL_free+"), "where probes go, without -v");
    Ok(())
}

fn list_with_sites(node: &Node) -> Result<()> {
    let talking = node.talk()?.start(b"", b"")?;
    let ended = node.tlstap(&["list", "-v"])?.output()?;
    ended.succeeded()?;
    let pid = talking.pid().to_string();
    let mut lines = ended.stdout.iter().skip_while(|line| !line.contains(&pid)).skip(1);
    let class = if cfg!(target_arch = "x86_64") { "emulated" } else { "stepped" };
    let free = lines
        .by_ref()
        .take_while(|line| line.starts_with(' '))
        .find(|line| line.contains("SSL_free+"))
        .context("no probe on SSL_free below the row")?;
    ensure!(free.contains(class), "{free:?} is not {class}");
    Ok(())
}

fn check_says_what_works(node: &Node) -> Result<()> {
    node.docker()?;
    let ended = node.tlstap(&["check"])?.output()?;
    ended.succeeded()?;
    let said = ended.stdout.join("\n").to_lowercase();
    for word in ["kernel", "btf", "docker"] {
        ensure!(said.contains(word), "nothing about {word:?} in:\n{said}");
    }
    Ok(())
}
