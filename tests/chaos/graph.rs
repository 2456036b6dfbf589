//! A graph of calls, drawn from a seed, with the values that it must have.

use crate::remote::{Oracle, SPREAD, combine, digest, fold, grind, mix, spread, tree, write_spread};
use fastrand::Rng;
use unidist::prelude::*;

/// A node draws its inputs from this number of previous nodes.
const REACH: usize = 64;
const MAX_INPUTS: usize = 4;
const MAX_DEPTH: u32 = 3;
const TABLE: u64 = 20_000;

/// The constructor argument of the actors: large enough for the object store.
pub(crate) fn table() -> Vec<u64> {
    (0..TABLE).map(mix).collect()
}

pub(crate) struct Graph {
    nodes: Vec<Node>,
}

struct Node {
    seed: u64,
    kind: Kind,
}

enum Kind {
    /// Takes the values of these nodes.
    Combine(Vec<usize>),
    /// Makes nested calls to this depth.
    Tree(u32),
    /// A large object, made by one task and read by another.
    Spread,
    /// Calls an actor with the value of this node.
    Ask(usize),
}

impl Graph {
    pub(crate) fn draw(count: usize, seed: u64) -> Graph {
        let mut rng = Rng::with_seed(seed);
        Graph { nodes: (0..count).map(|at| Node::draw(&mut rng, at)).collect() }
    }

    /// The expected values, computed locally.
    pub(crate) fn values(&self) -> Vec<u64> {
        let table = table();
        let mut values: Vec<u64> = Vec::with_capacity(self.nodes.len());
        for Node { seed, kind } in &self.nodes {
            values.push(match kind {
                Kind::Combine(inputs) => combine(*seed, inputs.iter().map(|at| values[*at]).collect()),
                Kind::Tree(depth) => tree_value(*seed, *depth),
                Kind::Spread => {
                    let mut items = vec![0; SPREAD];
                    write_spread(*seed, &mut items);
                    digest(&items)
                }
                Kind::Ask(input) => table[values[*input] as usize % table.len()],
            });
        }
        values
    }

    /// Submits the graph as remote calls.
    pub(crate) fn submit(&self, oracles: &[ActorHandle<Oracle>]) -> Vec<ObjectRef<u64>> {
        let mut refs: Vec<ObjectRef<u64>> = Vec::with_capacity(self.nodes.len());
        for (at, Node { seed, kind }) in self.nodes.iter().enumerate() {
            refs.push(match kind {
                Kind::Combine(inputs) => {
                    combine.remote(*seed, inputs.iter().map(|at| refs[*at].clone()).collect::<Vec<_>>())
                }
                Kind::Tree(depth) => tree.remote(*seed, *depth),
                Kind::Spread => fold.remote(spread.remote(*seed)),
                Kind::Ask(input) => {
                    oracles[at % oracles.len()].answer.options().max_retries(2).remote(&refs[*input])
                }
            });
        }
        refs
    }
}

impl Node {
    fn draw(rng: &mut Rng, at: usize) -> Node {
        let seed = rng.u64(..);
        let before = at.saturating_sub(REACH)..at;
        let kind = match rng.u32(0..20) {
            0 => Kind::Tree(rng.u32(1..=MAX_DEPTH)),
            1 => Kind::Spread,
            2..6 if at > 0 => Kind::Ask(rng.usize(before)),
            _ => {
                let inputs = if at > 0 { rng.usize(0..=MAX_INPUTS) } else { 0 };
                Kind::Combine((0..inputs).map(|_| rng.usize(before.clone())).collect())
            }
        };
        Node { seed, kind }
    }
}

fn tree_value(seed: u64, depth: u32) -> u64 {
    match depth {
        0 => grind(seed),
        _ => [1, 2].map(|n| tree_value(mix(seed ^ n), depth - 1)).into_iter().fold(seed, |x, y| mix(x ^ y)),
    }
}
