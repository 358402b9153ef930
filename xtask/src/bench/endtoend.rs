//! (b) A server under load, with each tracer in turn.
//!
//! Noise cancels: the server has a processor for itself, only its copy of the library can be
//! probed, every traced run has an untraced one shortly before it, and what counts are the medians
//! of the pairs' ratios and differences. What was captured is held against what the clients saw.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{
    Plan,
    goals::{
        Bound::{AtLeast, AtMost},
        Goal,
    },
    ground::Ground,
    library,
    load::{CASES, Case, Client, Style},
    server::Server,
    stats::Spread,
    table::Table,
    tracer::{Captured, Tracer, Variant},
};

/// One run of a case.
struct Sample {
    per_second: f64,
    bytes: u64,
    /// Processor time a request, in nanoseconds.
    server: f64,
    tracer: f64,
    latency: Option<(f64, f64)>,
}

/// An untraced run and the traced one that belongs to it.
struct Pair {
    case: &'static str,
    plain: Sample,
    traced: Sample,
}

/// A variant's life in one round: all cases.
struct Session {
    pairs: Vec<Pair>,
    expected: u64,
    captured: Captured,
}

/// All sessions of a variant.
struct Results {
    variant: Variant,
    sessions: Vec<Session>,
}

pub(super) fn measure(ground: &Ground, plan: &Plan) -> Result<(Value, Vec<Goal>)> {
    let server = Server::start(ground)?;
    let bench = Bench { ground, client: Client::new(ground, &server)?, server: &server, plan };
    let rates = bench.rates()?;
    let mut all: Vec<_> =
        plan.variants.iter().map(|&variant| Results { variant, sessions: Vec::new() }).collect();
    for round in 1..=plan.rounds {
        for results in &mut all {
            eprintln!("xtask: round {round} of {}: {}", plan.rounds, results.variant.name());
            let session = bench.session(results.variant, &rates);
            let session = session.with_context(|| results.variant.name())?;
            results.sessions.push(session);
        }
    }
    for (title, figure) in [(RATE, ratio as Figure), (PER_CPU, cpu_ratio)] {
        throughput(&all, plan, title, figure)?;
    }
    paced(&all, plan)?;
    Ok((all.iter().map(|results| results.json(plan)).collect(), goals(&all, plan)))
}

/// What is to hold under load.
fn goals(all: &[Results], plan: &Plan) -> Vec<Goal> {
    let of = |variant: Variant, case: Case, figure: Figure| {
        let results = all.iter().find(|results| results.variant == variant)?;
        results.of(case, figure).map(|spread| spread.median)
    };
    let of_peer = |case, figure: Figure| {
        let peers = [Variant::Bpftrace, Variant::Sslsniff].map(|peer| of(peer, case, figure));
        peers.into_iter().flatten()
    };
    let quotient = |one: Option<f64>, other: Option<f64>| Some(one? / other?);
    let mut goals = Vec::new();
    for &case in &plan.cases {
        let name = case.name;
        let mut goal = |what: &str, value, bound| {
            goals.push(Goal::new(format!("{name}: {what}"), value, bound));
        };
        if case.style == Style::Paced {
            let sum = if case.name == "16KiB-paced" { 0.25 } else { 0.18 };
            let most = |figure| of_peer(case, figure).reduce(f64::max);
            let share = |variant, figure: Figure| quotient(of(variant, case, figure), most(figure));
            goal("added p50, to a peer's", share(Variant::Text, p50), AtMost(0.2));
            goal("added server CPU, to a peer's", share(Variant::Text, server), AtMost(sum));
            goal(
                "tracer CPU at equal output, to a peer's",
                share(Variant::Text, tracer),
                AtMost(0.15),
            );
            continue;
        }
        let ours = of(Variant::None, case, ratio);
        goal("requests/s to untraced", ours, AtLeast(case.goal));
        goal("to the floor", quotient(ours, of(Variant::Floor, case, ratio)), AtLeast(0.8));
        let json = of(Variant::Json, case, ratio);
        goal("-o json to -o none", quotient(json, ours), AtLeast(0.85));
        if case.name == "100B" {
            let best = of_peer(case, ratio).reduce(f64::max);
            goal("to the best peer", quotient(ours, best), AtLeast(3.0));
        }
    }
    for results in all.iter().filter(|results| results.variant.is_ours()) {
        let name = format!("{}: captured to expected", results.variant.name());
        goals.push(Goal::new(name, results.lowest_captured(), AtLeast(0.9995)));
    }
    goals
}

