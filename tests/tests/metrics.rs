//! Issue 9: metrics for Prometheus, held against what the agent says itself, and whether it lives.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpListener,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tlstap_tests::{
    agent::{Agent, EVENT},
    cli::Ended,
    deadline,
    event::{number, text},
    node::Node,
    process,
    scrape::{ANYWHERE, Metrics, Site},
};

use crate::web;

crate::tests![
    what_the_last_line_and_the_output_say,
    what_was_lost,
    ready_when_it_is,
    clients_that_are_slow_or_hostile,
    addresses_that_cannot_be,
];

/// On a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// An agent that serves metrics, with these arguments too, when it is ready.
fn tracing(node: &Node, arguments: &[&str]) -> Result<(Agent, Site)> {
    let agent = node.tlstap(&[&["trace"], &ANYWHERE[..], arguments].concat())?.ready()?;
    let site = Site::of(&agent)?;
    Ok((agent, site))
}

/// The number before this text in the last line; 0 if it is not there.
fn summed(ended: &Ended, text: &str) -> Result<f64> {
    let summary = ended.summary()?;
    let Some((before, _)) = summary.split_once(text) else { return Ok(0.0) };
    let number = before.trim_end().rsplit(' ').next().unwrap_or_default();
    number.parse().with_context(|| summary.to_owned())
}

/// The number of `from` in `metric`, or an error that has the text.
fn holds(page: &Metrics, metric: &str, labels: &[(&str, &str)], expect: f64) -> Result<()> {
    let found = page.sum(metric, labels);
    let same = (found - expect).abs() < 0.5;
    ensure!(same, "{metric} {labels:?} is {found}, not {expect}, in\n{}", page.text);
    Ok(())
}

fn what_the_last_line_and_the_output_say(node: &Node) -> Result<()> {
    const MARK: &str = "plain-and-secret";
    let docker = node.docker()?;
    let server = web::server(docker)?;
    let (mut agent, site) = tracing(node, &["-o", "json", "--container", server.name()])?;
    let missing = format!("/nowhere?{MARK}");
    let more = [web::url(&server, "/hello"), web::url(&server, &missing)];
    let more = more.each_ref().map(String::as_str);
    web::curl(docker, &server, "/hello", &more)?;
    web::curl(
        docker,
        &server,
        "/echo",
        &["--data", MARK, "--header", "x-secret: plain-and-secret"],
    )?;
    let of_server = |event: &Value| text(event, "/container/name") == Some(server.name());
    agent.wait_for_count("requests", 4, |event| {
        of_server(event) && text(event, "/type") == Some("http")
    })?;
    let page = site.metrics()?;
    let ended = agent.stop()?;
    page.check()?;
    ensure!(!page.text.contains("secret"), "plaintext in\n{}", page.text);

    holds(&page, "tlstap_events_total", &[], summed(&ended, " events")?)?;
    holds(&page, "tlstap_plaintext_bytes_total", &[], summed(&ended, " plaintext bytes")?)?;
    holds(&page, "tlstap_losses_total", &[], 0.0)?;
    ensure!(ended.summary()?.ends_with("nothing lost"), "{:?}", ended.summary());
    holds(&page, "tlstap_decode_errors_total", &[], 0.0)?;
    of_the_output(&page, &ended.events()?, server.name())?;
    of_the_agent(&page)
}

