use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::{Error, Status};

/// What a probe learnt beyond "it answered".
///
/// ```
/// use mainstay_core::health::Observation;
/// let seen = Observation::of(93.0, "percent").warn("the queue is nearly full");
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Observation {
    pub(super) result: Status,
    pub(super) message: Option<String>,
    pub(super) value: Option<(f64, String)>,
}

impl Observation {
    /// A measured value with its unit (`percent`, `bytes`, `ms`, …). It passes until
    /// [`warn`](Self::warn) or [`fail`](Self::fail) is called.
    pub fn of(value: f64, unit: impl Into<String>) -> Self {
        Self { value: Some((value, unit.into())), ..Self::from(()) }
    }

    /// Adds a sentence for the reader of the report; the result stays as it is.
    pub fn detail(self, message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), ..self }
    }

    /// Working, but not as it should.
    pub fn warn(self, message: impl Into<String>) -> Self {
        Self { result: Status::Degraded, ..self.detail(message) }
    }

    /// A failure that keeps the observed value, unlike an `Err`.
    pub fn fail(self, message: impl Into<String>) -> Self {
        Self { result: Status::Unhealthy, ..self.detail(message) }
    }
}

impl From<()> for Observation {
    fn from((): ()) -> Self {
        Self { result: Status::Healthy, message: None, value: None }
    }
}

/// A named probe and the rules for running it.
///
/// ```
/// use std::time::Duration;
/// use mainstay_core::health::Check;
///
/// let check = Check::new("search-index", || async { Ok::<_, std::io::Error>(()) })
///     .timeout(Duration::from_secs(2))
///     .critical();
/// ```
#[must_use = "a check does nothing until it is registered"]
pub struct Check {
    pub(super) name: String,
    pub(super) probe: Probe,
    pub(super) timeout: Option<Duration>,
    pub(super) interval: Option<Duration>,
    pub(super) critical: bool,
    pub(super) gates_readiness: bool,
    pub(super) kind: Option<String>,
}

impl Check {
    /// A check that awaits `probe`: `Ok(())`, `Ok(Observation)` or any error that can be displayed.
    ///
    /// The future is dropped when it takes longer than the timeout, so it must not block its
    /// thread; see [`Check::blocking`] for that. A panic counts as a failure.
    pub fn new<P, F, T, E>(name: impl Into<String>, probe: P) -> Self
    where
        P: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Into<Observation>,
        E: Display,
    {
        Self::with_probe(
            name,
            Probe::Async(Box::new(move || {
                let answer = probe();
                async move { answer.await.map(Into::into).map_err(|error| error.to_string()) }.boxed()
            })),
        )
    }

    /// A check whose probe blocks its thread: file systems, C libraries.
    ///
    /// It runs on a thread of its own. When it hangs, the run is reported as failed after the
    /// timeout, and no second thread is started before the first has come back.
    pub fn blocking<P, T, E>(name: impl Into<String>, probe: P) -> Self
    where
        P: Fn() -> Result<T, E> + Send + Sync + 'static,
        T: Into<Observation>,
        E: Display,
    {
        let call = Box::new(move || probe().map(Into::into).map_err(|error| error.to_string()));
        Self::with_probe(name, Probe::Blocking(Arc::new(Blocking { call, busy: AtomicBool::new(false) })))
    }

    fn with_probe(name: impl Into<String>, probe: Probe) -> Self {
        Self {
            name: name.into(),
            probe,
            timeout: None,
            interval: None,
            critical: false,
            gates_readiness: false,
            kind: None,
        }
    }

    /// Another name, to register a built-in check twice.
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// Overrides [`Options::timeout`](super::Options::timeout) for this check.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// Overrides [`Options::interval`](super::Options::interval) for this check.
    pub fn interval(self, interval: Duration) -> Self {
        Self { interval: Some(interval), ..self }
    }

    /// Its failure makes the service unhealthy, not only degraded.
    pub fn critical(self) -> Self {
        Self { critical: true, ..self }
    }

    /// Its failure takes the instance out of the load balancer.
    ///
    /// Off by default, also for critical checks: a dependency that fails for everybody would
    /// otherwise take every instance out at once.
    pub fn gates_readiness(self) -> Self {
        Self { gates_readiness: true, ..self }
    }

    /// What kind of component is checked (`database`, `system`, `http`), for the reader.
    pub fn kind(self, kind: impl Into<String>) -> Self {
        Self { kind: Some(kind.into()), ..self }
    }

    pub(super) fn validate(&self) -> Result<(), Error> {
        let allowed = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-');
        if (1..=64).contains(&self.name.len()) && self.name.bytes().all(allowed) {
            Ok(())
        } else {
            Err(Error::InvalidName { name: self.name.clone() })
        }
    }
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Check")
            .field("name", &self.name)
            .field("critical", &self.critical)
            .finish_non_exhaustive()
    }
}

/// `Err` holds the text of the error.
pub(super) type Outcome = Result<Observation, String>;

pub(super) enum Probe {
    Async(Box<dyn Fn() -> BoxFuture<'static, Outcome> + Send + Sync>),
    Blocking(Arc<Blocking>),
}

impl Probe {
    pub(super) async fn run(&self) -> Outcome {
        match self {
            Self::Async(probe) => probe().await,
            Self::Blocking(probe) => probe.run().await,
        }
    }
}

pub(super) struct Blocking {
    call: Box<dyn Fn() -> Outcome + Send + Sync>,
    busy: AtomicBool,
}

impl Blocking {
    /// A thread of its own, not `spawn_blocking`: a call that never returns would hold a thread of
    /// the shared pool and keep the runtime from shutting down.
    async fn run(self: &Arc<Self>) -> Outcome {
        if self.busy.swap(true, Ordering::AcqRel) {
            return Err("previous run still hangs".into());
        }
        let idle = Idle(Arc::clone(self));
        let (answer, outcome) = oneshot::channel();
        std::thread::Builder::new()
            .name("health-check".into())
            .spawn(move || {
                let outcome = {
                    let idle = idle;
                    (idle.0.call)()
                };
                // Nobody listens after the timeout; the result is then of no use.
                let _ = answer.send(outcome);
            })
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        outcome.await.unwrap_or_else(|_| Err(PANICKED.into()))
    }
}

pub(super) const PANICKED: &str = "probe panicked";

/// Frees the probe for its next run, also when this one panics or its thread never starts.
struct Idle(Arc<Blocking>);

impl Drop for Idle {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
    }
}
