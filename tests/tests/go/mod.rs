//! Programs of Go, by two versions of Go and in every form that they are linked in.

pub(crate) mod storm;
mod web;

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tlstap_tests::{
    account::{self, Told},
    content,
    event::{expect, number, text},
    exact::{End, Exact},
    go::{self, Pair},
    node::Node,
    probed,
    streams::{self, Piece},
};

use crate::exact::session::Session;

crate::tests![
    every_byte_once,
    by_perf_links,
    stacks_that_move,
    addresses_that_are_used_again,
    reads_after_close,
    tls_inside_tls,
    of_one_process,
    list_names_them,
    requests_of_http_1,
    requests_of_http_2,
    in_containers,
];

use web::{in_containers, requests_of_http_1, requests_of_http_2};

/// Around the borders of what Go puts into a record, and of ours.
const SIZES: [usize; 14] =
    [0, 1, 2, 511, 1024, 4097, 8192, 16_383, 16_384, 16_385, 65_537, 1 << 20, 3, 40_000];

/// Lets a fixture exchange messages once it is probed; what it says, and what was told.
fn exchanged(
    node: &Node,
    session: &mut Session,
    exact: Exact,
    sizes: &[usize],
) -> Result<(Vec<End>, Vec<Told>)> {
    let mut exchange = exact.start(sizes)?;
    probed::wait(node, exchange.pid())?;
    let ends = exchange.go()?;
    exchange.end()?;
    let told = session.told(&ends)?;
    Ok((ends, told))
}

/// Likewise; everything must be told, with the right ports.
fn exchange(
    node: &Node,
    session: &mut Session,
    pair: &Pair,
    flags: &[&str],
    sizes: &[usize],
) -> Result<Vec<End>> {
    let (ends, seen) = exchanged(node, session, pair.exact().flags(flags), sizes)?;
    account::whole(&seen)?;
    let carried: usize = ends.iter().map(directions).sum();
    let known = account::ports(&seen, &ends)?;
    ensure!(known == carried, "ports of {known} directions, not {carried}");
    Ok(ends)
}

/// How many directions carried anything.
fn directions(end: &End) -> usize {
    end.flows().into_iter().filter(|(_, _, flow)| flow.bytes > 0).count()
}

/// Every version and form.
fn each(mut test: impl FnMut(&Pair) -> Result<()>) -> Result<()> {
    let named = |pair: &Pair| test(pair).with_context(|| format!("{} {}", pair.version, pair.form));
    go::pairs()?.iter().try_for_each(named)
}

/// One of each version.
fn plain(mut test: impl FnMut(&Pair) -> Result<()>) -> Result<()> {
    each(|pair| if pair.form == "plain" { test(pair) } else { Ok(()) })
}

fn every_byte_once(node: &Node) -> Result<()> {
    let mut session = Session::start(node, &[], 8)?;
    each(|pair| exchange(node, &mut session, pair, &["-pairs", "2"], &SIZES).map(drop))?;
    plain(|pair| {
        exchange(node, &mut session, pair, &["-pairs", "3", "-duplex"], &SIZES)?;
        exchange(node, &mut session, pair, &["-tls12"], &SIZES).map(drop)
    })?;
    session.stop()
}

fn by_perf_links(node: &Node) -> Result<()> {
    let mut session = Session::start(node, &["--links", "perf"], 8)?;
    plain(|pair| exchange(node, &mut session, pair, &["-pairs", "2"], &SIZES).map(drop))?;
    session.stop()
}

/// What is read lies on stacks that are moved while calls are in flight.
fn stacks_that_move(node: &Node) -> Result<()> {
    let mut session = Session::start(node, &[], 8)?;
    plain(|pair| {
        let turns = ["-pairs", "3", "-rounds", "3", "-deep"];
        exchange(node, &mut session, pair, &turns, &SIZES)?;
        exchange(node, &mut session, pair, &["-pairs", "3", "-deep", "-duplex"], &SIZES).map(drop)
    })?;
    session.stop()
}

/// A `Conn` lies where another lay, which was closed, or of which only the socket was.
fn addresses_that_are_used_again(node: &Node) -> Result<()> {
    const PAIRS: usize = 40;
    let mut session = Session::start(node, &[], 2 * PAIRS as u64)?;
    let count = PAIRS.to_string();
    let again: [&[&str]; 2] =
        [&["-sequential", "-pairs", &count], &["-sequential", "-abandon", "-pairs", &count]];
    plain(|pair| {
        for flags in again {
            let ends = exchange(node, &mut session, pair, flags, &[100, 5000])?;
            let objects: BTreeSet<_> = ends.iter().map(|end| end.object).collect();
            ensure!(objects.len() < ends.len(), "no address was used again, with {flags:?}");
        }
        Ok(())
    })?;
    session.stop()
}

