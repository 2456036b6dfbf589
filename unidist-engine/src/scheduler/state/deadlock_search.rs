//! The search for deadlocks: what it has looked at, and where it goes on.
//!
//! Waiting calls, requests and resources are nodes; each [`Needs`] a number of others. A node that needs nothing may
//! end; with it, others may, and so on. The nodes that are left when everything was looked at wait in circles.
//!
//! A search has a budget, so no turn of the engine takes long because of it. One that does not end within the budget is
//! queued, and the next search in steps begins with all queued nodes together: its steps take part of each turn, and
//! whole turns while nothing else happens. So the work for each event is bounded, and yet each circle is found.
//!
//! Invariant: a queued node is looked at only by a search that begins later, so a circle that it has closed is complete
//! when that search begins. The circle stays as it is until it is found or broken.

use crate::scheduler::request::RequestId;
use crate::scheduler::state::resources::CustomResource;
use rustc_hash::FxHashMap;
use unidist_common::{HostId, ProcessId, TaskId};

/// How many nodes and edges a search looks at within one turn of the engine.
const BUDGET: usize = 256;

/// Something that may end, or wait forever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Node {
    Call(TaskId),
    Request(ProcessId, RequestId),
    /// The objects of a watch but for this many at the end: ends when one of them has a value.
    Watched(ProcessId, RequestId, usize),
    /// Ends when some of it is released.
    Resource(CustomResource),
    /// A process for another call on this host, which may have no more. Ends when one of them can run a call.
    Process(HostId),
}

/// The nodes that a node waits for, and how many of them must end before it may.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    pub(crate) count: usize,
    pub(crate) of: Vec<Node>,
}

impl Needs {
    /// The node may end by itself.
    pub(crate) fn nothing() -> Self {
        Needs::default()
    }

    pub(crate) fn all_of(of: Vec<Node>) -> Self {
        Needs { count: of.len(), of }
    }
}

/// The nodes that some nodes need, directly or through others, and whether each may end.
#[derive(Debug, Default)]
pub(crate) struct Search {
    nodes: Vec<Known>,
    places: FxHashMap<Node, usize>,
    /// Not looked at yet.
    open: Vec<usize>,
    /// May end, which the nodes that need them do not know yet.
    ending: Vec<usize>,
    /// How many nodes the search began with: the first ones.
    starts: usize,
    /// How many of these are not known to end.
    undecided: usize,
}

#[derive(Debug)]
struct Known {
    node: Node,
    /// How many more of the nodes that it needs must be known to end; `None` before it is looked at.
    missing: Option<usize>,
    may_end: bool,
    needed_by: Vec<usize>,
}

impl Search {
    /// A search that begins with these nodes.
    pub(crate) fn from(starts: impl IntoIterator<Item = Node>) -> Self {
        let mut search = Search::default();
        starts.into_iter().for_each(|node| _ = search.place(node));
        search.starts = search.nodes.len();
        search.undecided = search.starts;
        search
    }

    /// Goes on until the outcome is known (true) or the budget is used up.
    pub(crate) fn advance(&mut self, budget: &mut usize, needs: impl Fn(Node) -> Needs) -> bool {
        while self.undecided > 0 {
            if *budget == 0 {
                return false;
            }
            let work = if let Some(at) = self.ending.pop() {
                self.tell_those_that_need(at)
            } else if let Some(at) = self.open.pop() {
                self.look_at(at, needs(self.nodes[at].node))
            } else {
                return true;
            };
            *budget = budget.saturating_sub(work);
        }
        true
    }

    /// The nodes that the search began with and that wait in circles, or for one. Call it when the outcome is known.
    pub(crate) fn stuck_starts(&self) -> Vec<Node> {
        self.nodes[..self.starts].iter().filter(|known| !known.may_end).map(|known| known.node).collect()
    }

    /// Whether the node was looked at and is not known to end.
    pub(crate) fn is_stuck(&self, node: Node) -> bool {
        self.places.get(&node).is_some_and(|at| self.nodes[*at].missing.is_some() && !self.nodes[*at].may_end)
    }

    fn place(&mut self, node: Node) -> usize {
        *self.places.entry(node).or_insert_with(|| {
            let at = self.nodes.len();
            self.nodes.push(Known { node, missing: None, may_end: false, needed_by: Vec::new() });
            self.open.push(at);
            at
        })
    }

    fn look_at(&mut self, at: usize, needs: Needs) -> usize {
        let mut missing = needs.count;
        let work = 1 + needs.of.len();
        for next in needs.of {
            let next = self.place(next);
            match self.nodes[next].may_end {
                true => missing = missing.saturating_sub(1),
                false => self.nodes[next].needed_by.push(at),
            }
        }
        self.set_missing(at, missing);
        work
    }

