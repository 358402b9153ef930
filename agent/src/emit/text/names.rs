//! The columns of names: where a process lives, and which it is.

use std::{fmt::Write as _, sync::Arc};

use unicode_width::UnicodeWidthStr as _;

use super::super::{escape::Escaped, place::place};
use crate::{
    enrich::{Container, Process, Record},
    terminal::cut,
};

/// A column of names is no wider; a longer name moves the rest of its own line only.
pub(super) const LIMIT: usize = 40;
/// How wide the columns are at first.
const WIDTHS: [usize; 2] = [12, 16];

/// Both columns. Each is as wide as the widest name yet, so that lines that follow each other line up
/// whatever the names are.
#[derive(Debug)]
pub(super) struct Names {
    widths: [usize; 2],
    /// Columns of the terminal that each may take at most.
    limits: Option<[usize; 2]>,
    /// Most records are of the process of the one before.
    last: Option<Last>,
}

/// Of whom the cells are, and they.
#[derive(Debug)]
struct Last {
    process: Arc<Process>,
    container: Option<Arc<Container>>,
    cells: String,
}

impl Last {
    fn is_of(&self, record: &Record) -> bool {
        let same_container = match (&self.container, &record.container) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        same_container && Arc::ptr_eq(&self.process, &record.process)
    }
}

impl Names {
    pub(super) const fn new() -> Self {
        Self { widths: WIDTHS, limits: None, last: None }
    }

    /// From now on the columns are no wider than this, if that is given.
    pub(super) fn narrow(&mut self, limits: Option<[usize; 2]>) {
        for (width, limit) in self.widths.iter_mut().zip(limits.iter().flatten()) {
            *width = (*width).min(*limit);
        }
        self.limits = limits;
        self.last = None;
    }

    /// How wide the columns are now.
    pub(super) const fn widths(&self) -> [usize; 2] {
        self.widths
    }

    /// The cells of a record, with two blanks behind each.
    pub(super) fn cells(&mut self, record: &Record) -> &str {
        let known = self.last.take().filter(|last| last.is_of(record));
        let last = known.unwrap_or_else(|| Last {
            process: Arc::clone(&record.process),
            container: record.container.clone(),
            cells: self.made(record),
        });
        &self.last.insert(last).cells
    }

    /// The cells of a line that is of no process, likewise.
    pub(super) fn cell(&self, name: &str) -> String {
        let [width, _] = self.widths;
        format!("{name:<width$}  ")
    }

    fn made(&mut self, record: &Record) -> String {
        let [container, process] = match self.limits {
            Some([container, process]) => [Some(container), Some(process)],
            None => [None, None],
        };
        let names = [named(record, container), numbered(record, process)];
        let mut cells = String::new();
        for (name, width) in names.iter().zip(&mut self.widths) {
            // In columns of the terminal: letters may have none of their own, or two.
            let columns = name.width();
            if columns <= LIMIT {
                *width = columns.max(*width);
            }
            let blanks = width.saturating_sub(columns) + 2;
            // Writing to a string cannot fail.
            let _ = write!(cells, "{name}{:blanks$}", "");
        }
        cells
    }
}

/// Where the process lives, in at most so many columns.
fn named(record: &Record, limit: Option<usize>) -> String {
    let place = place(record.container.as_deref());
    let name = Escaped(place.as_bytes()).text();
    limit.map_or_else(|| name.to_string(), |limit| cut(&name, limit))
}

/// The process likewise; its number is never cut.
fn numbered(record: &Record, limit: Option<usize>) -> String {
    let command = record.process.command.as_deref().unwrap_or("?");
    let command = Escaped(command.as_bytes()).text();
    let number = format!("[{}]", record.process.pid);
    let command = match limit {
        Some(limit) => cut(&command, limit.saturating_sub(number.len())),
        None => command.into_owned(),
    };
    command + &number
}
