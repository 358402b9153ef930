//! Rows of cells in, lines out in which they stand below each other.

/// The rows, each as a line. A column is as wide as its widest cell.
pub(super) fn lines<R: AsRef<[String]>>(rows: &[R]) -> impl Iterator<Item = String> {
    let mut widths = Vec::new();
    for row in rows.iter().map(AsRef::as_ref) {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    rows.iter().map(move |row| {
        let cells = row.as_ref().iter().zip(&widths);
        let cells: Vec<_> = cells.map(|(cell, &width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    })
}
