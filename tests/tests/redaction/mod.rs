//! Secrets of every kind by every protocol, each with a value of its own: none reaches any sink,
//! and all do when they are asked for.

mod huffman;
mod programs;
mod talks;

use std::{
    fs,
    hash::{BuildHasher as _, RandomState},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;
use tlstap_tests::{event::text, node::Node, tshark::Packets};

crate::tests![
    no_secret_reaches_a_sink,
    no_secret_of_programs_reaches_a_sink,
    a_recording_keeps_them_and_its_replay_does_not
];

/// Each way in which plaintext comes out.
const SINKS: [&[&str]; 5] = [
    &["-o", "text", "--body"],
    &["-o", "json", "--body"],
    &["-o", "text", "--raw"],
    &["-o", "json", "--raw"],
    &["-o", "pcapng"],
];

/// What is said, with the secrets in it.
#[derive(Default)]
struct Said {
    /// By the fixture: a request and its response.
    talks: Vec<(Vec<u8>, Vec<u8>)>,
    /// By programs, one after the other; they may fail.
    programs: Vec<Command>,
    secrets: Vec<String>,
    /// What is no secret itself, but in what authenticates, and in nothing else.
    marks: Vec<String>,
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
}

/// What the agent writes while this is said: as it is, and the bytes that it stands for.
fn written(node: &Node, said: &mut Said, arguments: &[&str]) -> Result<Vec<u8>> {
    let file = node.scratch().join("redaction.out");
    let path = file.to_str().context("a path that is not UTF-8")?;
    let mut talks = Vec::new();
    for (request, response) in &said.talks {
        talks.push(node.talk()?.start(request, response)?);
    }
    let all = [&["trace", "-v", "-w", path], arguments].concat();
    let agent = node.tlstap(&all)?.ready()?;
    for mut talking in talks {
        talking.go()?;
        talking.end()?;
    }
    for program in &mut said.programs {
        program.output().with_context(|| format!("failed to start {program:?}"))?;
    }
    let ended = agent.stop()?;
    ended.succeeded()?;
    let mut shown = fs::read(&file).context("no output")?;
    let lines = String::from_utf8_lossy(&shown).into_owned();
    if arguments.contains(&"json") {
        shown.extend(bytes(&lines)?);
    } else if arguments.contains(&"text") {
        shown.extend(unescaped(&lines));
    }
    shown.extend_from_slice(ended.stderr.concat().as_bytes());
    Ok(shown)
}

/// What is in base64 in these lines.
fn bytes(lines: &str) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    for line in lines.lines() {
        let event: Value = serde_json::from_str(line)?;
        for place in ["/base64", "/http/request/body/base64", "/http/response/body/base64"] {
            if let Some(coded) = text(&event, place) {
                all.extend(BASE64_STANDARD.decode(coded)?);
            }
        }
    }
    Ok(all)
}

/// The bytes that escapes in text stand for.
fn unescaped(text: &str) -> Vec<u8> {
    let mut parts = text.split('\\');
    let mut all = parts.next().unwrap_or_default().as_bytes().to_vec();
    let number = |digits: &str| u32::from_str_radix(digits, 16).unwrap_or_default();
    while let Some(part) = parts.next() {
        let mut rest = part.get(1..).unwrap_or_default();
        match part.as_bytes().first() {
            Some(b'x') => {
                let (digits, behind) = rest.split_at_checked(2).unwrap_or(("", rest));
                all.push(u8::try_from(number(digits)).unwrap_or_default());
                rest = behind;
            }
            Some(b'u') => {
                let (digits, behind) = rest.split_once('}').unwrap_or(("", rest));
                let letter = char::from_u32(number(digits.trim_start_matches('{')));
                all.extend(letter.unwrap_or_default().to_string().bytes());
                rest = behind;
            }
            Some(b'n') => all.push(b'\n'),
            Some(b'r') => all.push(b'\r'),
            Some(b't') => all.push(b'\t'),
            Some(b'0') => all.push(0),
            // A backslash, and what is behind it.
            _ => {
                all.push(b'\\');
                rest = parts.next().unwrap_or_default();
            }
        }
        all.extend_from_slice(rest.as_bytes());
    }
    all
}

