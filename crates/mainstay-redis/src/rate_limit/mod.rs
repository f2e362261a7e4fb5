//! Rate limits that all processes share: the store of [`mainstay_core::rate_limit`] on Redis.
//!
//! # Promise
//! All of the [contract](Store), by the server's clock. A decision is one script and one round trip, whatever the
//! number of charges; so is a refund. Nothing that may have been carried out is sent again.
//!
//! # Not promised
//! - On a Cluster, a step over keys of different slots: those of one key under several policies lie in one slot,
//!   those of different keys do not. Such a call looks at all, takes all, and gives back what it took if
//!   someone was faster: two or three round trips, never more than the limit, but for a moment a
//!   charge can count of a call that is then refused, and it counts as spent if it cannot be given back. One whole
//!   script: name the keys so that the policies differ, not the key.
//! - That a calendar of the server which leaps forward is noticed: windows then end early, once. One that steps
//!   back reopens nothing.
//! - Charges that a failover loses: the replica that takes over counts what it had heard of.
//!
//! # If the store is down
//! It says so at once ([`StoreError::Unavailable`]); the limiter's [`Outage`](mainstay_core::rate_limit::Outage) decides.
//!
//! # Defaults
//! A state is one string, `ms:{<namespace>:rl:<key>}:<policy>`, of 16 bytes and 5 for each earlier bucket that was charged,
//! at most 16 + 5·k (GCRA: 32), that expires when it no longer counts.
//!
//! # Metrics
//! Those of the limiter and of the connection.

mod spread;
mod wire;

use std::fmt;

use mainstay_core::key::Space;
use mainstay_core::rate_limit::{Debit, Mode, Receipt, Store, Verdicts};
use mainstay_core::store::{Reply, StoreError};
use smallvec::SmallVec;

use crate::{Class, Redis, Script};

const DECIDE: &str = include_str!("decide.lua");
const REFUND: &str = include_str!("refund.lua");

/// Limits kept on Redis.
pub struct RedisLimits {
    redis: Redis,
    space: Space,
    decide: Script,
    refund: Script,
}

impl RedisLimits {
    /// The limits of all that share `namespace`.
    #[must_use]
    pub fn new(redis: Redis, namespace: &str) -> Self {
        Self::with_scripts(redis, namespace, DECIDE, REFUND)
    }

    /// The texts of the scripts, for tests that change them.
    #[doc(hidden)]
    #[must_use]
    pub const fn scripts() -> (&'static str, &'static str) {
        (DECIDE, REFUND)
    }

    /// Limits by other scripts: with a clock of the test's, or with a bug.
    #[doc(hidden)]
    #[must_use]
    pub fn with_scripts(redis: Redis, namespace: &str, decide: &'static str, refund: &'static str) -> Self {
        let (decide, refund) = (Script::new(decide), Script::new(refund));
        Self { redis, space: Space::new(namespace, "rl"), decide, refund }
    }

    /// The name of the debit's state.
    fn written(&self, debit: &Debit<'_>) -> String {
        self.space.written(debit.key, &debit.policy.to_string())
    }

    /// Decides over debits whose states lie on one server.
    fn decide_together<'a>(
        &'a self,
        debits: &[Debit<'_>],
        keys: &[String],
        mode: Mode,
    ) -> impl Future<Output = Result<Verdicts, StoreError>> + Send + use<'a> {
        let keys: SmallVec<[&str; 2]> = keys.iter().map(String::as_str).collect();
        let command = wire::question(self.decide.call(Class::Once, &keys), debits, mode);
        let costs: wire::Costs =
            debits.iter().map(|debit| if mode == Mode::Take { debit.cost } else { 0 }).collect();
        let answer = self.redis.call(command);
        async move { Ok(wire::verdicts(answer.await?, &costs)?) }
    }
}

impl Store for RedisLimits {
    fn decide<'a>(&'a self, debits: &'a [Debit<'a>], mode: Mode) -> Reply<'a, Result<Verdicts, StoreError>> {
        if debits.is_empty() {
            return Reply::ready(Ok(Verdicts::default()));
        }
        let keys: SmallVec<[String; 1]> = debits.iter().map(|debit| self.written(debit)).collect();
        if self.redis.is_cluster()
            && let Some(parts) = spread::by_slot(&keys)
        {
            return Reply::pending(self.decide_apart(debits, keys, parts, mode));
        }
        Reply::bounded(self.redis.patience(), self.decide_together(debits, &keys, mode))
    }

    fn refund<'a>(&'a self, debit: Debit<'a>, receipt: Receipt) -> Reply<'a, Result<(), StoreError>> {
        let key = self.written(&debit);
        let command = wire::refund(self.refund.call(Class::Once, &[&key]), &debit, receipt);
        let answer = self.redis.call(command);
        Reply::pending(async move {
            answer.await?.int()?;
            Ok(())
        })
    }
}

impl fmt::Debug for RedisLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLimits").field("redis", &self.redis).finish_non_exhaustive()
    }
}
