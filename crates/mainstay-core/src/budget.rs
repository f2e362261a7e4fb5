//! How many more attempts a client may make than it was asked for.
//!
//! When a dependency fails, every caller that tries again adds to its load. A budget lets retries be a share
//! of the requests and no more, however many of them fail: the idea is Finagle's `RetryBudget` (Twitter,
//! 2016) and gRPC's retry throttling (proposal A6). Retries and hedges of the same calls pay from the same
//! budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::policy::{self, PolicyError};
use crate::time::{Clock, Moment};

/// One token in the units that are kept.
const TOKEN: u64 = 1_000;

/// Bits for the balance, in thousandths of a token; the others are milliseconds since the budget was made: 34
/// years.
const BALANCE_BITS: u32 = 24;

const BALANCE: u64 = (1 << BALANCE_BITS) - 1;

/// The largest of each number.
const MAX: f64 = 10_000.0;

/// How much a [`Budget`] gives. Plain data with complete defaults; counted in thousandths.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Policy {
    /// What each request adds: extra attempts per request, in the long run. At most 10,000. Default 0.2.
    pub ratio: f64,
    /// What each second adds, so that a client with few requests can try again too. At most 10,000. Default
    /// 1.
    pub per_second: f64,
    /// The most that can be saved up, and what there is at first. 1 to 10,000. Default 10.
    pub burst: f64,
}

impl Default for Policy {
    fn default() -> Self {
        Self { ratio: 0.2, per_second: 1.0, burst: 10.0 }
    }
}

impl Policy {
    /// Whether a budget can work so.
    ///
    /// # Errors
    /// Names the first field that is out of its bounds.
    pub fn check(&self) -> Result<(), PolicyError> {
        let rules = [
            ((0.0..=MAX).contains(&self.ratio), "ratio", "must be 0 to 10,000"),
            ((0.0..=MAX).contains(&self.per_second), "per_second", "must be 0 to 10,000"),
            ((1.0..=MAX).contains(&self.burst), "burst", "must be 1 to 10,000"),
        ];
        policy::check("budget", rules)
    }
}

/// A token bucket that requests and time fill and extra attempts empty. Clones share it.
///
/// In any stretch of time *t* with *r* requests, no more than `ratio · r + per_second · t + burst` extra
/// attempts are paid for: attempts ≤ (1 + ratio) · requests + reserve. No lock, no allocation.
///
/// ```
/// use mainstay_core::budget::{Budget, Policy};
/// use mainstay_core::time::Clock;
///
/// let budget = Budget::new(Policy::default(), Clock::system())?;
/// let paid = (0..100).filter(|_| budget.withdraw()).count();
/// assert!(paid == 10, "the burst");
/// (0..5).for_each(|_| budget.deposit());
/// assert!(budget.withdraw(), "one extra attempt for five requests");
/// # Ok::<(), mainstay_core::policy::PolicyError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    created: Moment,
    ratio: AtomicU64,
    per_second: AtomicU64,
    burst: AtomicU64,
    account: AtomicU64,
}

/// What is kept in one word, so that no two threads can spend the same token.
#[derive(Debug, Clone, Copy)]
struct Account {
    balance: u64,
    /// Until when time has been paid in.
    millis: u64,
}

impl Budget {
    /// A full budget.
    ///
    /// # Errors
    /// As [`Policy::check`].
    pub fn new(policy: Policy, clock: Clock) -> Result<Self, PolicyError> {
        policy.check()?;
        let [ratio, per_second, burst] = thousandths(policy);
        Ok(Self(Arc::new(Shared {
            created: clock.now(),
            clock,
            ratio: AtomicU64::new(ratio),
            per_second: AtomicU64::new(per_second),
            burst: AtomicU64::new(burst),
            account: AtomicU64::new(Account { balance: burst, millis: 0 }.pack()),
        })))
    }

    /// Goes on by another policy. What was saved up stays, as far as it may.
    ///
    /// # Errors
    /// As [`Policy::check`]; nothing has changed then.
    pub fn configure(&self, policy: Policy) -> Result<(), PolicyError> {
        policy.check()?;
        let shared = &*self.0;
        // The time until now is paid for by the old policy.
        let now = shared.millis();
        shared.update(|account| {
            Some(Account { millis: now.max(account.millis), ..shared.filled(account, now) })
        });
        let [ratio, per_second, burst] = thousandths(policy);
        shared.ratio.store(ratio, Relaxed);
        shared.per_second.store(per_second, Relaxed);
        shared.burst.store(burst, Relaxed);
        shared.update(|account| Some(Account { balance: account.balance.min(burst), ..account }));
        Ok(())
    }

    /// A request begins: the first attempt, not a further one.
    #[inline]
    pub fn deposit(&self) {
        let shared = &*self.0;
        let (ratio, burst) = (shared.ratio.load(Relaxed), shared.burst.load(Relaxed));
        // A full account stays as it is: one load in the good days.
        shared.update(|account| {
            let balance = (account.balance + ratio).min(burst);
            (balance > account.balance).then_some(Account { balance, ..account })
        });
    }

    /// Pays for one extra attempt, or says that it must not be made.
    #[must_use]
    pub fn withdraw(&self) -> bool {
        let now = self.0.millis();
        self.0.update(|account| {
            let filled = self.0.filled(account, now);
            let balance = filled.balance.checked_sub(TOKEN)?;
            Some(Account { balance, ..filled })
        })
    }

    /// Extra attempts there are now.
    #[must_use]
    pub fn balance(&self) -> f64 {
        let account = Account::unpack(self.0.account.load(Relaxed));
        self.0.filled(account, self.0.millis()).balance as f64 / TOKEN as f64
    }
}

impl Shared {
    fn millis(&self) -> u64 {
        let elapsed = self.clock.now().as_micros().saturating_sub(self.created.as_micros());
        (elapsed / 1_000).min(u64::MAX >> BALANCE_BITS)
    }

    /// The account with the time until `now` paid in. Time that is not worth a thousandth stays for later.
    fn filled(&self, account: Account, now: u64) -> Account {
        let (rate, burst) = (self.per_second.load(Relaxed), self.burst.load(Relaxed));
        let elapsed = u128::from(now.saturating_sub(account.millis));
        let room = burst.saturating_sub(account.balance);
        match u64::try_from(elapsed * u128::from(rate) / u128::from(TOKEN)) {
            Ok(due) if due < room => Account {
                balance: account.balance + due,
                millis: account.millis + (due * TOKEN).div_ceil(rate.max(1)),
            },
            _ => Account { balance: burst, millis: now.max(account.millis) },
        }
    }

    /// Replaces the account unless `change` leaves it; whether it did.
    #[inline]
    fn update(&self, change: impl Fn(Account) -> Option<Account>) -> bool {
        self.account
            .fetch_update(Relaxed, Relaxed, |word| change(Account::unpack(word)).map(Account::pack))
            .is_ok()
    }
}

impl Account {
    const fn unpack(word: u64) -> Self {
        Self { balance: word & BALANCE, millis: word >> BALANCE_BITS }
    }

    const fn pack(self) -> u64 {
        self.millis << BALANCE_BITS | self.balance
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 10,000, as checked")]
fn thousandths(policy: Policy) -> [u64; 3] {
    // Half of a millionth, so that 0.2 is 200 and not 199.
    [policy.ratio, policy.per_second, policy.burst].map(|value| (value * TOKEN as f64 + 0.000_5) as u64)
}
