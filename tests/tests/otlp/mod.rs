//! Issue 9: spans, as a collector that is none of ours takes them, held against the output of the same
//! exchanges.

mod same;
pub(crate) mod trouble;

use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tlstap_tests::{
    agent::Agent,
    cli::Ended,
    collector::{By, Collector},
    database::Database,
    docker::Container,
    event::{exchanges, text},
    node::Node,
    packages,
    scrape::{ANYWHERE, Site},
    server::Server,
    tool,
};

use self::same::same;
use crate::{databases, web};

crate::tests![
    containers_by_grpc,
    containers_by_http,
    calls_of_grpc,
    traces_that_requests_belong_to,
    secrets_stay_on_the_node,
    a_replay_exports_what_the_trace_did,
    what_the_operator_says,
    addresses_that_cannot_be,
];

/// Starts an agent that writes JSON and exports, with these arguments too.
fn exporting(node: &Node, to: &[String], arguments: &[&str]) -> Result<Agent> {
    let launch = node.tlstap(&[&["trace", "-o", "json"], arguments].concat())?;
    to.iter().fold(launch, |launch, argument| launch.argument(argument)).ready()
}

/// Stops an agent, whose spans must all be there by then.
fn stopped(agent: Agent, collector: &Collector) -> Result<(Ended, Vec<Value>)> {
    let ended = agent.stop()?;
    let spans = collector.spans()?;
    let exported = format!("{} spans exported, nothing lost", spans.len());
    ensure!(ended.summary()?.ends_with(&exported), "not {exported}: {:?}", ended.summary());
    Ok((ended, spans))
}

/// An attribute of a span, or of its resource; null if it is not there.
fn attribute<'a>(span: &'a Value, place: &str, name: &str) -> &'a Value {
    span.get(place).and_then(|attributes| attributes.get(name)).unwrap_or(&Value::Null)
}

/// The span of a container's request with this path.
fn span_of<'a>(spans: &'a [Value], container: &str, path: &str) -> Result<&'a Value> {
    let is = |span: &&Value| {
        attribute(span, "resource", "container.name") == container
            && attribute(span, "attributes", "url.path") == path
    };
    let mut found = spans.iter().filter(is);
    let span = found.next().with_context(|| format!("no {path} of {container}"))?;
    ensure!(found.next().is_none(), "{path} of {container} twice");
    Ok(span)
}

fn containers_by_grpc(node: &Node) -> Result<()> {
    containers(node, By::Grpc)
}

fn containers_by_http(node: &Node) -> Result<()> {
    containers(node, By::Http)
}

