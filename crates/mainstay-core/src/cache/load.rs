//! Getting a value that is loaded if it is not there.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::key::Key;
use crate::store::{Degrade, Reply, StoreError};
use crate::time::Moment;

use super::error::LoadError;
use super::flight::{Landing, Loaded, Name};
use super::leader::{self, Job, Load, Right};
use super::{Cache, Cached, Claim, Error, Found, Lookup, Policy, Shared, Token, early};

impl Cache {
    /// The value of a key; if there is none it is loaded, once for all who ask meanwhile.
    ///
    /// The load runs in a task of the cache: it goes on when this future is dropped, and is itself dropped at
    /// the policy's hard timeout. A stale value is served as the policy says. If the store fails, the value is
    /// loaded and not stored, by at most [`Options::degraded_loads`](super::Options::degraded_loads) at a time.
    ///
    /// A loaded value that is too large is returned and not stored.
    ///
    /// # Errors
    /// [`Error::Key`], [`Error::Policy`], [`Error::Load`] with what the loader said, [`Error::LoadPanicked`],
    /// [`Error::LoadTimeout`], [`Error::Codec`] if the value cannot be written, [`Error::Stopped`]. No error is
    /// remembered: the next call loads again.
    pub async fn get_or_load<T, E, F, Fut>(
        &self,
        key: &str,
        policy: impl Into<Policy>,
        load: F,
    ) -> Result<T, Error>
    where
        T: Cached,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let load = async move { load().await.map(Some).map_err(failed) };
        let loaded = self.fetch(key, policy.into(), false, load).await?;
        Ok(loaded.expect("a load of this kind has a value"))
    }

    /// Like [`get_or_load`](Self::get_or_load), for what may not exist: the loader answers `Ok(None)`, and that is
    /// remembered for the policy's [`negative_ttl`](Policy::negative_ttl).
    ///
    /// # Errors
    /// As [`get_or_load`](Self::get_or_load).
    pub async fn get_or_load_optional<T, E, F, Fut>(
        &self,
        key: &str,
        policy: impl Into<Policy>,
        load: F,
    ) -> Result<Option<T>, Error>
    where
        T: Cached,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Option<T>, E>> + Send + 'static,
    {
        let load = async move { load().await.map_err(failed) };
        self.fetch(key, policy.into(), true, load).await
    }

    #[inline]
    pub(super) async fn fetch<T: Cached>(
        &self,
        key: &str,
        policy: Policy,
        optional: bool,
        load: impl Load<T>,
    ) -> Loaded<T> {
        let key = Key::new(key)?;
        policy.check()?;
        let token = Token::random();
        // Spelled out, so that a store in this process is asked without a future in between.
        let lookup = match self.shared.lookup(key, token, &policy, Duration::ZERO).now() {
            Ok(answer) => answer,
            Err(pending) => self.claim(key, token, &policy, pending).await,
        };
        if let Ok(Lookup::Hit(found)) = &lookup
            && let Some(answer) = self.shared.usable(found, optional)
        {
            if early::is_due(found.value.cost(), found.fresh_for, policy.early_refresh, early::random) {
                self.refresh(key, token, policy, optional, found.fresh_for, load);
            }
            self.shared.count_hit(&answer);
            return Ok(answer);
        }
        // Boxed, so that a hit need not carry the room for it.
        Box::pin(self.fetch_slowly(key, token, policy, optional, load, lookup)).await
    }

    async fn fetch_slowly<T: Cached>(
        &self,
        key: Key<'_>,
        token: Token,
        policy: Policy,
        optional: bool,
        load: impl Load<T>,
        mut lookup: Result<Lookup, StoreError>,
    ) -> Loaded<T> {
        let begun = Instant::now();
        let until = begun + policy.hard_timeout;
        let soft = policy.soft_timeout.and_then(|time| begun.checked_add(time));
        let soft = soft.map_or(until, |soft| soft.min(until));
        let mut min_fresh = Duration::ZERO;
        let mut change = None;
        loop {
            let now = Instant::now();
            // A value that was found to be no use is none when it comes again as stale.
            let usable = |stale: Option<Found>| {
                let found = stale.filter(|_| min_fresh.is_zero())?;
                let value = self.shared.usable(&found, optional)?;
                Some(Stale {
                    value,
                    left: found.usable_for,
                    until: self.shared.clock.now() + found.usable_for,
                })
            };
            match lookup {
                Ok(Lookup::Hit(found)) => match self.shared.usable(&found, optional) {
                    Some(answer) => {
                        self.shared.count_hit(&answer);
                        return Ok(answer);
                    }
                    None => min_fresh = found.fresh_for,
                },
                Ok(Lookup::Lease { stale, tags }) => {
                    let stale = usable(stale);
                    let stale_left = stale.as_ref().map_or(Duration::ZERO, |stale| stale.left);
                    let right = Right::Lease { token, tags, stale_left };
                    let landing = self.lead(Name::Lease(token), key, policy, optional, right, load);
                    return self.land(landing, stale, soft, until).await;
                }
                Ok(Lookup::Busy { stale, holder, retry_in }) => {
                    let stale = usable(stale);
                    let name = holder.map(Name::Lease);
                    if let Some(landing) = name.and_then(|name| self.shared.flights.join(name, optional)) {
                        return self.land(landing, stale, soft, until).await;
                    }
                    if let Some(holder) = holder.filter(|holder| self.shared.flights.has_ended(*holder)) {
                        // A replica took over that had not heard of its end. Nobody else would end it.
                        leader::end(&self.shared, key, holder).await;
                    }
                    let patience = if stale.is_some() { soft } else { until };
                    // Without a holder a load has failed, and none is under way.
                    if let Some(stale) = stale.filter(|_| holder.is_none() || now >= soft) {
                        self.shared.meters.stale.increment(1);
                        return Ok(stale.value);
                    }
                    // First to subscribe, then to look again, then to wait: no change goes unnoticed.
                    match change.take() {
                        None => change = Some(self.shared.store.changed(key)),
                        Some(change) => {
                            let free = now.checked_add(retry_in);
                            let wait = free.map_or(patience, |free| free.min(patience));
                            let _changed_or_free = tokio::time::timeout_at(wait, change).await;
                        }
                    }
                    min_fresh = Duration::ZERO;
                }
                Err(error) if self.shared.options.degrade != Degrade::Local => {
                    return Err(self.shared.not_read(error));
                }
                Err(_) => {
                    self.shared.meters.unavailable.increment(1);
                    let name = Name::Degraded(key.name().into());
                    let mut landing = self.lead(name, key, policy, optional, Right::Degraded, load);
                    return self.wait(&mut landing, until).await;
                }
            }
            // A look after the last wait: what is stale is served then.
            if now >= until {
                self.shared.meters.miss.increment(1);
                return Err(Error::LoadTimeout { after: policy.hard_timeout });
            }
            let asked = self.shared.lookup(key, token, &policy, min_fresh);
            lookup = self.claim(key, token, &policy, asked).await;
        }
    }

    /// Begins a load, or joins one of the same name.
    fn lead<T: Cached>(
        &self,
        name: Name,
        key: Key<'_>,
        policy: Policy,
        optional: bool,
        right: Right,
        load: impl Load<T>,
    ) -> Landing<T> {
        let (landing, flight) = self.shared.flights.join_or_begin(name, optional);
        if let Some(flight) = flight {
            let job = Job { key: key.name().into(), policy, right };
            let run = leader::run(Arc::clone(&self.shared), job, load, flight, self.tasks.token());
            self.tasks.spawn("cache load", run);
        }
        landing
    }

    /// Waits for a load, for less time where there is a stale value to serve.
    async fn land<T: Cached>(
        &self,
        mut landing: Landing<T>,
        stale: Option<Stale<T>>,
        soft: Instant,
        until: Instant,
    ) -> Loaded<T> {
        let Some(stale) = stale else {
            self.shared.meters.miss.increment(1);
            return self.wait(&mut landing, until).await;
        };
        let loaded = self.wait(&mut landing, soft).await;
        if loaded.is_err() && self.shared.clock.now() < stale.until {
            self.shared.meters.stale.increment(1);
            return Ok(stale.value);
        }
        self.shared.meters.miss.increment(1);
        // Of a load that has ended this is the same answer again.
        if loaded.is_err() { self.wait(&mut landing, until).await } else { loaded }
    }

    async fn wait<T: Cached>(&self, landing: &mut Landing<T>, until: Instant) -> Loaded<T> {
        let begun = Instant::now();
        match tokio::time::timeout_at(until, landing.wait_for(Option::is_some)).await {
            Ok(Ok(result)) => result.clone().expect("this was waited for"),
            // The task is gone without a word: the runtime is going down.
            Ok(Err(_)) => Err(Error::Stopped),
            Err(_) => Err(Error::LoadTimeout { after: until - begun }),
        }
    }

    /// Loads a fresh value anew in the background, unless somebody did or does.
    fn refresh<T: Cached>(
        &self,
        key: Key<'_>,
        token: Token,
        policy: Policy,
        optional: bool,
        min_fresh: Duration,
        load: impl Load<T>,
    ) {
        let shared = Arc::clone(&self.shared);
        let stopped = self.tasks.token();
        let key: Box<str> = key.name().into();
        self.tasks.spawn("cache refresh", async move {
            let lookup = shared.lookup(Key::new(&key).expect("it was one before"), token, &policy, min_fresh);
            match lookup.within(shared.options.op_timeout).await {
                Ok(Lookup::Lease { stale, tags }) => {
                    let stale_left = stale.map(|found| found.usable_for).unwrap_or_default();
                    let (_, flight) = shared.flights.join_or_begin::<T>(Name::Lease(token), optional);
                    if let Some(flight) = flight {
                        let job = Job { key, policy, right: Right::Lease { token, tags, stale_left } };
                        leader::run(shared, job, load, flight, stopped).await;
                    }
                }
                Err(StoreError::Unknown { .. }) => {
                    leader::give_back(&shared, &key, token, &policy, &stopped).await;
                }
                Ok(_) | Err(_) => {}
            }
        });
    }

    /// Waits for the store's answer, and gives back what it may have given if the answer does not arrive here.
    async fn claim(
        &self,
        key: Key<'_>,
        token: Token,
        policy: &Policy,
        asked: Reply<'_, Result<Lookup, StoreError>>,
    ) -> Result<Lookup, StoreError> {
        let mut claimed = Claimed { cache: self, key, token, policy, open: true };
        let lookup = asked.within(self.shared.options.op_timeout).await;
        claimed.open = matches!(lookup, Err(StoreError::Unknown { .. }));
        lookup
    }
}

