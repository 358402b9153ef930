//! Tables in Markdown, as they stand in docs/performance.md too.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use anyhow::{Context as _, Result};

pub(super) struct Table {
    title: String,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new<'a>(title: &str, header: impl IntoIterator<Item = &'a str>) -> Self {
        let header = header.into_iter().map(str::to_owned).collect();
        Self { title: title.to_owned(), rows: vec![header] }
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Writes it to standard output.
    pub(super) fn print(&self) -> Result<()> {
        let mut text = format!("\n{}\n\n", self.title);
        for (number, row) in self.rows.iter().enumerate() {
            // Writing into a string does not fail.
            let _ = writeln!(text, "| {} |", row.join(" | "));
            if number == 0 {
                let _ = writeln!(text, "|{}", "---|".repeat(row.len()));
            }
        }
        io::stdout().write_all(text.as_bytes()).context("failed to write the table")
    }
}
