//! The calls in flight of a program of Go, by what its functions come to.

use std::collections::{BTreeMap, HashMap};

/// How often a function is looked at: some are called a million times.
const MOST: usize = 20;

/// A function that is looked at.
pub(super) struct Function {
    pub(super) name: String,
    /// Where it enters, then where it returns.
    pub(super) points: Vec<u64>,
    pub(super) entered: usize,
    live: usize,
}

impl Function {
    pub(super) const fn new(name: String, points: Vec<u64>) -> Self {
        Self { name, points, entered: 0, live: 0 }
    }

    const fn is_known_enough(&self) -> bool {
        self.entered >= MOST
    }
}

/// A place in a goroutine's stack: how far from its end, which stays the same when it is moved.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) goroutine: u64,
    pub(super) depth: u64,
}

/// A call in flight.
struct Call {
    function: usize,
    depth: u64,
    /// It has just found too little stack, and begins again.
    grows: bool,
}

/// All of them.
#[derive(Default)]
pub(super) struct Calls {
    pub(super) functions: Vec<Function>,
    /// By goroutine, the deepest last.
    in_flight: HashMap<u64, Vec<Call>>,
    pub(super) returned: usize,
    pub(super) begun_again: usize,
    /// Those that were over without a return that is known, by function.
    pub(super) left: BTreeMap<String, usize>,
}

impl Calls {
    /// A function was entered. Gives the points that are not needed any more.
    pub(super) fn enter(&mut self, function: usize, place: Place, grows: bool) -> Vec<u64> {
        // Another thread may have come here before the point was taken away.
        if self.functions[function].is_known_enough() {
            return Vec::new();
        }
        let Place { goroutine, depth } = place;
        let calls = self.in_flight.entry(goroutine).or_default();
        let same = |call: &mut Call| call.grows && call.depth == depth && call.function == function;
        if calls.pop_if(same).is_some() {
            self.functions[function].live -= 1;
            self.begun_again += 1;
        }
        self.leave(place);
        let call = Call { function, depth, grows };
        self.in_flight.entry(goroutine).or_default().push(call);
        let known = &mut self.functions[function];
        known.live += 1;
        known.entered += 1;
        if known.is_known_enough() { known.points[..1].to_vec() } else { Vec::new() }
    }

    /// The calls that are as deep as this, or deeper, are over.
    fn leave(&mut self, place: Place) {
        let calls = self.in_flight.entry(place.goroutine).or_default();
        while let Some(call) = calls.pop_if(|call| call.depth >= place.depth) {
            let function = &mut self.functions[call.function];
            function.live -= 1;
            *self.left.entry(function.name.clone()).or_default() += 1;
        }
    }

    /// A function returns. Gives the points that are not needed any more.
    pub(super) fn exit(&mut self, function: usize, place: Place) -> Vec<u64> {
        let Place { goroutine, depth } = place;
        self.leave(Place { goroutine, depth: depth + 1 });
        let calls = self.in_flight.entry(goroutine).or_default();
        // Calls that are not looked at any more return too.
        let mine = |call: &mut Call| call.function == function && call.depth == depth;
        if calls.pop_if(mine).is_none() {
            return Vec::new();
        }
        self.returned += 1;
        let known = &mut self.functions[function];
        known.live -= 1;
        let over = known.live == 0 && known.is_known_enough();
        if over { known.points.clone() } else { Vec::new() }
    }
}
