//! A trace that is recorded, and shown again by somebody who may do nothing else.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tlstap_tests::{
    agent::EVENT,
    cli::Ended,
    event::{exchanges, number},
    node::Node,
};

use crate::web;

crate::tests![
    as_the_trace_was,
    a_recording_is_for_its_owner,
    what_a_killed_trace_leaves,
    a_recording_cut_off,
    what_is_no_recording,
    a_full_disk,
];

const NOBODY: u32 = 65534;
const REQUEST: &[u8] = b"GET /recorded HTTP/1.1\r\nHost: talk\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// A path in the scratch folder.
fn scratch(node: &Node, name: &str) -> PathBuf {
    node.scratch().join(name)
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str().context("the scratch folder is not UTF-8")
}

/// Replays as nobody, who has no /proc, no socket of a runtime and no capability.
fn replay(node: &Node, file: &Path, arguments: &[&str]) -> Result<Ended> {
    if file.exists() {
        chown(file, Some(NOBODY), Some(NOBODY))?;
    }
    let (user, arguments) = (NOBODY.to_string(), [&["replay", utf8(file)?], arguments].concat());
    let alone = ["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups", "--"];
    node.tlstap(&arguments)?.through(&alone).output()
}

fn as_the_trace_was(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    for arguments in [&["-o", "json", "--body"][..], &["-o", "text"], &["-o", "json", "--raw"]] {
        let server = web::server(docker)?;
        let file = scratch(node, "live.tlstap");
        let record = [arguments, &["--record", utf8(&file)?]].concat();
        let agent = node.tlstap(&record)?.ready()?;
        let gzip = web::url(&server, "/gzip");
        let big = web::url(&server, "/big?size=100000");
        web::curl(docker, &server, "/hello?n=1", &[&gzip, &big])?;
        let mut talking = node.talk()?.start(REQUEST, RESPONSE)?;
        talking.go()?;
        talking.end()?;
        agent.says("recorded", EVENT)?;
        agent.says("100000", EVENT)?;
        let live = agent.stop()?;
        let replayed = replay(node, &file, arguments)?;
        replayed.succeeded()?;
        ensure!(!live.stdout.is_empty(), "nothing was traced");
        same(&live.stdout, &replayed.stdout).with_context(|| format!("{arguments:?}"))?;
        ensure!(live.summary()? == replayed.summary()?, "{:?}", replayed.stderr);
        if arguments.contains(&"--body") {
            let events = replayed.events()?;
            ensure!(exchanges(&events, server.name()).len() == 3, "not all with their names");
        }
    }
    Ok(())
}

fn same(live: &[String], replayed: &[String]) -> Result<()> {
    for (number, (live, replayed)) in live.iter().zip(replayed).enumerate() {
        ensure!(live == replayed, "line {number}:\nlive:     {live}\nreplayed: {replayed}");
    }
    ensure!(live.len() == replayed.len(), "{} lines live, {}", live.len(), replayed.len());
    Ok(())
}

/// A recording of the fixture's exchange, and what the trace said.
fn recorded(node: &Node, file: &Path, end: Signal) -> Result<Ended> {
    let mut talking = node.talk()?.start(REQUEST, RESPONSE)?;
    let pid = talking.pid().to_string();
    let arguments = ["trace", "-o", "json", "--pid", &pid, "--record", utf8(file)?];
    let mut agent = node.tlstap(&arguments)?.ready()?;
    talking.go()?;
    agent.wait_for_count("both sides", 2, |_| true)?;
    agent.stop_by(end)
}

fn a_recording_is_for_its_owner(node: &Node) -> Result<()> {
    let file = scratch(node, "owned.tlstap");
    fs::write(&file, "something old")?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666))?;
    recorded(node, &file, Signal::INT)?.succeeded()?;
    let mode = fs::metadata(&file)?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "mode {mode:o}");
    let (user, path) = (NOBODY.to_string(), utf8(&file)?);
    let alone = ["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups", "--"];
    node.tlstap(&["replay", path])?.through(&alone).output()?.refused(&[path])
}

