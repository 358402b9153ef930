//! A parsed expression in, what is wrong with it out: fields that do not exist, patterns that
//! cannot be, and what would cost too much for each record.

use cel::{
    IdedExpr, Program,
    common::ast::{CallExpr, EntryExpr, Expr, LiteralValue},
};
use foldhash::{HashMap, HashMapExt as _};
use regex::{Regex, RegexBuilder};

use super::{fields, place::Mistake, used::Used};

/// Operators, calls and names within each other; evaluating recurses.
const DEPTH_LIMIT: usize = 64;
/// `all`, `exists`, `map`, … within each other: each multiplies the steps.
const LOOP_LIMIT: usize = 2;
/// Names of what is told of bodies only.
const OF_BODIES: [&str; 5] = ["text", "base64", "rpc", "graphql", "sse"];
/// Bytes that a compiled pattern may take.
const PATTERN_LIMIT: usize = 1 << 20;

/// What an expression uses.
pub(super) struct Found {
    pub(super) patterns: HashMap<String, Regex>,
    pub(super) used: Used,
    pub(super) needs_bodies: bool,
}

struct Check<'a> {
    program: &'a Program,
    /// Names that a loop gives to what it goes over.
    bound: Vec<&'a str>,
    loops: usize,
    depth: usize,
    found: Found,
}

pub(super) fn check(program: &Program) -> Result<Found, Mistake> {
    let found = Found { patterns: HashMap::new(), used: Used::default(), needs_bodies: false };
    let mut check = Check { program, bound: Vec::new(), loops: 0, depth: 0, found };
    check.expression(program.expression())?;
    let value = match &program.expression().expr {
        Expr::Literal(LiteralValue::Boolean(_)) => None,
        Expr::Literal(_) | Expr::List(_) | Expr::Map(_) | Expr::Struct(_) => Some("this"),
        Expr::Ident(_) => Some("a field alone"),
        Expr::Select(select) if !select.test && select.field != "truncated" => {
            Some("a field alone")
        }
        _ => None,
    };
    match value {
        Some(what) => {
            Err(check.mistake(program.expression(), format!("{what} is neither true nor false")))
        }
        None => Ok(check.found),
    }
}

impl<'a> Check<'a> {
    fn mistake(&self, at: &IdedExpr, what: String) -> Mistake {
        let place = self.program.source_info().offset_for(at.id);
        // Of a member it is the dot.
        let dot = usize::from(matches!(at.expr, Expr::Select(_)));
        Mistake { place: place.map(|(start, _)| start as usize + dot), what }
    }

    fn expression(&mut self, at: &'a IdedExpr) -> Result<(), Mistake> {
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            return Err(self.mistake(at, "nested too deep".to_owned()));
        }
        let checked = self.within(at);
        self.depth -= 1;
        checked
    }

    fn within(&mut self, at: &'a IdedExpr) -> Result<(), Mistake> {
        match &at.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(_) | Expr::Select(_) => self.name(at),
            Expr::Call(call) => self.call(at, call),
            Expr::List(list) => list.elements.iter().try_for_each(|one| self.expression(one)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.expression(&entry.key)?;
                    self.expression(&entry.value)
                }
                EntryExpr::StructField(field) => self.expression(&field.value),
            }),
            Expr::Struct(_) => Err(self.mistake(at, "there are no messages here".to_owned())),
            Expr::Comprehension(each) => {
                self.expression(&each.iter_range)?;
                self.loops += 1;
                if self.loops > LOOP_LIMIT {
                    return Err(self.mistake(at, "too many loops within each other".to_owned()));
                }
                let before = self.bound.len();
                self.bound.extend([each.iter_var.as_str(), each.accu_var.as_str()]);
                self.bound.extend(each.iter_var2.as_deref());
                for part in [&each.accu_init, &each.loop_cond, &each.loop_step, &each.result] {
                    self.expression(part)?;
                }
                self.bound.truncate(before);
                self.loops -= 1;
                Ok(())
            }
        }
    }

    /// A name with its members, such as `http.response.status_code`.
    fn name(&mut self, at: &'a IdedExpr) -> Result<(), Mistake> {
        let (mut path, mut part) = (Vec::new(), at);
        loop {
            match &part.expr {
                Expr::Select(select) => {
                    path.push((part, select.field.as_str()));
                    part = &select.operand;
                }
                Expr::Ident(name) => {
                    path.push((part, name.as_str()));
                    break;
                }
                _ => return self.expression(part),
            }
            if path.len() > DEPTH_LIMIT {
                return Err(self.mistake(at, "nested too deep".to_owned()));
            }
        }
        path.reverse();
        if path.first().is_some_and(|(_, root)| self.bound.contains(root)) {
            return Ok(());
        }
        self.found.used.add(&path.iter().map(|(_, name)| *name).collect::<Vec<_>>());
        self.found.needs_bodies |= path.iter().any(|(_, name)| OF_BODIES.contains(name));
        let known = fields::known(path.iter().map(|(_, name)| *name));
        let Some((at, _)) = path.get(known) else { return Ok(()) };
        let names: Vec<_> = path.iter().take(known + 1).map(|(_, name)| *name).collect();
        Err(self.mistake(at, format!("no field is called {}", names.join("."))))
    }

    fn call(&mut self, at: &'a IdedExpr, call: &'a CallExpr) -> Result<(), Mistake> {
        if call.func_name == "matches" {
            let pattern = call.args.last().map(|pattern| (pattern, &pattern.expr));
            let Some((place, Expr::Literal(LiteralValue::String(pattern)))) = pattern else {
                return Err(self.mistake(at, "matches() takes a pattern in quotes".to_owned()));
            };
            let compiled = RegexBuilder::new(pattern.inner()).size_limit(PATTERN_LIMIT).build();
            let compiled = compiled.map_err(|error| self.mistake(place, error.to_string()))?;
            self.found.patterns.insert(pattern.inner().to_owned(), compiled);
        }
        let target = call.target.as_deref();
        target.into_iter().chain(&call.args).try_for_each(|part| self.expression(part))
    }
}
