//! The handle.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use smallvec::{SmallVec, smallvec};
use tracing::Instrument;

use super::config::Options;
use super::decision::{Charged, Decision, Decisions, Refusal};
use super::denied::{Denied, Refunds};
use super::error::Error;
use super::instruments::Instruments;
use super::memory::Memory;
use super::named::{Query, Random};
use super::outage::RETRY_AFTER;
use super::quota::Quota;
use super::store::{Debit, Mode, Store, Verdict, Verdicts};
use crate::key::Key;
use crate::metrics::Metrics;
use crate::store::{Reply, StoreError};
use crate::time::Clock;

/// Most charges in one call.
pub const MAX_CHARGES: usize = 16;

/// Limits how often things happen. Clones share everything.
#[derive(Clone)]
pub struct RateLimiter {
    core: Arc<Core>,
}

pub(super) struct Core {
    store: Arc<dyn Store>,
    /// Decides while the store cannot.
    pub(super) local: Arc<Memory>,
    pub(super) options: Options,
    instruments: Instruments,
    random: Random,
    /// What a far store refused lately.
    denied: Denied,
    /// Whether the last decision was made without the store.
    degraded: AtomicBool,
}

/// One limit that a request is charged to, for [`RateLimiter::check_all`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Charge<'a> {
    /// Whose: any name, 1 to 2048 bytes.
    pub key: &'a str,
    /// The limit.
    pub quota: Quota,
    /// How much; 0 charges nothing.
    pub cost: u32,
}

impl<'a> Charge<'a> {
    /// Charges one.
    #[must_use]
    pub const fn new(key: &'a str, quota: Quota) -> Self {
        Self { key, quota, cost: 1 }
    }

    /// Charges `cost`.
    #[must_use]
    pub const fn cost(mut self, cost: u32) -> Self {
        self.cost = cost;
        self
    }
}

impl RateLimiter {
    /// Limits kept in `store`. `clock` measures the windows of this process, used while the store cannot
    /// answer.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, options: Options, metrics: &Metrics, clock: Clock) -> Self {
        let local = Arc::new(Memory::new(options.max_keys, clock.clone()));
        let instruments = Instruments::new(metrics);
        instruments.watch("local", Arc::downgrade(&local));
        let (random, degraded, denied) = (Random::default(), AtomicBool::new(false), Denied::new(clock));
        Self { core: Arc::new(Core { store, local, options, instruments, random, denied, degraded }) }
    }

    /// Limits kept in this process.
    #[must_use]
    pub fn in_memory(options: Options, metrics: &Metrics, clock: Clock) -> Self {
        let store = Arc::new(Memory::new(options.max_keys, clock.clone()));
        let weak = Arc::downgrade(&store);
        let limiter = Self::new(store, options, metrics, clock);
        limiter.core.instruments.watch("store", weak);
        limiter
    }

    /// Charges one to `key`, if that fits its quota.
    ///
    /// Dropping the future once it was polled can leave the charge made, as an outcome that stays unknown
    /// does: it counts as spent.
    ///
    /// # Errors
    /// [`Error::Key`], [`Error::Quota`]. Never because of the store: then the quota's [`Outage`](super::Outage) decides.
    pub fn check(&self, key: &str, quota: Quota) -> impl Future<Output = Result<Decision, Error>> + Send {
        self.core.decide_one(key, quota, 1, Mode::Take)
    }

    /// Charges `cost`, all of it or nothing. A cost of 0 is always allowed and charges nothing; one above
    /// the limit (of GCRA: the burst) never is, which its `retry_after` of `None` says.
    ///
    /// # Errors
    /// As of [`RateLimiter::check`].
    pub fn check_cost(
        &self,
        key: &str,
        quota: Quota,
        cost: u32,
    ) -> impl Future<Output = Result<Decision, Error>> + Send {
        self.core.decide_one(key, quota, cost, Mode::Take)
    }

    /// Charges all of them or none, in one step; the same key twice is charged twice.
    ///
    /// # Errors
    /// As of [`RateLimiter::check`]; [`Error::Quota`] for more than [`MAX_CHARGES`]. Nothing is charged.
    pub async fn check_all(&self, charges: &[Charge<'_>]) -> Result<Decisions, Error> {
        self.core.decide_all(charges).await
    }

    /// What [`RateLimiter::check`] would say now. Charges nothing and reserves nothing.
    ///
    /// # Errors
    /// As of [`RateLimiter::check`].
    pub fn peek(&self, key: &str, quota: Quota) -> impl Future<Output = Result<Decision, Error>> + Send {
        self.core.decide_one(key, quota, 1, Mode::Peek)
    }

    /// Gives back what `decision` charged to `key` under `quota`, as far as it still counts: as if the
    /// request had not been made. A decision is refunded once; again, or of a refused one, this does
    /// nothing.
    ///
    /// # Errors
    /// [`Error::Key`], [`Error::Quota`], [`Error::OtherDecision`]; [`Error::Unavailable`] and
    /// [`Error::Unknown`] if the store fails. Dropping the future can leave the refund not made, for good.
    pub async fn refund(&self, key: &str, quota: Quota, decision: &Decision) -> Result<(), Error> {
        self.core.refund(key, quota, decision).await
    }
}

