//! Random graphs against a naive model.
//!
//! A dependency is a type, so random edges need types to match: node `I` takes every contribution
//! named `M<I>`, and each random edge `I → J` is one contribution that takes node `J`.

use mainstay_core::container::{All, Binding, Builder, Container, Dep, Error, Lifetime};
use proptest::prelude::*;

use super::Log;

const NODES: usize = 8;

/// Turns a number known at run time into a constant.
macro_rules! with_index {
    ($index:expr, $constant:ident => $body:expr) => {
        with_index!($index, $constant => $body; 0 1 2 3 4 5 6 7)
    };
    ($index:expr, $constant:ident => $body:expr; $($value:literal)*) => {
        match $index {
            $($value => { const $constant: usize = $value; $body })*
            _ => unreachable!("there are eight nodes"),
        }
    };
}

struct M<const I: usize>;
struct Node;
struct Edge;

#[derive(Debug, Clone)]
struct Graph {
    /// The lifetime of each node; `None` if it is not provided.
    nodes: Vec<Option<Lifetime>>,
    /// From, to, and the lifetime of the edge's own contribution.
    edges: Vec<(usize, usize, Lifetime)>,
    /// A node whose constructor fails.
    fails: Option<usize>,
}

fn graph() -> impl Strategy<Value = Graph> {
    let lifetime = || {
        prop_oneof![
            6 => Just(Lifetime::Singleton), 1 => Just(Lifetime::Scoped), 1 => Just(Lifetime::Transient)
        ]
    };
    let node = prop_oneof![12 => lifetime().prop_map(Some), 1 => Just(None)];
    // Half of the graphs only have edges to higher nodes, or almost every graph would have a cycle.
    let edges = (prop::collection::vec((0..NODES, 0..NODES, lifetime()), 0..12), any::<bool>());
    let edges = edges.prop_map(|(edges, acyclic)| match acyclic {
        true => edges.into_iter().filter(|(from, to, _)| from < to).collect(),
        false => edges,
    });
    let fails = prop::option::weighted(0.3, 0..NODES);
    (prop::collection::vec(node, NODES), edges, fails).prop_map(|(nodes, edges, fails)| Graph {
        nodes,
        edges,
        fails,
    })
}

/// What must be true of a graph, worked out the slow and obvious way.
impl Graph {
    fn present(&self) -> impl Iterator<Item = &(usize, usize, Lifetime)> {
        self.edges.iter().filter(|(from, to, _)| {
            // An edge is registered in any case; it leads somewhere only if both ends exist.
            self.nodes[*from].is_some() && self.nodes[*to].is_some()
        })
    }

    fn reachable(&self, from: usize) -> Vec<usize> {
        let mut reached: Vec<usize> = Vec::new();
        for _ in 0..=NODES {
            for &(a, b, _) in self.present() {
                if (a == from || reached.contains(&a)) && !reached.contains(&b) {
                    reached.push(b);
                }
            }
        }
        reached
    }

    fn cyclic(&self) -> bool {
        (0..NODES).any(|node| self.reachable(node).contains(&node))
    }

    fn misses(&self) -> bool {
        self.edges.iter().any(|(_, to, _)| self.nodes[*to].is_none())
    }

    /// Whether an instance of `node` holds something scoped without a singleton in between.
    fn carries_scoped(&self, node: usize, depth: usize) -> bool {
        match self.nodes[node] {
            Some(Lifetime::Scoped) => true,
            Some(Lifetime::Transient) => self.holds_scoped(node, depth),
            _ => false,
        }
    }

    fn holds_scoped(&self, node: usize, depth: usize) -> bool {
        depth > 0
            && self.edges.iter().filter(|(from, ..)| *from == node).any(|&(_, to, edge)| match edge {
                Lifetime::Scoped => true,
                Lifetime::Transient => self.carries_scoped(to, depth - 1),
                _ => false,
            })
    }

    fn lifetimes_fit(&self) -> bool {
        let nodes_fit = (0..NODES)
            .all(|node| self.nodes[node] != Some(Lifetime::Singleton) || !self.holds_scoped(node, NODES + 1));
        let edges_fit = self
            .edges
            .iter()
            .all(|&(_, to, edge)| edge != Lifetime::Singleton || !self.carries_scoped(to, NODES + 1));
        nodes_fit && edges_fit
    }

