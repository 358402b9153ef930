//! Medians: what is left of many noisy rounds.

/// A median with the lowest and highest.
#[derive(Clone, Copy)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) lowest: f64,
    pub(super) highest: f64,
}

impl Spread {
    /// `None` of nothing.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<_> = values.into_iter().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let upper = *sorted.get(middle)?;
        let even = sorted.len().is_multiple_of(2);
        let lower = if even { *sorted.get(middle - 1)? } else { upper };
        let median = f64::midpoint(lower, upper);
        Some(Self { median, lowest: *sorted.first()?, highest: *sorted.last()? })
    }
}
