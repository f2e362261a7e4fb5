//! From bindings to a checked graph: who gets what, and in which order.

use std::collections::HashSet;

use super::binding::{Lifetime, Spec};
use super::error::{ARROW, Error};
use super::index::{Index, Labels, apply_overrides};
use super::inject::Need;
use super::key::{Key, Token};

/// A graph without mistakes.
pub(super) struct Plan {
    /// In the order of registration.
    pub(super) nodes: Vec<Node>,
    /// Every node after its dependencies.
    pub(super) order: Vec<usize>,
    index: Index,
    dependents: Vec<Vec<usize>>,
}

pub(super) struct Node {
    pub(super) spec: Spec,
    pub(super) label: String,
    /// One entry for each parameter of the constructor.
    pub(super) inputs: Vec<Input>,
}

/// The nodes that one parameter receives: one, at most one, or any number.
pub(super) struct Input {
    pub(super) need: Need,
    pub(super) nodes: Vec<usize>,
}

impl Node {
    pub(super) fn dependencies(&self) -> impl Iterator<Item = usize> {
        self.inputs.iter().flat_map(|input| input.nodes.iter().copied())
    }
}

impl Plan {
    /// Checks everything that can be checked without running a constructor.
    ///
    /// # Errors
    /// Every problem found, in a fixed order.
    pub(super) fn new(specs: Vec<Spec>) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let specs = apply_overrides(specs, &mut problems);
        let labels = Labels::new(&specs);
        let index = Index::new(&specs, &labels, &mut problems);
        let mut missing = Vec::new();
        let nodes: Vec<Node> = specs
            .into_iter()
            .enumerate()
            .map(|(at, spec)| index.connect(at, spec, &labels, &mut missing))
            .collect();
        let mut dependents = vec![Vec::new(); nodes.len()];
        for (at, node) in nodes.iter().enumerate() {
            node.dependencies().for_each(|dependency| dependents[dependency].push(at));
        }
        let (order, cycles) = sort(&nodes);
        let plan = Self { nodes, order, index, dependents };
        problems.extend(missing.into_iter().map(|(consumer, token)| {
            let (path, label) = (plan.path_to(consumer), labels.of(token));
            format!("{path}{ARROW}{label}: not provided; {}", plan.hint(token))
        }));
        problems.extend(cycles.into_iter().map(|cycle| {
            format!("{}: a cycle; move what both sides need into a third component", plan.path(&cycle))
        }));
        problems.extend(plan.lifetime_problems());
        if problems.is_empty() { Ok(plan) } else { Err(problems) }
    }

    /// The binding of `token`.
    pub(super) fn find(&self, token: Token) -> Result<usize, Error> {
        self.index
            .single
            .get(&token.key)
            .copied()
            .ok_or_else(|| Error::NotProvided { component: token.short(), hint: self.hint(token) })
    }

    /// The contributions to `key`, in the order of registration.
    pub(super) fn contributions(&self, key: Key) -> &[usize] {
        self.index.contributed.get(&key).map_or(&[], Vec::as_slice)
    }

    /// From a component that nothing depends on down to `node`.
    pub(super) fn path_to(&self, node: usize) -> String {
        self.path(&self.chain_to(node))
    }

    /// Like [`Plan::path_to`], without `node` itself; empty for a component that nothing depends on.
    pub(super) fn parents_of(&self, node: usize) -> Vec<&str> {
        let chain = self.chain_to(node);
        chain[..chain.len() - 1].iter().map(|&at| self.nodes[at].label.as_str()).collect()
    }

    fn chain_to(&self, node: usize) -> Vec<usize> {
        let mut chain = vec![node];
        let mut seen = HashSet::from([node]);
        let mut lowest = node;
        while let Some(&parent) = self.dependents[lowest].iter().find(|&&parent| seen.insert(parent)) {
            chain.push(parent);
            lowest = parent;
        }
        chain.reverse();
        chain
    }

    fn path(&self, nodes: &[usize]) -> String {
        nodes.iter().map(|&at| self.nodes[at].label.as_str()).collect::<Vec<_>>().join(ARROW)
    }

    /// What to do about a missing binding, with the near misses that exist.
    fn hint(&self, token: Token) -> String {
        let mut hint = format!("provide it with {}", token.remedy());
        if self.index.contributed.contains_key(&token.key) {
            hint += &format!(", or take the contributions with `All<{}>`", token.short());
        }
        let others = self
            .nodes
            .iter()
            .filter(|node| node.spec.token.key.value == token.key.value && node.spec.token.key != token.key);
        let others: Vec<_> = others.map(|node| node.label.as_str()).collect();
        if !others.is_empty() {
            hint += &format!(", or take {}", others.join(" or "));
        }
        hint
    }

    fn lifetime_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (at, node) in self.nodes.iter().enumerate() {
            if node.spec.lifetime == Lifetime::Singleton {
                self.scoped_below(at, &mut problems);
            } else if node.spec.start.call.is_some() || node.spec.stop.call.is_some() {
                let (label, lifetime) = (&node.label, node.spec.lifetime);
                problems.push(format!("{label}: start and stop hooks need a singleton, this is {lifetime}"));
            }
        }
        problems
    }

    /// A transient lives as long as its holder, so the search goes on through transients.
    fn scoped_below(&self, singleton: usize, problems: &mut Vec<String>) {
        let mut seen = HashSet::new();
        let mut open = vec![vec![singleton]];
        while let Some(path) = open.pop() {
            let last = path[path.len() - 1];
            for child in self.nodes[last].dependencies().filter(|&child| seen.insert(child)) {
                let path = [path.as_slice(), &[child]].concat();
                match self.nodes[child].spec.lifetime {
                    Lifetime::Singleton => {}
                    Lifetime::Transient => open.push(path),
                    Lifetime::Scoped => {
                        let (holder, held) = (&self.nodes[singleton].label, &self.nodes[child].label);
                        problems.push(format!(
                            "{}: the singleton {holder} would keep the scoped {held}; \
                             make {holder} scoped or {held} a singleton",
                            self.path(&path),
                        ));
                    }
                }
            }
        }
    }
}

/// Depth-first: every node after its dependencies, and one cycle for every edge that closes one.
fn sort(nodes: &[Node]) -> (Vec<usize>, Vec<Vec<usize>>) {
    #[derive(Clone, Copy)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let children: Vec<Vec<usize>> = nodes.iter().map(|node| node.dependencies().collect()).collect();
    let mut marks = vec![Mark::New; nodes.len()];
    let (mut order, mut cycles) = (Vec::with_capacity(nodes.len()), Vec::new());
    for root in 0..nodes.len() {
        // The path from `root` to here, each node with the number of its children already seen.
        let mut path = Vec::new();
        if matches!(marks[root], Mark::New) {
            marks[root] = Mark::Open;
            path.push((root, 0));
        }
        while let Some((node, seen)) = path.last_mut() {
            let Some(&child) = children[*node].get(*seen) else {
                marks[*node] = Mark::Done;
                order.push(*node);
                path.pop();
                continue;
            };
            *seen += 1;
            match marks[child] {
                Mark::Done => {}
                Mark::New => {
                    marks[child] = Mark::Open;
                    path.push((child, 0));
                }
                Mark::Open => {
                    let from_child = path.iter().map(|&(node, _)| node).skip_while(|&node| node != child);
                    cycles.push(from_child.chain([child]).collect());
                }
            }
        }
    }
    (order, cycles)
}
