//! Times of records in, text out. Records come in their order, so what all times of a second have in
//! common is written once.

use jiff::Timestamp;

const SECOND: i64 = 1_000_000_000;

/// The last second.
#[derive(Debug, Default)]
pub(super) struct Clock {
    second: i64,
    /// Empty at first.
    text: String,
}

impl Clock {
    /// What `write` makes of the second of a time, nanoseconds since the epoch, which is always the
    /// same; and how many nanoseconds came after that.
    pub(super) fn at(&mut self, ns: i64, write: impl FnOnce(Timestamp) -> String) -> (&str, i64) {
        let second = ns.div_euclid(SECOND);
        if second != self.second || self.text.is_empty() {
            let time = Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH);
            (self.second, self.text) = (second, write(time));
        }
        (&self.text, ns.rem_euclid(SECOND))
    }
}
