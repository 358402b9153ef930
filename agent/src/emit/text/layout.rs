//! How wide a terminal is in, which columns a line has and how wide their names may be out.

/// Names are cut at no less, and no more.
const NAMES: (usize, usize) = (8, 40);
const PROCESS: usize = 10;
/// Columns that all else takes: the time, what is done, the status, the duration, and blanks; then
/// the sizes.
const OTHERS: usize = 47;
const SIZES: usize = 22;
/// What is left for what was asked for, at least where there is room.
const TARGET: usize = 24;
/// Narrower terminals show no sizes.
const WIDE: usize = 120;

/// Of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Columns of the container's name and of the process's. Absent: longer names move the rest of
    /// their line.
    pub(super) names: Option<[usize; 2]>,
    pub(super) sizes: bool,
}

impl Layout {
    /// For so many columns; for what is no terminal, all is shown.
    pub(super) fn of(columns: Option<u16>) -> Self {
        let Some(columns) = columns.map(usize::from) else {
            return Self { names: None, sizes: true };
        };
        let sizes = columns >= WIDE;
        let taken = OTHERS + TARGET + if sizes { SIZES } else { 0 };
        let room = columns.saturating_sub(taken);
        let (least, most) = NAMES;
        let container = (room * 2 / 5).clamp(least, most);
        let process = room.saturating_sub(container).clamp(PROCESS, most);
        Self { names: Some([container, process]), sizes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_what_the_rest_leaves() {
        let of = |columns| Layout::of(Some(columns));
        assert_eq!(Layout::of(None), Layout { names: None, sizes: true });
        assert_eq!(of(40), Layout { names: Some([8, 10]), sizes: false });
        assert_eq!(of(100), Layout { names: Some([11, 18]), sizes: false });
        assert_eq!(of(120), Layout { names: Some([10, 17]), sizes: true });
        assert_eq!(of(200), Layout { names: Some([40, 40]), sizes: true });
    }
}
