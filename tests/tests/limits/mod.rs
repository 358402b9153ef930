//! Issue 9: limits of the agent: less is traced when it takes too much, everything when it does not.

mod load;

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tlstap_tests::{
    account::{self, Told},
    agent::{Agent, EVENT},
    deadline,
    event::{number, text},
    exact::Exchange,
    node::Node,
    pace::Pace,
    probed,
    recording::Recording,
    scrape::{ANYWHERE, Site},
    talk::Talking,
};

use self::load::{Halting, Overload, is_sampled, with_number};
use crate::exact::session::Session;

crate::tests![
    step_by_step_and_back,
    detached_and_attached_again,
    all_that_is_there_is_attached_again,
    a_rate_for_each_process,
    a_ceiling_that_is_too_small,
];

/// From a load to a step, and from its end to the next: on a busy machine.
const STEP: Duration = Duration::from_secs(60);

/// Likewise where other programs of the machine are a load too, and trials may fail.
const LONG: Duration = Duration::from_secs(240);

const LIBRARY: &str = "libssl.so.3";
const REQUEST: &[u8] = b"GET /limited HTTP/1.1\r\nHost: talk\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

/// Waits until the agent says that it is at a level. Metrics say it too, but to ask for them all the time
/// would be a load of its own.
fn at(agent: &Agent, level: &str) -> Result<()> {
    agent.complains(&format!("limit: {level}: "), STEP).map(drop)
}

/// The reasons of all gaps.
fn reasons(told: &[Told]) -> BTreeSet<&str> {
    told.iter().flat_map(|told| &told.seen.gaps).map(|gap| gap.reason.as_str()).collect()
}

/// A program that counts what it moves, and has begun nothing yet.
fn counting(node: &Node, sampled: bool) -> Result<Halting> {
    let exact = || node.exact()?.flags(&["--rounds", "600"]).start(&[100, 2_000, 40]);
    Halting::begin(with_number(sampled, exact, Exchange::pid)?)
}

/// An agent that is held to half of what a program makes it take, while all is still.
fn limited(node: &Node, pace: &mut Pace, arguments: &[&str]) -> Result<(Session, Site)> {
    let free = Session::start(node, arguments, 2)?;
    let half = load::half_of(pace, &free.agent)?;
    free.stop()?;
    let limit = format!("{}.{:03}%", half / 1_000, half % 1_000);
    let arguments = [arguments, &["--max-cpu", &limit], &ANYWHERE].concat();
    let session = Session::start(node, &arguments, 2)?;
    let site = Site::of(&session.agent)?;
    Ok((session, site))
}

/// Only these: what others on the machine do is no load then.
fn named(pids: &[u32]) -> Vec<String> {
    pids.iter().map(|pid| format!("--pid={pid}")).collect()
}

/// The levels that the output tells of, one after the other. On the way up it took more than it may, on the
/// way down less.
fn levels(recording: &Recording) -> Result<String> {
    let mut levels = Vec::new();
    for record in recording.limits() {
        levels.push(text(record, "/limit/level").context("no level")?);
        let share = |field| record.pointer(field).and_then(Value::as_f64).context("no number");
        let (used, max) = (share("/limit/cpu/used")?, share("/limit/cpu/max")?);
        let up = text(record, "/limit/cause") == Some("cpu");
        ensure!(up == (used >= max), "not for this reason: {record}");
    }
    Ok(levels.join(" "))
}

/// Programs that count what they move live through all levels at which anything is traced, up and down: what
/// was told and what was told to be missing is all that they moved.
fn step_by_step_and_back(node: &Node) -> Result<()> {
    let programs = [true, true, false, false].map(|sampled| counting(node, sampled));
    let programs = programs.into_iter().collect::<Result<Vec<_>>>()?;
    let turn = || programs.iter().try_for_each(Halting::turn);
    let mut overload = load::ready(node)?;
    let pids = programs.iter().map(|program| program.pid).chain([overload.pid()]);
    let arguments = named(&pids.collect::<Vec<_>>());
    let arguments = arguments.iter().map(String::as_str).collect::<Vec<_>>();
    let (mut session, site) = limited(node, &mut overload, &arguments)?;
    turn()?;
    let overload = Overload::begin(overload);
    at(&session.agent, "headers")?;
    turn()?;
    at(&session.agent, "sampled")?;
    overload.end()?;
    turn()?;
    at(&session.agent, "full")?;
    turn()?;
    session.recording.read()?;
    let levels = levels(&session.recording)?;
    ensure!(levels == "headers sampled headers full", "the output tells of {levels}");
    let ends = programs.into_iter().map(Halting::finish).collect::<Result<Vec<_>>>()?.concat();
    let told = session.told(&ends)?;
    ensure!(told.len() == 16, "{} directions", told.len());
    for told in &told {
        let reasons = reasons(std::slice::from_ref(told));
        ensure!(reasons.contains("reduced"), "{:?} was never reduced", told.seen);
        let left_out = reasons.contains("sampled");
        ensure!(left_out != is_sampled(told.seen.pid), "not by its number: {:?}", told.seen);
    }
    in_metrics(site)?;
    let ended = session.agent.stop()?;
    let summary = ended.summary()?;
    let words = [" reduced", " sampled", ", limited: ", " headers, 1 sampled"];
    let missing = words.iter().find(|word| !summary.contains(*word));
    ensure!(missing.is_none(), "no {missing:?} in {summary}");
    Ok(())
}

