//! `--filter`: an expression over the names of the JSON output, in CEL (the Common Expression
//! Language). It is checked against the schema when it is read, and bounded: docs/filters.md.

mod check;
mod fields;
mod place;
#[cfg(test)]
mod tests;
mod used;

use std::{fmt, sync::Arc, thread};

use cel::{Context, Env, ExecutionError, Program, Value, extractors::This, objects::Key};
use foldhash::HashMap;
use regex::Regex;
use serde::Serialize;

use self::{
    place::{Mistake, explain},
    used::{Pruned, Used},
};

/// Bytes of an expression.
const LENGTH_LIMIT: usize = 4096;
/// Room to read one of that length, however deep: the parser recurses.
const STACK: usize = 64 << 20;

/// An expression that was checked.
#[derive(Clone)]
pub struct Expression(Arc<Checked>);

struct Checked {
    source: String,
    program: Program,
    env: Arc<Env>,
    patterns: Arc<HashMap<String, Regex>>,
    used: Used,
    needs_bodies: bool,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.0.source).finish()
    }
}

impl Expression {
    /// Reads one; the error tells what is wrong, and where.
    pub fn parse(source: &str) -> Result<Self, String> {
        if source.len() > LENGTH_LIMIT {
            return Err(format!("longer than {LENGTH_LIMIT} bytes"));
        }
        let owned = source.to_owned();
        let read = thread::Builder::new().stack_size(STACK).spawn(move || read(owned));
        let read = read.map_err(|error| error.to_string())?.join();
        let mistake = match read {
            Ok(Ok(checked)) => return Ok(Self(Arc::new(checked))),
            Ok(Err(mistake)) => mistake,
            Err(_panicked) => Mistake { place: None, what: "it cannot be read".to_owned() },
        };
        Err(explain(source, &mistake))
    }

    /// Whether bodies must be decoded though they are not shown.
    pub fn needs_bodies(&self) -> bool {
        self.0.needs_bodies
    }

    /// Whether it holds for the fields of a record. Where it needs one that is absent, it does not.
    pub fn holds(&self, record: impl Serialize) -> bool {
        let used = &self.0.used;
        let Ok(Value::Map(fields)) = cel::to_value(Pruned(&record, used)) else { return false };
        let mut context = Context::with_env(Arc::clone(&self.0.env));
        let patterns = Arc::clone(&self.0.patterns);
        let matches = move |This(text): This<Arc<String>>, pattern: Arc<String>| {
            let pattern = patterns.get(pattern.as_str());
            let pattern = pattern.ok_or_else(|| ExecutionError::no_such_key(&text))?;
            Ok::<bool, ExecutionError>(pattern.is_match(&text))
        };
        if context.add_function("matches", matches).is_err() {
            return false;
        }
        for name in used.roots() {
            let field = fields.map.get(&Key::from(name)).cloned();
            let absent = || {
                fields::is_object(name)
                    .then(|| Value::Map(std::collections::HashMap::<String, Value>::new().into()))
            };
            if let Some(value) = field.or_else(absent) {
                context.add_variable_from_value(name, value);
            }
        }
        matches!(self.0.program.execute(&context), Ok(Value::Bool(true)))
    }
}

fn read(source: String) -> Result<Checked, Mistake> {
    let program = Program::compile(&source).map_err(|errors| Mistake::of(&errors))?;
    let found = check::check(&program)?;
    let (env, patterns) = (Arc::new(Env::stdlib()), Arc::new(found.patterns));
    Ok(Checked {
        source,
        program,
        env,
        patterns,
        used: found.used,
        needs_bodies: found.needs_bodies,
    })
}
