//! Statements and portals of one connection by their names: what an Execute message executes.

use std::{collections::HashMap, sync::Arc};

/// How many names are remembered, and bytes.
const NAMES_LIMIT: usize = 1024;
const BYTES_LIMIT: usize = 1 << 20;

/// A statement, and for a portal the values bound to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Statement {
    /// `None` when its Parse message was not seen.
    pub(super) sql: Option<Arc<str>>,
    pub(super) parameters: Arc<[Option<String>]>,
    /// Whether some of it is left out.
    pub(super) cut: bool,
}

/// `S` for a statement or `P` for a portal, and its name.
pub(super) type Name = (u8, Box<[u8]>);

/// What a name stood for before, to be undone when the message fails.
pub(super) type Undo = (Name, Option<Statement>);

#[derive(Debug, Default)]
pub(super) struct Statements {
    by_name: HashMap<Name, Statement>,
    bytes: usize,
}

impl Statements {
    pub(super) fn find(&self, kind: u8, name: &[u8]) -> Option<&Statement> {
        self.by_name.get(&(kind, name.into()))
    }

    /// Gives a name a meaning, or takes it. When there are too many, all are forgotten: a
    /// statement without text is better than one with another's.
    pub(super) fn set(&mut self, name: Name, statement: Option<Statement>) -> Undo {
        let before = self.by_name.remove(&name);
        self.bytes -= before.as_ref().map_or(0, |before| weight(&name, before)).min(self.bytes);
        if let Some(statement) = statement {
            let added = weight(&name, &statement);
            if self.by_name.len() >= NAMES_LIMIT || self.bytes + added > BYTES_LIMIT {
                self.clear();
            }
            self.bytes += added;
            self.by_name.insert(name.clone(), statement);
        }
        (name, before)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) const fn weight(&self) -> usize {
        self.bytes
    }
}

fn weight((_, name): &Name, statement: &Statement) -> usize {
    let values = statement.parameters.iter();
    let values = values.map(|value| size_of_val(value) + value.as_ref().map_or(0, String::len));
    let sql = statement.sql.as_ref().map_or(0, |sql| sql.len());
    size_of::<(Name, Statement)>() + name.len() + sql + values.sum::<usize>()
}