/// What a program reads from a `Conn` that it has closed is told, and opens nothing that stays open.
fn reads_after_close(node: &Node) -> Result<()> {
    plain(|pair| {
        let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
        let mut exchange = pair.exact().flags(&["-leftover"]).start(&[5000])?;
        probed::wait(node, exchange.pid())?;
        exchange.go()?;
        let pid = u64::from(exchange.pid());
        // Told when they end: what the client read before it closed and behind, and the server's.
        let ended = agent.wait_for_count("connections that ended", 3, |event| {
            number(event, "/process/pid") == Some(pid) && text(event, "/type") == Some("opaque")
        })?;
        for way in ["receive", "transmit"] {
            let bytes = ended.iter().filter_map(|event| number(event, &format!("/bytes/{way}")));
            ensure!(bytes.sum::<u64>() == 5000, "{way}: {ended:?}");
        }
        exchange.end()?;
        agent.stop().map(drop)
    })
}

/// Two calls of a goroutine are followed at a time; that a third was not is told.
fn tls_inside_tls(node: &Node) -> Result<()> {
    plain(|pair| {
        for layers in [2, 3] {
            let mut agent =
                node.tlstap(&["trace", "--raw", "--show-secrets", "-o", "json"])?.ready()?;
            let flags = ["-layers", &layers.to_string()];
            let mut exchange = pair.exact().flags(&flags).start(&[100, 30_000])?;
            probed::wait(node, exchange.pid())?;
            let (ends, pid) = (exchange.go()?, exchange.pid());
            // That calls of an outer layer are missing is told on its own, and may come last.
            let streams = agent.wait_for("all directions", |events| {
                let streams = streams::pieces(events, pid).ok()?;
                let carried =
                    |stream| streams.values().filter(|pieces| carries(pieces, stream)).count();
                let all = streams.len() >= 4 * layers;
                (all && ends.iter().all(|end| carried(end.stream) == 2)).then_some(streams)
            })?;
            ensure!(streams.len() == 4 * layers, "{} directions, {layers} layers", streams.len());
            let missing =
                |pieces: &&Vec<Piece>| pieces.iter().any(|piece| matches!(piece, Piece::Gap(..)));
            let outermost = if layers == 3 { 4 } else { 0 };
            let gaps = streams.values().filter(missing).count();
            ensure!(gaps == outermost, "{gaps} directions have gaps, {layers} layers");
            exchange.end()?;
            agent.stop()?;
        }
        Ok(())
    })
}

/// Whether pieces are all of a stream of this test, without gaps.
fn carries(pieces: &[Piece], stream: u64) -> bool {
    let mut whole = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Data(bytes) => whole.extend_from_slice(bytes),
            Piece::Gap(..) => return false,
        }
    }
    whole.len() == 30_100 && content::has(stream, 0, &whole)
}

/// Probed for one process, another of the same program is left alone.
fn of_one_process(node: &Node) -> Result<()> {
    plain(|pair| {
        let [mut one, mut other] = [pair.exact().start(&SIZES)?, pair.exact().start(&SIZES)?];
        let pid = one.pid().to_string();
        let mut session = Session::start(node, &["--pid", &pid], 8)?;
        let (ends, others) = (one.go()?, other.go()?);
        account::whole(&session.told(&ends)?)?;
        ensure!(account::accounted(&session.recording, &others) == 0, "the other was told");
        one.end()?;
        other.end()?;
        session.stop()
    })
}

fn list_names_them(node: &Node) -> Result<()> {
    each(|pair| {
        let exchange = pair.exact().start(&[1])?;
        let ended = node.tlstap(&["list", "-o", "json"])?.output()?;
        ended.succeeded()?;
        let rows = ended.rows()?;
        let pid = Some(exchange.pid().into());
        let row = rows.iter().find(|row| number(row, "/process/pid") == pid).context("no row")?;
        expect(
            row,
            &[
                ("/process/command", json!("exact")),
                ("/tls/library", json!("go")),
                ("/tls/version", json!(pair.version)),
                ("/status", json!("hooked")),
                ("/probes/0/symbol", json!("crypto/tls.(*Conn).Write")),
                ("/probes/0/method", json!("pclntab")),
            ],
        )?;
        exchange.end()
    })
}
