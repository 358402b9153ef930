//! Redis: arguments that are secrets, and values of secrets' names in replies.
//! <https://redis.io/docs/latest/develop/reference/protocol-spec/>

use super::{
    Layout, Take, Taken, Wire,
    lanes::{Hide, Lanes},
};
use crate::{
    capture::Direction,
    redact::{names, word::Word},
};

/// A longer line is none.
const LINE: u64 = 64 << 10;
/// A longer word is no name of a command or an option.
const WORD: u64 = 64;

pub(super) fn guess(bytes: &[u8], at: Direction, _: bool) -> Option<Box<dyn Wire>> {
    let [b'*', b'1'..=b'9', rest @ ..] = bytes else { return None };
    let digits = rest.iter().take(6).take_while(|byte| byte.is_ascii_digit()).count();
    let array = rest.get(digits..).is_some_and(|rest| rest.starts_with(b"\r\n$"));
    array.then(|| Box::new(Lanes::new(at, Redis::default())) as Box<dyn Wire>)
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// A line of RESP, or a word of an inline command.
    #[default]
    Line,
    /// Another one.
    Inline,
    /// Of a bulk string.
    Text,
    Behind,
}

#[derive(Debug, Default)]
struct Redis {
    /// By side: the server, the client.
    at: [At; 2],
    /// Strings of the command that were seen, and the first ones.
    words: u64,
    first: [Vec<u8>; 2],
    /// Whether the next string is a secret, by side.
    secret: [bool; 2],
}

impl Layout for Redis {
    fn begin(&mut self, client: bool) -> Take {
        self.go(client, At::Line, line(client))
    }

    fn next(&mut self, client: bool, taken: &Taken<'_>) -> Take {
        let at = self.at.get(usize::from(client)).copied().unwrap_or_default();
        let ended = taken.end != Some(b' ');
        match (at, taken.seen) {
            (At::Line, [b'*' | b'%' | b'~' | b'>', ..]) if taken.length < 16 => {
                self.words = if client { 0 } else { self.words };
                if let Some(secret) = self.secret.get_mut(usize::from(client)) {
                    *secret = false;
                }
                self.begin(client)
            }
            (At::Line, [b'$' | b'=', length @ ..]) => match number(length) {
                Some(length) => self.text(client, length),
                // A null.
                None => self.begin(client),
            },
            (At::Line, [_, ..]) if client => {
                self.words = 0;
                self.inline(taken, ended)
            }
            (At::Inline, _) => self.inline(taken, ended),
            (At::Line, [first, ..]) if b"+-:_#,(!|*%~>.".contains(first) && !client => {
                self.begin(client)
            }
            (At::Line, _) => Take::Lost,
            (At::Text, _) => {
                self.word(client, taken.seen);
                self.go(client, At::Behind, Take::Keep(2))
            }
            (At::Behind, _) => self.begin(client),
        }
    }

    fn resumes(&mut self, client: bool, input: &[u8]) -> bool {
        self.secret = [false; 2];
        let first = input.first();
        first
            .is_some_and(|first| if client { *first == b'*' } else { b"+-:$*%~>_".contains(first) })
    }
}

const fn line(client: bool) -> Take {
    Take::Until { ends: if client { b" \n" } else { b"\n" }, limit: LINE, hide: Hide::Nothing }
}

fn number(line: &[u8]) -> Option<u64> {
    str::from_utf8(line.trim_ascii_end()).ok()?.parse().ok()
}

impl Redis {
    const fn go(&mut self, client: bool, at: At, take: Take) -> Take {
        let [server, of] = &mut self.at;
        *(if client { of } else { server }) = at;
        take
    }

    fn text(&mut self, client: bool, length: u64) -> Take {
        let secret = self.secret.get(usize::from(client)) == Some(&true);
        let take = match secret {
            true => Take::Hide(length),
            false if length <= WORD => Take::See(length),
            false => Take::Keep(length),
        };
        self.go(client, At::Text, take)
    }

    /// A word of an inline command, up to the blank behind it or the end of the line.
    fn inline(&mut self, taken: &Taken<'_>, ended: bool) -> Take {
        self.word(true, taken.seen.trim_ascii_end());
        let hide = if matches!(self.secret, [_, true]) { Hide::All } else { Hide::Nothing };
        if ended {
            self.secret = [false; 2];
            return self.begin(true);
        }
        self.go(true, At::Inline, Take::Until { ends: b" \n", limit: LINE, hide })
    }

    /// A string: whether the next one is a secret.
    fn word(&mut self, client: bool, word: &[u8]) {
        let word = word.to_ascii_uppercase();
        let [server, next] = &mut self.secret;
        if !client {
            let mut name = Word::default();
            word.iter().for_each(|byte| name.push(*byte));
            *server = !word.is_empty()
                && (names::kind(name.as_bytes(), false).is_some() || word == b"MASTERAUTH");
            return;
        }
        let number = self.words;
        self.words += 1;
        if let Some(place) = usize::try_from(number).ok().and_then(|at| self.first.get_mut(at)) {
            *place = word.clone();
        }
        let [first, second] = &self.first;
        *next = match first.as_slice() {
            b"AUTH" => true,
            b"HELLO" | b"MIGRATE" => number >= 1,
            b"ACL" => number >= 1 && second == b"SETUSER",
            b"SENTINEL" => number >= 2 && second == b"SET",
            // Names and values by turns.
            b"CONFIG" if number >= 2 && second == b"SET" => {
                let named = |name: &[u8]| memchr::memmem::find(&word, name).is_some();
                number.is_multiple_of(2) && (named(b"PASS") || named(b"AUTH"))
            }
            _ => false,
        };
    }
}