/// HTTP/1 and PostgreSQL in containers, and HTTP/2 of the host.
fn containers(node: &Node, by: By) -> Result<()> {
    let docker = node.docker()?;
    let (collector, to) = Collector::anywhere(by)?;
    let (server, database, http2) =
        (web::server(docker)?, Database::postgresql()?, Server::nginx()?);
    let packages = packages::of_python(&["psycopg2-binary==2.9.13"])?;
    let psycopg = |role: &str| -> Result<_> {
        let run = docker.run(role)?.network("host").mount(&packages, "/packages");
        let run = run.mount(&tool::fixtures().join("bundled"), "/bundled");
        Ok(run.options(&["--env", "PYTHONPATH=/packages", "--env", "PYTHONDONTWRITEBYTECODE=1"]))
    };
    let script = "import psycopg2; print('loaded', flush=True); input()";
    let (first, _container) = psycopg("first")?.attached(&["python3", "-c", script])?;
    first.says("loaded", tlstap_tests::agent::EVENT)?;
    let mut agent = exporting(node, &to, &ANYWHERE)?;
    let site = Site::of(&agent)?;
    let more = [web::url(&server, "/nowhere"), web::url(&server, "/big?size=65536")];
    let more = more.each_ref().map(String::as_str);
    let (_, curl) = web::curl(docker, &server, "/hello", &more)?;
    let command = ["python3", "/bundled/psycopg.py", &databases::address(&database)];
    let (_, psycopg) = psycopg("psycopg")?.finish(&command)?;
    let mut nghttp = tool::command("nghttp", ["--no-verify-peer", "--null-out"])?;
    nghttp.args([http2.url("/hello"), http2.url("/empty")]);
    tool::run(nghttp)?;
    agent.wait_for("the exchanges", |events| {
        let of = |container: &Container| exchanges(events, container.name()).len();
        let query = databases::told(events, "postgresql", "client", "select generate_series(1, 3)");
        let streams = events.iter().filter(|it| it.pointer("/http/stream/id").is_some());
        let all = of(&server) == 3 && of(&curl) == 3 && query.len() == 1;
        (all && streams.count() >= 4).then_some(())
    })?;
    collector.wait("the spans", |spans| spans.len() >= 11)?;
    let page = site.metrics()?;
    let (ended, spans) = stopped(agent, &collector)?;
    let count = same(&ended.events()?, &spans)?;
    ensure!(count >= 11, "only {count} exchanges");
    let counted = page.sum("tlstap_otlp_spans_total", &[("result", "exported")]);
    ensure!(
        counted >= 11.0 && page.sum("tlstap_otlp_spans_total", &[]) <= spans_of(&spans),
        "{counted}"
    );
    page.check()?;

    for (container, kind, status) in [(&curl, 3, 2), (&server, 2, 0)] {
        let span = span_of(&spans, container.name(), "/nowhere")?;
        ensure!((&span["kind"], &span["status"]) == (&json!(kind), &json!(status)), "{span}");
        let resource = &span["resource"];
        let known =
            [("container.id", container.id()?), ("service.name", container.name().to_owned())];
        for (name, value) in known {
            ensure!(resource[name] == value, "{name} is not {value} in {span}");
        }
        ensure!(resource["process.pid"].is_u64() && resource["host.name"].is_string(), "{span}");
        let attributes = &span["attributes"];
        ensure!(attributes["server.address"] == server.name(), "{span}");
        ensure!(attributes["server.port"] == 8443 && span["name"] == "GET", "{span}");
    }
    let of_psycopg =
        |span: &&Value| attribute(span, "resource", "container.name") == psycopg.name();
    let query = spans.iter().filter(of_psycopg).find(|span| span["name"] == "SELECT");
    let query = query.or(spans
        .iter()
        .filter(of_psycopg)
        .find(|span| text(span, "/name").is_some_and(|name| name.starts_with("SELECT "))));
    let query = query.context("no query")?;
    ensure!(attribute(query, "attributes", "server.port") == database.port, "{query}");
    let unknown = spans.iter().all(|span| text(span, "/parent") == Some(""));
    ensure!(unknown, "parents that nobody has told");
    Ok(())
}

fn spans_of(spans: &[Value]) -> f64 {
    u32::try_from(spans.len()).map_or(f64::INFINITY, f64::from)
}

fn calls_of_grpc(node: &Node) -> Result<()> {
    let (collector, to) = Collector::anywhere(By::Grpc)?;
    let script = |name: &str| -> Result<Command> {
        let mut program = packages::python(&["grpcio==1.71.0"])?;
        program.arg(tool::fixtures().join("grpc").join(name));
        Ok(program)
    };
    let server = Server::program(script("server.py")?)?;
    let agent = exporting(node, &to, &[])?;
    let mut client = script("client.py")?;
    client.arg(server.port.to_string()).arg(server.certificate());
    tool::run(client)?;
    collector.wait("the calls on both sides", |spans| spans.len() >= 10)?;
    let (ended, spans) = stopped(agent, &collector)?;
    ensure!(same(&ended.events()?, &spans)? == 10, "{} spans", spans.len());
    let failed: Vec<_> = spans.iter().filter(|span| span["name"] == "shop.Cart/Fail").collect();
    ensure!(failed.len() == 2, "{failed:?}");
    let errors = failed.iter().filter(|span| span["kind"] == 3);
    for span in errors {
        ensure!(span["status"] == 2 && span["message"] != "", "{span}");
        ensure!(attribute(span, "attributes", "error.type").is_string(), "{span}");
    }
    Ok(())
}

