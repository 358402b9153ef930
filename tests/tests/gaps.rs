//! Bytes that were not copied are reported, with offset, length and reason: never silence.

use anyhow::{Result, ensure};
use serde_json::Value;
use tlstap_tests::{
    event::number,
    node::Node,
    streams::{self, Piece},
};

crate::tests![beyond_the_limit_of_a_call, of_a_ring_that_overflows];

/// Traces rounds of a message both ways with these arguments, until every byte of it is
/// accounted for. The streams' pieces.
fn streams(
    node: &Node,
    arguments: &[&str],
    message: &[u8],
    (pairs, rounds): (usize, usize),
) -> Result<Vec<Vec<Piece>>> {
    let (pairs_flag, rounds_flag) = (pairs.to_string(), rounds.to_string());
    let talk = node.talk()?.flags(&["--pairs", &pairs_flag, "--rounds", &rounds_flag]);
    let mut talking = talk.start(message, message)?;
    let pid = talking.pid();
    let mut agent = node
        .tlstap(&[&["trace", "--raw", "--show-secrets", "-o", "json"], arguments].concat())?
        .ready()?;
    talking.go()?;
    let total = (4 * pairs * rounds * message.len()) as u64;
    agent.wait_for(&format!("data and gaps of {total} bytes"), |events| {
        let mine = events.iter().filter(|event| number(event, "/process/pid") == Some(pid.into()));
        let bytes: u64 = mine.filter_map(|event: &Value| number(event, "/length")).sum();
        (bytes >= total).then_some(())
    })?;
    talking.end()?;
    let ended = agent.stop()?;
    ended.summary()?;
    let streams = streams::pieces(&ended.events()?, pid)?;
    ensure!(streams.len() == 4 * pairs, "{} streams, not {}", streams.len(), 4 * pairs);
    Ok(streams.into_values().collect())
}

fn beyond_the_limit_of_a_call(node: &Node) -> Result<()> {
    let message: Vec<u8> = (b'a'..=b'z').cycle().take(5_000).collect();
    let arguments = ["--max-call-bytes", "1000"];
    let start: Vec<u8> = message.iter().take(1_000).copied().collect();
    let round = [Piece::Data(start), Piece::Gap(4_000, "limit".to_owned())];
    let wanted: Vec<_> = round.iter().cycle().take(6).cloned().collect();
    for stream in streams(node, &arguments, &message, (1, 3))? {
        ensure!(stream == wanted, "not three starts and gaps but {stream:?}");
    }
    Ok(())
}

/// A ring of a page or two, and more threads than it has room for.
fn of_a_ring_that_overflows(node: &Node) -> Result<()> {
    let message: Vec<u8> = (b'a'..=b'z').cycle().take(16_000).collect();
    let streams = streams(node, &["--ring-size", "64"], &message, (8, 100))?;
    let whole = message.repeat(100);
    let mut lost = 0;
    for stream in streams {
        let mut at = 0;
        for piece in stream {
            match piece {
                Piece::Data(bytes) => {
                    let sent = whole.get(at..at + bytes.len());
                    ensure!(sent == Some(&bytes), "other bytes than were sent at {at}");
                    at += bytes.len();
                }
                Piece::Gap(length, reason) => {
                    // Whichever of the two is slower than the traffic.
                    let full = ["ring-full", "queue-full"].contains(&reason.as_str());
                    ensure!(full, "a gap for another reason: {reason}");
                    lost += 1;
                    at += usize::try_from(length)?;
                }
            }
        }
        ensure!(at == whole.len(), "a stream of {at} bytes, not {}", whole.len());
    }
    ensure!(lost > 0, "a ring this small must lose something, or this tests nothing");
    Ok(())
}