struct Bench<'a> {
    ground: &'a Ground,
    server: &'a Server,
    client: Client<'a>,
    plan: &'a Plan,
}

impl Bench<'_> {
    /// A tenth of what goes, for each case; 0 for those that are not paced.
    fn rates(&self) -> Result<Vec<(Case, f64)>> {
        let rate = |case: &Case| {
            let limit = match case.style {
                Style::Paced => self.client.limit(*case, 1.0)?,
                _ => 0.0,
            };
            Ok((*case, (limit / 10.0).round()))
        };
        self.plan.cases.iter().map(rate).collect()
    }

    fn session(&self, variant: Variant, cases: &[(Case, f64)]) -> Result<Session> {
        library::unprobed(self.server.pid(), &self.ground.library())?;
        let mut plain = Vec::new();
        for (case, rate) in cases {
            plain.push(self.sample(*case, *rate, None)?);
        }
        let tracer = variant.start(self.ground, self.server.pid())?;
        let (mut pairs, mut expected) = (Vec::new(), 0);
        for ((case, rate), plain) in cases.iter().zip(plain) {
            let traced = self.sample(*case, *rate, Some(&tracer))?;
            expected += traced.bytes;
            pairs.push(Pair { case: case.name, plain, traced });
        }
        Ok(Session { pairs, expected, captured: tracer.stop()? })
    }

    fn sample(&self, case: Case, rate: f64, tracer: Option<&Tracer>) -> Result<Sample> {
        let spent = || tracer.map_or(Ok(0), Tracer::cpu_ns);
        let before = (self.server.cpu_ns()?, spent()?);
        let load = self.client.run(case, self.plan.seconds, rate)?;
        let requests = load.requests.max(1) as f64;
        let share = |before: u64, after: u64| after.saturating_sub(before) as f64 / requests;
        Ok(Sample {
            per_second: requests / load.seconds,
            bytes: load.bytes,
            server: share(before.0, self.server.cpu_ns()?),
            tracer: share(before.1, spent()?),
            latency: load.latency,
        })
    }
}

impl Results {
    /// A figure of each pair of a case.
    fn of(&self, case: Case, figure: impl Fn(&Pair) -> Option<f64>) -> Option<Spread> {
        let pairs = self.sessions.iter().flat_map(|session| &session.pairs);
        Spread::of(pairs.filter(|pair| pair.case == case.name).filter_map(figure))
    }

    fn lowest_captured(&self) -> Option<f64> {
        let shares = self.sessions.iter().filter_map(|session| {
            Some(session.captured.bytes? as f64 / session.expected.max(1) as f64)
        });
        shares.reduce(f64::min)
    }

    /// The lowest of captured/expected, and what the tracer said of the worst.
    fn captured(&self) -> (String, String) {
        let share = |session: &Session| {
            session.captured.bytes.map(|bytes| bytes as f64 / session.expected.max(1) as f64)
        };
        let off = |session: &&Session| share(session).map_or(0.0, |share| (share - 1.0).abs());
        let worst = self.sessions.iter().max_by(|a, b| off(a).total_cmp(&off(b)));
        let number = worst.and_then(share).map_or("-".to_owned(), |share| format!("{share:.3}"));
        (number, worst.map_or_else(String::new, |session| session.captured.note.clone()))
    }

    fn json(&self, plan: &Plan) -> Value {
        let (captured, note) = self.captured();
        let case = |case: &Case| {
            let figures = FIGURES.iter().filter_map(|(name, figure)| {
                Some(((*name).to_owned(), spread(self.of(*case, figure)?)))
            });
            (case.name.to_owned(), Value::Object(figures.collect()))
        };
        json!({
            "variant": self.variant.name(),
            "captured": captured,
            "note": note,
            "cases": Value::Object(plan.cases.iter().map(case).collect()),
        })
    }
}

type Figure = fn(&Pair) -> Option<f64>;