fn find(shown: &[u8], text: &[u8]) -> Option<usize> {
    shown.windows(text.len()).position(|window| window == text)
}

fn hidden(said: &Said, shown: &[u8]) -> Result<()> {
    for (number, secret) in said.secrets.iter().chain(&said.marks).enumerate() {
        if let Some(at) = find(shown, secret.as_bytes()) {
            let before = shown.get(at.saturating_sub(80)..at).unwrap_or_default();
            anyhow::bail!("secret {number} is shown: {:?}", String::from_utf8_lossy(before));
        }
    }
    for (number, secret) in said.secrets.iter().enumerate() {
        ensure!(!huffman::is_in(shown, secret), "secret {number} is shown in Huffman's code");
    }
    ensure!(find(shown, &[b'*'; 16]).is_some(), "nothing is masked, or not in its length");
    Ok(())
}

fn bare(said: &Said, shown: &[u8]) -> Result<()> {
    let has = |secret: &&String| {
        find(shown, secret.as_bytes()).is_some() || huffman::is_in(shown, secret)
    };
    let all = said.secrets.iter().chain(&said.marks).enumerate();
    let missing: Vec<_> = all.filter(|(_, secret)| !has(secret)).collect();
    ensure!(missing.is_empty(), "secrets that were sent and are not shown: {missing:?}");
    Ok(())
}

/// Says it to each sink, with secrets and without.
fn to_each_sink(node: &Node, mut say: impl FnMut(&[&str]) -> Result<Said>) -> Result<()> {
    for arguments in SINKS {
        let context = || format!("with {arguments:?}");
        let mut said = say(arguments)?;
        let shown = written(node, &mut said, arguments)?;
        hidden(&said, &shown).with_context(context)?;
        let mut said = say(arguments)?;
        let shown = written(node, &mut said, &[arguments, &["--show-secrets"]].concat())?;
        bare(&said, &shown).with_context(context)?;
    }
    Ok(())
}

fn no_secret_reaches_a_sink(node: &Node) -> Result<()> {
    to_each_sink(node, |arguments| {
        let mut said = talks::anywhere();
        if arguments.contains(&"--body") {
            said.redis();
        } else {
            // What these say is in undecoded plaintext only.
            said.undecoded();
        }
        Ok(said)
    })
}

fn no_secret_of_programs_reaches_a_sink(node: &Node) -> Result<()> {
    let programs = programs::Programs::new()?;
    to_each_sink(node, |arguments| programs.said(arguments))?;
    // What is masked can be taken apart still.
    let mut said = programs.flawless()?;
    written(node, &mut said, &["-o", "pcapng"])?;
    let packets = Packets::of(node.scratch().join("redaction.out"))?;
    let fields = packets.fields("http2.headers.path", &["http2.headers.path"])?;
    let masked = |row: &Vec<String>| row.iter().any(|paths| paths.contains("/hello?api_key=**"));
    ensure!(fields.iter().any(masked), "tshark reads other paths: {fields:?}");
    packets.flawless()
}

/// docs/redaction.md: "A recording holds the plaintext as it is".
fn a_recording_keeps_them_and_its_replay_does_not(node: &Node) -> Result<()> {
    let mut said = talks::anywhere();
    let file = node.scratch().join("redaction.tlstap");
    let file = file.to_str().context("a path that is not UTF-8")?;
    written(node, &mut said, &["-o", "none", "--record", file])?;
    let replay = |arguments: &[&str]| -> Result<Vec<u8>> {
        let ended = node.tlstap(&[&["replay", file], arguments].concat())?.output()?;
        ended.succeeded()?;
        let lines = ended.stdout.join("\n");
        let stood_for = bytes(&lines)?;
        Ok([lines.as_bytes(), &stood_for, ended.stderr.concat().as_bytes()].concat())
    };
    for arguments in [&["-o", "json", "--body"][..], &["-o", "json", "--raw"]] {
        hidden(&said, &replay(arguments)?)?;
        bare(&said, &replay(&[arguments, &["--show-secrets"]].concat())?)?;
    }
    Ok(())
}
