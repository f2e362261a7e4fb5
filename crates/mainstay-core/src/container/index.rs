//! Which bindings count, where each is found, and what it is called.

use std::collections::{HashMap, HashSet};

use super::binding::Spec;
use super::inject::Need;
use super::key::{Key, Token};
use super::plan::{Input, Node};

/// Where bindings are found.
#[derive(Default)]
pub(super) struct Index {
    pub(super) single: HashMap<Key, usize>,
    pub(super) contributed: HashMap<Key, Vec<usize>>,
}

impl Index {
    pub(super) fn new(specs: &[Spec], labels: &Labels, problems: &mut Vec<String>) -> Self {
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
    pub(super) fn connect(
        &self,
        at: usize,
        spec: Spec,
        labels: &Labels,
        missing: &mut Vec<(usize, Token)>,
    ) -> Node {
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

/// Drops every binding that an overriding one replaces.
pub(super) fn apply_overrides(specs: Vec<Spec>, problems: &mut Vec<String>) -> Vec<Spec> {
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
pub(super) struct Labels {
    ambiguous: HashSet<String>,
}

impl Labels {
    pub(super) fn new(specs: &[Spec]) -> Self {
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

    pub(super) fn of(&self, token: Token) -> String {
        let short = token.short();
        if self.ambiguous.contains(&short) { token.full() } else { short }
    }
}
