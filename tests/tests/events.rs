//! Server-sent events: what a client prints as it comes is told as it comes, while the response is open.

use std::{process::Command, time::Duration};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tlstap_tests::{
    child::Child,
    database,
    event::{expect, of_type, text},
    node::Node,
    tool,
};

crate::tests![events_while_the_response_is_open];

const LIMIT: Duration = Duration::from_secs(20);

fn events_while_the_response_is_open(node: &Node) -> Result<()> {
    let folder = database::scratch()?;
    let port = database::free_port()?;
    let mut server = tool::command("node", [tool::fixtures().join("http/events.js")])?;
    server.arg(port.to_string());
    server.args(["key.pem", "certificate.pem"].map(|name| folder.path().join(name)));
    let mut server = Child::start(server)?;
    server.says("listening", LIMIT)?;
    for (version, asked) in
        [("--http1.1", "plain?n=1"), ("--http2", "plain?n=2"), ("--http1.1", "gzip?n=3")]
    {
        let url = format!("https://127.0.0.1:{port}/{asked}&token=hunter2");
        let options = ["--insecure", "--silent", "--no-buffer", "--compressed", version, &url];
        streamed(node, &mut server, tool::command("curl", options)?, (&url, asked))?;
    }
    Ok(())
}

fn streamed(
    node: &Node,
    server: &mut Child,
    curl: Command,
    (url, asked): (&str, &str),
) -> Result<()> {
    let mut agent = node.tlstap(&["trace", "-o", "json", "--body"])?.ready()?;
    let mut curl = Child::start(curl)?;
    server.says(&format!("asked /{asked}"), LIMIT)?;
    for (number, data) in [(1, "one"), (2, "two"), (3, "three")] {
        let event = format!(
            "event: add\nid: {number}\ndata: {data}\ndata: {{\"password\":\"hunter2\"}}\n\n"
        );
        server.tell(&format!("{}\n", json!(event)))?;
        curl.says(&format!("data: {data}"), LIMIT)?;
        let told = agent.wait_for("the event on each side", |events| {
            let told = told(events, data);
            (told.len() >= 2).then_some(told)
        })?;
        for event in &told {
            expect(
                event,
                &[
                    ("/sse/event", json!("add")),
                    ("/sse/id", json!(number.to_string())),
                    ("/sse/body/text", json!(format!("{data}\n{{\"password\":\"*******\"}}"))),
                    ("/url/full", json!(url.replace("hunter2", "*******"))),
                ],
            )?;
        }
        ensure!(told.len() == 2, "{} times {data}", told.len());
    }
    // It is still open: neither side has told the exchange.
    curl.lives_for(Duration::ZERO)?;
    let open = agent.wait_for("what was told", |events| {
        let whole = |event: &Value| text(event, "/url/full").is_some_and(|url| url.contains(asked));
        Some(!of_type(events, "http").any(whole))
    })?;
    ensure!(open, "the exchange was told before the response ended");
    server.tell("null\n")?;
    ensure!(curl.finish(LIMIT)?.success(), "curl failed");
    agent.wait_for_count("the exchange on each side", 2, |event| {
        text(event, "/type") == Some("http")
    })?;
    agent.stop()?.succeeded()
}

fn told(events: &[Value], data: &str) -> Vec<Value> {
    let begins = |event: &&Value| {
        text(event, "/sse/body/text").is_some_and(|text| text.starts_with(&format!("{data}\n")))
    };
    of_type(events, "sse").filter(begins).cloned().collect()
}
