//! IMAP by Dovecot over TLS: what curl and imaplib print is what is told.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tlstap_tests::{
    child::Child,
    database::{free_port, scratch},
    deadline,
    event::{number, of_type, text},
    node::Node,
    tool,
};

use super::{LIMIT, watched};

crate::tests![curl_appends_and_fetches, imaplib_says_what_came];

/// Dovecot as an unprivileged user.
struct Server {
    process: Child,
    folder: TempDir,
    port: String,
}

impl Server {
    fn start() -> Result<Self> {
        let folder = scratch()?;
        // Its processes have different users.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let port = free_port()?.to_string();
        let template = fs::read_to_string(tool::fixtures().join("dovecot.conf"))?;
        let place = folder.path().to_str().context("a path that is not UTF-8")?;
        let file = folder.path().join("dovecot.conf");
        fs::write(&file, template.replace("@FOLDER@", place).replace("@PORT@", &port))?;
        let mut command = tool::command("dovecot", ["-F", "-c"])?;
        command.arg(&file);
        let process = Child::start(command)?;
        let address = format!("127.0.0.1:{port}");
        let reached = || Ok(std::net::TcpStream::connect(&address).ok().map(drop));
        deadline::until("the port of dovecot", LIMIT, reached)
            .with_context(|| process.stderr.lines().join("\n"))?;
        Ok(Self { process, folder, port })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its children end with it then, and not when it is killed.
        let _ = self.process.signal(rustix::process::Signal::TERM);
        let _ = self.process.finish(LIMIT);
    }
}

/// The exchanges of a side: the line, the status, and its words.
fn told(events: &[Value], kind: &str) -> Vec<[String; 3]> {
    let of = |event: &&Value| text(event, "/kind") == Some(kind);
    let said = |event: &Value| {
        let field = |name: &str| text(event, name).map(str::to_owned);
        let message = field("/mail/response/message").or(field("/error/message"));
        let fields = [field("/mail/text"), field("/mail/response/status_code"), message];
        fields.map(Option::unwrap_or_default)
    };
    of_type(events, "imap").filter(of).map(said).collect()
}

/// What `curl -v` printed: `>` before what it sent, `<` before what came.
fn printed_by_curl(lines: &[String]) -> Vec<[String; 3]> {
    let came = |tag: &str| {
        let start = format!("< {tag} ");
        let line = lines.iter().find_map(|line| line.strip_prefix(&start))?;
        let (status, words) = line.trim_end().split_once(' ')?;
        Some((status.to_owned(), words.to_owned()))
    };
    let sent = lines.iter().filter_map(|line| line.strip_prefix("> "));
    let commands = sent.filter_map(|line| {
        let line = line.trim_end();
        let (status, words) = came(line.split(' ').next()?)?;
        // What authenticates is printed, and not told.
        let shown = line.strip_suffix(" AGpvZQBzZWNyZXQ=").unwrap_or(line);
        Some([shown.to_owned(), status, words])
    });
    commands.collect()
}

fn curl_appends_and_fetches(node: &Node) -> Result<()> {
    let server = Server::start()?;
    let file = server.folder.path().join("message");
    fs::write(&file, "Subject: x\r\n\r\na1 NOOP\r\n")?;
    let certificate = server.folder.path().join("certificate.pem");
    for (arguments, name) in [("-T \"$3\"", "APPEND"), ("", "FETCH")] {
        let of = if name == "APPEND" { "" } else { ";MAILINDEX=1" };
        let script = format!(
            "read go; exec curl -sv --cacert \"$1\" \"imaps://localhost:$2/INBOX{of}\" -u joe:secret {arguments}"
        );
        let mut client = tool::command("sh", ["-c", &script, "sh"])?;
        client.arg(&certificate).arg(&server.port).arg(&file);
        let mut client = Child::start(client)?;
        let events = watched(node, &mut client, "imap", "LOGOUT")?;
        let printed = printed_by_curl(&client.stderr.lines());
        ensure!(printed.iter().any(|[line, ..]| line.contains(name)), "{printed:?}");
        for kind in ["client", "server"] {
            let mut told = told(&events, kind);
            // The greeting, and a goodbye that curl does not print.
            ensure!(
                told.first().is_some_and(|[line, status, _]| line.is_empty() && status == "OK")
            );
            ensure!(told.pop().is_some_and(|[line, ..]| line.ends_with("LOGOUT")));
            ensure!(told.get(1..) == Some(&printed), "told {told:#?}\nprinted {printed:#?}");
        }
    }
    Ok(())
}

fn imaplib_says_what_came(node: &Node) -> Result<()> {
    let server = Server::start()?;
    let mut client = Command::new("/usr/bin/python3");
    client.arg(tool::fixtures().join("imap_client.py")).arg(&server.port);
    client.arg(server.folder.path().join("certificate.pem"));
    let mut client = Child::start(client)?;
    client.says("ready", LIMIT)?;
    let events = watched(node, &mut client, "imap", "LOGOUT")?;
    let printed = client.stdout.lines();
    // The text that was printed of a command.
    let words = |what: &str| -> Result<&str> {
        let line = printed.iter().find_map(|line| line.strip_prefix(what)?.strip_prefix(" | "));
        Ok(line.and_then(|line| line.split_once(" | ")).context("not printed")?.1)
    };
    let refused = printed.iter().find_map(|line| line.strip_prefix("refused b'"));
    let refused = refused.and_then(|line| line.strip_suffix('\'')).context("not refused")?;
    let expect = [
        ("LOGIN", "NO", Some(refused)),
        ("LOGIN", "OK", Some(words("LOGIN")?)),
        ("CREATE Own", "OK", Some(words("CREATE Own")?)),
        ("APPEND Own (\\Seen) {3034}", "OK", Some(words("APPEND Own")?)),
        ("SELECT Own", "OK", None),
        ("SELECT Nothing", "NO", Some(words("SELECT Nothing")?)),
        ("SELECT Own", "OK", None),
        ("FETCH 1 (BODY[])", "OK", None),
        ("UID SEARCH TEXT \"own text\"", "OK", None),
        ("LOGOUT", "OK", None),
    ];
    ensure!(printed.iter().any(|line| line == "fetched 3034 True"), "{printed:?}");
    for kind in ["client", "server"] {
        let told = told(&events, kind);
        // CAPABILITY, which imaplib asks for by itself, is left out.
        let told: Vec<_> = told
            .iter()
            .filter_map(|[line, status, words]| Some((line.split_once(' ')?.1, status, words)))
            .filter(|(line, ..)| *line != "CAPABILITY")
            .collect();
        ensure!(told.len() == expect.len(), "the {kind} told {told:#?}");
        for ((line, status, words), (command, came, text)) in told.iter().zip(expect) {
            let same = *line == command && *status == came;
            ensure!(same && text.is_none_or(|text| *words == text), "{line} {status} {words}");
        }
        let size = |name: &str, of: &str| {
            let is = |event: &&Value| {
                text(event, "/kind") == Some(kind)
                    && text(event, "/mail/command/name") == Some(name)
            };
            let found = of_type(&events, "imap").find(is);
            found.and_then(|event| number(event, of)).context("no size")
        };
        ensure!((3034..3200).contains(&size("APPEND", "/mail/request/size")?));
        ensure!((3034..3200).contains(&size("FETCH", "/mail/response/size")?));
    }
    Ok(())
}