impl Core {
    #[expect(clippy::manual_async_fn, reason = "the future of an `async fn` would hold its arguments twice")]
    fn decide_one(
        &self,
        key: &str,
        quota: Quota,
        cost: u32,
        mode: Mode,
    ) -> impl Future<Output = Result<Decision, Error>> + Send {
        async move {
            let debit = Debit { key: Key::new(key)?, policy: quota.policy()?, cost };
            if let Some(decision) = self.denied_before(&debit, mode) {
                return Ok(decision);
            }
            let refunds = self.denied.refunds();
            let pending = {
                let reply = self.store.decide(std::slice::from_ref(&debit), mode);
                // Read where it is: most checks end here, and moving a verdict costs as much as deciding.
                if let Some(Ok(verdicts)) = reply.get()
                    && let [verdict] = &**verdicts
                {
                    self.note(None);
                    let decision = self.decision(&debit, verdict, verdict.fits, false);
                    self.count(&debit, &decision, mode);
                    return Ok(decision);
                }
                reply
            };
            // Boxed, so that a check that need not wait is a small future.
            Ok(Box::pin(self.settle_one(pending, refunds, Charge { key, quota, cost }, &debit, mode)).await)
        }
    }

    async fn settle_one(
        &self,
        reply: Reply<'_, Result<Verdicts, StoreError>>,
        refunds: Refunds,
        charge: Charge<'_>,
        debit: &Debit<'_>,
        mode: Mode,
    ) -> Decision {
        let decisions = self.settle(reply, refunds, &[charge], std::slice::from_ref(debit), mode).await;
        decisions.into_iter().next().expect("one decision for one charge")
    }

