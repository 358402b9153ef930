//! Text for people: one line an exchange, and nothing that steers a terminal.

use anyhow::{Context as _, Result, ensure};
use tlstap_tests::{agent::EVENT, node::Node};

crate::tests![a_line_an_exchange, wire_bytes_never_reach_the_terminal, nothing_on_demand];

fn a_line_an_exchange(node: &Node) -> Result<()> {
    let request = b"GET /a/line?q=1 HTTP/1.1\r\nHost: talk\r\n\r\n";
    let response = b"HTTP/1.1 418 Teapot\r\nContent-Length: 5\r\n\r\nhello";
    let mut talking = node.talk()?.start(request, response)?;
    let pid = talking.pid().to_string();
    let agent = node.tlstap(&["--pid", &pid])?.ready()?;
    talking.go()?;
    agent.says("/a/line", EVENT)?;
    talking.end()?;
    let ended = agent.stop()?;
    let lines: Vec<_> = ended.stdout.iter().filter(|line| line.contains("/a/line?q=1")).collect();
    ensure!(lines.len() == 2, "{} lines, not one for each side: {:?}", lines.len(), ended.stdout);
    for line in lines {
        for word in ["host", "talk", &pid, "GET", "418"] {
            ensure!(line.contains(word), "no {word:?} in {line:?}");
        }
    }
    ensure!(!ended.stdout.concat().contains('\u{1b}'), "colours without a terminal");
    Ok(())
}

fn wire_bytes_never_reach_the_terminal(node: &Node) -> Result<()> {
    let request = b"\x1b[2J\x1b]0;title\x07\x08\x9b31m stolen";
    let response = b"HTTP/1.1 200 \x1b[31mred\r\nX: \x1b[2J\r\nContent-Length: 0\r\n\r\n";
    for arguments in [&["--raw"][..], &["--body"]] {
        let mut talking = node.talk()?.start(request, response)?;
        let pid = talking.pid().to_string();
        let agent = node.tlstap(arguments)?.argument("--pid").argument(pid).ready()?;
        talking.go()?;
        talking.end()?;
        if arguments == ["--raw"] {
            agent.says("stolen", EVENT)?;
        }
        let said = agent.stop()?.stdout.join("\n");
        let steers = said.chars().find(|&letter| letter.is_control() && letter != '\n');
        ensure!(steers.is_none(), "{:?} reached stdout: {said:?}", steers.context("none"));
    }
    Ok(())
}

fn nothing_on_demand(node: &Node) -> Result<()> {
    let mut talking = node.talk()?.start(b"ping", b"pong")?;
    let agent = node.tlstap(&["trace", "--raw", "-o", "none"])?.ready()?;
    talking.go()?;
    let ended = agent.stop()?;
    ensure!(ended.stdout.is_empty(), "records: {:?}", ended.stdout);
    ended.summary()?;
    Ok(())
}