fn what_a_killed_trace_leaves(node: &Node) -> Result<()> {
    let file = scratch(node, "killed.tlstap");
    let live = recorded(node, &file, Signal::KILL)?;
    let replayed = replay(node, &file, &["-o", "json"])?;
    replayed.succeeded()?;
    same(&live.stdout, &replayed.stdout)?;
    cut_off(&replayed, &file)
}

/// Holds a replay to say that there is no end.
fn cut_off(replayed: &Ended, file: &Path) -> Result<()> {
    let note = format!("{} is cut off", utf8(file)?);
    ensure!(replayed.stderr.iter().any(|line| line.contains(&note)), "{:?}", replayed.stderr);
    ensure!(replayed.summary()?.ends_with("losses unknown"), "{:?}", replayed.stderr);
    Ok(())
}

fn a_recording_cut_off(node: &Node) -> Result<()> {
    let file = scratch(node, "cut.tlstap");
    let live = recorded(node, &file, Signal::INT)?;
    let whole = fs::read(&file)?;
    // Behind the first line, so that it is a recording.
    for length in [30, whole.len() / 2, whole.len() - 1] {
        fs::write(&file, whole.get(..length).context("a short recording")?)?;
        let replayed = replay(node, &file, &["-o", "json"])?;
        replayed.succeeded()?;
        cut_off(&replayed, &file)?;
        // Of a connection that is not whole there may be other events.
        ensure!(replayed.events()?.len() <= live.stdout.len(), "{:?}", replayed.stdout);
    }
    Ok(())
}

fn what_is_no_recording(node: &Node) -> Result<()> {
    let file = scratch(node, "garbage.tlstap");
    for garbage in [&b"no recording"[..], b"", b"tlstap recording 999 9.9.9\n", &[0xff; 4096]] {
        fs::write(&file, garbage)?;
        replay(node, &file, &["-o", "json"])?.refused(&[utf8(&file)?])?;
    }
    let missing = scratch(node, "missing.tlstap");
    replay(node, &missing, &[])?.refused(&[utf8(&missing)?])?;
    let damaged = [&b"tlstap recording 1 0.1.0\n"[..], &[0xff; 4096]].concat();
    fs::write(&file, damaged)?;
    let ended = replay(node, &file, &[])?;
    ensure!(ended.code == Some(1), "exit {:?}, not 1", ended.code);
    ended.no_accident()?;
    let named = format!("{}: the recording is damaged", utf8(&file)?);
    ensure!(ended.stderr.iter().any(|line| line.contains(&named)), "{:?}", ended.stderr);
    Ok(())
}

/// The recording ends, the trace does not; its exit status tells.
fn a_full_disk(node: &Node) -> Result<()> {
    let folder = scratch(node, "full");
    fs::create_dir_all(&folder)?;
    let file = folder.join("full.tlstap");
    // Bytes that do not get smaller.
    let mut state = 1_u32;
    let noise = (0..400_000).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [high, ..] = state.to_be_bytes();
        high
    });
    let mut talking = node.talk()?.start(b"ping", &noise.collect::<Vec<_>>())?;
    let mut after = node.talk()?.start(REQUEST, RESPONSE)?;
    let script = r#"mount -t tmpfs -o size=64k none "$0" && exec "$@""#;
    let small = ["unshare", "--mount", "sh", "-c", script, utf8(&folder)?];
    let launch = node.tlstap(&["trace", "-o", "json", "--record", utf8(&file)?])?;
    let mut agent = launch.through(&small).ready()?;
    talking.go()?;
    agent.complains("the recording ends here", EVENT)?;
    after.go()?;
    let mine = |event: &Value| number(event, "/process/pid") == Some(after.pid().into());
    agent.wait_for_count("exchanges after it", 2, mine)?;
    let ended = agent.stop_by(Signal::INT)?;
    ensure!(ended.code == Some(1), "exit {:?}, not 1", ended.code);
    ended.no_accident()?;
    ended.summary()?;
    let named = format!("the recording {} is incomplete: No space left", utf8(&file)?);
    ensure!(ended.stderr.iter().any(|line| line.contains(&named)), "{:?}", ended.stderr);
    Ok(())
}
