//! Mail over TLS: commands and replies are what the clients print, on both sides.

pub(crate) mod imap;

use std::{fs, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tlstap_tests::{
    child::Child,
    database::{free_port, scratch},
    event::{number, of_type, text},
    node::Node,
    tool,
};

crate::tests![curl_sends_a_message, smtplib_begins_by_starttls];

const LIMIT: Duration = Duration::from_secs(30);
/// What looks like commands, and is none.
const MESSAGE: &str = "Subject: x\r\n\r\nMAIL FROM:<own@text>\r\nQUIT\r\n.\r\nsecret\r\n";

/// A mail server.
struct Server {
    process: Child,
    folder: TempDir,
    port: String,
}

impl Server {
    fn smtp(way: &str) -> Result<Self> {
        let folder = scratch()?;
        let port = free_port()?.to_string();
        // Debian's package is of Debian's Python.
        let mut command = Command::new("/usr/bin/python3");
        command.arg(tool::fixtures().join("smtp_server.py")).arg(&port);
        command.args(["certificate.pem", "key.pem"].map(|name| folder.path().join(name)));
        command.arg(way);
        let process = Child::start(command)?;
        process.says("listening", LIMIT)?;
        Ok(Self { process, folder, port })
    }
}

/// A command as a client printed it, with what it was answered: code and text.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    command: Option<String>,
    code: String,
    answer: String,
}

/// What a side told.
fn told(events: &[Value], system: &str, pid: u32) -> Vec<Said> {
    let of = |event: &&Value| number(event, "/process/pid") == Some(u64::from(pid));
    let said = |event: &Value| {
        let field = |name: &str| text(event, name).map(str::to_owned);
        let message = field("/mail/response/message").or(field("/error/message"));
        Said {
            command: field("/mail/text"),
            code: field("/mail/response/status_code").unwrap_or_default(),
            answer: message.unwrap_or_default(),
        }
    };
    of_type(events, system).filter(of).map(said).collect()
}

/// Lets a client begin, and returns all that is told when it has ended.
fn watched(node: &Node, client: &mut Child, system: &str, last: &str) -> Result<Vec<Value>> {
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    client.tell("go\n")?;
    let ended = client.finish(LIMIT)?;
    ensure!(ended.success(), "the client failed: {:?}", client.stderr.lines());
    agent.wait_for("the last command of both sides", |events| {
        let is_last = |event: &&Value| {
            let command = text(event, "/mail/text").unwrap_or_default();
            command.to_ascii_uppercase().ends_with(last)
        };
        (of_type(events, system).filter(is_last).count() >= 2).then_some(())
    })?;
    let events = agent.stop()?.events()?;
    for secret in ["secret", "AGpvZQBzZWNyZXQ"] {
        let shown = events.iter().find(|event| event.to_string().contains(secret));
        ensure!(shown.is_none(), "{secret} is shown: {shown:?}");
    }
    let own = |event: &&Value| text(event, "/mail/text").is_some_and(|text| text.contains("own@"));
    ensure!(!events.iter().any(|event| own(&event)), "a message is told as commands");
    Ok(events)
}

/// The size of the request of this command, of each side.
fn sizes(events: &[Value], command: &str) -> Vec<Option<u64>> {
    let of = |event: &&Value| {
        text(event, "/mail/text").is_some_and(|text| text.eq_ignore_ascii_case(command))
    };
    let of_smtp = of_type(events, "smtp").filter(of);
    of_smtp.map(|event| number(event, "/mail/request/size")).collect()
}

/// What `curl -v` printed: `>` before what it sent, but for the message, `<` before what came.
fn printed_by_curl(lines: &[String]) -> Result<Vec<Said>> {
    let mut all: Vec<Said> = Vec::new();
    let (mut command, mut goes_on) = (None, false);
    for line in lines {
        let (mark, line) = line.split_at_checked(2).unwrap_or(("", line));
        let line = line.trim_end();
        // More is asked for, and what is sent then is no command.
        let asked = all.last().is_some_and(|last| ["334", "354"].contains(&last.code.as_str()));
        if mark == "> " && !asked {
            command = Some(line.to_owned());
        }
        if mark != "< " {
            continue;
        }
        let (code, rest) = line.split_at_checked(3).context("no code")?;
        let answer = rest.get(1..).unwrap_or_default().to_owned();
        match all.last_mut() {
            Some(last) if goes_on => last.answer += &format!("\n{answer}"),
            Some(last) if asked => (last.code, last.answer) = (code.to_owned(), answer),
            _ => all.push(Said { command: command.take(), code: code.to_owned(), answer }),
        }
        goes_on = rest.starts_with('-');
    }
    ensure!(all.len() > 5, "curl printed {all:?}");
    Ok(all)
}

