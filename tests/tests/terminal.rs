//! What the agent shows on a terminal: lines that fit, and one of what it is doing.

use std::{
    fs::{self, File},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use tlstap_tests::{
    node::Node,
    server::Server,
    terminal::{Seated, Terminal},
    tool,
};

crate::tests![
    a_status_line_between_whole_lines,
    no_status_line_where_there_is_no_terminal,
    a_status_line_beside_a_file,
    columns_follow_the_window,
];

const STATUS: &str = "events/s, ";

/// Requests at this rate, for so many seconds.
fn requests(server: &Server, seconds: u64) -> Result<()> {
    let mut load = tool::command("h2load", ["-c", "1", "--rps", "60"])?;
    load.args(["-D", &seconds.to_string(), &server.url("/hello?a=1")]);
    tool::run(load).map(drop)
}

/// The lines of records on a terminal.
fn records(lines: &[String]) -> Vec<&String> {
    let of_record = |line: &&String| line.contains("/hello?a=1");
    lines.iter().filter(of_record).collect()
}

/// Whether a line has all that one of these records has, and nothing else.
fn is_whole(line: &str) -> bool {
    let words: Vec<_> = line.split_whitespace().collect();
    let [time, "host", process, _, "GET", "200", _, _, _, "B", _, "B", url, "@", peer] = words[..]
    else {
        return false;
    };
    time.starts_with(|c: char| c.is_ascii_digit())
        && process.ends_with(']')
        && url.ends_with("/hello?a=1")
        && peer.starts_with("127.0.0.1:")
}

/// Both streams go to one terminal, which shows each line whole, and no more than two status lines a
/// second.
fn a_status_line_between_whole_lines(node: &Node) -> Result<()> {
    let terminal = Terminal::new(200)?;
    let server = Server::nginx()?;
    let (mut agent, _) = node.tlstap(&["trace"])?.command()?;
    agent.stdout(terminal.stream()?).stderr(terminal.stream()?);
    let agent = Seated::start(agent)?;
    terminal.wait_for("the agent to be ready", |all| all.contains("ready: "))?;
    let begun = Instant::now();
    requests(&server, 3)?;
    terminal.wait_for("a status line", |all| all.contains(STATUS))?;
    agent.stop()?;
    let seconds = begun.elapsed().as_secs_f32();
    let shown = terminal.written().matches(STATUS).count();
    ensure!(shown >= 3, "{shown} status lines in {seconds} s");
    ensure!(shown as f32 <= 2.0 * seconds + 2.0, "{shown} status lines in {seconds} s");
    let lines = terminal.lines()?;
    let left = lines.iter().find(|line| line.contains(STATUS));
    ensure!(left.is_none(), "a status line is left: {left:?}");
    let records = records(&lines);
    ensure!(records.len() > 100, "{} records", records.len());
    for line in &records {
        ensure!(is_whole(line), "a line is damaged: {line:?}");
    }
    let last = lines.iter().find(|line| line.starts_with("tlstap: ") && line.contains(" events, "));
    last.with_context(|| format!("no summary in {lines:?}")).map(drop)
}

/// Standard error is a pipe, whatever standard output is.
fn no_status_line_where_there_is_no_terminal(node: &Node) -> Result<()> {
    let terminal = Terminal::new(200)?;
    let server = Server::nginx()?;
    let errors = node.scratch().join("terminal.stderr");
    let (mut agent, _) = node.tlstap(&["trace"])?.command()?;
    agent.stdout(terminal.stream()?).stderr(File::create(&errors)?);
    let agent = Seated::start(agent)?;
    terminal.wait_for("a record", |all| {
        let _ = requests(&server, 1);
        all.contains("/hello?a=1")
    })?;
    requests(&server, 2)?;
    agent.stop()?;
    let errors = fs::read_to_string(errors)?;
    let none =
        |text: &str| !text.contains(STATUS) && !text.contains('\r') && !text.contains("\u{1b}[K");
    ensure!(none(&errors), "a status line in a file: {errors:?}");
    ensure!(!terminal.written().contains(STATUS), "a status line on standard output");
    Ok(())
}

/// Standard output is a file, which has records and nothing else.
fn a_status_line_beside_a_file(node: &Node) -> Result<()> {
    let terminal = Terminal::new(60)?;
    let server = Server::nginx()?;
    let output = node.scratch().join("terminal.stdout");
    let (mut agent, _) = node.tlstap(&["trace"])?.command()?;
    agent.stdout(File::create(&output)?).stderr(terminal.stream()?);
    let agent = Seated::start(agent)?;
    terminal.wait_for("the agent to be ready", |all| all.contains("ready: "))?;
    requests(&server, 3)?;
    terminal.wait_for("a status line", |all| all.contains(STATUS))?;
    agent.stop()?;
    let output = fs::read_to_string(output)?;
    ensure!(output.lines().count() > 100, "{} lines", output.lines().count());
    ensure!(!output.contains('\u{1b}') && !output.contains(STATUS), "{output:?}");
    for line in terminal.written().split(['\r', '\n']).filter(|line| line.contains(STATUS)) {
        ensure!(line.chars().count() < 60 + "\u{1b}[K".len(), "too long: {line:?}");
    }
    ensure!(terminal.lines()?.iter().all(|line| !line.contains(STATUS)), "it is left");
    Ok(())
}

/// The window becomes smaller while the agent runs.
fn columns_follow_the_window(node: &Node) -> Result<()> {
    let terminal = Terminal::new(160)?;
    let server = Server::nginx()?;
    // The terminal must be its own to be told of the window.
    let (mut agent, _) = node
        .tlstap(&["trace"])?
        .through(&["setsid", "--ctty"])
        .environment(("NO_COLOR", "1".to_owned()))
        .command()?;
    agent.stdin(terminal.stream()?).stdout(terminal.stream()?).stderr(terminal.stream()?);
    let agent = Seated::start(agent)?;
    terminal.wait_for("the agent to be ready", |all| all.contains("ready: "))?;
    let heading = |all: &str, sizes| {
        all.lines().any(|line| line.contains("TIME  ") && line.contains("REQUEST") == sizes)
    };
    requests(&server, 1)?;
    terminal.wait_for("a heading with sizes", |all| heading(all, true))?;
    ensure!(!heading(&terminal.written(), false), "a heading of a narrow window");
    terminal.resize(80)?;
    terminal.wait_for("a heading without sizes", |all| {
        let _ = requests(&server, 1);
        heading(all, false)
    })?;
    agent.stop()
}