/// What the lines of the output say, counted again.
fn of_the_output(page: &Metrics, events: &[Value], container: &str) -> Result<()> {
    let mut types = BTreeMap::<_, f64>::new();
    let mut statuses = BTreeMap::<_, (f64, f64)>::new();
    for event in events {
        let kind = text(event, "/type").context("no type")?;
        *types.entry(kind).or_default() += 1.0;
        if kind == "http" {
            let status = number(event, "/http/response/status_code").context("no status")?;
            let method = text(event, "/http/request/method").context("no method")?;
            let duration = number(event, "/duration_ns").context("no duration")?;
            let (count, seconds) = statuses.entry((status.to_string(), method)).or_default();
            *count += 1.0;
            *seconds += Duration::from_nanos(duration).as_secs_f64();
        }
    }
    for (kind, count) in types {
        holds(page, "tlstap_events_total", &[("type", kind)], count)?;
    }
    ensure!(statuses.len() == 3, "not 200, 201 and 404: {statuses:?}");
    const HISTOGRAM: &str = "http_server_request_duration_seconds";
    for ((status, method), (count, seconds)) in statuses {
        let labels = [("container_name", container), ("http_request_method", method)];
        let counted =
            [&labels[..], &[("kind", "server"), ("protocol", "http"), ("status", &status)]];
        holds(page, "tlstap_requests_total", &counted.concat(), count)?;
        let code = ("http_response_status_code", status.as_str());
        let measured = [&labels[..], &[code, ("network_protocol_version", "1.1")]].concat();
        holds(page, &format!("{HISTOGRAM}_count"), &measured, count)?;
        let all = [&measured[..], &[("le", "+Inf")]].concat();
        holds(page, &format!("{HISTOGRAM}_bucket"), &all, count)?;
        let sum = page.sum(&format!("{HISTOGRAM}_sum"), &measured);
        ensure!((sum - seconds).abs() < 1e-6, "{sum} s, not {seconds}");
    }
    Ok(())
}

fn of_the_agent(page: &Metrics) -> Result<()> {
    let some = ["tlstap_processes_hooked", "process_cpu_seconds_total", "process_open_fds"];
    for metric in some {
        ensure!(page.sum(metric, &[]) > 0.0, "no {metric} in\n{}", page.text);
    }
    let openssl = page.sum("tlstap_libraries_hooked", &[("tls_library", "openssl")]);
    ensure!(openssl > 0.0, "no OpenSSL in\n{}", page.text);
    let memory = page.sum("process_resident_memory_bytes", &[]);
    ensure!(memory > 1e6, "{memory} bytes resident");
    let [size, peak] =
        ["size", "unread_peak"].map(|what| page.sum(&format!("tlstap_ring_{what}_bytes"), &[]));
    ensure!(0.0 < peak && peak <= size, "{peak} of {size} bytes of the ring");
    Ok(())
}

/// A ring that nobody reads for a while has no room for everything.
fn what_was_lost(node: &Node) -> Result<()> {
    const MESSAGE: u64 = 64;
    const CALLS: u64 = 4_000;
    let mut pace = node.pace(&[])?;
    let pid = pace.pid().to_string();
    let arguments = ["-o", "json", "--raw", "--ring-size", "64", "--pid", &pid];
    let (agent, site) = tracing(node, &arguments)?;
    agent.signal(Signal::STOP)?;
    pace.go(CALLS)?;
    agent.signal(Signal::CONT)?;
    // One that gets through tells what is missing before it.
    let page = deadline::until("the losses to be told", LIMIT, || {
        pace.go(2)?;
        let page = site.metrics()?;
        let missing = page.sum("tlstap_gap_bytes_total", &[("reason", "ring-full")]);
        Ok((missing > 0.0).then_some(page))
    })?;
    pace.end()?;
    drop(page);
    let page = settled(&site)?;
    let ended = agent.stop()?;
    let lost = summed(&ended, " ring-full")?;
    ensure!(lost > 0.0, "{:?}", ended.summary());
    let stage = [("stage", "kernel"), ("reason", "ring-full")];
    holds(&page, "tlstap_losses_total", &stage, lost)?;
    holds(&page, "tlstap_events_total", &[], summed(&ended, " events")?)?;
    let captured = page.sum("tlstap_plaintext_bytes_total", &[]);
    let missing = page.sum("tlstap_gap_bytes_total", &[]);
    let mut gaps = 0.0;
    for event in ended.events()?.iter().filter(|event| text(event, "/type") == Some("gap")) {
        gaps += Duration::from_secs(number(event, "/length").context("no length")?).as_secs_f64();
    }
    ensure!((missing - gaps).abs() < 0.5, "{missing} bytes in gaps, not {gaps}");
    let least = Duration::from_secs(CALLS * MESSAGE).as_secs_f64();
    ensure!(captured + missing >= least, "{captured} and {missing} bytes, not {least}");
    let peak = page.sum("tlstap_ring_unread_peak_bytes", &[]);
    // A fifth is for others (docs/limits.md, Shares).
    ensure!(peak > 50_000.0, "at most {peak} bytes of 64 KiB were unread");
    Ok(())
}