fn curl_sends_a_message(node: &Node) -> Result<()> {
    let server = Server::smtp("implicit")?;
    let file = server.folder.path().join("message");
    fs::write(&file, MESSAGE)?;
    let script = "read go; exec curl -sv --cacert \"$1\" \"smtps://localhost:$2/me\" --mail-from a@b \
                  --mail-rcpt nobody@b --mail-rcpt c@d --mail-rcpt-allowfails -u joe:secret --upload-file \"$3\"";
    let mut client = tool::command("sh", ["-c", script, "sh"])?;
    client.arg(server.folder.path().join("certificate.pem")).arg(&server.port).arg(&file);
    let mut client = Child::start(client)?;
    let events = watched(node, &mut client, "smtp", "QUIT")?;
    let printed = printed_by_curl(&client.stderr.lines())?;
    for pid in [client.pid(), server.process.pid()] {
        let mut told = told(&events, "smtp", pid);
        // It says goodbye without a word.
        let last = told.pop().context("nothing was told")?;
        let is_quit = last.command.as_deref() == Some("QUIT") && last.code == "221";
        ensure!(is_quit, "{last:?}");
        ensure!(told == printed, "told {told:#?}\nprinted {printed:#?}");
    }
    // The line, the message with another dot before a dot, and the line that ends it.
    let size = Some(6 + MESSAGE.len() as u64 + 1 + 3);
    ensure!(sizes(&events, "DATA") == [size; 2], "{:?} and not {size:?}", sizes(&events, "DATA"));
    Ok(())
}

/// What the fixture printed: the command, the code, the text, with bars between.
fn printed_by_fixture(lines: &[String]) -> Vec<Said> {
    let mut all: Vec<Said> = Vec::new();
    for line in lines {
        match line.splitn(3, " | ").collect::<Vec<_>>()[..] {
            [command, code, answer] => all.push(Said {
                command: Some(command.to_owned()),
                code: code.to_owned(),
                answer: answer.to_owned(),
            }),
            // A further line of the answer.
            _ => {
                if let Some(last) = all.last_mut().filter(|_| !line.starts_with("refused")) {
                    last.answer += &format!("\n{line}");
                }
            }
        }
    }
    all
}

fn smtplib_begins_by_starttls(node: &Node) -> Result<()> {
    let server = Server::smtp("starttls")?;
    let mut client = Command::new("/usr/bin/python3");
    client.arg(tool::fixtures().join("smtp_client.py")).arg(&server.port);
    client.arg(server.folder.path().join("certificate.pem"));
    let mut client = Child::start(client)?;
    client.says("ready", LIMIT)?;
    let events = watched(node, &mut client, "smtp", "QUIT")?;
    let lines = client.stdout.lines();
    ensure!(lines.iter().any(|line| line == "refused 535"), "{lines:?}");
    let printed = printed_by_fixture(&lines);
    for pid in [client.pid(), server.process.pid()] {
        let mut told = told(&events, "smtp", pid);
        // Several ways to authenticate were tried, of which the last one succeeded.
        let auth = |said: &Said| {
            said.command.as_deref().is_some_and(|command| command.starts_with("AUTH "))
        };
        let last = told.iter().rposition(&auth).context("no authentication")?;
        let tried: Vec<_> = told.drain(..last).filter(auth).collect();
        ensure!(tried.iter().all(|said| said.code == "535") && !tried.is_empty(), "{tried:?}");
        let printed: Vec<_> = printed.iter().skip_while(|said| said.code != "235").collect();
        ensure!(told.len() == printed.len(), "told {told:#?}\nprinted {printed:#?}");
        for (told, printed) in told.iter().zip(printed) {
            let same = (&told.code, &told.answer) == (&printed.code, &printed.answer);
            let words = told.command.clone().unwrap_or_default();
            let words = words.to_ascii_lowercase();
            let is = words
                .starts_with(&printed.command.clone().unwrap_or_default().to_ascii_lowercase());
            ensure!(same && is, "told {told:?}, printed {printed:?}");
        }
    }
    Ok(())
}
