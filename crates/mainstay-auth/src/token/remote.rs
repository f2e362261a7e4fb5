//! Keys that the issuer publishes.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use mainstay_core::metrics::{Counter, Metrics, Unit};
use mainstay_core::task::{Overrun, TaskGroup};
use mainstay_core::time::{Clock, Moment};
use tokio::sync::watch;

use super::{Error, Key, Reason, jwk};

/// Longest set that is read, in bytes.
pub const MAX_SET: usize = 256 << 10;

/// Ids that no key has, remembered at once.
const MAX_UNKNOWN: usize = 1_000;

const FETCHES: &str = "auth_key_fetches_total";

/// Fetches the set of keys: over HTTPS, from an address out of the configuration, without redirects.
#[async_trait]
pub trait FetchKeys: Send + Sync {
    /// The body of the answer, of which no more than `most` bytes need to be read. It is dropped after
    /// [`RemoteOptions::timeout`].
    ///
    /// # Errors
    /// What went wrong, for the log.
    async fn fetch(&self, most: usize) -> Result<Vec<u8>, String>;
}

/// How often keys are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteOptions {
    /// How often [`RemoteKeys::keep_fresh`] fetches. Default 5 min.
    pub interval: Duration,
    /// How long after one fetch that a token asked for the next may follow. Default 30 s.
    pub cooldown: Duration,
    /// How long an id that no key had is not asked for again. Default 60 s.
    pub unknown_for: Duration,
    /// Longest fetch. Default 3 s.
    pub timeout: Duration,
    /// How long keys are used that could not be fetched again. Default a day.
    pub stale_for: Duration,
}

impl Default for RemoteOptions {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(300),
            cooldown: Duration::from_secs(30),
            unknown_for: Duration::from_secs(60),
            timeout: Duration::from_secs(3),
            stale_for: Duration::from_secs(24 * 3600),
        }
    }
}

/// The keys of an issuer elsewhere. Clones share them.
#[derive(Clone)]
pub struct RemoteKeys {
    shared: Arc<Shared>,
    tasks: Arc<TaskGroup>,
}

struct Shared {
    fetch: Arc<dyn FetchKeys>,
    options: RemoteOptions,
    clock: Clock,
    state: Mutex<State>,
    /// Fetches that have ended.
    rounds: watch::Sender<u64>,
    ok: Counter,
    error: Counter,
}

#[derive(Default)]
struct State {
    keys: Arc<[Key]>,
    /// When they were fetched.
    fetched: Option<Moment>,
    /// Whether the last fetch failed.
    failing: bool,
    running: bool,
    /// When a token last asked for a fetch.
    asked: Option<Moment>,
    /// Until when it is known of an id that no key has it.
    unknown: HashMap<String, Moment>,
}

impl RemoteKeys {
    /// Keys that nothing is known of yet: the first token fetches them, or [`keep_fresh`](Self::keep_fresh).
    #[must_use]
    pub fn new(fetch: Arc<dyn FetchKeys>, options: RemoteOptions, metrics: &Metrics, clock: Clock) -> Self {
        metrics.describe_counter(FETCHES, Unit::None, "Fetches of an issuer's keys, by result.");
        let result = |result| metrics.counter(FETCHES).with(&[("result", result)]);
        let shared = Shared {
            fetch,
            options,
            clock,
            state: Mutex::default(),
            rounds: watch::Sender::new(0),
            ok: result("ok"),
            error: result("error"),
        };
        Self { shared: Arc::new(shared), tasks: Arc::new(TaskGroup::new()) }
    }

    /// Fetches the keys now and at every interval, until it is dropped; after a failure sooner, from a second on. To
    /// be run in a task of the service. Tokens that ask for unknown keys take nothing from these fetches.
    pub async fn keep_fresh(&self) {
        let mut pause = Duration::from_secs(1);
        loop {
            self.refresh().await;
            let interval = self.shared.options.interval;
            let failing = self.shared.lock().failing;
            pause = if failing { (pause * 2).min(interval) } else { Duration::from_secs(1) };
            tokio::time::sleep(if failing { pause / 2 } else { interval }).await;
        }
    }

    /// Fetches the keys now, or joins the fetch that runs. Answers whether it worked.
    pub async fn refresh(&self) -> bool {
        let (ended, begins) = self.shared.join(&mut self.shared.lock());
        self.wait(ended, begins).await;
        !self.shared.lock().failing
    }

    /// The ids of the keys that are known.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        self.shared.lock().keys.iter().map(|key| key.id().to_owned()).collect()
    }

    /// Ends a fetch that runs.
    ///
    /// # Errors
    /// [`Overrun`] if it blocks its thread beyond `deadline`.
    pub async fn stop(&self, deadline: Duration) -> Result<(), Overrun> {
        self.tasks.stop(deadline).await
    }

    /// The keys, among them the one of this id.
    pub(super) async fn keys(&self, id: Option<&str>) -> Result<Arc<[Key]>, Error> {
        let (ended, begins) = match self.shared.look(id) {
            Look::Found(keys) => return Ok(keys),
            Look::Known(error) => return Err(error),
            Look::Fetch { ended, begins } => (ended, begins),
        };
        self.wait(ended, begins).await;
        self.shared.after_fetch(id)
    }

    /// Begins the fetch if that is the caller's part, and waits until it has ended. It belongs to the group: whoever
    /// asked for it and is dropped does not end it, or a caller who hangs up would take the next one's fetch away.
    async fn wait(&self, mut ended: watch::Receiver<u64>, begins: bool) {
        if begins {
            let running = Running(Arc::clone(&self.shared));
            self.tasks.spawn_until_cancelled("keys", running.fetch());
        }
        // The fetch has a deadline of its own; this one is for a runtime that is too busy to end it.
        let _ = tokio::time::timeout(self.shared.options.timeout * 2, ended.changed()).await;
    }
}

