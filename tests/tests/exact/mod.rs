//! Issue 4: every byte once, in order, under its connection, by the program's own count.

pub(crate) mod connections;
pub(crate) mod killed;
pub(crate) mod python;
pub(crate) mod ring;
pub(crate) mod session;

use anyhow::{Context as _, Result, ensure};
use tlstap_tests::{
    account::{self, Told},
    exact::{End, Exact},
    libraries::Library,
    node::Node,
    recording::Gap,
};

use self::session::Session;
use crate::links;

crate::tests![
    on_the_machines_openssl,
    by_other_links,
    on_openssl_1_1_1,
    on_the_newest_openssl_3,
    on_boringssl,
    on_aws_lc,
    of_big_calls,
    of_big_calls_with_room_for_them,
];

const MIB: usize = 1 << 20;

/// Around every border that there may be, up to what must come without gaps.
pub(crate) const SIZES: [usize; 19] = [
    0, 1, 2, 511, 512, 513, 4095, 4096, 4097, 8191, 8192, 8193, 16383, 16384, 16385, 65535, 65536,
    65537, MIB,
];

/// A way to use the library, and what shows that it was used so.
pub(crate) struct Mode {
    pub(crate) flags: &'static [&'static str],
    pub(crate) shows: fn(&End) -> bool,
}

pub(crate) const fn mode(flags: &'static [&'static str], shows: fn(&End) -> bool) -> Mode {
    Mode { flags, shows }
}

const MODES: [Mode; 6] = [
    mode(&[], |_| true),
    mode(&["--peek"], |_| true),
    mode(&["--partial"], |end| end.partial > 50),
    mode(&["--nonblocking", "2"], |end| end.write_retries > 50 && end.read_retries > 10),
    mode(&["--nonblocking", "2", "--duplex", "--partial", "--peek"], |end| {
        end.write_retries > 50 && end.partial > 0
    }),
    mode(&["--update", "2", "--nonblocking", "2"], |end| end.updates > 5 && end.write_retries > 50),
];

/// Where the library has what they need.
const EX: [Mode; 3] = [
    mode(&["--ex"], |_| true),
    mode(&["--ex", "--peek", "--partial"], |end| end.partial > 50),
    mode(&["--ex", "--nonblocking", "2", "--duplex"], |end| end.write_retries > 50),
];
const RENEGOTIATED: [Mode; 2] = [
    mode(&["--renegotiate", "2"], |end| end.updates > 5 || end.stream == 1),
    mode(&["--renegotiate", "3", "--nonblocking", "2", "--ex"], |end| {
        (end.updates > 5 || end.stream == 1) && end.write_retries > 50
    }),
];

/// Holds a mode to be told whole.
fn in_mode(session: &mut Session, exact: Exact, mode: &Mode) -> Result<()> {
    let (ends, told) = session.exchange(exact.flags(mode.flags), &SIZES)?;
    ensure!(ends.len() == 2 && ends.iter().all(mode.shows), "not in this mode: {ends:?}");
    account::whole(&told)
}

/// Holds all of these modes to be told whole.
pub(crate) fn in_modes(
    node: &Node,
    exact: impl Fn() -> Result<Exact>,
    modes: &[&[Mode]],
) -> Result<()> {
    // Its library is probed when the agent starts, and needs nothing when others map it.
    let _first = exact()?.start(&[])?;
    let mut session = Session::start(node, &[], 2)?;
    for mode in modes.iter().copied().flatten() {
        in_mode(&mut session, exact()?, mode).with_context(|| format!("with {:?}", mode.flags))?;
    }
    session.stop()
}

fn on_the_machines_openssl(node: &Node) -> Result<()> {
    in_modes(node, || node.exact(), &[&MODES, &EX, &RENEGOTIATED])
}

