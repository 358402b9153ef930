//! What tells SMTP from other protocols: the client's first words.

use super::resume::is_plain_command;
use crate::decode::{
    Role,
    protocol::{Guess, Sighting},
};

/// A greeting is no longer.
const GREETING_LIMIT: usize = 4096;

pub(super) fn guess(sighting: &Sighting<'_>) -> Guess {
    const HELLOS: [&[u8]; 2] = [b"EHLO ", b"HELO "];
    let bytes = sighting.bytes;
    let (word, rest) = bytes.split_at_checked(5).unwrap_or((bytes, &[]));
    let is = |known: &[u8]| known.get(..word.len()).is_some_and(|k| k.eq_ignore_ascii_case(word));
    let hello = HELLOS.into_iter().any(is) && bytes.len() < 1024;
    match memchr::memchr(b'\n', rest) {
        _ if !sighting.first => Guess::No,
        // The client's first words tell: other protocols greet so, too.
        _ if [b"220 ", b"220-"]
            .iter()
            .any(|known| known.starts_with(bytes.get(..4).unwrap_or(bytes))) =>
        {
            if bytes.len() < GREETING_LIMIT { Guess::Maybe } else { Guess::No }
        }
        None if hello => Guess::Maybe,
        Some(end) if hello && is_plain_command(bytes.get(..end + 6).unwrap_or_default()) => {
            Guess::Yes(Role::of_requests(sighting.at))
        }
        _ => Guess::No,
    }
}

pub(super) fn guess_joined(sighting: &Sighting<'_>) -> Guess {
    const BEGINNINGS: [&[u8]; 3] = [b"EHLO ", b"HELO ", b"MAIL FROM:<"];
    let is = |known: &[u8]| {
        sighting.bytes.get(..known.len()).is_some_and(|word| word.eq_ignore_ascii_case(known))
    };
    let begins = BEGINNINGS.into_iter().any(is) && is_plain_command(sighting.bytes);
    if begins && !sighting.first { Guess::Yes(Role::of_requests(sighting.at)) } else { Guess::No }
}