/// What is kept of each pair.
const FIGURES: [(&str, Figure); 9] = [
    ("requests_ratio", ratio),
    ("requests_per_server_cpu_ratio", cpu_ratio),
    ("untraced_requests_per_second", |pair| Some(pair.plain.per_second)),
    ("added_server_cpu_ns", server),
    ("untraced_server_cpu_ns", |pair| Some(pair.plain.server)),
    ("tracer_cpu_ns", tracer),
    ("added_p50_ns", p50),
    ("added_p99_ns", p99),
    ("untraced_p50_ns", |pair| pair.plain.latency.map(|latency| latency.0)),
];

fn ratio(pair: &Pair) -> Option<f64> {
    Some(pair.traced.per_second / pair.plain.per_second)
}

/// What the ratio would be if nobody else had used the server's processor.
fn cpu_ratio(pair: &Pair) -> Option<f64> {
    Some(pair.plain.server / pair.traced.server)
}

fn server(pair: &Pair) -> Option<f64> {
    Some(pair.traced.server - pair.plain.server)
}

fn tracer(pair: &Pair) -> Option<f64> {
    Some(pair.traced.tracer)
}

fn p50(pair: &Pair) -> Option<f64> {
    Some(pair.traced.latency?.0 - pair.plain.latency?.0)
}

fn p99(pair: &Pair) -> Option<f64> {
    Some(pair.traced.latency?.1 - pair.plain.latency?.1)
}

fn spread(spread: Spread) -> Value {
    json!({"median": spread.median, "lowest": spread.lowest, "highest": spread.highest})
}

const RATE: &str = "Requests a second against untraced: median (lowest to highest) of the rounds";
const PER_CPU: &str = "Requests a second of the server's processor time against untraced: the same \
     where the server is the bottleneck, and less disturbed by other programs";

fn throughput(all: &[Results], plan: &Plan, title: &str, figure: Figure) -> Result<()> {
    let cases: Vec<_> = plan.cases.iter().filter(|case| case.style != Style::Paced).collect();
    if cases.is_empty() {
        return Ok(());
    }
    let names = cases.iter().map(|case| case.name);
    let header = ["tracer"].into_iter().chain(names).chain(["captured", "it says"]);
    let mut table = Table::new(title, header);
    for results in all {
        let mut row = vec![results.variant.name().to_owned()];
        let cell = |spread: Option<Spread>| {
            spread.map_or_else(String::new, |Spread { median, lowest, highest }| {
                format!("{median:.2} ({lowest:.2} to {highest:.2})")
            })
        };
        row.extend(cases.iter().map(|case| cell(results.of(**case, figure))));
        let (captured, note) = results.captured();
        row.extend([captured, note]);
        table.row(row);
    }
    table.print()
}

fn paced(all: &[Results], plan: &Plan) -> Result<()> {
    let title = "At a tenth of the highest rate: medians of what is added, in µs (a request's)";
    let header = [
        "case",
        "tracer",
        "latency p50",
        "latency p99",
        "server's processor",
        "tracer's processor",
    ];
    let mut table = Table::new(title, header);
    let cases: Vec<_> = plan.cases.iter().filter(|case| case.style == Style::Paced).collect();
    for case in &cases {
        for results in all {
            let cell = |figure: Figure| {
                let spread = results.of(**case, figure);
                spread.map_or_else(String::new, |spread| format!("{:.1}", spread.median / 1e3))
            };
            let name = results.variant.name().to_owned();
            let figures = [p50, p99, server, tracer].map(cell);
            table.row([case.name.to_owned(), name].into_iter().chain(figures).collect());
        }
    }
    if cases.is_empty() { Ok(()) } else { table.print() }
}

/// The cases that a filter leaves; without one all, or few for a quick look.
pub(super) fn cases(wanted: &[String], quick: bool) -> Vec<Case> {
    const QUICK: [&str; 3] = ["100B", "16KiB", "100B-paced"];
    let is_wanted = |case: &Case| match wanted {
        [] => !quick || QUICK.contains(&case.name),
        _ => wanted.iter().any(|part| case.name.contains(part.as_str())),
    };
    CASES.into_iter().filter(is_wanted).collect()
}