    async fn decide_all(&self, charges: &[Charge<'_>]) -> Result<Decisions, Error> {
        if charges.len() > MAX_CHARGES {
            return Err(Error::Quota { field: "charges", reason: "must be at most 16" });
        }
        let debits: SmallVec<[Debit<'_>; 2]> = charges.iter().map(debit).collect::<Result<_, _>>()?;
        if let [debit] = &*debits
            && let Some(decision) = self.denied_before(debit, Mode::Take)
        {
            return Ok(Decisions(smallvec![decision]));
        }
        let refunds = self.denied.refunds();
        let reply = self.store.decide(&debits, Mode::Take);
        Ok(Decisions(self.settle(reply, refunds, charges, &debits, Mode::Take).await))
    }

    /// The refusal of a charge by itself that the store would only repeat.
    #[inline]
    fn denied_before(&self, debit: &Debit<'_>, mode: Mode) -> Option<Decision> {
        let verdict = if mode == Mode::Take { self.denied.verdict(debit) } else { None }?;
        self.instruments.count_remembered(&debit.policy);
        Some(self.decision(debit, &verdict, false, false))
    }

    /// One decision for each charge: by the store, or else by the outage policies.
    async fn settle(
        &self,
        reply: Reply<'_, Result<Verdicts, StoreError>>,
        refunds: Refunds,
        charges: &[Charge<'_>],
        debits: &[Debit<'_>],
        mode: Mode,
    ) -> SmallVec<[Decision; 1]> {
        let asked = reply.get().is_none().then(|| self.denied.asked(refunds));
        let decisions = match self.ask(reply).await {
            Ok(verdicts) if verdicts.len() == debits.len() => {
                if let (Mode::Take, Some(asked), [debit], [verdict]) = (mode, asked, debits, &*verdicts) {
                    self.denied.learn(debit, verdict, asked);
                }
                self.decisions(debits, &verdicts, false)
            }
            _ => self.without_store(charges, debits, mode),
        };
        debits.iter().zip(&decisions).for_each(|(debit, decision)| self.count(debit, decision, mode));
        decisions
    }

    #[inline]
    fn count(&self, debit: &Debit<'_>, decision: &Decision, mode: Mode) {
        if mode == Mode::Take {
            self.instruments.count(&debit.policy, decision.refusal, decision.degraded);
        }
    }

    /// What the store says, at once or within the deadline.
    async fn ask<T>(&self, reply: Reply<'_, Result<T, StoreError>>) -> Result<T, StoreError> {
        let answer = match reply.now() {
            Ok(answer) => answer,
            Err(pending) => {
                let wait = pending.within(self.options.op_timeout);
                wait.instrument(tracing::debug_span!("rate_limit")).await
            }
        };
        self.note(answer.as_ref().err());
        answer
    }

    /// Logs once when the store begins to fail, and once when it is back.
    #[inline]
    fn note(&self, failure: Option<&StoreError>) {
        let failed = failure.is_some();
        if failed != self.degraded.load(Ordering::Relaxed)
            && self.degraded.swap(failed, Ordering::Relaxed) != failed
        {
            match failure {
                Some(error) => tracing::warn!(%error, "rate limits are decided without their store"),
                None => tracing::info!("rate limits are decided by their store again"),
            }
        }
    }

    pub(super) fn decisions(
        &self,
        debits: &[Debit<'_>],
        verdicts: &[Verdict],
        degraded: bool,
    ) -> SmallVec<[Decision; 1]> {
        let admitted = verdicts.iter().all(|verdict| verdict.fits);
        let decide = |(debit, verdict)| self.decision(debit, verdict, admitted, degraded);
        debits.iter().zip(verdicts).map(decide).collect()
    }

    #[inline]
    pub(super) fn decision(
        &self,
        debit: &Debit<'_>,
        verdict: &Verdict,
        allowed: bool,
        degraded: bool,
    ) -> Decision {
        let (refusal, retry_after) = match verdict.retry_after {
            _ if allowed => (None, None),
            _ if verdict.fits => (Some(Refusal::Other), Some(Duration::ZERO)),
            Some(wait) => (Some(Refusal::Limit), Some(wait)),
            // More than this process's share: the store may admit it once it is back.
            None if degraded && debit.cost <= debit.policy.capacity() => {
                (Some(Refusal::Outage), Some(RETRY_AFTER))
            }
            None => (Some(Refusal::Never), None),
        };
        Decision {
            allowed,
            limit: debit.policy.limit(),
            window: debit.policy.window(),
            remaining: verdict.remaining,
            retry_after,
            reset_after: verdict.reset_after,
            degraded,
            name: debit.policy.name,
            refusal,
            charged: match verdict.receipt {
                Some(receipt) => Charged::new(receipt, degraded, self.owner(debit)),
                None => Charged::nothing(),
            },
        }
    }

    async fn refund(&self, key: &str, quota: Quota, decision: &Decision) -> Result<(), Error> {
        let debit = debit(&Charge { key, quota, cost: 0 })?;
        let charged = &decision.charged;
        if charged.receipt.is_none() {
            return Ok(());
        }
        if charged.owner != self.owner(&debit) {
            return Err(Error::OtherDecision);
        }
        let Some(receipt) = charged.redeem() else { return Ok(()) };
        let _forgets = self.denied.refunding(&debit);
        let done = if charged.local {
            self.local.refund(self.local_debit(&quota, &debit), receipt).within(self.options.op_timeout).await
        } else {
            self.ask(self.store.refund(debit, receipt)).await
        };
        done.map_err(|error| match error {
            StoreError::Unknown { .. } => Error::Unknown(error),
            _ => {
                charged.restore();
                Error::Unavailable(error)
            }
        })
    }

    #[inline]
    fn owner(&self, debit: &Debit<'_>) -> u64 {
        Query::new(&self.random, debit).hash
    }
}

fn debit<'a>(charge: &Charge<'a>) -> Result<Debit<'a>, Error> {
    Ok(Debit { key: Key::new(charge.key)?, policy: charge.quota.policy()?, cost: charge.cost })
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter").field("store", &self.core.store).finish_non_exhaustive()
    }
}
