//! An exact check whether what several threads saw of one object can be put into one order: every call takes place at
//! one moment between its beginning and its answer, and each answer is what the object says at that moment.
//!
//! The search is that of Wing and Gong (1993) with the memory of Lowe (2017): a set of calls already in order, together
//! with the state that they lead to, is looked at once.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;

/// An object as it answers when one call is made after another.
pub trait Object {
    type State: Clone + Eq + Hash + Debug;
    /// A call together with its answer.
    type Call: Debug;

    /// The state after a call; none if the object does not answer so in this state.
    fn after(state: &Self::State, call: &Self::Call) -> Option<Self::State>;

    /// Whether the call changes nothing in whatever state.
    fn only_looks(call: &Self::Call) -> bool;
}

/// A call as its caller saw it.
#[derive(Clone, Debug)]
pub struct Event<C> {
    pub call: C,
    pub began: u64,
    /// None when the caller never learned what came of it: it took place at some moment after it began, or never.
    pub ended: Option<u64>,
}

/// Calls of which some are in order already.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Prefix<S> {
    /// All that ended and began before this one in the list are in order.
    low: usize,
    /// So are these of the rest, sorted.
    ahead: Vec<usize>,
    /// Calls of unknown outcome that are in order, sorted.
    doubtful: Vec<usize>,
    state: S,
}

/// Finds an order, or says how far the best attempt got.
pub fn check<O: Object>(start: O::State, history: &[Event<O::Call>]) -> Result<(), String> {
    let (mut known, mut doubtful): (Vec<_>, Vec<_>) = history.iter().partition(|event| event.ended.is_some());
    known.sort_by_key(|event| event.began);
    doubtful.sort_by_key(|event| event.began);
    let search = Search::<O> { known, doubtful };

    let mut seen = HashSet::new();
    let mut open = vec![Prefix { low: 0, ahead: Vec::new(), doubtful: Vec::new(), state: start }];
    let mut best: Option<(usize, String)> = None;
    while let Some(prefix) = open.pop() {
        if prefix.low == search.known.len() {
            return Ok(());
        }
        let length = prefix.low + prefix.ahead.len();
        if best.as_ref().is_none_or(|(longest, _)| length > *longest) {
            best = Some((length, search.describe(&prefix)));
        }
        for next in search.next(&prefix) {
            if seen.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    let (length, stuck) = best.unwrap_or_default();
    Err(format!("no order explains what was seen: after {length} of {} calls, {stuck}", search.known.len()))
}

struct Search<'a, O: Object> {
    known: Vec<&'a Event<O::Call>>,
    doubtful: Vec<&'a Event<O::Call>>,
}

impl<O: Object> Search<'_, O> {
    /// What may come next: the likeliest last.
    fn next(&self, prefix: &Prefix<O::State>) -> Vec<Prefix<O::State>> {
        let (candidates, until) = self.candidates(prefix);
        let mut next = Vec::new();
        for (at, event) in self.doubtful.iter().enumerate().filter(|(_, event)| event.began < until) {
            let Err(place) = prefix.doubtful.binary_search(&at) else { continue };
            if let Some(state) = O::after(&prefix.state, &event.call) {
                let mut with = Prefix { state, ..prefix.clone() };
                with.doubtful.insert(place, at);
                next.push(with);
            }
        }
        for at in candidates {
            let Some(state) = O::after(&prefix.state, &self.known[at].call) else { continue };
            let with = self.with(prefix, at, state);
            if O::only_looks(&self.known[at].call) {
                // If there is an order at all, there is one in which this call comes next.
                return vec![with];
            }
            next.push(with);
        }
        next
    }

    /// The calls of known outcome that began before any other of them ended, and when that was.
    fn candidates(&self, prefix: &Prefix<O::State>) -> (Vec<usize>, u64) {
        let mut until = u64::MAX;
        let mut candidates = Vec::new();
        for at in prefix.low..self.known.len() {
            if self.known[at].began > until {
                break;
            }
            if prefix.ahead.binary_search(&at).is_err() {
                candidates.push(at);
                until = until.min(self.known[at].ended.unwrap_or(u64::MAX));
            }
        }
        candidates.retain(|at| self.known[*at].began < until);
        (candidates, until)
    }

    fn with(&self, prefix: &Prefix<O::State>, at: usize, state: O::State) -> Prefix<O::State> {
        let mut with = Prefix { state, ..prefix.clone() };
        let place = with.ahead.binary_search(&at).expect_err("not in order yet");
        with.ahead.insert(place, at);
        let in_a_row = with.ahead.iter().zip(with.low..).take_while(|(ahead, low)| **ahead == *low).count();
        with.ahead.drain(..in_a_row);
        with.low += in_a_row;
        with
    }

    fn describe(&self, prefix: &Prefix<O::State>) -> String {
        let (candidates, _) = self.candidates(prefix);
        let waiting: Vec<_> = candidates.iter().map(|at| &self.known[*at].call).collect();
        format!("in state {:?}, none of these fits: {waiting:?}", prefix.state)
    }
}

/// A place for one record that is loaded and swapped. Records are known by numbers, none twice.
#[derive(Clone, Copy, Debug)]
pub enum Register {}

/// What was asked of a register, and what it said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Access {
    Load(Option<u64>),
    /// What was expected, and what was there from then on. Also for a swap of unknown outcome.
    Swapped(Option<u64>, Option<u64>),
    /// What was expected, and what was there instead.
    Refused(Option<u64>, Option<u64>),
}

impl Object for Register {
    type State = Option<u64>;
    type Call = Access;

    fn after(state: &Option<u64>, access: &Access) -> Option<Option<u64>> {
        match access {
            Access::Load(found) => (found == state).then_some(*state),
            Access::Swapped(expected, new) => (expected == state).then_some(*new),
            // A store may look what is there after it refused; then what a create met can be gone already.
            Access::Refused(None, None) => Some(*state),
            Access::Refused(expected, found) => (found == state && found != expected).then_some(*state),
        }
    }

    fn only_looks(access: &Access) -> bool {
        !matches!(access, Access::Swapped(..))
    }
}
