//! Whether a history is linearizable: whether each operation can be given one instant between its call and its return
//! such that, in the order of those instants, every answer is what a single machine would have given.
//!
//! The search is Wing and Gong's (1993) with Lowe's memory of configurations (2017), as in porcupine: depth first over the
//! operations that may come next, where a set of operations already placed is never entered twice with the same state.
//! Linearizability is local (Herlihy and Wing, 1990, theorem 1), so each key is searched alone.
//!
//! An operation whose fate is unknown is open for ever: it may be placed at any point after its call and need not be placed
//! at all. It is tried last, and only where it changes something; elsewhere it is as good as not placed.

use std::collections::{BTreeMap, HashSet};
use std::fmt::{Debug, Display};
use std::hash::Hash;

use crate::explain::Misfit;
use crate::history::{Fate, Operation};

/// Configurations that the search of one key may visit, unless said otherwise.
pub const CONFIGURATION_COUNT_MAX: usize = 2_000_000;

/// What one machine, asked one thing at a time, would answer.
pub trait Model {
    /// What splits the state into parts that never touch each other.
    type Key: Ord + Clone + Display;
    /// The state of one key.
    type State: Clone + Eq + Hash + Debug;
    /// What may be asked.
    type Call: Debug;
    /// What may be answered.
    type Reply: Debug;

    /// The state of a key before anybody asked anything.
    fn initial(key: &Self::Key) -> Self::State;

    /// The state after a call of `client` that was answered so; `None` when it would have been answered otherwise. Without
    /// an answer, the state after the call took effect.
    fn step(
        state: &Self::State,
        client: u32,
        call: &Self::Call,
        reply: Option<&Self::Reply>,
    ) -> Option<Self::State>;

    /// What the call would have been answered in that state, in words.
    fn expected(state: &Self::State, client: u32, call: &Self::Call) -> String;
}

/// An operation on a model.
pub type OperationOf<M> = Operation<<M as Model>::Key, <M as Model>::Call, <M as Model>::Reply>;

/// What is to be said of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order.
    Linearizable {
        /// Configurations visited, over all keys.
        visited: usize,
    },
    /// There is none.
    Violation(Box<Misfit>),
    /// The search of a key was given up. This is no pass.
    Unknown {
        /// Which key.
        key: String,
        /// Configurations visited there.
        visited: usize,
    },
}

/// Checks a history, key by key, with so many configurations a key at most. A violation counts more than a search that was
/// given up.
pub fn check<M: Model>(history: &[OperationOf<M>], configuration_count_max: usize) -> Verdict {
    let mut keys: BTreeMap<&M::Key, Vec<usize>> = BTreeMap::new();
    for (place, operation) in history.iter().enumerate() {
        if !matches!(operation.fate, Fate::Fail) {
            keys.entry(&operation.key).or_default().push(place);
        }
    }
    let (mut visited_count, mut given_up) = (0, None);
    for (key, places) in keys {
        let mut search = Search::<M>::new(history, places);
        let found = search.run(M::initial(key), configuration_count_max);
        let visited = search.visited.len();
        visited_count += visited;
        match found {
            Found::Order => {}
            Found::NoOrder => return Verdict::Violation(Box::new(search.misfit(key))),
            Found::GivenUp => {
                given_up.get_or_insert(Verdict::Unknown { key: key.to_string(), visited });
            }
        }
    }
    given_up.unwrap_or(Verdict::Linearizable { visited: visited_count })
}

enum Found {
    Order,
    NoOrder,
    GivenUp,
}

/// Which operations of a key are placed: a bit set, kept as what differs from an unbroken run. At most as many operations
/// as there are clients are ahead of the first one that is missing, so this stays short however long the history is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Placed {
    /// All answered operations before this one, by the order of their calls.
    before: u32,
    /// Those behind it, in order.
    ahead: Vec<u32>,
    /// Those whose fate is unknown, in order.
    unanswered: Vec<u32>,
}

impl Placed {
    fn answered(&self, number: u32) -> bool {
        number < self.before || self.ahead.binary_search(&number).is_ok()
    }

    fn with(&self, next: Next) -> Self {
        let mut placed = self.clone();
        match next {
            Next::Answered(number) if number == placed.before => {
                placed.before += 1;
                let run = (placed.before..).zip(&placed.ahead).take_while(|(next, it)| next == *it).count();
                placed.ahead.drain(..run);
                placed.before += run as u32;
            }
            Next::Answered(number) => {
                let at = placed.ahead.partition_point(|it| *it < number);
                placed.ahead.insert(at, number);
            }
            Next::Unanswered(number) => {
                let at = placed.unanswered.partition_point(|it| *it < number);
                placed.unanswered.insert(at, number);
            }
        }
        placed
    }
}

/// An operation that may be placed next, by its number among its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Answered(u32),
    Unanswered(u32),
}

/// One step of the depth-first search.
struct Step<M: Model> {
    placed: Placed,
    state: M::State,
    /// What was placed to come here; `None` at the beginning.
    last: Option<Next>,
    candidates: std::vec::IntoIter<Next>,
}

