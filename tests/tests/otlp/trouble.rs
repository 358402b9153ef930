//! Collectors that are not there, that refuse, and that say nothing: bounded, counted, and of no
//! consequence to the output.

use std::{fs, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tlstap_tests::{
    agent::Agent,
    collector::{By, Collector, place},
    deadline,
    event::of_type,
    node::Node,
    scrape::{ANYWHERE, Metrics, Site},
    server::Server,
    tool,
};

use super::{exporting, same::same, stopped};

crate::tests![
    one_that_comes_late,
    one_that_refuses_first,
    one_that_refuses_for_good,
    one_that_takes_a_part,
    one_that_says_nothing,
    one_that_says_nothing_at_the_end,
];

/// On a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// So many requests of h2load, over HTTP/1, with one connection of several.
fn load(server: &Server, requests: usize) -> Result<()> {
    let mut load = tool::command("h2load", ["--h1", "--clients", "4", "--requests"])?;
    load.arg(requests.to_string()).arg(server.url("/hello"));
    ran(load, requests)
}

fn ran(load: Command, requests: usize) -> Result<()> {
    let said = tool::run(load)?;
    ensure!(said.contains(&format!("{requests} succeeded")), "{said}");
    Ok(())
}

/// Waits for the exchanges of both sides.
fn told(agent: &mut Agent, requests: usize) -> Result<()> {
    agent.wait_for("the exchanges", |events| {
        (of_type(events, "http").count() >= 2 * requests).then_some(())
    })
}

fn one_that_comes_late(node: &Node) -> Result<()> {
    for by in By::ALL {
        let server = Server::nginx()?;
        let (port, to) = place(by)?;
        let mut agent = exporting(node, &to, &[])?;
        load(&server, 8)?;
        told(&mut agent, 8)?;
        let said = agent.complains("spans cannot be exported to http://localhost", LIMIT)?;
        ensure!(said.contains("refused"), "{said}");
        let collector = Collector::start(by, port)?;
        agent.complains("spans are exported to http://localhost", LIMIT)?;
        collector.wait("the spans", |spans| spans.len() >= 16)?;
        let (ended, spans) = stopped(agent, &collector)?;
        ensure!(same(&ended.events()?, &spans)? == 16, "{by:?}: {} spans", spans.len());
        let notes = ended.stderr.iter().filter(|line| line.contains("exported to"));
        ensure!(notes.count() == 2, "said more than twice: {:?}", ended.stderr);
    }
    Ok(())
}

/// Eight requests that are traced, and exported to a collector that has an order.
fn traced(node: &Node, by: By, order: &str) -> Result<(Server, Collector, Agent)> {
    let server = Server::nginx()?;
    let (mut collector, to) = Collector::anywhere(by)?;
    collector.order(order)?;
    let mut agent = exporting(node, &to, &[])?;
    load(&server, 8)?;
    told(&mut agent, 8)?;
    Ok((server, collector, agent))
}

/// Twice it asks to come again, after a second.
fn one_that_refuses_first(node: &Node) -> Result<()> {
    for (by, order) in [
        (By::Http, "refuse 503 1"),
        (By::Http, "refuse 429"),
        (By::Grpc, "refuse UNAVAILABLE"),
        (By::Grpc, "refuse RESOURCE_EXHAUSTED 1"),
    ] {
        let (_server, mut collector, agent) = traced(node, by, order)?;
        agent.complains("spans cannot be exported", LIMIT).context(order)?;
        collector.order("take")?;
        collector.wait(order, |spans| spans.len() >= 16)?;
        let (ended, spans) = stopped(agent, &collector)?;
        ensure!(same(&ended.events()?, &spans)? == 16, "{order}: {} spans", spans.len());
    }
    Ok(())
}

fn one_that_refuses_for_good(node: &Node) -> Result<()> {
    for (by, order) in [(By::Http, "refuse 401"), (By::Grpc, "refuse UNAUTHENTICATED")] {
        let (_server, collector, agent) = traced(node, by, order)?;
        agent.complains("spans are refused by http://localhost", LIMIT).context(order)?;
        let ended = agent.stop()?;
        let summary = ended.summary()?;
        ensure!(summary.contains(" 0 spans exported, 16 failed, nothing lost"), "{summary}");
        let asked: u64 = collector.requests()?.iter().filter_map(|it| it["request"].as_u64()).sum();
        ensure!(asked <= 16, "{order}: {asked} spans were sent again");
    }
    Ok(())
}

fn one_that_takes_a_part(node: &Node) -> Result<()> {
    for by in By::ALL {
        let (_server, collector, agent) = traced(node, by, "reject 1")?;
        agent.complains("rejected", LIMIT)?;
        let ended = agent.stop()?;
        let requests = collector.requests()?.len();
        let exported = collector.spans()?.len();
        ensure!(exported + requests == 16, "{exported} spans of {requests} requests");
        let counted = format!(" {exported} spans exported, {requests} rejected, nothing lost");
        ensure!(ended.summary()?.ends_with(&counted), "{:?}", ended.summary());
        ensure!(!ended.stderr.concat().contains("\u{1b}[31mmany"), "{:?}", ended.stderr);
    }
    Ok(())
}

/// More than may wait, while nothing is taken: the output has it all, the spans are counted.
fn one_that_says_nothing(node: &Node) -> Result<()> {
    const REQUESTS: usize = 15_000;
    const WAIT: f64 = 16_384.0;
    let server = Server::nginx()?;
    let (mut collector, to) = Collector::anywhere(By::Http)?;
    collector.order("stall")?;
    let file = node.scratch().join("otlp.jsonl");
    let file = file.to_str().context("a path that is not UTF-8")?;
    let arguments = [&ANYWHERE[..], &["-w", file]].concat();
    let agent = exporting(node, &to, &arguments)?;
    let site = Site::of(&agent)?;
    load(&server, REQUESTS)?;
    let result =
        |page: &Metrics, result: &str| page.sum("tlstap_otlp_spans_total", &[("result", result)]);
    let page = deadline::until("all to be told", LIMIT, || {
        let page = site.metrics()?;
        let told = page.sum("tlstap_events_total", &[("type", "http")]);
        Ok((told > 29_999.0).then_some(page))
    })?;
    let waiting = page.sum("tlstap_otlp_queue_spans", &[]);
    ensure!(waiting > 10_000.0 && waiting <= WAIT, "{waiting} wait");
    ensure!(page.sum("tlstap_otlp_queue_bytes", &[]) <= 33_554_432.0, "too much waits");
    ensure!(
        result(&page, "exported") < 1.0 && result(&page, "dropped") > 10_000.0,
        "{}",
        page.text
    );
    let memory = page.sum("process_resident_memory_bytes", &[]);
    ensure!(memory < 300e6, "{memory} bytes resident");
    // It comes to its senses.
    collector.order("take")?;
    let page = deadline::until("what waited", LIMIT, || {
        let page = site.metrics()?;
        Ok((page.sum("tlstap_otlp_queue_spans", &[]) < 1.0).then_some(page))
    })?;
    ensure!(result(&page, "failed") < 1.0, "{}", page.text);
    let ended = agent.stop()?;
    ensure!(ended.summary()?.ends_with("dropped, nothing lost"), "{:?}", ended.summary());
    let spans = collector.spans()?;
    let dropped = result(&page, "dropped");
    let known = dropped + super::spans_of(&spans);
    ensure!((known - 30_000.0).abs() < 0.5, "{dropped} dropped, {} exported", spans.len());
    let lines = fs::read_to_string(file)?;
    let events: Vec<Value> = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure!(of_type(&events, "http").count() == 2 * REQUESTS, "{} events", events.len());
    Ok(())
}

/// The end waits some seconds for it, and no longer than the user.
fn one_that_says_nothing_at_the_end(node: &Node) -> Result<()> {
    for (by, signals, least, most) in [(By::Http, 1, 4, 8), (By::Grpc, 2, 0, 4)] {
        let server = Server::nginx()?;
        let (mut collector, to) = Collector::anywhere(by)?;
        collector.order("stall")?;
        let mut agent = exporting(node, &to, &[])?;
        load(&server, 8)?;
        told(&mut agent, 8)?;
        if signals > 1 {
            agent.signal(Signal::INT)?;
            // Then it is being flushed.
            agent.lives_for(Duration::from_secs(1))?;
        }
        let ended = agent.stop_by(Signal::INT)?;
        ended.succeeded()?;
        let took = ended.took.as_secs();
        ensure!((least..most).contains(&took), "{by:?}: ended after {:?}", ended.took);
        let summary = ended.summary()?;
        ensure!(summary.ends_with(" 0 spans exported, 16 dropped, nothing lost"), "{summary}");
        collector.order("take")?;
    }
    Ok(())
}
