//! From bindings to a checked graph: who gets what, and in which order.

use std::collections::{HashMap, HashSet};

use super::binding::{Lifetime, Spec};
use super::error::{ARROW, Error};
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

/// Where bindings are found.
#[derive(Default)]
struct Index {
    single: HashMap<Key, usize>,
    contributed: HashMap<Key, Vec<usize>>,
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

impl Index {
    fn new(specs: &[Spec], labels: &Labels, problems: &mut Vec<String>) -> Self {
        let mut index = Self::default();
        let mut sites: HashMap<Key, Vec<String>> = HashMap::new();
        for (at, spec) in specs.iter().enumerate() {
            if spec.contribution {
                index.contributed.entry(spec.token.key).or_default().push(at);
            } else {
                index.single.entry(spec.token.key).or_insert(at);
                sites.entry(spec.token.key).or_default().push(spec.at.to_string());
            }
        }
        for spec in specs.iter().filter(|spec| !spec.contribution) {
            // Taken out, so that each key is reported once, at its first binding.
            if let Some(sites) = sites.remove(&spec.token.key).filter(|sites| sites.len() > 1) {
                problems.push(format!(
                    "{}: provided more than once, at {}; keep one, name them, or replace it in `override_with`",
                    labels.of(spec.token),
                    sites.join(" and "),
                ));
            }
        }
        index
    }

    /// Finds what every parameter of `spec` receives; required ones without a binding go to `missing`.
    fn connect(&self, at: usize, spec: Spec, labels: &Labels, missing: &mut Vec<(usize, Token)>) -> Node {
        let mut inputs = Vec::with_capacity(spec.dependencies.len());
        for dependency in &spec.dependencies {
            let key = dependency.token.key;
            let nodes: Vec<usize> = match dependency.need {
                Need::All => self.contributed.get(&key).cloned().unwrap_or_default(),
                Need::One | Need::Optional => self.single.get(&key).copied().into_iter().collect(),
            };
            if dependency.need == Need::One && nodes.is_empty() {
                missing.push((at, dependency.token));
            }
            inputs.push(Input { need: dependency.need, nodes });
        }
        let mut label = labels.of(spec.token);
        if spec.contribution {
            let rank = self.contributed[&spec.token.key].iter().position(|&other| other == at);
            label += &format!("[{}]", rank.expect("every contribution is in its list"));
        }
        Node { spec, label, inputs }
    }
}

fn apply_overrides(specs: Vec<Spec>, problems: &mut Vec<String>) -> Vec<Spec> {
    let slot = |spec: &Spec| (spec.token.key, spec.contribution);
    let (overriding, plain): (Vec<&Spec>, Vec<&Spec>) = specs.iter().partition(|spec| spec.overriding);
    let provided: HashSet<_> = plain.into_iter().map(slot).collect();
    let replaced: HashSet<_> = overriding.iter().map(|spec| slot(spec)).collect();
    problems.extend(
        overriding.iter().filter(|spec| !provided.contains(&slot(spec))).map(|spec| {
            format!("{}: overridden at {}, but nothing provides it", spec.token.short(), spec.at)
        }),
    );
    specs.into_iter().filter(|spec| spec.overriding || !replaced.contains(&slot(spec))).collect()
}

/// Short type names, except where two types share one.
struct Labels {
    ambiguous: HashSet<String>,
}

impl Labels {
    fn new(specs: &[Spec]) -> Self {
        let mut first: HashMap<String, Key> = HashMap::new();
        let mut ambiguous = HashSet::new();
        let wanted = specs.iter().flat_map(|spec| spec.dependencies.iter().map(|wanted| wanted.token));
        for token in specs.iter().map(|spec| spec.token).chain(wanted) {
            if *first.entry(token.short()).or_insert(token.key) != token.key {
                ambiguous.insert(token.short());
            }
        }
        Self { ambiguous }
    }

    fn of(&self, token: Token) -> String {
        let short = token.short();
        if self.ambiguous.contains(&short) { token.full() } else { short }
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