    fn builder(&self, log: &Log) -> Builder {
        let mut builder = Container::builder();
        for node in 0..NODES {
            if let Some(lifetime) = self.nodes[node] {
                let fails = self.fails == Some(node);
                with_index!(node, I => add_node::<I>(&mut builder, lifetime, fails, log));
            }
        }
        for &(from, to, lifetime) in &self.edges {
            with_index!(from, I => with_index!(to, J => add_edge::<I, J>(&mut builder, lifetime)));
        }
        builder
    }

    /// The singletons among the nodes of the log's entries that start with `verb`.
    fn singletons(&self, verb: &str, log: &Log) -> Vec<usize> {
        let nodes =
            log.entries().into_iter().filter_map(|entry| entry.strip_prefix(verb)?.trim().parse().ok());
        nodes.filter(|&node: &usize| self.nodes[node] == Some(Lifetime::Singleton)).collect()
    }
}

fn live<'b, T: Send + Sync + 'static>(binding: Binding<'b, T>, lifetime: Lifetime) -> Binding<'b, T> {
    match lifetime {
        Lifetime::Scoped => binding.scoped(),
        Lifetime::Transient => binding.transient(),
        _ => binding,
    }
}

fn add_node<const I: usize>(builder: &mut Builder, lifetime: Lifetime, fails: bool, log: &Log) {
    let (build, start, stop) = (log.clone(), log.clone(), log.clone());
    let binding = builder.try_provide(move |_: All<Edge, M<I>>| {
        if !fails {
            build.push(format!("build {I}"));
        }
        async move { if fails { Err("on purpose") } else { Ok(Node) } }
    });
    let binding = live(binding.named::<M<I>>(), lifetime);
    if lifetime == Lifetime::Singleton {
        let binding = binding.on_stop(move |_| {
            stop.push(format!("stop {I}"));
            async {}
        });
        // Only odd nodes have a start hook, so that both ways of being up are covered.
        if I % 2 == 1 {
            binding.on_start(move |_| {
                start.push(format!("start {I}"));
                async {}
            });
        }
    }
}

fn add_edge<const I: usize, const J: usize>(builder: &mut Builder, lifetime: Lifetime) {
    let binding = builder.provide(|_: Dep<Node, M<J>>| async { Edge });
    live(binding.named::<M<I>>().contribute(), lifetime);
}

fn reversed<T>(mut list: Vec<T>) -> Vec<T> {
    list.reverse();
    list
}

async fn check(graph: &Graph) -> Result<(), TestCaseError> {
    let log = Log::default();
    let (cyclic, misses, fits) = (graph.cyclic(), graph.misses(), graph.lifetimes_fit());
    match graph.builder(&log).build().await {
        Err(Error::Graph { problems }) => {
            let says = |what: &str| problems.iter().any(|problem| problem.contains(what));
            prop_assert!(cyclic || misses || !fits, "refused without need: {:?}", problems);
            prop_assert_eq!(says(": a cycle"), cyclic);
            prop_assert_eq!(says(": not provided"), misses);
            prop_assert_eq!(says("would keep the scoped"), !fits);
            prop_assert!(log.entries().is_empty(), "a refused graph is never built");
        }
        Err(Error::Construct { path, .. }) => {
            prop_assert!(!cyclic && !misses && fits);
            prop_assert!(path.ends_with(&format!("Node (M<{}>)", graph.fails.unwrap())), "{}", path);
            let mut up = graph.singletons("build", &log);
            up.retain(|node| node % 2 == 0);
            prop_assert_eq!(graph.singletons("stop", &log), reversed(up));
        }
        Err(other) => prop_assert!(false, "unexpected {}", other),
        Ok(container) => {
            prop_assert!(!cyclic && !misses && fits, "a graph with mistakes was built");
            let built = graph.singletons("build", &log);
            let wanted = graph.nodes.iter().filter(|node| **node == Some(Lifetime::Singleton)).count();
            prop_assert_eq!(built.len(), wanted, "each singleton once: {:?}", built);
            for (at, &node) in built.iter().enumerate() {
                let below = graph.reachable(node);
                prop_assert!(!built[at..].iter().any(|later| below.contains(later)), "{:?}", built);
            }
            prop_assert!(container.start().await.is_ok());
            let odd: Vec<usize> = built.iter().copied().filter(|node| node % 2 == 1).collect();
            prop_assert_eq!(graph.singletons("start", &log), odd);
            prop_assert!(container.stop().await.into_result().is_ok());
            prop_assert_eq!(graph.singletons("stop", &log), reversed(built));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_graph_is_built_in_order_or_refused_as_the_model_says(graph in graph()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(check(&graph))?;
    }
}
