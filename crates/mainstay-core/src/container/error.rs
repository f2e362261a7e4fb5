use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;

use crate::task::panic_message;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a container could not be built, started or asked.
///
/// Every text holds the whole story on its own (path and cause), so `source` is empty.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bindings do not fit together; nothing was built. A mistake in the wiring code.
    #[error("the container cannot be built ({}):\n- {}", count(problems), problems.join("\n- "))]
    Graph {
        /// Every problem found, one text each.
        problems: Vec<String>,
    },
    /// A constructor failed. What had been built before was stopped again.
    #[error("{path}: constructor {failure}")]
    Construct {
        /// From a component that nothing depends on (or the one asked for) down to the failed one.
        path: String,
        /// What happened.
        failure: Failure,
    },
    /// A start hook failed. What had been started before was stopped again.
    #[error("{path}: start hook {failure}")]
    Start {
        /// From a component that nothing depends on down to the failed one.
        path: String,
        /// What happened.
        failure: Failure,
    },
    /// Nothing provides the type asked for.
    #[error("{component}: not provided; {hint}")]
    NotProvided {
        /// The type asked for.
        component: String,
        /// How to provide it.
        hint: String,
    },
    /// The component is scoped or transient, and was asked for outside a scope.
    #[error("{component}: {lifetime}; resolve it in a scope, from `container.scope()`")]
    NeedsScope {
        /// The type asked for.
        component: String,
        /// Scoped or transient.
        lifetime: super::Lifetime,
    },
    /// The container was stopped; it does not start again.
    #[error("the container was stopped and does not start again")]
    Stopped,
}

impl Error {
    /// Puts `parent` in front of the path.
    pub(super) fn below(mut self, parent: &str) -> Self {
        if let Self::Construct { path, .. } = &mut self {
            *path = format!("{parent}{ARROW}{path}");
        }
        self
    }
}

pub(super) const ARROW: &str = " → ";

fn count(problems: &[String]) -> String {
    match problems.len() {
        1 => "1 problem".to_owned(),
        n => format!("{n} problems"),
    }
}

/// How a constructor or a hook went wrong.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure {
    /// It returned this error.
    Failed(Box<dyn std::error::Error + Send + Sync>),
    /// It panicked with this message.
    Panicked(String),
    /// It was dropped after this deadline.
    Overran(Duration),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => {
                write!(f, "failed: {error}")?;
                let mut cause = error.source();
                while let Some(error) = cause {
                    write!(f, ": {error}")?;
                    cause = error.source();
                }
                Ok(())
            }
            Self::Panicked(message) => write!(f, "panicked: {message}"),
            Self::Overran(deadline) => write!(f, "did not finish within {deadline:?}"),
        }
    }
}

/// Runs user code so that neither a panic nor a hang gets past this line.
pub(super) async fn guarded<T, F>(deadline: Duration, work: impl FnOnce() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, BoxError>>,
{
    // The call itself sits inside the caught future: a closure may panic before it returns one.
    let work = AssertUnwindSafe(async { work().await }).catch_unwind();
    match tokio::time::timeout(deadline, work).await {
        Ok(Ok(result)) => result.map_err(Failure::Failed),
        Ok(Err(panic)) => Err(Failure::Panicked(panic_message(&*panic).to_owned())),
        Err(_) => Err(Failure::Overran(deadline)),
    }
}
