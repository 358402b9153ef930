//! What the agent is to cost at most: the figures of a run, held against bounds.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::table::Table;

/// One figure and its bound.
pub(super) struct Goal {
    name: String,
    /// Absent when it was not measured, or not by all that it is made of.
    value: Option<f64>,
    bound: Bound,
}

#[derive(Clone, Copy)]
pub(super) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Goal {
    pub(super) fn new(name: impl Into<String>, value: Option<f64>, bound: Bound) -> Self {
        Self { name: name.into(), value, bound }
    }

    fn is_missed(&self) -> bool {
        match (self.value, self.bound) {
            (None, _) => false,
            (Some(value), Bound::AtLeast(bound)) => value < bound,
            (Some(value), Bound::AtMost(bound)) => value > bound,
        }
    }

    fn row(&self) -> Vec<String> {
        let value = self.value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
        let bound = match self.bound {
            Bound::AtLeast(bound) => format!("≥ {bound}"),
            Bound::AtMost(bound) => format!("≤ {bound}"),
        };
        let word = match self.value {
            None => "not measured",
            Some(_) if self.is_missed() => "**missed**",
            Some(_) => "held",
        };
        vec![self.name.clone(), value, bound, word.to_owned()]
    }
}

/// Prints the goals that were measured.
pub(super) fn print(goals: &[Goal]) -> Result<()> {
    let mut table = Table::new("Goals", ["figure", "measured", "bound", ""]);
    goals.iter().filter(|goal| goal.value.is_some()).for_each(|goal| table.row(goal.row()));
    table.print()
}

/// Fails when one was missed.
pub(super) fn check(goals: &[Goal]) -> Result<()> {
    let missed: Vec<_> = goals.iter().filter(|goal| goal.is_missed()).collect();
    if missed.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missed.iter().map(|goal| goal.name.as_str()).collect();
    bail!("{} goals were missed: {}", names.len(), names.join("; "))
}

pub(super) fn json(goals: &[Goal]) -> Value {
    let one = |goal: &Goal| json!({"goal": goal.name, "measured": goal.value, "missed": goal.is_missed()});
    goals.iter().map(one).collect()
}