fn traces_that_requests_belong_to(node: &Node) -> Result<()> {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";
    let docker = node.docker()?;
    let server = web::server(docker)?;
    let (collector, to) = Collector::anywhere(By::Grpc)?;
    let agent = exporting(node, &to, &["--container", server.name()])?;
    let ask = |path: &str, fields: &[String]| -> Result<()> {
        let fields = fields.iter().flat_map(|field| ["--header", field]);
        web::curl(docker, &server, path, &fields.collect::<Vec<_>>()).map(drop)
    };
    ask("/w3c", &[format!("traceparent: 00-{TRACE}-{SPAN}-01"), "tracestate: a=1".to_owned()])?;
    ask("/b3", &[format!("b3: {TRACE}-{SPAN}-1")])?;
    let several = [format!("X-B3-TraceId: {SPAN}"), format!("X-B3-SpanId: {SPAN}")];
    ask("/several", &several)?;
    ask("/unsampled", &[format!("traceparent: 00-{TRACE}-{SPAN}-00")])?;
    ask("/wrong", &[format!("traceparent: 00-{TRACE}-0000000000000000-01")])?;
    ask("/none", &[])?;
    let spans = collector.wait("five spans", |spans| spans.len() >= 5)?;
    let ended = agent.stop()?;
    let summary = ended.summary()?;
    ensure!(summary.contains("5 spans exported, 1 unsampled, nothing lost"), "{summary}");
    ensure!(ended.events()?.len() == 6, "the output has all: {:?}", ended.stdout);
    let place = |path: &str| -> Result<[String; 3]> {
        let span = span_of(&spans, server.name(), path)?;
        Ok(["/trace", "/parent", "/state"].map(|of| text(span, of).unwrap_or_default().to_owned()))
    };
    ensure!(place("/w3c")? == [TRACE, SPAN, "a=1"], "{:?}", place("/w3c"));
    ensure!(place("/b3")? == [TRACE, SPAN, ""], "{:?}", place("/b3"));
    let short = ["0000000000000000", SPAN].concat();
    ensure!(place("/several")? == [short.as_str(), SPAN, ""], "{:?}", place("/several"));
    let (wrong, none) = (place("/wrong")?, place("/none")?);
    for [trace, parent, _] in [&wrong, &none] {
        ensure!(parent.is_empty() && trace.len() == 32 && *trace != TRACE, "{trace} {parent}");
    }
    ensure!(wrong[0] != none[0], "one trace of two: {wrong:?}");
    Ok(())
}

fn secrets_stay_on_the_node(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let server = web::server(docker)?;
    for show in [false, true] {
        let (collector, to) = Collector::anywhere(By::Http)?;
        let options: &[&str] = if show { &["--show-secrets", "--body"] } else { &["--body"] };
        let agent = exporting(node, &to, &[&["--container", server.name()], options].concat())?;
        let secrets = ["--header", "authorization: Bearer hunter2", "--data", "a=b&hunter3=x"];
        web::curl(docker, &server, "/echo?password=hunter2", &secrets)?;
        let spans = collector.wait("the span", |spans| !spans.is_empty())?;
        agent.stop()?;
        let found = Value::Array(spans).to_string();
        ensure!(found.contains("hunter2") == show, "{found}");
        ensure!(found.contains("Bearer") && !found.contains("hunter3"), "a body in {found}");
    }
    Ok(())
}

