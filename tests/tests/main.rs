//! The suite: tlstap from outside, on this kernel, with real programs and real containers.
//!
//! Needs root and installs nothing. One test at a time: they measure processor time, count the
//! kernel's programs, and look at the traffic of the whole node. It has a `main` of its own to
//! take Docker down after the last test; arguments are those of every Rust test binary.

mod web;
mod websockets;

mod addresses;
mod bundled;
mod calls;
mod changed;
mod churn;
mod complete;
mod cost;
mod databases;
mod deploy;
mod endings;
mod enter;
mod events;
mod exact;
mod exchanges;
mod families;
mod filters;
mod fresh;
mod fs;
mod gaps;
mod go;
mod grpc;
mod hostile;
mod http2;
mod idle;
mod kernel;
mod kills;
mod limits;
mod links;
mod listing;
mod mail;
mod many;
mod messaging;
mod metrics;
mod missing;
mod odd;
mod otlp;
mod output;
mod pair;
mod pcapng;
mod plaintext;
mod pods;
mod privileges;
mod programs;
mod redaction;
mod refusals;
mod replay;
mod restart;
mod rustls;
mod seccomp;
mod storm;
mod stripped;
mod terminal;

use std::{
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};
use tlstap_tests::{
    coverage,
    node::Node,
    setting,
    unsteady::{Unsteady, chain},
};

/// A test: an error is its failure.
type Test = fn(&Node) -> Result<()>;

/// Lists the tests of a module.
macro_rules! tests {
    ($($test:ident),* $(,)?) => {
        pub(crate) const TESTS: &[(&str, crate::Test)] =
            &[$((concat!(module_path!(), "::", stringify!($test)), $test)),*];
    };
}
use tests;

const ALL: &[&[(&str, Test)]] = &[
    plaintext::TESTS,
    gaps::TESTS,
    go::TESTS,
    go::storm::TESTS,
    families::gnutls::TESTS,
    families::mbedtls::TESTS,
    families::nss::TESTS,
    families::s2n::TESTS,
    families::wolfssl::TESTS,
    calls::TESTS,
    exact::TESTS,
    exact::connections::TESTS,
    exact::killed::TESTS,
    exact::python::TESTS,
    exact::ring::TESTS,
    listing::TESTS,
    refusals::TESTS,
    missing::TESTS,
    endings::TESTS,
    enter::TESTS,
    enter::files::TESTS,
    enter::job::TESTS,
    enter::lookups::TESTS,
    enter::odd::TESTS,
    enter::processes::TESTS,
    enter::refused::TESTS,
    filters::TESTS,
    output::TESTS,
    storm::TESTS,
    stripped::TESTS,
    hostile::TESTS,
    idle::TESTS,
    limits::TESTS,
    links::TESTS,
    kills::TESTS,
    cost::TESTS,
    pair::TESTS,
    programs::TESTS,
    addresses::TESTS,
    bundled::TESTS,
    bundled::stripped::TESTS,
    exchanges::TESTS,
    databases::TESTS,
    databases::mongodb::TESTS,
    messaging::TESTS,
    metrics::TESTS,
    otlp::TESTS,
    otlp::trouble::TESTS,
    http2::TESTS,
    http2::nghttp::TESTS,
    http2::late::TESTS,
    grpc::TESTS,
    redaction::TESTS,
    pcapng::TESTS,
    websockets::TESTS,
    events::TESTS,
    terminal::TESTS,
    mail::TESTS,
    mail::imap::TESTS,
    many::TESTS,
    changed::TESTS,
    fresh::TESTS,
    odd::TESTS,
    pods::TESTS,
    restart::TESTS,
    churn::TESTS,
    rustls::TESTS,
    replay::TESTS,
    kernel::TESTS,
    seccomp::TESTS,
    privileges::TESTS,
    deploy::TESTS,
    fs::TESTS,
    fs::stopped::TESTS,
    fs::roots::TESTS,
    complete::TESTS,
];

fn main() -> Result<ExitCode> {
    let mut arguments = Arguments::from_args();
    // Also keeps them on this thread, which the children's death signal depends on.
    arguments.test_threads = Some(1);
    let unsteady = Unsteady::new(setting::number(setting::SECOND, 0)?);
    let suite = Arc::new(Mutex::new(Suite { node: Node::new()?, unsteady }));
    let whole = arguments.filter.is_none() && arguments.skip.is_empty() && !arguments.list;
    let tests = kernel::chosen(ALL.iter().copied().flatten().copied().collect())?;
    let trials = tests.into_iter().map(|(name, test)| trial(name, test, &suite));
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    let cleared = Arc::into_inner(suite).map_or(Ok(()), |suite| {
        let Suite { node, unsteady } = suite.into_inner().unwrap_or_else(PoisonError::into_inner);
        for failure in unsteady.failed() {
            eprintln!("unsteady, failed at first: {failure}");
        }
        node.clear()
    });
    if let Err(error) = cleared {
        eprintln!("the suite left something behind: {}", chain(&error));
        return Ok(ExitCode::FAILURE);
    }
    if whole && !conclusion.has_failed() {
        coverage::write()?;
    }
    Ok(conclusion.exit_code())
}

/// What all tests have.
struct Suite {
    node: Node,
    unsteady: Unsteady,
}

fn trial(name: &str, test: Test, suite: &Arc<Mutex<Suite>>) -> Trial {
    let name = name.trim_start_matches("suite::").to_owned();
    let suite = Arc::clone(suite);
    Trial::test(name.clone(), move || {
        let mut suite = suite.lock().unwrap_or_else(PoisonError::into_inner);
        let Suite { node, unsteady } = &mut *suite;
        let begun = Instant::now();
        let result = unsteady.run(&name, || test(node));
        let result = result.map_err(|error| Failed::from(chain(&error)));
        eprint!("[{:>4.1} s] ", begun.elapsed().as_secs_f32());
        coverage::ended(&name, result.is_ok());
        result
    })
}