/// What may be served in place of the value that is being loaded.
struct Stale<T> {
    value: Option<T>,
    /// For how long, counted from when it was found.
    left: Duration,
    until: Moment,
}

/// A lease that may have been given to somebody who does not know.
struct Claimed<'a> {
    cache: &'a Cache,
    key: Key<'a>,
    token: Token,
    policy: &'a Policy,
    open: bool,
}

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        // Without a runtime the process is ending, and the lease runs out.
        if self.open && tokio::runtime::Handle::try_current().is_ok() {
            let shared = Arc::clone(&self.cache.shared);
            let (key, token): (Box<str>, _) = (self.key.name().into(), self.token);
            let (policy, stopped) = (self.policy.clone(), self.cache.tasks.token());
            let give_back = async move { leader::give_back(&shared, &key, token, &policy, &stopped).await };
            self.cache.tasks.spawn("cache lease return", give_back);
        }
    }
}

impl Shared {
    #[inline]
    fn lookup<'a>(
        &'a self,
        key: Key<'a>,
        token: Token,
        policy: &'a Policy,
        min_fresh: Duration,
    ) -> Reply<'a, Result<Lookup, StoreError>> {
        let lease = self.lease(policy);
        self.store.lookup(key, Claim { token, lease, min_fresh, tags: &policy.tags })
    }

    /// How long a lease lasts: a load, and the answers before and after it.
    pub(super) fn lease(&self, policy: &Policy) -> Duration {
        policy.hard_timeout.saturating_add(self.options.op_timeout.saturating_mul(2))
    }
}

pub(super) fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Load(LoadError::from(error.into()))
}