fn a_replay_exports_what_the_trace_did(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let server = web::server(docker)?;
    let recording = node.scratch().join("otlp.tlstap");
    let recording = recording.to_str().context("a path that is not UTF-8")?;
    let filter = ["--container", server.name()];
    let arguments = [&["-o", "json", "--record", recording], &filter[..]].concat();
    let mut agent = node.tlstap(&arguments)?.ready()?;
    web::curl(docker, &server, "/hello", &[&web::url(&server, "/nowhere")])?;
    agent.wait_for_count("exchanges", 2, |event| text(event, "/type") == Some("http"))?;
    agent.stop()?;
    let (collector, to) = Collector::anywhere(By::Grpc)?;
    let replay = node.tlstap(&["replay", recording, "-o", "json"])?;
    let replay = to.iter().fold(replay, |replay, argument| replay.argument(argument));
    let ended = replay.output()?;
    ended.succeeded()?;
    ensure!(ended.summary()?.contains("2 spans exported"), "{:?}", ended.summary());
    let spans = collector.spans()?;
    ensure!(same(&ended.events()?, &spans)? == 2, "{spans:?}");
    // The recording may be of any node.
    let elsewhere = spans.iter().all(|span| attribute(span, "resource", "host.name").is_null());
    ensure!(elsewhere, "the name of this node: {spans:?}");
    Ok(())
}

/// Header fields, and attributes of the node.
fn what_the_operator_says(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let server = web::server(docker)?;
    for by in By::ALL {
        let (collector, to) = Collector::anywhere(by)?;
        let launch = node.tlstap(&["-o", "none", "--container", server.name()])?;
        let launch = to.iter().fold(launch, |launch, argument| launch.argument(argument));
        let agent = launch
            .argument("--otlp-header")
            .argument("X-Tenant=shop")
            .environment(("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20hunter2".into()))
            .environment(("OTEL_RESOURCE_ATTRIBUTES", "k8s.node.name=n1,host.name=n2".into()))
            .ready()?;
        web::curl(docker, &server, "/hello", &[])?;
        let spans = collector.wait("the span", |spans| !spans.is_empty())?;
        let ended = agent.stop()?;
        ensure!(!ended.stderr.concat().contains("hunter2"), "{:?}", ended.stderr);
        ensure!(ended.stdout.is_empty(), "{:?}", ended.stdout);
        let resource = &spans.first().context("no span")?["resource"];
        ensure!(resource["k8s.node.name"] == "n1" && resource["host.name"] == "n2", "{resource}");
        for request in collector.requests()? {
            let headers = request.get("headers").context("no header fields")?;
            ensure!(headers["authorization"] == "Bearer hunter2", "{request}");
            ensure!(headers["x-tenant"] == "shop", "{request}");
            let agent = text(headers, "/user-agent").unwrap_or_default();
            ensure!(agent.starts_with("tlstap/"), "{request}");
        }
    }
    Ok(())
}

fn addresses_that_cannot_be(node: &Node) -> Result<()> {
    for (arguments, hint) in [
        (&["--otlp", "https://a:4317"][..], "https is not supported"),
        (&["--otlp", "localhost:4317"], "http://HOST:PORT"),
        (&["--otlp", "http://joe:secret@a"], "--otlp-header"),
        (&["--otlp", "http://a", "--raw"], "--raw"),
        (&["--otlp-header", "a=b"], "--otlp"),
        (&["--otlp", "http://a", "--otlp-header", "a"], "NAME=VALUE"),
    ] {
        let ended = node.tlstap(&[&["trace"], arguments].concat())?.output()?;
        let said = ended.stderr.join("\n");
        if ended.code != Some(2) || !said.contains(hint) {
            bail!("{arguments:?}: {ended:?}");
        }
    }
    for arguments in
        [&["--otlp", "http://a:4317/v1/traces"][..], &["--otlp", "http://a", "-o", "pcapng"]]
    {
        let ended = node.tlstap(&[&["trace"], arguments].concat())?.output()?;
        ended.refused(&["takes no path", "packets"])?;
    }
    Ok(())
}