/// How far the search came in time: nothing it tried could place the operation that returned then.
struct Furthest<S> {
    returned_at: u64,
    path: Vec<Next>,
    state: S,
    stuck: u32,
}

struct Search<'a, M: Model> {
    history: &'a [OperationOf<M>],
    /// Places in the history of the answered operations, by the times of their calls.
    answered: Vec<usize>,
    /// Of those without an answer, likewise.
    unanswered: Vec<usize>,
    visited: HashSet<(Placed, M::State)>,
    furthest: Option<Furthest<M::State>>,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(history: &'a [OperationOf<M>], places: Vec<usize>) -> Self {
        let (mut answered, mut unanswered): (Vec<usize>, Vec<usize>) =
            places.into_iter().partition(|place| history[*place].reply().is_some());
        answered.sort_by_key(|place| history[*place].called_at);
        unanswered.sort_by_key(|place| history[*place].called_at);
        Self { history, answered, unanswered, visited: HashSet::new(), furthest: None }
    }

    fn run(&mut self, initial: M::State, visited_count_max: usize) -> Found {
        let mut steps = Vec::new();
        let Some(first) = self.enter(&steps, Placed::default(), initial, None) else { return Found::Order };
        steps.push(first);
        while let Some(step) = steps.last_mut() {
            let Some(next) = step.candidates.next() else {
                steps.pop();
                continue;
            };
            let operation = &self.history[self.place(next)];
            let state = M::step(&step.state, operation.client, &operation.call, operation.reply());
            let unanswered = operation.reply().is_none();
            // What changes nothing and was not answered is as good as not placed, and stays open.
            let Some(state) = state.filter(|state| !unanswered || *state != step.state) else { continue };
            let placed = step.placed.with(next);
            if !self.visited.insert((placed.clone(), state.clone())) {
                continue;
            }
            if self.visited.len() > visited_count_max {
                return Found::GivenUp;
            }
            match self.enter(&steps, placed, state, Some(next)) {
                Some(step) => steps.push(step),
                None => return Found::Order,
            }
        }
        Found::NoOrder
    }

    fn place(&self, next: Next) -> usize {
        match next {
            Next::Answered(number) => self.answered[number as usize],
            Next::Unanswered(number) => self.unanswered[number as usize],
        }
    }

    /// The step in which these are placed; `None` when every answered operation is.
    fn enter(
        &mut self,
        steps: &[Step<M>],
        placed: Placed,
        state: M::State,
        last: Option<Next>,
    ) -> Option<Step<M>> {
        let (stuck, candidates) = self.candidates(&placed)?;
        let returned_at = self.returned_at(stuck);
        let far = (returned_at, steps.len());
        if self.furthest.as_ref().is_none_or(|it| far > (it.returned_at, it.path.len())) {
            let path = steps.iter().filter_map(|step| step.last).chain(last).collect();
            self.furthest = Some(Furthest { returned_at, path, state: state.clone(), stuck });
        }
        Some(Step { placed, state, last, candidates: candidates.into_iter() })
    }

    /// The operation that must be placed before anything else that was called after it returned, and all that may be
    /// placed now: whatever was called before that return, first what returned first.
    fn candidates(&self, placed: &Placed) -> Option<(u32, Vec<Next>)> {
        let (mut open, mut first): (Vec<u32>, Option<u32>) = (Vec::new(), None);
        for number in placed.before..self.answered.len() as u32 {
            if placed.answered(number) {
                continue;
            }
            let called_at = self.history[self.answered[number as usize]].called_at;
            if first.is_some_and(|first| called_at > self.returned_at(first)) {
                break;
            }
            if first.is_none_or(|first| self.returned_at(number) < self.returned_at(first)) {
                first = Some(number);
            }
            open.push(number);
        }
        let first = first?;
        let until = self.returned_at(first);
        open.retain(|number| self.history[self.answered[*number as usize]].called_at <= until);
        open.sort_by_key(|number| self.returned_at(*number));
        let unanswered = (0..self.unanswered.len() as u32)
            .take_while(|number| self.history[self.unanswered[*number as usize]].called_at <= until)
            .filter(|number| placed.unanswered.binary_search(number).is_err());
        let all = open.iter().copied().map(Next::Answered).chain(unanswered.map(Next::Unanswered));
        Some((first, all.collect()))
    }

    fn returned_at(&self, number: u32) -> u64 {
        self.history[self.answered[number as usize]].returned_at().unwrap_or(u64::MAX)
    }

    /// Why there is no order, after a search that found none.
    fn misfit(&self, key: &M::Key) -> Misfit {
        let (path, state, stuck) = match &self.furthest {
            Some(it) => (it.path.clone(), it.state.clone(), it.stuck),
            None => (Vec::new(), M::initial(key), 0),
        };
        let misfit = self.answered[stuck as usize];
        let until = self.returned_at(stuck);
        let placed: Vec<usize> = path.iter().map(|next| self.place(*next)).collect();
        let open = self.answered.iter().chain(&self.unanswered).copied();
        let open: Vec<usize> = open
            .filter(|place| {
                *place != misfit && self.history[*place].called_at <= until && !placed.contains(place)
            })
            .collect();
        Misfit::describe::<M>(self.history, key, placed, &state, misfit, &open)
    }
}
