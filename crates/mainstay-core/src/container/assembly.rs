//! The built graph: makes instances, starts and stops the components.

use std::fmt;
use std::sync::OnceLock;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, OnceCell};

use super::binding::Lifetime;
use super::error::{Error, Failure, guarded};
use super::inject::Instance;
use super::plan::{Node, Plan};

/// One cell for each node; only those of scoped nodes are ever filled.
pub(super) type Cells = [OnceCell<Instance>];

pub(super) struct Assembly {
    pub(super) plan: Plan,
    singletons: Vec<OnceLock<Instance>>,
    state: Mutex<State>,
}

struct State {
    /// Nodes whose stop hook is due: built, and started if they have a start hook.
    up: Vec<bool>,
    stopped: bool,
}

impl Assembly {
    pub(super) fn new(plan: Plan) -> Self {
        let nodes = plan.nodes.len();
        Self {
            plan,
            singletons: (0..nodes).map(|_| OnceLock::new()).collect(),
            state: Mutex::new(State { up: vec![false; nodes], stopped: false }),
        }
    }

    fn nodes_in_order(&self) -> impl DoubleEndedIterator<Item = (usize, &Node)> {
        self.plan.order.iter().map(|&at| (at, &self.plan.nodes[at]))
    }

    /// Builds every singleton, or stops those built and says which one failed.
    pub(super) async fn build(&self) -> Result<(), Error> {
        let mut state = self.state.lock().await;
        let singletons = self.nodes_in_order().filter(|(_, node)| node.spec.lifetime == Lifetime::Singleton);
        for (at, node) in singletons {
            match self.construct(at, None).await {
                Ok(instance) => {
                    self.singletons[at].get_or_init(|| instance);
                    state.up[at] = node.spec.start.call.is_none();
                }
                Err(error) => {
                    self.roll_back(&mut state).await;
                    return Err(self.plan.parents_of(at).into_iter().rev().fold(error, Error::below));
                }
            }
        }
        Ok(())
    }

    /// The instance of `node` as its lifetime says. `scope` may be absent where nothing scoped is below.
    pub(super) fn instance<'a>(
        &'a self,
        node: usize,
        scope: Option<&'a Cells>,
    ) -> BoxFuture<'a, Result<Instance, Error>> {
        async move {
            match self.plan.nodes[node].spec.lifetime {
                Lifetime::Singleton => Ok(self.singleton(node)),
                Lifetime::Transient => self.construct(node, scope).await,
                Lifetime::Scoped => {
                    let cells = scope.expect("a plan in which a singleton reaches a scoped value is refused");
                    cells[node].get_or_try_init(|| self.construct(node, scope)).await.cloned()
                }
            }
        }
        .boxed()
    }

    /// A built singleton.
    pub(super) fn singleton(&self, node: usize) -> Instance {
        self.singletons[node].get().expect("singletons are built in dependency order").clone()
    }

    async fn construct(&self, at: usize, scope: Option<&Cells>) -> Result<Instance, Error> {
        let node = &self.plan.nodes[at];
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for input in &node.inputs {
            let mut found = Vec::with_capacity(input.nodes.len());
            for &dependency in &input.nodes {
                found.push(self.instance(dependency, scope).await.map_err(|e| e.below(&node.label))?);
            }
            inputs.push(found);
        }
        guarded(node.spec.build_deadline, || (node.spec.construct)(inputs))
            .await
            .map_err(|failure| Error::Construct { path: node.label.clone(), failure })
    }

    pub(super) async fn start(&self) -> Result<(), Error> {
        let mut state = self.state.lock().await;
        if state.stopped {
            return Err(Error::Stopped);
        }
        for (at, node) in self.nodes_in_order() {
            let Some(hook) = node.spec.start.call.as_ref().filter(|_| !state.up[at]) else { continue };
            let instance = self.singleton(at);
            match guarded(node.spec.start.deadline, || hook(&instance)).await {
                Ok(()) => state.up[at] = true,
                Err(failure) => {
                    self.roll_back(&mut state).await;
                    return Err(Error::Start { path: self.plan.path_to(at), failure });
                }
            }
        }
        Ok(())
    }

    pub(super) async fn stop(&self) -> StopReport {
        self.stop_all(&mut *self.state.lock().await).await
    }

    async fn roll_back(&self, state: &mut State) {
        for failed in self.stop_all(state).await.failed {
            tracing::error!(component = failed.component, failure = %failed.failure, "roll-back: stop hook");
        }
    }

    async fn stop_all(&self, state: &mut State) -> StopReport {
        state.stopped = true;
        let mut report = StopReport::default();
        for (at, node) in self.nodes_in_order().rev() {
            // Taken before the hook runs: a dropped stop, called again, runs no hook twice.
            if !std::mem::take(&mut state.up[at]) {
                continue;
            }
            let Some(hook) = &node.spec.stop.call else { continue };
            let instance = self.singleton(at);
            match guarded(node.spec.stop.deadline, || hook(&instance)).await {
                Ok(()) => report.stopped.push(node.label.clone()),
                Err(failure) => report.failed.push(StopFailure { component: node.label.clone(), failure }),
            }
        }
        report
    }
}

/// What the stop hooks did.
#[derive(Debug, Default, thiserror::Error)]
#[non_exhaustive]
pub struct StopReport {
    /// Components whose stop hook ended well, in the order in which they stopped.
    pub stopped: Vec<String>,
    /// Components whose stop hook did not.
    pub failed: Vec<StopFailure>,
}

impl StopReport {
    /// `Ok` when every stop hook ended well.
    ///
    /// # Errors
    /// The report itself; its text names who failed or overran.
    pub fn into_result(self) -> Result<(), Self> {
        if self.failed.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for StopReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.failed.is_empty() {
            return write!(f, "all components stopped");
        }
        for (n, StopFailure { component, failure }) in self.failed.iter().enumerate() {
            let separator = if n == 0 { "" } else { "; " };
            write!(f, "{separator}{component}: stop hook {failure}")?;
        }
        Ok(())
    }
}

/// A stop hook that failed.
#[derive(Debug)]
#[non_exhaustive]
pub struct StopFailure {
    /// The component's short type name.
    pub component: String,
    /// What happened.
    pub failure: Failure,
}
