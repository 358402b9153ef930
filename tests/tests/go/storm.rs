//! Load on programs of Go whose stacks grow and shrink and whose garbage is collected all the time: none
//! may crash, and what they come to must be what they come to untraced.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tlstap_tests::{
    account,
    exact::{End, Flow},
    go,
    node::Node,
    setting,
};

use super::exchanged;
use crate::exact::session::Session;

crate::tests![outputs_are_those_of_an_untraced_run];

/// How long, in seconds, if `cargo xtask soak go` does not ask for more.
const SHORT: u64 = 20;

const PAIRS: usize = 16;

/// Little, since all of it is written to a file, and more often: what is put to the test is the calls.
const SIZES: [usize; 6] = [1, 700, 3000, 16_384, 100, 40];

/// What ends say that does not change from run to run.
fn outcome(ends: &[End]) -> Vec<(u64, Flow, Flow)> {
    ends.iter().map(|end| (end.stream, end.transmit.clone(), end.receive.clone())).collect()
}

fn outputs_are_those_of_an_untraced_run(node: &Node) -> Result<()> {
    let time = Duration::from_secs(setting::number(setting::SECONDS, SHORT)?);
    let pairs = go::pairs()?;
    let programs: Vec<_> =
        pairs.iter().filter(|pair| ["plain", "cgo"].contains(&pair.form)).collect();
    let count = PAIRS.to_string();
    let modes: [&[&str]; 2] = [
        &["-deep", "-rounds", "4", "-pairs", &count],
        &["-deep", "-duplex", "-rounds", "4", "-pairs", &count],
    ];
    let mut untraced = Vec::new();
    for program in &programs {
        for mode in modes {
            let mut run = program.exact().flags(mode).start(&SIZES)?;
            untraced.push(outcome(&run.go()?));
            run.end()?;
        }
    }
    let (begun, mut runs) = (Instant::now(), 0);
    while begun.elapsed() < time {
        // One after the other, as what one has written goes with it.
        let mut session = Session::start(node, &[], 2 * PAIRS as u64)?;
        let each = programs.iter().flat_map(|program| modes.map(|mode| (program, mode)));
        for ((program, mode), expected) in each.zip(&untraced) {
            let told = || format!("{} {} {mode:?}", program.version, program.form);
            let exact = program.exact().flags(mode);
            let (ends, seen) = exchanged(node, &mut session, exact, &SIZES).with_context(told)?;
            ensure!(&outcome(&ends) == expected, "{}: another outcome", told());
            account::only_full(&seen).with_context(told)?;
            runs += 1;
        }
        session.stop()?;
    }
    eprintln!("{runs} runs of {PAIRS} connections in {:?}", begun.elapsed());
    Ok(())
}
