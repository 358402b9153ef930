//! Issue 9: containers that do what harm they can, all at once, beside two that only talk to each other.

mod arms;
mod output;

use std::{
    collections::BTreeSet,
    env::consts::ARCH,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::Value;
use tlstap_tests::{
    agent::Agent,
    canaries::Canaries,
    cli::Ended,
    docker::{Container, Docker},
    event::text,
    node::Node,
    process,
    scrape::{ANYWHERE, Site},
    tool,
};

use crate::web;
use arms::Arm;
use output::{both_forms, no_foreign_line, shows_text};

crate::tests![all_at_once];

/// What the honest client asks for while the attack goes on.
const REQUESTS: usize = 300;
/// From the last answer to the last event.
const LATE: Duration = Duration::from_secs(60);
/// A command that does one thing and ends, while 26 containers and the agent are at work.
const COMMAND: Duration = Duration::from_secs(120);
/// Resident memory: 64 MiB for the file that is looked at, twice the 8 MiB of the ring on this many
/// processors, 128 MiB for all decoders, the queue before them, and the agent itself.
const MEMORY_KIB: u64 = 300 << 10;

fn all_at_once(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let library = format!("/usr/lib/{ARCH}-linux-gnu/libssl.so.3");
    let canaries = node.scratch().join("canaries");
    let canaries = Canaries::lay(canaries, Path::new(&library), &["secret", "canary.debug"])?;
    let recording = node.scratch().join("hostile.tlstap");
    let server = web::server(docker)?;
    let arguments = [&["trace", "-o", "json"], &output::BODIES[..], &ANYWHERE].concat();
    let launch = node.tlstap(&arguments)?.argument("--record");
    let mut agent = launch.argument(recording.display().to_string()).ready()?;
    let site = Site::of(&agent)?;

    let (arms, client) = healthy_during(site, || {
        let arms = arms::start(docker, canaries.folder()?)?;
        let client = honest(docker, &server)?;
        arms::wait(&arms)?;
        client.wait_for_log_within("asked all", COMMAND)?;
        commands(node, &arms)?;
        wait_for_all(&mut agent, &client, &arms)?;
        Ok((arms, client))
    })?;

    let peak = process::peak_kib(agent.pid())?;
    eprintln!("peak of resident memory: {} MiB", peak >> 10);
    let ended = agent.stop()?;
    no_foreign_line(&ended)?;
    no_flood(&ended, &arms)?;
    let events = ended.events()?;
    complete(&ended, &events, &client, "client")?;
    complete(&ended, &events, &server, "server")?;
    for arm in arms.iter().filter(|arm| arm.talks()) {
        let id = arm.container.id()?;
        ensure!(told(&events, &id).next().is_some(), "nothing is told of {}", arm.container.name());
    }
    let shown = both_forms(node, &recording)?;
    let all = [&shown, &ended.stdout.concat(), &ended.stderr.concat()];
    ensure!(all.iter().all(|text| !text.contains(canaries.mark())), "a file of the host was read");
    canaries.untouched()?;
    ensure!(peak < MEMORY_KIB, "{} MiB of memory", peak >> 10);
    Ok(())
}

/// A container that maps new libraries all the time is told of once.
fn no_flood(ended: &Ended, arms: &[Arm]) -> Result<()> {
    for kind in ["replaced", "rewritten", "many_mappings"] {
        let container = arms::named(arms, kind).context("no such container")?;
        let lines = ended.stderr.iter().filter(|line| late(line, container)).count();
        ensure!(lines <= 2, "{lines} lines of {kind}");
    }
    Ok(())
}

/// Asks again and again whether the agent is well while something is done.
fn healthy_during<T>(site: Site, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let answer = site.get("/healthz")?;
                ensure!(answer.status == 200, "the agent is not well: {}", answer.body);
                thread::park_timeout(Duration::from_millis(200));
            }
            Ok(())
        });
        let done = work();
        over.store(true, Ordering::Relaxed);
        let asked = asking.join().map_err(|_panic| anyhow!("it panicked"))?;
        asked.and(done)
    })
}

/// A client that only asks.
fn honest(docker: &Docker, server: &Container) -> Result<Container> {
    let run = docker.run("honest")?.network(docker.network());
    let run = run.mount(&tool::fixtures().join("hostile"), "/hostile:ro");
    let (url, count) = (web::url(server, "/hello"), REQUESTS.to_string());
    run.start(&["python3", "-B", "/hostile/honest.py", &url, &count])
}

