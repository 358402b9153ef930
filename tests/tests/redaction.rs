//! Secrets of every kind by every protocol, each with a value of its own: none reaches any sink,
//! and all do when they are asked for.

use std::{
    fs,
    hash::{BuildHasher as _, RandomState},
};

use anyhow::{Context as _, Result, ensure};
use tlstap_tests::node::Node;

crate::tests![no_secret_reaches_a_sink, a_recording_keeps_them_and_its_replay_does_not];

/// What is said, with the secrets in it.
#[derive(Default)]
struct Said {
    talks: Vec<(Vec<u8>, Vec<u8>)>,
    secrets: Vec<String>,
}

impl Said {
    /// A new secret, which no other text has in it.
    fn secret(&mut self) -> String {
        let secret = format!("{:016x}", RandomState::new().hash_one(self.secrets.len()));
        self.secrets.push(secret.clone());
        secret
    }

    /// The text with a secret in place of each `@@`.
    fn fill(&mut self, text: &str) -> String {
        let mut parts = text.split("@@");
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |text, part| text + &self.secret() + part)
    }

    fn talk(&mut self, request: impl Into<Vec<u8>>, response: impl Into<Vec<u8>>) {
        self.talks.push((request.into(), response.into()));
    }

    fn http(&mut self, kind: &str, request_body: &str, response_body: &str) {
        let sent = self.fill(request_body);
        let head = self.fill(
            "POST /a?api_key=@@&password=@@&x=1 HTTP/1.1\r\nHost: talk\r\n\
             Authorization: Bearer @@\r\nProxy-Authorization: Basic @@\r\nCookie: sid=@@; b=@@\r\n\
             X-Api-Key: @@\r\nX-Auth-Token: @@\r\nReferer: https://joe:@@@talk/?access_token=@@\r\n",
        );
        let length = sent.len();
        let request =
            format!("{head}Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{sent}");
        let sent = self.fill(response_body);
        let head = self.fill(
            "HTTP/1.1 200 OK\r\nSet-Cookie: sid=@@; Path=/\r\nX-Session-Token: @@\r\n\
             Location: https://joe:@@@talk/?token=@@\r\nContent-Type: application/json\r\n",
        );
        self.talk(request, format!("{head}Content-Length: {}\r\n\r\n{sent}", sent.len()));
    }

    fn sql(&mut self) {
        let sql = self.fill("alter user joe password '@@'\0");
        let length = u8::try_from(sql.len() + 4).unwrap_or(u8::MAX);
        let answer = b"C\0\0\0\x0fALTER ROLE\0Z\0\0\0\x05I";
        self.talk([&[b'Q', 0, 0, 0, length], sql.as_bytes()].concat(), answer);
        let sql = self.fill("\x03alter user joe identified by '@@'");
        let length = u8::try_from(sql.len()).unwrap_or(u8::MAX);
        let answer = b"\x07\0\0\x01\0\0\0\x02\0\0\0";
        self.talk([&[length, 0, 0, 0], sql.as_bytes()].concat(), answer);
    }

    /// What is known as a secret by the protocol only.
    fn authentication(&mut self) {
        let commands = [
            &["AUTH", "joe", "@@"][..],
            &["HELLO", "2", "AUTH", "joe", "@@"],
            &["CONFIG", "SET", "requirepass", "@@"],
            &["ACL", "SETUSER", "joe", "on", ">@@"],
        ];
        let commands = commands.map(|words| {
            words.iter().fold(format!("*{}\r\n", words.len()), |all, word| {
                let word = self.fill(word);
                format!("{all}${}\r\n{word}\r\n", word.len())
            })
        });
        self.talk(commands.concat(), "+OK\r\n".repeat(4));
    }
}

/// What every sink must mask.
fn anywhere() -> Said {
    let mut said = Said::default();
    said.http(
        "application/json",
        r#"{"user":"joe","password":"@@","deep":[{"client_secret":"@@"}]}"#,
        r#"{"access_token":"@@","refresh_token":["@@"],"note":"{\"apiKey\":\"@@\"}"}"#,
    );
    said.http("application/x-www-form-urlencoded", "user=joe&pwd=@@&code=@@", r#"{"jwt":"@@"}"#);
    said.sql();
    said
}

/// All that the agent writes while this is said.
fn written(node: &Node, said: &Said, arguments: &[&str]) -> Result<String> {
    let file = node.scratch().join("redaction.out");
    let path = file.to_str().context("a path that is not UTF-8")?;
    let mut talks = Vec::new();
    for (request, response) in &said.talks {
        talks.push(node.talk()?.start(request, response)?);
    }
    let arguments = [&["trace", "-v", "-w", path], arguments].concat();
    let agent = node.tlstap(&arguments)?.ready()?;
    for mut talking in talks {
        talking.go()?;
        talking.end()?;
    }
    let ended = agent.stop()?;
    ended.succeeded()?;
    let shown = fs::read(&file).context("no output")?;
    Ok(String::from_utf8_lossy(&shown).into_owned() + &ended.stderr.concat())
}

fn hidden(said: &Said, shown: &str) -> Result<()> {
    for (number, secret) in said.secrets.iter().enumerate() {
        if let Some(at) = shown.find(secret) {
            let from = shown.floor_char_boundary(at.saturating_sub(80));
            anyhow::bail!("secret {number} is shown: {:?}", shown.get(from..at));
        }
    }
    ensure!(shown.contains(&"*".repeat(16)), "nothing is masked, or not in its length");
    Ok(())
}

fn bare(said: &Said, shown: &str) -> Result<()> {
    let missing = said.secrets.iter().enumerate().filter(|(_, secret)| !shown.contains(*secret));
    let missing: Vec<_> = missing.map(|(number, _)| number).collect();
    ensure!(missing.is_empty(), "secrets that were sent and are not shown: {missing:?}");
    Ok(())
}

fn no_secret_reaches_a_sink(node: &Node) -> Result<()> {
    for arguments in [
        &["-o", "text", "--body"][..],
        &["-o", "json", "--body"],
        &["-o", "text", "--raw"],
        &["-o", "json", "--raw"],
        &["-o", "pcapng"],
    ] {
        let mut said = anywhere();
        if arguments.contains(&"--body") {
            said.authentication();
        }
        let context = || format!("with {arguments:?}");
        hidden(&said, &written(node, &said, arguments)?).with_context(context)?;
        let shown = written(node, &said, &[arguments, &["--show-secrets"]].concat())?;
        bare(&said, &shown).with_context(context)?;
    }
    Ok(())
}

/// docs/redaction.md: "A recording holds the plaintext as it is".
fn a_recording_keeps_them_and_its_replay_does_not(node: &Node) -> Result<()> {
    let said = anywhere();
    let file = node.scratch().join("redaction.tlstap");
    let file = file.to_str().context("a path that is not UTF-8")?;
    written(node, &said, &["-o", "none", "--record", file])?;
    let replay = |arguments: &[&str]| -> Result<String> {
        let ended = node.tlstap(&[&["replay", file], arguments].concat())?.output()?;
        ended.succeeded()?;
        Ok(ended.stdout.concat() + &ended.stderr.concat())
    };
    for arguments in [&["-o", "json", "--body"][..], &["-o", "json", "--raw"]] {
        hidden(&said, &replay(arguments)?)?;
        bare(&said, &replay(&[arguments, &["--show-secrets"]].concat())?)?;
    }
    Ok(())
}