/// What is known without asking.
enum Look {
    Found(Arc<[Key]>),
    Known(Error),
    /// Wait for the end of a fetch, which the caller begins or another one has begun.
    Fetch {
        ended: watch::Receiver<u64>,
        begins: bool,
    },
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No fetch begins here that the cooldown forbids: it is marked as begun in the same look.
    fn look(&self, id: Option<&str>) -> Look {
        let now = self.clock.now();
        let mut state = self.lock();
        if let Some(keys) = state.having(id, now, &self.options) {
            return Look::Found(keys);
        }
        if id.and_then(|id| state.unknown.get(id)).is_some_and(|until| now < *until) {
            return Look::Known(state.without(now, &self.options));
        }
        let cooling = |asked: Moment| now.saturating_since(asked) < self.options.cooldown;
        if !state.running && state.asked.is_some_and(cooling) {
            return Look::Known(state.without(now, &self.options));
        }
        let (ended, begins) = self.join(&mut state);
        if begins {
            state.asked = Some(now);
        }
        Look::Fetch { ended, begins }
    }

    /// A way to hear the end of the fetch that runs, or of the one that the caller is to begin.
    fn join(&self, state: &mut State) -> (watch::Receiver<u64>, bool) {
        let begins = !std::mem::replace(&mut state.running, true);
        (self.rounds.subscribe(), begins)
    }

    fn after_fetch(&self, id: Option<&str>) -> Result<Arc<[Key]>, Error> {
        let now = self.clock.now();
        let mut state = self.lock();
        if let Some(keys) = state.having(id, now, &self.options) {
            return Ok(keys);
        }
        if let (Some(id), false) = (id, state.failing) {
            state.remember_unknown(id, now, self.options.unknown_for);
        }
        Err(state.without(now, &self.options))
    }

    async fn fetch(&self) {
        let answer = match tokio::time::timeout(self.options.timeout, self.fetch.fetch(MAX_SET)).await {
            Ok(Ok(body)) if body.len() > MAX_SET => Err("the set is larger than 256 KiB".to_owned()),
            Ok(Ok(body)) => match jwk::read(&body) {
                Some(keys) if !keys.is_empty() => Ok(keys),
                Some(_) => Err("the set has no key that checks signatures".to_owned()),
                None => Err("the answer is not a set of keys".to_owned()),
            },
            Ok(Err(why)) => Err(why),
            Err(_) => Err(format!("no answer within {:?}", self.options.timeout)),
        };
        match &answer {
            Ok(_) => self.ok.increment(1),
            Err(why) => {
                self.error.increment(1);
                tracing::warn!(
                    why,
                    "cannot fetch the keys that check tokens; those that are known stay in use"
                );
            }
        }
        let now = self.clock.now();
        let mut state = self.lock();
        state.failing = answer.is_err();
        if let Ok(keys) = answer {
            state.keys = keys.into();
            state.fetched = Some(now);
        }
    }
}

impl State {
    fn usable(&self, now: Moment, options: &RemoteOptions) -> bool {
        self.fetched.is_some_and(|fetched| now.saturating_since(fetched) <= options.stale_for)
    }

    /// The keys, if they are fresh enough and one has the id.
    fn having(&self, id: Option<&str>, now: Moment, options: &RemoteOptions) -> Option<Arc<[Key]>> {
        let has = id.is_none_or(|id| self.keys.iter().any(|key| key.id() == id));
        (has && self.usable(now, options)).then(|| Arc::clone(&self.keys))
    }

    /// What to say without such a key: nobody can tell while the issuer does not answer.
    fn without(&self, now: Moment, options: &RemoteOptions) -> Error {
        if self.failing || !self.usable(now, options) {
            Error::Unavailable
        } else {
            Error::invalid(Reason::UnknownKey)
        }
    }

    fn remember_unknown(&mut self, id: &str, now: Moment, time: Duration) {
        if self.unknown.len() >= MAX_UNKNOWN {
            self.unknown.retain(|_, until| now < *until);
        }
        // When there is no room the cooldown still bounds what a made-up id costs.
        if self.unknown.len() < MAX_UNKNOWN {
            self.unknown.insert(id.to_owned(), now + time);
        }
    }
}

/// A fetch that runs: however it ends, who waits is told, and the next may begin.
struct Running(Arc<Shared>);

impl Running {
    async fn fetch(self) {
        self.0.fetch().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().running = false;
        self.0.rounds.send_modify(|rounds| *rounds = rounds.wrapping_add(1));
    }
}

impl fmt::Debug for RemoteKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteKeys").field("options", &self.shared.options).finish_non_exhaustive()
    }
}