/// Waits until all is told, but not for ever: what is missing is looked at in the end.
fn wait_for_all(agent: &mut Agent, client: &Container, arms: &[Arm]) -> Result<()> {
    let client = client.id()?;
    let talking = arms.iter().filter(|arm| arm.talks()).map(|arm| arm.container.id());
    let talking = talking.collect::<Result<Vec<_>>>()?;
    let deadline = Instant::now() + LATE;
    // It waits itself, for less.
    let mut wait = || {
        agent.wait_for("the last exchanges", |events| {
            let all = exchanges(events, &client).count() >= REQUESTS
                && talking.iter().all(|id| told(events, id).next().is_some());
            all.then_some(())
        })
    };
    while wait().is_err() && Instant::now() < deadline {}
    Ok(())
}

/// What is told of a container, by its number: with so many that start at once, its name may be known
/// too late for the first of it.
fn told<'a>(events: &'a [Value], id: &str) -> impl Iterator<Item = &'a Value> {
    events.iter().filter(move |event| text(event, "/container/id") == Some(id))
}

fn exchanges<'a>(events: &'a [Value], id: &str) -> impl Iterator<Item = &'a Value> {
    told(events, id).filter(|event| text(event, "/type") == Some("http"))
}

/// Which one of its client's it is.
fn number(event: &Value) -> Option<usize> {
    text(event, "/url/query")?.strip_prefix("n=")?.parse().ok()
}

/// Every exchange once, with its body.
fn complete(ended: &Ended, events: &[Value], container: &Container, side: &str) -> Result<()> {
    let id = container.id()?;
    let mut asked = BTreeSet::new();
    for event in exchanges(events, &id) {
        ensure!(text(event, "/kind") == Some(side), "another side: {event}");
        let body = text(event, "/http/response/body/text");
        ensure!(body == Some(web::HELLO), "another body: {event}");
        let number = number(event).with_context(|| format!("another path: {event}"))?;
        ensure!(asked.insert(number), "told twice: {event}");
    }
    let missing = (0..REQUESTS).filter(|number| !asked.contains(number)).collect::<Vec<_>>();
    let others = told(events, &id).filter(|event| text(event, "/type") != Some("http"));
    let said = others.map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let late = ended.stderr.iter().filter(|line| late(line, container)).collect::<Vec<_>>();
    ensure!(
        missing.is_empty(),
        "{side}: {missing:?} are missing; {:?}; {late:?}\n{said}",
        ended.summary()
    );
    Ok(())
}

/// Whether a line says that a container's first calls may be missing.
fn late(line: &str, container: &Container) -> bool {
    line.contains("probed only after") && line.contains(container.name())
}

/// Whatever looks at all processes, or at one of these, comes to an end and shows text.
fn commands(node: &Node, arms: &[Arm]) -> Result<()> {
    let name = |kind| arms::named(arms, kind).map(Container::name).context("no such container");
    let (mounts, paths, many) = (name("mount_names")?, name("path_names")?, name("many_mounts")?);
    let commands: [&[&str]; 10] = [
        &["list"],
        &["list", "-v"],
        &["list", "-o", "json"],
        &["check"],
        &["fs", mounts],
        &["fs", mounts, "-o", "json"],
        &["fs", many],
        &["fs", paths, "/", "--ls"],
        &["fs", paths, "/", "--ls", "-o", "json"],
        &["fs", name("links")?, "/usr/local/lib/libssl.so.3"],
    ];
    for command in commands {
        let begun = Instant::now();
        let ended = node.tlstap(command)?.start()?.finish(COMMAND)?;
        eprintln!("{command:?}: {:.1?}", begun.elapsed());
        ended.no_accident()?;
        ended.stdout.iter().chain(&ended.stderr).try_for_each(|line| shows_text(line))?;
    }
    completion(node, name("sections")?)
}

/// What a shell is offered are names.
fn completion(node: &Node, expect: &str) -> Result<()> {
    let mut launch = node.tlstap(&["--", "tlstap", "fs", "hostile-"])?;
    for (name, value) in
        [("COMPLETE", "bash"), ("_CLAP_COMPLETE_INDEX", "2"), ("_CLAP_COMPLETE_COMP_TYPE", "9")]
    {
        launch = launch.environment((name, value.to_owned()));
    }
    let ended = launch.environment(("_CLAP_IFS", "\n".to_owned())).output()?;
    ended.succeeded()?;
    ensure!(ended.stdout.iter().any(|line| line == expect), "{:?}", ended.stdout);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    ensure!(ended.stdout.iter().all(|line| line.chars().all(plain)), "{:?}", ended.stdout);
    Ok(())
}
