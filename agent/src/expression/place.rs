//! What is wrong with an expression, and where, for the user.

use cel::ParseErrors;

/// Something wrong, with the character that it is at.
#[derive(Debug)]
pub(super) struct Mistake {
    pub(super) place: Option<usize>,
    pub(super) what: String,
}

impl Mistake {
    /// The first that the parser found.
    pub(super) fn of(errors: &ParseErrors) -> Self {
        let Some(error) = errors.errors.first() else {
            return Self { place: None, what: "it cannot be read".to_owned() };
        };
        let (line, column) = error.pos;
        // A command line is one line; else only what is wrong is told.
        let place = (line <= 1).then(|| usize::try_from(column - 1).ok()).flatten();
        let what = error.msg.trim_start_matches("Syntax error: ").to_owned();
        Self { place, what }
    }
}

/// A mistake with the expression below, and a caret below the place.
pub(super) fn explain(source: &str, mistake: &Mistake) -> String {
    let Mistake { place, what } = mistake;
    match place {
        Some(place) if !source.contains(char::is_control) => {
            format!("{what}\n  {source}\n  {:>width$}", '^', width = place + 1)
        }
        _ => what.clone(),
    }
}
