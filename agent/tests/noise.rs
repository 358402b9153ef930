//! Random bytes behind the beginning of every protocol: no panic, and memory that stays bounded.
//!
//! `TLSTAP_NOISE_MIB` says how many MiB each decoder gets; `cargo xtask ci` gives each 1 GiB.

#[expect(unreachable_pub, reason = "public for the fuzz targets")]
#[path = "../../fuzz/src/conversation.rs"]
mod conversation;
#[expect(unreachable_pub, reason = "likewise")]
#[path = "../../fuzz/src/openings.rs"]
mod openings;

use std::{env, fs};

use tlstap::capture::Direction;
use tlstap_tests::random::Random;

use self::conversation::Conversation;

const MIB: usize = 1 << 20;
/// A connection is given up by its decoder after a while: there are many, of different lengths.
const LONGEST: usize = 256 << 10;
/// Resident memory that all may add, in KiB.
const ADDED: u64 = 96 << 10;

#[test]
fn noise_does_no_harm() {
    let mib = env::var("TLSTAP_NOISE_MIB").map_or(8, |mib| mib.parse().unwrap());
    let before = resident().unwrap();
    for (name, opening) in openings::ALL {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut buffer = vec![0; 16 << 10];
        let (mut left, mut told) = (mib * MIB, 0);
        while left > 0 {
            let mut conversation = Conversation::begin(&opening());
            let mut length = random.below(LONGEST);
            while length > 0 && left > 0 {
                let piece = 1 + random.below(length.min(buffer.len()));
                random.fill(&mut buffer[..piece]);
                let direction =
                    if random.number() & 1 == 0 { Direction::Transmit } else { Direction::Receive };
                conversation.say(direction, &buffer[..piece]);
                if random.below(64) == 0 {
                    conversation.lose(direction, 1 + random.number() % 1_000);
                }
                (length, left) = (length - piece, left.saturating_sub(piece));
            }
            told += conversation.end();
        }
        println!("{name}: {mib} MiB, {told} records");
        assert!(told > 0, "{name} told nothing");
        let added = resident().unwrap().saturating_sub(before);
        assert!(added < ADDED, "{added} KiB more than before after {name}");
    }
}

/// In KiB.
fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
