//! A store whose scripts read a clock of the test's.

use std::sync::Arc;

use mainstay_core::key::Key;
use mainstay_core::rate_limit::{Debit, Memory, Mode, Quota, Receipt, Store, Verdicts};
use mainstay_core::time::{Clock, Moment, Source};
use mainstay_redis::rate_limit::RedisLimits;
use mainstay_redis::{Class, Command, Redis};
use std::sync::atomic::{AtomicU64, Ordering};

/// Microseconds at which schedules begin: the calendar of 2026, so that numbers are as large as they are.
pub(crate) const BEGINNING: u64 = 1_790_000_000_000_000;

/// Makes scripts out of those that ship.
pub(crate) type Patch = fn(&str) -> String;

/// A store on the server and one in memory, by the same clock.
pub(crate) struct Lane {
    redis: Redis,
    key: String,
    memory: Memory,
    hand: Arc<Hand>,
    pub(crate) limits: RedisLimits,
}

#[derive(Debug)]
struct Hand(AtomicU64);

impl Source for Hand {
    fn now(&self) -> Moment {
        Moment::from_micros(self.0.load(Ordering::SeqCst))
    }

    fn wall(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
}

impl Lane {
    /// Lanes of different names on one server do not meet. Nothing expires: the server's own clock says when.
    pub(crate) fn new(redis: &Redis, name: &str, patch: Patch) -> Self {
        let key = format!("clock:{name}");
        let ours = |script: &str| {
            let clock = format!("{{ 0, redis.call('GET', '{key}') }}");
            let script = replaced(&patch(script), "redis.call('TIME')", &clock);
            script.replace(", 'PX', string.format('%.0f', rest)", "").leak()
        };
        let (decide, refund) = RedisLimits::scripts();
        let limits = RedisLimits::with_scripts(redis.clone(), name, ours(decide), ours(refund));
        let hand = Arc::new(Hand(AtomicU64::new(0)));
        let memory = Memory::new(1_000_000, Clock::of(Arc::clone(&hand) as Arc<dyn Source>));
        Self { redis: redis.clone(), key, memory, hand, limits }
    }

    /// Sets the clock.
    pub(crate) async fn at(&self, micros: u64) {
        self.hand.0.store(micros, Ordering::SeqCst);
        let set = Command::new(Class::Idem, "SET").key(&self.key).arg(micros);
        self.redis.call(set).await.unwrap();
    }

    /// A bug may make the store answer what nobody can read, but no script that does not run.
    pub(crate) async fn decide(&self, debits: &[Debit<'_>], mode: Mode) -> Result<Verdicts, String> {
        let answer = self.limits.decide(debits, mode).await.map_err(|error| error.to_string());
        answer.inspect_err(|error| assert!(error.contains("UNEXPECTED"), "{error}"))
    }

    pub(crate) fn in_memory(&self, debits: &[Debit<'_>], mode: Mode) -> Verdicts {
        self.memory.decide(debits, mode).now().unwrap().unwrap()
    }

    pub(crate) async fn refund(&self, debit: Debit<'_>, ours: Receipt, memorys: Receipt) {
        self.limits.refund(debit, ours).await.unwrap();
        self.memory.refund(debit, memorys).await.unwrap();
    }
}

/// The script with a part exchanged, which must be there.
pub(crate) fn replaced(script: &str, part: &str, by: &str) -> String {
    assert!(script.contains(part), "the script no longer has {part}");
    script.replace(part, by)
}

pub(crate) fn debit(key: &str, quota: Quota, cost: u32) -> Debit<'_> {
    Debit { key: Key::new(key).unwrap(), policy: quota.policy().unwrap(), cost }
}
