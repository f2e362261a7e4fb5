//! Dependency injection by constructor signature.
//!
//! A constructor is an ordinary async closure or function; its parameters say what it needs:
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use mainstay_core::container::{Container, Dep};
//! use std::sync::Arc;
//!
//! trait UserRepository: Send + Sync { fn find(&self, id: u64) -> Option<String>; }
//! struct InMemory;
//! impl UserRepository for InMemory { fn find(&self, id: u64) -> Option<String> { (id == 1).then(|| "Ada".into()) } }
//!
//! struct UserService { users: Dep<dyn UserRepository> }
//!
//! let mut builder = Container::builder();
//! builder.provide_dyn(|| async { Arc::new(InMemory) as Arc<dyn UserRepository> });
//! builder
//!     .provide(|users: Dep<dyn UserRepository>| async move { UserService { users } })
//!     .on_start(|service| async move { assert!(service.users.find(1).is_some()) });
//!
//! let container = builder.build().await?;
//! container.start().await?;
//! let service: Arc<UserService> = container.resolve()?;
//! assert_eq!(service.users.find(1).as_deref(), Some("Ada"));
//! assert!(container.stop().await.into_result().is_ok());
//! # Ok::<_, mainstay_core::container::Error>(())
//! # }).unwrap();
//! ```
//!
//! # Promise
//! - The graph is checked before any constructor runs: missing bindings, cycles, singletons that
//!   would keep something scoped, duplicates. All mistakes are reported at once, each with its path.
//! - Singletons are built and started in dependency order and stopped in reverse.
//! - A component is *up* when its constructor, and its start hook if it has one, ended well. Stop
//!   hooks run exactly for what is up: when build or start fails half-way, and in [`Container::stop`].
//! - A constructor or hook that panics or hangs is an error with a name, never a crash or a hang.
//! - At most one instance of a scoped component in a scope, whatever races or is cancelled.
//! - Nothing is global: two containers in a process share nothing but what they are given.
//!
//! # Not promised
//! - Lazy singletons: everything provided as one is built by [`Builder::build`].
//! - Parallel construction: one constructor runs at a time.
//! - A deadline for code that blocks its thread without awaiting; no deadline can cut that.
//! - Stop hooks after a dropped [`Builder::build`]: what was built is dropped.
//!
//! # Defaults
//! Lifetime singleton; constructors 30 s, start and stop hooks 10 s each.
//!
//! # Metrics
//! None. Roll-backs are logged; the other outcomes are returned to the caller.

mod assembly;
mod binding;
mod builder;
mod constructor;
mod error;
mod graph;
mod index;
mod inject;
mod key;
mod plan;
mod scope;

use std::fmt;
use std::sync::Arc;

pub use assembly::{StopFailure, StopReport};
pub use binding::{Binding, HookOutput, Lifetime};
pub use builder::Builder;
pub use constructor::Constructor;
pub use error::{Error, Failure};
pub use graph::Graph;
pub use inject::{All, Dep, Inject};
pub use key::Unnamed;
pub use scope::Scope;

use assembly::Assembly;
use inject::Instance;
use key::{Key, Token};

/// The built components. Cheap to clone; all clones are the same container.
#[derive(Clone)]
pub struct Container {
    assembly: Arc<Assembly>,
}

impl Container {
    /// Starts collecting bindings.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The singleton of type `T`; `T` may be a trait object. One hash lookup and one `Arc` clone,
    /// no lock and no allocation. All threads share the count of that `Arc`: keep what was
    /// resolved instead of asking for it in a hot path.
    ///
    /// # Errors
    /// [`Error::NotProvided`]; [`Error::NeedsScope`] when it is not a singleton.
    pub fn resolve<T: ?Sized + Send + Sync + 'static>(&self) -> Result<Arc<T>, Error> {
        self.resolve_named::<T, Unnamed>()
    }

    /// Like [`Container::resolve`], for the binding named `K`.
    ///
    /// # Errors
    /// As [`Container::resolve`].
    pub fn resolve_named<T, K>(&self) -> Result<Arc<T>, Error>
    where
        T: ?Sized + Send + Sync + 'static,
        K: 'static,
    {
        self.singleton(self.assembly.plan.find(Token::of::<T, K>())?).map(|instance| instance.get())
    }

    /// Every contribution of type `T`, in the order of registration; empty when there is none.
    ///
    /// # Errors
    /// [`Error::NeedsScope`] when one of them is not a singleton.
    pub fn resolve_all<T: ?Sized + Send + Sync + 'static>(&self) -> Result<Vec<Arc<T>>, Error> {
        let nodes = self.assembly.plan.contributions(Key::of::<T, Unnamed>());
        nodes.iter().map(|&node| self.singleton(node).map(|instance| instance.get())).collect()
    }

    fn singleton(&self, node: usize) -> Result<Instance, Error> {
        let found = &self.assembly.plan.nodes[node];
        match found.spec.lifetime {
            Lifetime::Singleton => Ok(self.assembly.singleton(node)),
            lifetime @ (Lifetime::Scoped | Lifetime::Transient) => {
                Err(Error::NeedsScope { component: found.label.clone(), lifetime })
            }
        }
    }

    /// Opens a scope, for example for one request.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope::new(Arc::clone(&self.assembly))
    }

    /// Runs the start hooks in dependency order. Components that are up already are left alone.
    ///
    /// # Errors
    /// [`Error::Start`] when a hook fails, panics or overruns its deadline: everything that is up
    /// is stopped in reverse order first. [`Error::Stopped`] after [`Container::stop`].
    ///
    /// # Cancellation
    /// Dropping the future drops the hook that was running; call [`Container::stop`] to stop what
    /// is up.
    pub async fn start(&self) -> Result<(), Error> {
        self.assembly.start().await
    }

    /// Runs the stop hooks of everything that is up, in reverse order, and goes on after failures.
    /// Calling it again does nothing. Waits for a [`Container::start`] in progress; to cut that
    /// short, drop its future.
    ///
    /// # Cancellation
    /// Dropping the future drops the hook that was running; another call goes on with the next one.
    pub async fn stop(&self) -> StopReport {
        self.assembly.stop().await
    }

    /// The dependency graph, for diagrams.
    #[must_use]
    pub fn graph(&self) -> Graph {
        Graph::of(&self.assembly.plan)
    }
}

impl fmt::Debug for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.assembly.plan.nodes.iter().map(|node| &node.label)).finish()
    }
}