/// The first kind is that of all others, where the kernel has it.
fn by_other_links(node: &Node) -> Result<()> {
    let _first = node.exact()?.start(&[])?;
    for (kind, _) in links::kinds()? {
        let mut session = Session::start(node, &["--links", kind], 2)?;
        for mode in [&MODES[0], &MODES[4], &EX[2]] {
            let told = in_mode(&mut session, node.exact()?, mode);
            told.with_context(|| format!("with {:?} by links of the kind {kind}", mode.flags))?;
        }
        session.stop()?;
    }
    Ok(())
}

fn on_openssl_1_1_1(node: &Node) -> Result<()> {
    in_modes(node, || node.exact_on(Library::OpenSsl111), &[&MODES, &EX, &RENEGOTIATED])
}

fn on_the_newest_openssl_3(node: &Node) -> Result<()> {
    in_modes(node, || node.exact_on(Library::OpenSsl3), &[&MODES, &EX, &RENEGOTIATED])
}

fn on_boringssl(node: &Node) -> Result<()> {
    in_modes(node, || node.exact_on(Library::BoringSsl), &[&MODES])
}

fn on_aws_lc(node: &Node) -> Result<()> {
    in_modes(node, || node.exact_on(Library::AwsLc), &[&MODES, &EX])
}

/// Gaps that the limit of a call makes when each message is one call.
fn beyond(limit: u64, sizes: &[usize]) -> Vec<Gap> {
    let mut gaps = Vec::new();
    let mut start = 0;
    for size in sizes.iter().map(|&size| size as u64) {
        if size > limit {
            let (offset, length) = (start + limit, size - limit);
            gaps.push(Gap { offset, length, reason: "limit".to_owned() });
        }
        start += size;
    }
    gaps
}

/// Holds an end's gaps to be those of the limit, and others that say that something was full.
fn gaps_beyond(told: &Told, limits: &[Gap]) -> Result<()> {
    let gaps = &told.seen.gaps;
    let sum = |gaps: &[Gap]| gaps.iter().map(|gap| gap.length).sum::<u64>();
    ensure!(gaps == limits || sum(gaps) > sum(limits), "gaps {gaps:?}, not {limits:?}");
    for limit in limits {
        // What was lost before it is in the same gap.
        let holds = |gap: &Gap| {
            gap.offset <= limit.offset && limit.offset + limit.length <= gap.offset + gap.length
        };
        ensure!(gaps.iter().any(holds), "no gap holds {limit:?}: {gaps:?}");
    }
    let known = ["limit", "ring-full", "queue-full"];
    let other = gaps.iter().find(|gap| !known.contains(&gap.reason.as_str()));
    ensure!(other.is_none(), "a gap for another reason: {other:?}");
    Ok(())
}

/// Exchanges messages of many MiB in these modes; what one call writes has a gap beyond the limit.
fn big(node: &Node, arguments: &[&str], limit: u64, modes: &[&[&str]]) -> Result<()> {
    let sizes = [8 * MIB, 3, 64 * MIB, 2];
    let mut session = Session::start(node, arguments, 2)?;
    for flags in modes {
        let (ends, told) = session.exchange(node.exact()?.flags(flags), &sizes)?;
        ensure!(ends.len() == 2 && told.len() == 4, "ends {ends:?}");
        for told in &told {
            // What is read, and what is written in parts, are calls of at most a record.
            let short = told.direction == "receive" || flags.contains(&"--partial");
            let limits = if short { Vec::new() } else { beyond(limit, &sizes) };
            gaps_beyond(told, &limits)
                .with_context(|| format!("{} with {flags:?}", told.direction))?;
        }
    }
    session.stop()
}

/// A call of more than 4 MiB has a gap, exactly there.
fn of_big_calls(node: &Node) -> Result<()> {
    big(node, &[], 4 << 20, &[&[], &["--ex", "--nonblocking", "1"]])
}

fn of_big_calls_with_room_for_them(node: &Node) -> Result<()> {
    let arguments = ["--max-call-bytes", "134217728", "--ring-size", "262144"];
    big(node, &arguments, 128 << 20, &[&[], &["--partial"]])
}