    fn tell_those_that_need(&mut self, at: usize) -> usize {
        let needed_by = std::mem::take(&mut self.nodes[at].needed_by);
        for by in &needed_by {
            if let Some(missing) = self.nodes[*by].missing {
                self.set_missing(*by, missing.saturating_sub(1));
            }
        }
        1 + needed_by.len()
    }

    fn set_missing(&mut self, at: usize, missing: usize) {
        let known = &mut self.nodes[at];
        known.missing = Some(missing);
        if missing == 0 && !std::mem::replace(&mut known.may_end, true) {
            self.ending.push(at);
            self.undecided -= usize::from(at < self.starts);
        }
    }
}

/// The searches of a session.
#[derive(Debug)]
pub(crate) struct DeadlockSearches {
    budget: usize,
    /// Requests and calls that the next search begins with, when the running one has ended.
    queued: Vec<Node>,
    /// The resources and processes with which it begins, each once.
    shared: Vec<Node>,
    running: Option<Search>,
    /// What all searches have looked at so far.
    #[cfg(test)]
    pub(crate) work: usize,
}

impl Default for DeadlockSearches {
    fn default() -> Self {
        DeadlockSearches {
            budget: BUDGET,
            queued: Vec::new(),
            shared: Vec::new(),
            running: None,
            #[cfg(test)]
            work: 0,
        }
    }
}

impl DeadlockSearches {
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn set_budget(&mut self, budget: usize) {
        self.budget = budget;
    }

    /// How many nodes and edges a search may look at in this turn.
    pub(crate) fn budget(&self) -> usize {
        self.budget
    }

    /// Whether a search is queued or runs.
    pub(crate) fn is_any(&self) -> bool {
        self.running.is_some() || !self.queued.is_empty() || !self.shared.is_empty()
    }

    /// Has the next search begin with this node, too.
    pub(crate) fn queue(&mut self, node: Node) {
        match node {
            // There are few, and they are queued again and again.
            Node::Resource(_) | Node::Process(_) if self.is_queued(node) => {}
            Node::Resource(_) | Node::Process(_) => self.shared.push(node),
            Node::Call(_) | Node::Request(..) | Node::Watched(..) => self.queued.push(node),
        }
    }

    /// Whether the next search will begin with this resource or process.
    pub(crate) fn is_queued(&self, shared: Node) -> bool {
        self.shared.contains(&shared)
    }

    /// Takes the search that goes on or begins now.
    pub(crate) fn take(&mut self) -> Option<Search> {
        if self.running.is_some() || !self.is_any() {
            return self.running.take();
        }
        let shared = std::mem::take(&mut self.shared);
        Some(Search::from(shared.into_iter().chain(std::mem::take(&mut self.queued))))
    }

    /// The search goes on in the next turn.
    pub(crate) fn keep(&mut self, search: Search) {
        self.running = Some(search);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unidist_common::DataId;

    fn node(number: u64) -> Node {
        Node::Call(TaskId::of_first_return(DataId::new(ProcessId::CONTROLLER, number)))
    }

    fn search(count: u64, needs: impl Fn(u64) -> (usize, Vec<u64>)) -> Vec<Node> {
        let needs = |at: Node| {
            let number = (0..count).find(|number| node(*number) == at).expect("a known node");
            let (count, of) = needs(number);
            Needs { count, of: of.into_iter().map(node).collect() }
        };
        let whole = {
            let mut search = Search::from((0..count).map(node));
            assert!(search.advance(&mut usize::MAX.clone(), needs));
            search.stuck_starts()
        };
        let mut search = Search::from((0..count).map(node));
        while !search.advance(&mut 1, needs) {}
        assert_eq!(search.stuck_starts(), whole, "the budget makes no difference");
        whole
    }

    #[test]
    fn search_finds_circles_and_what_waits_for_them() {
        let in_circle = |number| match number {
            0..3 => (1, vec![(number + 1) % 3]),
            3 => (1, vec![1]),
            4 => (1, vec![5]),
            _ => (0, vec![]),
        };
        assert_eq!(search(6, in_circle), [0, 1, 2, 3].map(node));
    }

    #[test]
    fn search_counts_how_many_must_end() {
        // 0 and 1 need each other; 2 needs one of 0 and 3, 4 needs both.
        let needs = |number| match number {
            0 => (1, vec![1]),
            1 => (1, vec![0]),
            2 => (1, vec![0, 3]),
            4 => (2, vec![0, 3]),
            _ => (0, vec![]),
        };
        assert_eq!(search(5, needs), [0, 1, 4].map(node));
    }

    #[test]
    fn search_ends_when_its_starts_are_known_to_end() {
        let mut search = Search::from([node(0)]);
        let mut budget = 100;
        assert!(search.advance(&mut budget, |at| match at == node(0) {
            true => Needs { count: 1, of: (1..10).map(node).collect() },
            false => Needs::nothing(),
        }));
        assert!(search.stuck_starts().is_empty());
        assert!(budget > 80, "it looks at one of the nine");
    }
}
