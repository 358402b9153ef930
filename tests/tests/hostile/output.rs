//! What the agent wrote while it was attacked: text, and nothing else.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use tlstap_tests::{cli::Ended, node::Node, terminal::Terminal};

/// Bodies are shown, but no more of each than the test can read as fast as it comes.
pub(super) const BODIES: [&str; 3] = ["--body", "--body-limit", "16k"];
/// Bytes of a line: two bodies of zeros, each of which has six in JSON, and all headers.
const LONGEST: usize = 8 << 20;

/// Holds a line to steer no terminal.
pub(super) fn shows_text(line: &str) -> Result<()> {
    let steers = line.chars().find(|letter| letter.is_control());
    let shown: String = line.escape_debug().take(300).collect();
    ensure!(steers.is_none(), "{steers:?} in: {shown}");
    Ok(())
}

/// Holds every line on standard error to be one of the agent's own.
pub(super) fn no_foreign_line(ended: &Ended) -> Result<()> {
    for line in &ended.stderr {
        shows_text(line)?;
        let own = line.starts_with("tlstap: ") || line.starts_with("20");
        ensure!(own, "a line that somebody else has written: {line:?}");
    }
    Ok(())
}

/// Shows a recording in both forms, byte for byte; gives the JSON.
pub(super) fn both_forms(node: &Node, recording: &Path) -> Result<String> {
    let mut shown = Vec::new();
    for form in ["text", "json"] {
        let file = recording.with_extension(form);
        let arguments = [&["replay", "-o", form], &BODIES[..], &["--write"]].concat();
        let launch = node.tlstap(&arguments)?;
        let launch = launch.argument(file.display().to_string());
        let ended = launch.argument(recording.display().to_string()).output()?;
        ended.succeeded()?;
        no_foreign_line(&ended)?;
        let bytes = fs::read(&file)?;
        let text = String::from_utf8(bytes).context("output that is no UTF-8")?;
        for line in text.lines() {
            shows_text(line)?;
            ensure!(line.len() < LONGEST, "a line of {} bytes", line.len());
        }
        shown.push(text);
    }
    at_a_terminal(node, recording)?;
    for line in shown.last().into_iter().flat_map(|json| json.lines()) {
        let object = serde_json::from_str::<serde_json::Map<_, serde_json::Value>>(line)?;
        ensure!(!object.contains_key("injected"), "plaintext became a record");
    }
    Ok(shown.concat())
}

/// At a terminal there are our own colours, and nothing else.
fn at_a_terminal(node: &Node, recording: &Path) -> Result<()> {
    let terminal = Terminal::new(120)?;
    let launch = node.tlstap(&[&["replay"], &BODIES[..]].concat())?;
    let (mut command, _) = launch.argument(recording.display().to_string()).command()?;
    command.stdin(terminal.stream()?).stdout(terminal.stream()?).stderr(terminal.stream()?);
    let status = command.status().context("failed to start tlstap")?;
    ensure!(status.success(), "it ended with {status}");
    terminal.wait_for("the last line", |written| written.contains("plaintext bytes"))?;
    let written = terminal.written();
    let mut pieces = written.split('\u{1b}');
    let first = pieces.next().unwrap_or_default();
    let coloured = pieces.map(|piece| {
        let end = piece.find(['m', 'K']).filter(|_| piece.starts_with('['));
        let (code, text) = piece.split_at(end.with_context(|| format!("ESC {piece:?}"))? + 1);
        let own = code.trim_start_matches('[').trim_end_matches(['m', 'K']);
        let is_own = own.bytes().all(|byte| byte.is_ascii_digit() || byte == b';');
        ensure!(is_own, "an escape that is not ours: {code:?}");
        Ok(text)
    });
    ensure!(written.contains('\u{1b}'), "no colours at a terminal");
    for text in [Ok(first)].into_iter().chain(coloured) {
        text?.split(['\r', '\n']).try_for_each(shows_text)?;
    }
    Ok(())
}