/// Holds metrics to tell of these steps.
fn in_metrics(site: Site) -> Result<()> {
    let page = site.metrics()?;
    page.check()?;
    let of = |metric, level| page.sum(metric, &[("level", level)]);
    let steps = ["full", "headers", "sampled", "detached"];
    let steps = steps.map(|level| of("tlstap_limit_steps_total", level));
    ensure!(steps[0] >= 1.0 && steps[1] >= 2.0 && steps[2..] == [1.0, 0.0], "{steps:?}");
    let now = page.sum("tlstap_limit_level", &[]);
    ensure!((now - 1.0).abs() < 0.5, "not one level:\n{}", page.text);
    for reason in ["reduced", "sampled"] {
        let bytes = page.sum("tlstap_gap_bytes_total", &[("reason", reason)]);
        ensure!(bytes > 0.0, "no {reason} in\n{}", page.text);
    }
    Ok(())
}

fn talking(node: &Node) -> Result<Talking> {
    node.talk()?.start(REQUEST, RESPONSE)
}

/// Overload that is too much at every level: nothing is probed any more, traced programs go on, and when it
/// is over all is told again.
fn detached_and_attached_again(node: &Node) -> Result<()> {
    let (mut before, mut meanwhile, mut after) = (talking(node)?, talking(node)?, talking(node)?);
    let (program, mut overload) = (counting(node, true)?, load::ready(node)?);
    let talking = [&before, &meanwhile, &after].map(Talking::pid);
    let arguments = named(&[&talking[..], &[program.pid, overload.pid()]].concat());
    let arguments = arguments.iter().map(String::as_str).collect::<Vec<_>>();
    let (mut session, site) = limited(node, &mut overload, &arguments)?;
    before.go()?;
    program.turn()?;
    let sites = probed::places(after.pid(), LIBRARY)?;
    ensure!(sites > 0, "nothing is probed: tests nothing");
    let overload = Overload::begin(overload);
    detached(&session.agent, after.pid())?;
    meanwhile.go()?;
    program.turn()?;
    session.agent.complains("(trial: ", STEP)?;
    overload.end()?;
    session.agent.complains("limit: full: ", LONG)?;
    ensure!(probed::places(after.pid(), LIBRARY)? == sites, "not all is probed again");
    ensure!(site.metrics()?.sum("tlstap_limit_steps_total", &[("level", "detached")]) > 0.5);
    after.go()?;
    program.turn()?;
    let pid = program.pid;
    program.finish()?;
    session.recording.read_until(EVENT, |so_far| whole(so_far, after.pid()) == Some(4))?;
    let so_far = &session.recording;
    for (process, directions) in [(&before, Some(4)), (&meanwhile, None), (&after, Some(4))] {
        let told = whole(so_far, process.pid());
        ensure!(told == directions, "{told:?} directions of process {}", process.pid());
    }
    interrupted(so_far, pid)?;
    let levels = levels(so_far)?;
    let expect = "headers sampled detached sampled ";
    let right = levels.starts_with(expect) && levels.ends_with(" headers full");
    ensure!(right, "the output tells of {levels}");
    session.stop()
}

/// The agent is at its last step: nothing in the library is probed any more.
fn detached(agent: &Agent, pid: u32) -> Result<()> {
    at(agent, "detached")?;
    deadline::until("no probe to be in place", STEP, || {
        Ok((probed::places(pid, LIBRARY)? == 0).then_some(()))
    })
}

