//! Near the ends of a function that reads: instructions that are cheap to probe, at which it is
//! known what the call moved, and at which its arguments are still in registers. One hit there says
//! what the entry and the return say together, and a call that moved nothing costs no more.
//!
//! Comes in: a function `int (SSL *, void *, size_t, size_t *moved)`, as OpenSSL's tables of methods
//! have it. Goes out: instructions of which every call that returns more than 0 passes exactly one
//! with that result in place, after all that it does; where it passes others of them, the result is
//! not greater than 0 there.
//!
//! A function that jumps to another first, with more arguments, is followed there. Others may call
//! that one with another number in place of a 0 (`ssl3_peek` does): then the 0 is looked at too.
//!
//! All ways are followed, so a function must be small: those of OpenSSL 1.1.1 to 3.6 are.

mod state;
mod walk;

use std::collections::BTreeMap;

use tlstap_ebpf::Places;

use self::{
    state::{Registers, Value},
    walk::{Left, Passed, Ways, ways},
};
use super::{Architecture, Code};

/// The instructions to probe, and the function that they are in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) function: u64,
    /// Address, and where the arguments are there.
    pub(crate) sites: Vec<(u64, Places)>,
}

/// Which arguments of the function in hand are those of the call.
struct Roles {
    object: Value,
    buffer: Value,
    length: Value,
    /// Those that must be 0.
    zero: Option<u8>,
}

/// Plans for a function; `None` when anything is not as it must be.
pub(crate) fn plan(code: &impl Code, function: u64) -> Option<Ends> {
    if code.architecture() != Architecture::X86_64 {
        return None;
    }
    let outer = ways(code, function)?;
    let jumps = || outer.left.iter().filter(|left| matches!(left, Left::Jumped { .. }));
    let Some(Left::Jumped { target, arguments }) = jumps().next() else {
        let own = [0, 1, 3].map(Value::Argument);
        return choose(function, &outer, &Roles::of(own, None));
    };
    let same = jumps().all(|jump| {
        matches!(jump, Left::Jumped { target: to, arguments: with } if to == target && with == arguments)
    });
    // What it returns by itself is not what it has read.
    let refuses = outer.left.iter().all(|left| match left {
        Left::Jumped { .. } => true,
        Left::Returned { refused, .. } => *refused,
        Left::Lost => false,
    });
    if !same || !refuses {
        return None;
    }
    choose(*target, &ways(code, *target)?, &Roles::passed_on(arguments)?)
}

impl Roles {
    const fn of([object, buffer, length]: [Value; 3], zero: Option<u8>) -> Self {
        Self { object, buffer, length, zero }
    }

    /// What the arguments are that one function gives to another.
    fn passed_on(arguments: &[Value]) -> Option<Self> {
        let place = |wanted: Value| {
            let place = arguments.iter().position(|&argument| argument == wanted)?;
            u8::try_from(place).ok()
        };
        let [object, buffer, length] = [0, 1, 3].map(|number| place(Value::Argument(number)));
        let numbers = arguments.iter().filter(|value| matches!(value, Value::Number(_))).count();
        let zero = place(Value::Number(0));
        if numbers != usize::from(zero.is_some()) {
            return None;
        }
        Some(Self::of([object?, buffer?, length?].map(Value::Argument), zero))
    }

    /// Where the arguments are, if they are all in registers.
    fn places(&self, registers: &Registers) -> Option<Places> {
        let [object, buffer, length] =
            [self.object, self.buffer, self.length].map(|wanted| registers.holder(&[wanted]));
        let zero = match self.zero {
            Some(zero) => Some(registers.holder(&[Value::Argument(zero), Value::Half(zero)])?),
            None => None,
        };
        Some(Places { object: object?, buffer: buffer?, length: length?, zero })
    }
}

/// A way that returns, and the cheap instructions on it.
struct End<'w> {
    result: Value,
    refused: bool,
    passed: &'w [Passed],
}

impl End<'_> {
    /// Those that tell the result, with the arguments, where both are known.
    fn telling(&self, roles: &Roles) -> impl Iterator<Item = (u64, Places)> {
        self.passed
            .iter()
            .filter(|passed| !passed.outdated && passed.result() == self.result)
            .filter_map(|passed| Some((passed.address, roles.places(&passed.registers)?)))
    }

    /// Whether the chosen instructions tell the result once, if it is to be told, and nothing else.
    fn is_told(&self, sites: &BTreeMap<u64, Places>, roles: &Roles) -> bool {
        let hits = || self.passed.iter().filter(|passed| sites.contains_key(&passed.address));
        if self.refused {
            return hits().all(|hit| hit.refused);
        }
        let told = |(address, places)| sites.get(&address) == Some(&places);
        let telling = self.telling(roles).filter(|&site| told(site)).count();
        telling == 1 && hits().filter(|hit| !hit.refused).count() == 1
    }
}

fn choose(function: u64, ways: &Ways, roles: &Roles) -> Option<Ends> {
    let mut ends = Vec::new();
    for left in &ways.left {
        let Left::Returned { result, refused, passed } = left else { return None };
        ends.push(End { result: *result, refused: *refused, passed });
    }
    let mut sites = BTreeMap::new();
    for end in ends.iter().filter(|end| !end.refused) {
        let (address, places) = end.telling(roles).next()?;
        sites.insert(address, places);
    }
    let told = !sites.is_empty() && ends.iter().all(|end| end.is_told(&sites, roles));
    told.then(|| Ends { function, sites: sites.into_iter().collect() })
}

/// The field of an object that points to its table of functions, and the place of the function there
/// that the function at an address goes on to with its own four arguments, whatever else it does.
pub(crate) fn slot(code: &impl Code, function: u64) -> Option<(i64, i64)> {
    let ways = ways(code, function)?;
    let own = [0, 1, 2, 3].map(Value::Argument);
    let mut slots =
        ways.indirect.iter().filter(|call| call.arguments.starts_with(&own)).map(|call| match call
            .target
        {
            Value::Slot { field, slot } => Some((field, slot)),
            _ => None,
        });
    let first = slots.next()??;
    slots.all(|slot| slot == Some(first)).then_some(first)
}
