//! Bytes of both directions in, the places of secrets out, by the layout of a protocol: what comes
//! next is named by the protocol, and taken here, however it is split.

use std::fmt;

use super::{Edits, Read, Wire, sql::Sql};
use crate::{capture::Direction, redact::Patterns};

/// Bytes of what is looked at that are kept.
const SEEN: usize = 64;
/// Steps without a byte: a layout needs few.
const IDLE: u32 = 16;

/// Whether a word is hidden.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hide {
    Nothing,
    All,
    /// It is not, if it begins so, in upper case. What is split is hidden.
    Unless(&'static [&'static [u8]]),
}

impl Hide {
    fn hides(self, word: &[u8], whole: bool) -> bool {
        match self {
            Self::Nothing => false,
            Self::All => true,
            Self::Unless(words) => {
                let word = word.to_ascii_uppercase();
                !(whole && words.iter().any(|known| word.starts_with(known)))
            }
        }
    }
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Take {
    /// So many bytes that the layout wants to see; [`SEEN`] at most.
    See(u64),
    /// Others that are no secret.
    Keep(u64),
    /// A secret.
    Hide(u64),
    /// Up to one of these, which is taken too, and no more than so many.
    Until { ends: &'static [u8], limit: u64, hide: Hide },
    /// SQL, which a zero byte may end.
    Sql { limit: u64, zero: bool },
    /// It is not known what comes.
    Lost,
}

impl Take {
    /// A string that a zero byte ends.
    pub(super) const fn string(limit: u64) -> Self {
        Self::Until { ends: b"\0", limit, hide: Hide::Nothing }
    }

    const fn limit(&self) -> u64 {
        match self {
            Self::See(limit) | Self::Keep(limit) | Self::Hide(limit) => *limit,
            Self::Until { limit, .. } | Self::Sql { limit, .. } => *limit,
            Self::Lost => 0,
        }
    }

    /// Where what ends it is.
    fn end(&self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Until { ends: [end], .. } => memchr::memchr(*end, bytes),
            Self::Until { ends, .. } => bytes.iter().position(|byte| ends.contains(byte)),
            Self::Sql { zero: true, .. } => memchr::memchr(0, bytes),
            _ => None,
        }
    }
}

/// What was taken.
#[derive(Debug)]
pub(super) struct Taken<'a> {
    /// Of what is looked at, the first bytes.
    pub(super) seen: &'a [u8],
    pub(super) length: u64,
    /// What it was taken up to.
    pub(super) end: Option<u8>,
    /// SQL that names a secret.
    pub(super) secret: bool,
}

impl Taken<'_> {
    /// What was seen as one number, in network order.
    pub(super) fn number(&self) -> u64 {
        self.seen.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }

    /// The same, the lowest byte first.
    pub(super) fn little(&self) -> u64 {
        self.seen.iter().take(8).rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }
}

/// The layout of a protocol's messages.
pub(super) trait Layout: fmt::Debug + Send {
    /// A message begins.
    fn begin(&mut self, client: bool) -> Take;

    /// What was asked for was taken.
    fn next(&mut self, client: bool, taken: &Taken<'_>) -> Take;

    /// What comes next instead, where nothing of it came yet.
    fn renew(&self, _client: bool) -> Option<Take> {
        None
    }

    /// Whether bytes begin a message, after others were lost.
    fn resumes(&mut self, client: bool, input: &[u8]) -> bool;
}

/// A connection.
#[derive(Debug)]
pub(super) struct Lanes<L> {
    layout: L,
    client: Direction,
    /// By [`Direction::index`].
    lanes: [Lane; 2],
}

#[derive(Debug, Default)]
struct Lane {
    /// Absent where the beginning of a message is looked for.
    take: Option<Take>,
    /// Bytes of it that are still to come, and that came.
    left: u64,
    length: u64,
    seen: Vec<u8>,
    end: Option<u8>,
    sql: Sql,
}

impl<L: Layout> Lanes<L> {
    pub(super) fn new(client: Direction, mut layout: L) -> Self {
        let mut lanes = [Lane::default(), Lane::default()];
        for at in Direction::BOTH {
            at.of_mut(&mut lanes).start(layout.begin(at == client));
        }
        Self { layout, client, lanes }
    }

    fn lane(&mut self, at: Direction, bytes: &[u8], edits: &mut Edits) -> Option<()> {
        let client = at == self.client;
        let lane = at.of_mut(&mut self.lanes);
        if lane.take.is_none() {
            if !self.layout.resumes(client, bytes) {
                return Some(());
            }
            lane.start(self.layout.begin(client));
        }
        if lane.length == 0
            && let Some(take) = self.layout.renew(client)
        {
            lane.start(take);
        }
        let (mut place, mut idle) = (0, 0);
        while idle < IDLE {
            let rest = bytes.get(place..).unwrap_or_default();
            let (used, done) = lane.advance(rest, place, edits)?;
            place += used;
            if !done {
                return Some(());
            }
            idle = if used == 0 { idle + 1 } else { 0 };
            let taken = Taken {
                seen: &lane.seen,
                length: lane.length,
                end: lane.end,
                secret: lane.sql.is_secret(),
            };
            let take = self.layout.next(client, &taken);
            if matches!(take, Take::Lost) {
                return None;
            }
            lane.start(take);
        }
        None
    }
}

impl Lane {
    fn start(&mut self, take: Take) {
        if matches!(take, Take::Sql { .. }) {
            self.sql = Sql::default();
        }
        self.left = take.limit();
        self.take = Some(take);
        self.seen.clear();
        self.length = 0;
    }

    /// Takes bytes; gives how many, and whether all of them came.
    fn advance(&mut self, rest: &[u8], at: usize, edits: &mut Edits) -> Option<(usize, bool)> {
        let take = self.take.as_ref()?;
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let near = rest.get(..most).unwrap_or(rest);
        let end = take.end(near);
        let used = end.map_or(near.len(), |end| end + 1);
        let near = near.get(..used).unwrap_or(near);
        let done = end.is_some() || used == most;
        match take {
            Take::Hide(_) => edits.mask(at..at + used),
            Take::Until { hide, .. } if hide.hides(near, done && self.length == 0) => {
                // What ends a line is not of the secret.
                let kept = near.iter().rev().take_while(|byte| matches!(byte, b'\r' | b'\n' | 0));
                edits.mask(at..at + used - kept.count());
            }
            Take::Sql { .. } => {
                let text = near.get(..end.unwrap_or(used)).unwrap_or(near);
                if let Some(place) = self.sql.read(text, done) {
                    edits.mask(at + place.start..at + place.end);
                }
            }
            _ => {}
        }
        if matches!(take, Take::See(_) | Take::Until { .. }) {
            let room = SEEN.saturating_sub(self.seen.len());
            self.seen.extend(near.iter().take(room));
        }
        self.end = end.and(near.last().copied());
        self.left -= used as u64;
        self.length += used as u64;
        Some((used, done))
    }
}

impl<L: Layout> Wire for Lanes<L> {
    fn read(&mut self, at: Direction, bytes: &[u8], _: &Patterns, edits: &mut Edits) -> Read {
        if self.lane(at, bytes, edits).is_none() {
            at.of_mut(&mut self.lanes).take = None;
        }
        Read::AsText
    }

    fn gap(&mut self, at: Direction, length: u64) {
        let lane = at.of_mut(&mut self.lanes);
        match &lane.take {
            Some(Take::Keep(_) | Take::Hide(_)) if length > 0 && lane.left >= length => {
                lane.left -= length;
                lane.length += length;
            }
            _ => lane.take = None,
        }
    }
}
