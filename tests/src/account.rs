//! What programs say of themselves against what the agent told: every direction of every
//! connection once, whole or with gaps that account for each byte.

use anyhow::{Context as _, Result, ensure};

use crate::{
    exact::End,
    recording::{Recording, Seen},
};

/// One direction of one end, and what was seen of it.
pub struct Told {
    /// The end.
    pub end: End,
    /// The direction.
    pub direction: &'static str,
    /// What was seen.
    pub seen: Seen,
}

/// Bytes that these ends sent and received.
pub fn total(ends: &[End]) -> u64 {
    ends.iter().flat_map(End::flows).map(|(_, _, flow)| flow.bytes).sum()
}

/// Bytes that were told, or told to be missing, of the processes of these ends.
pub fn accounted(recording: &Recording, ends: &[End]) -> u64 {
    let mine = recording.seen().filter(|(_, seen)| ends.iter().any(|end| end.pid == seen.pid));
    mine.map(|(_, seen)| seen.length).sum()
}

/// Matches both directions of all ends with what was seen of their processes.
///
/// Fails when a direction was not seen, or with another length, or as another stream; when
/// something was seen that is of no end; and when bytes without gaps have another hash than
/// the program's own.
pub fn told(recording: &Recording, ends: &[End]) -> Result<Vec<Told>> {
    let mine = recording.seen().filter(|(_, seen)| ends.iter().any(|end| end.pid == seen.pid));
    let mut left: Vec<_> = mine.map(|(key, seen)| (&key.0, seen)).collect();
    for (id, seen) in &left {
        ensure!(
            seen.foreign.is_none(),
            "{} of {id} carries foreign bytes: {seen:?}",
            seen.direction
        );
    }
    // Those that can be but one thing first.
    left.sort_by_key(|(_, seen)| seen.streams.len());
    let mut all = Vec::new();
    for end in ends {
        for (direction, stream, flow) in end.flows() {
            if flow.bytes == 0 {
                continue;
            }
            let fits = |seen: &Seen| {
                (seen.pid, seen.direction.as_str()) == (end.pid, direction)
                    && seen.streams.contains(&stream)
                    && seen.length == flow.bytes
            };
            // Of those with gaps several may fit: then the port tells which it is.
            let same_port = |seen: &Seen| seen.ports.iter().all(|ports| ports.0 == end.port);
            let at = left.iter().position(|(_, seen)| fits(seen) && same_port(seen));
            let at = at.or_else(|| left.iter().position(|(_, seen)| fits(seen)));
            let at = at.with_context(|| missing(&left, end, direction, stream))?;
            let seen = left.remove(at).1.clone();
            let same = !seen.gaps.is_empty() || seen.hash() == flow.hash;
            ensure!(same, "another hash than the program's own, {direction} of {end:?}");
            all.push(Told { end: end.clone(), direction, seen });
        }
    }
    ensure!(left.is_empty(), "seen beside all that was said: {left:?}");
    Ok(all)
}

fn missing(left: &[(&String, &Seen)], end: &End, direction: &str, stream: u64) -> String {
    let alike: Vec<_> = left
        .iter()
        .filter(|(_, seen)| seen.direction == direction && seen.streams.contains(&stream))
        .collect();
    format!("{direction} of {end:?} was not seen, or not with this length; alike: {alike:?}")
}

/// Holds all to be without gaps.
pub fn whole(told: &[Told]) -> Result<()> {
    for Told { end, direction, seen } in told {
        ensure!(seen.gaps.is_empty(), "{direction} of {end:?} has gaps: {:?}", seen.gaps);
    }
    Ok(())
}

/// Holds all gaps to be there because something was full.
pub fn only_full(told: &[Told]) -> Result<()> {
    let full = ["ring-full", "queue-full"];
    for Told { end, direction, seen } in told {
        let other = seen.gaps.iter().find(|gap| !full.contains(&gap.reason.as_str()));
        ensure!(other.is_none(), "{direction} of {end:?} has another gap: {other:?}");
    }
    Ok(())
}

/// Holds the ports, wherever they were told, to be the program's. Gives for how many
/// directions they were told.
pub fn ports(told: &[Told], ends: &[End]) -> Result<usize> {
    let mut known = 0;
    for Told { end, direction, seen } in told {
        let peer = ends.iter().find(|other| other.stream == end.peer() && other.pid == end.pid);
        let right = (end.port, peer.context("no peer")?.port);
        for &ports in &seen.ports {
            ensure!(ports == right, "{direction} of {end:?} with ports {ports:?}, not {right:?}");
        }
        known += usize::from(!seen.ports.is_empty());
    }
    Ok(known)
}