/// The text when nothing comes any more.
fn settled(site: &Site) -> Result<Metrics> {
    let mut last = None;
    deadline::until("the end of the events", LIMIT, || {
        let page = site.metrics()?;
        let events = page.sum("tlstap_events_total", &[]);
        let same = last.replace(events) == Some(events);
        let waits = page.sum("tlstap_ring_unread_bytes", &[]) + page.sum("tlstap_queue_bytes", &[]);
        std::thread::park_timeout(Duration::from_millis(300));
        Ok((same && waits < 1.0).then_some(page))
    })
}

fn ready_when_it_is(node: &Node) -> Result<()> {
    let agent = node.tlstap(&[&["trace", "-o", "none"], &ANYWHERE[..]].concat())?.start()?;
    let site = Site::of(&agent)?;
    let early = site.get("/readyz")?;
    ensure!(early.status == 503, "ready before anything is probed: {early:?}");
    ensure!(site.get("/healthz")?.status == 200, "not healthy while it begins");
    ensure!(!site.metrics()?.text.contains("tlstap_libraries"), "libraries too early");
    agent.complains("ready", LIMIT)?;
    deadline::until("readiness", LIMIT, || Ok((site.get("/readyz")?.status == 200).then_some(())))?;
    let health = site.get("/healthz")?;
    ensure!((health.status, health.body.as_str()) == (200, "ok\n"), "{health:?}");
    agent.stop().map(drop)
}

fn clients_that_are_slow_or_hostile(node: &Node) -> Result<()> {
    let mut talking = node.talk()?.start(b"ping", b"pong")?;
    let pid = talking.pid().to_string();
    let (mut agent, site) = tracing(node, &["-o", "json", "--raw", "--pid", &pid])?;
    let before = process::descriptors(agent.pid())?;
    let statuses = [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("GET /etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        ("GET /../metrics HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        ("POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 405),
        ("\u{1b}[2J\r\n\r\n", 400),
    ];
    for (request, status) in statuses {
        let answer = site.ask(request)?;
        ensure!(answer.status == status, "{request:?}: {answer:?}, not {status}");
        ensure!(!request.starts_with("HEAD") || answer.body.is_empty(), "a body: {answer:?}");
    }
    // More than are served at a time: silent ones, ones that stop half-way, ones that never end.
    let mut held = Vec::new();
    for text in
        ["", "GET /metrics HTTP/1.1\r\nHo", &format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(7_000))]
    {
        for _ in 0..4 {
            let mut stream = site.connect()?;
            stream.write_all(text.as_bytes())?;
            held.push(stream);
        }
    }
    talking.go()?;
    agent.wait_for_count("pieces of plaintext", 4, |event| text(event, "/type") == Some("data"))?;
    ensure!(site.get("/healthz")?.status == 200, "not healthy");
    for mut stream in held {
        // It is closed, whatever is said before.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    }
    let mut endless = site.connect()?;
    let sent = (0..1_000).try_for_each(|_| endless.write_all(&[b'a'; 10_000]));
    ensure!(sent.is_err(), "10 MB of a head were taken");
    deadline::until("the connections to be closed", EVENT, || {
        Ok((process::descriptors(agent.pid())? <= before).then_some(()))
    })?;
    talking.end()?;
    agent.stop().map(drop)
}

fn addresses_that_cannot_be(node: &Node) -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let port = format!(":{}", taken.local_addr()?.port());
    for (address, hint) in [
        (address.as_str(), "another program"),
        (&port, "another program"),
        ("192.0.2.1:80", "no such"),
    ] {
        let ended = node.tlstap(&["trace", "--metrics", address])?.output()?;
        ended.refused(&[hint]).with_context(|| address.to_owned())?;
        ensure!(ended.stderr.concat().contains(address), "{address} is not named: {ended:?}");
    }
    let ended = node.tlstap(&["trace", "--metrics", "9464"])?.output()?;
    let said = ended.stderr.join("\n");
    ensure!(ended.code == Some(2) && said.contains("ADDRESS:PORT"), "{ended:?}");
    Ok(())
}