/// Likewise where all processes are traced, those too that begin meanwhile, from places where no file was
/// probed before.
fn all_that_is_there_is_attached_again(node: &Node) -> Result<()> {
    let (watched, mut overload) = (talking(node)?, load::ready(node)?);
    let (mut session, _) = limited(node, &mut overload, &[])?;
    let sites = probed::places(watched.pid(), LIBRARY)?;
    let overload = Overload::begin(overload);
    detached(&session.agent, watched.pid())?;
    let folder = tempfile::tempdir()?;
    let mut other = node.talk()?.own_library(folder.path())?.start(REQUEST, RESPONSE)?;
    ensure!(probed::places(other.pid(), LIBRARY)? == 0, "it is probed all the same");
    overload.end()?;
    deadline::until("all to be probed again", LONG, || {
        let found = [&watched, &other].map(|process| probed::places(process.pid(), LIBRARY));
        Ok(found.into_iter().all(|found| found.ok() == Some(sites)).then_some(()))
    })?;
    session.agent.complains("limit: full: ", LONG)?;
    other.go()?;
    session.recording.read_until(EVENT, |so_far| whole(so_far, other.pid()) == Some(4))?;
    ensure!(whole(&session.recording, other.pid()) == Some(4), "not all is told again");
    session.stop()
}

/// How many directions were told of a process; all of them whole.
fn whole(recording: &Recording, pid: u32) -> Option<usize> {
    let mine = recording.seen().filter(|(_, seen)| seen.pid == pid).collect::<Vec<_>>();
    let whole = mine.iter().all(|(_, seen)| seen.gaps.is_empty());
    (whole && !mine.is_empty()).then_some(mine.len())
}

/// Holds the connections of a process that lived on unseen to end in a gap, right up to there, and others to
/// begin.
fn interrupted(recording: &Recording, pid: u32) -> Result<()> {
    let mine = recording.seen().filter(|(_, seen)| seen.pid == pid).map(|(_, seen)| seen);
    let (ended, begun): (Vec<_>, Vec<_>) =
        mine.partition(|seen| seen.gaps.iter().any(|gap| gap.reason == "detached"));
    ensure!(ended.len() == 4 && begun.len() == 4, "{ended:?}, then {begun:?}");
    for seen in ended {
        let last = seen.gaps.last().context("no gap")?;
        let at_the_end = last.offset + last.length == seen.length;
        ensure!(last.reason == "detached" && last.length == 0 && at_the_end, "{seen:?}");
        ensure!(seen.foreign.is_none() && seen.told() > 0, "not what was said: {seen:?}");
    }
    Ok(())
}

/// A process that moves more than its rate is cut, to the byte; one that does not is told whole.
fn a_rate_for_each_process(node: &Node) -> Result<()> {
    const RATE: u64 = 256 << 10;
    let mut quiet = talking(node)?;
    let mut session = Session::start(node, &["--max-rate", "256k"], 2)?;
    let begun = std::time::Instant::now();
    let exact = node.exact()?.flags(&["--rounds", "200"]);
    let mut exchange = exact.start(&[100, 16_000, 40, 30_000])?;
    let ends = exchange.go()?;
    quiet.go()?;
    exchange.end()?;
    let seconds = begun.elapsed().as_secs_f64() + 1.0;
    let told = session.told(&ends)?;
    ensure!(reasons(&told) == BTreeSet::from(["rate-limited"]), "{:?}", reasons(&told));
    let (sum, moved) =
        (told.iter().map(|told| told.seen.told()).sum::<u64>(), account::total(&ends));
    // Two threads may sometimes take the same bytes.
    let most = seconds * RATE as f64 * 1.5;
    ensure!(sum >= RATE / 2 && (sum as f64) < most, "{sum} of {moved} bytes in {seconds} s");
    ensure!(moved > 4 * sum, "{moved} bytes moved, {sum} told: tests nothing");
    session.recording.read_until(EVENT, |so_far| whole(so_far, quiet.pid()) == Some(4))?;
    ensure!(whole(&session.recording, quiet.pid()) == Some(4), "another process was cut too");
    let ended = session.agent.stop()?;
    ensure!(ended.summary()?.contains(" rate-limited"), "{}", ended.summary()?);
    Ok(())
}

/// It says what is needed, and with that it works.
fn a_ceiling_that_is_too_small(node: &Node) -> Result<()> {
    let with = |ceiling: &str| {
        node.tlstap(&["trace", "-o", "json", "--ring-size", "256", "--max-memory", ceiling])
    };
    let refused = with("32m")?.output()?;
    refused.refused(&["at least 65 MiB are needed"])?;
    let mut talking = talking(node)?;
    let mut agent = with("65m")?.ready()?;
    talking.go()?;
    let mine = |event: &Value| {
        number(event, "/process/pid") == Some(talking.pid().into())
            && text(event, "/type") == Some("http")
    };
    agent.wait_for_count("exchanges", 2, mine)?;
    agent.lives_for(Duration::from_secs(5))?;
    let ended = agent.stop()?;
    // What it takes when little is said is below what it calls enough.
    ensure!(!ended.stderr.iter().any(|line| line.contains("limit: ")), "{:?}", ended.stderr);
    Ok(())
}
