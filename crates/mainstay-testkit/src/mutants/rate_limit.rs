//! Stores of `mainstay_core::rate_limit` with one bug each: those that rate limiters have had.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use mainstay_core::rate_limit::{
    Debit, Memory, Mode, Policy, Quota, Receipt, Rule, Store, Verdict, Verdicts,
};
use mainstay_core::store::{Reply, StoreError};
use mainstay_core::time::{Clock, micros};

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Counts by calendar windows: twice the limit around an edge.
    FixedWindow,
    /// Weighs the window before by how much of it still counts: a guess.
    TwoWindowEstimate,
    /// Reads, and writes later what it read.
    ReadThenWrite,
    /// Admits one too many.
    OffByOne,
    /// Charges each limit of a call by itself.
    PartialCharge,
    /// Charges a key once, however often it stands in a call.
    SameKeyOnce,
    /// Charges for a look.
    PeekCharges,
    /// Sends callers back a bucket too early.
    EarlyRetry,
    /// Tells a caller to wait for what can never be.
    WaitForNever,
    /// Gives refunds back to the newest charge.
    RefundNewest,
    /// Keeps one count for all policies of a key.
    PolicyIgnored,
    /// Rounds what GCRA has earned to the nearest request.
    GcraRoundsUp,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::FixedWindow,
        Self::TwoWindowEstimate,
        Self::ReadThenWrite,
        Self::OffByOne,
        Self::PartialCharge,
        Self::SameKeyOnce,
        Self::PeekCharges,
        Self::EarlyRetry,
        Self::WaitForNever,
        Self::RefundNewest,
        Self::PolicyIgnored,
        Self::GcraRoundsUp,
    ];
}

/// A store in memory with a bug.
#[derive(Debug)]
pub struct Mutant {
    bug: Bug,
    inner: Memory,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    latest: Option<Receipt>,
    policies: HashMap<String, Policy>,
    /// By key and policy: the number of a calendar window, its count and the count before.
    windows: HashMap<(String, String), (u64, u32, u32)>,
}

impl Mutant {
    /// An empty store.
    #[must_use]
    pub fn new(bug: Bug, clock: Clock) -> Self {
        let inner = Memory::new(1_000, clock.clone());
        Self { bug, inner, clock, state: Mutex::default() }
    }

    fn state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn decide(&self, debits: &[Debit<'_>], mode: Mode) -> Result<Verdicts, StoreError> {
        match self.bug {
            Bug::FixedWindow | Bug::TwoWindowEstimate if debits.iter().all(is_window) => {
                Ok(debits.iter().map(|debit| self.by_calendar(debit, mode)).collect())
            }
            Bug::ReadThenWrite if debits.len() == 1 && mode == Mode::Take => {
                let read = self.inner.decide(debits, Mode::Peek).await?;
                tokio::task::yield_now().await;
                let written = self.inner.decide(debits, Mode::Take).await?;
                Ok(if read.admitted() {
                    changed(&written, |_, verdict| verdict.fits = true)
                } else {
                    written
                })
            }
            Bug::OffByOne | Bug::PolicyIgnored | Bug::GcraRoundsUp => {
                let other: Vec<_> = debits.iter().map(|debit| self.other_policy(debit)).collect();
                self.inner.decide(&other, mode).await
            }
            Bug::PartialCharge => {
                let each = debits.iter().map(|debit| self.inner.decide(std::slice::from_ref(debit), mode));
                let each: Vec<_> = join_all(each).await.into_iter().collect::<Result<_, _>>()?;
                Ok(each.iter().map(|verdicts| verdicts[0]).collect())
            }
            Bug::SameKeyOnce => {
                let seen = |debit: &Debit<'_>| debits.iter().position(|other| other.key == debit.key);
                let once = debits.iter().enumerate();
                let once: Vec<_> = once
                    .map(|(at, debit)| Debit {
                        cost: if seen(debit) == Some(at) { debit.cost } else { 0 },
                        ..*debit
                    })
                    .collect();
                self.inner.decide(&once, mode).await
            }
            Bug::PeekCharges => self.inner.decide(debits, Mode::Take).await,
            Bug::EarlyRetry => {
                let verdicts = self.inner.decide(debits, mode).await?;
                Ok(changed(&verdicts, |at, verdict| {
                    let bucket = debits[at].policy.window() / 10;
                    verdict.retry_after = verdict.retry_after.map(|wait| wait.saturating_sub(bucket));
                }))
            }
            Bug::WaitForNever => {
                let verdicts = self.inner.decide(debits, mode).await?;
                Ok(changed(&verdicts, |_, verdict| {
                    verdict.retry_after =
                        (!verdict.fits).then(|| verdict.retry_after.unwrap_or(Duration::from_secs(1)));
                }))
            }
            Bug::RefundNewest | Bug::FixedWindow | Bug::TwoWindowEstimate | Bug::ReadThenWrite => {
                let verdicts = self.inner.decide(debits, mode).await?;
                let latest = verdicts.iter().filter_map(|verdict| verdict.receipt).next_back();
                self.state(|state| state.latest = latest.or(state.latest));
                Ok(verdicts)
            }
        }
    }

    fn other_policy<'a>(&self, debit: &Debit<'a>) -> Debit<'a> {
        let (limit, window) = (debit.policy.limit(), debit.policy.window());
        let policy = match (self.bug, debit.policy.rule()) {
            (Bug::PolicyIgnored, _) => {
                self.state(|state| *state.policies.entry(debit.key.name().to_owned()).or_insert(debit.policy))
            }
            (Bug::OffByOne, Rule::Window(_)) => right(Quota::new(limit + 1, window)),
            // Half a request more is what rounding to the nearest gives away.
            (Bug::GcraRoundsUp, Rule::Gcra(gcra)) => {
                right(Quota::new(limit * 2, window).gcra(gcra.burst() * 2 + 1))
            }
            _ => debit.policy,
        };
        let doubled = self.bug == Bug::GcraRoundsUp && !is_window(debit);
        Debit { policy, cost: if doubled { debit.cost * 2 } else { debit.cost }, ..*debit }
    }

    fn by_calendar(&self, debit: &Debit<'_>, mode: Mode) -> Verdict {
        let (limit, window) = (debit.policy.limit(), micros(debit.policy.window()));
        let now = self.clock.now().as_micros();
        self.state(|state| {
            let key = (debit.key.name().to_owned(), debit.policy.to_string());
            let (number, count, before) = state.windows.entry(key).or_default();
            if *number != now / window {
                *before = if *number + 1 == now / window { *count } else { 0 };
                (*number, *count) = (now / window, 0);
            }
            let weight = if self.bug == Bug::TwoWindowEstimate {
                1.0 - (now % window) as f64 / window as f64
            } else {
                0.0
            };
            let used = f64::from(*before) * weight + f64::from(*count);
            let fits = used + f64::from(debit.cost) <= f64::from(limit) || debit.cost == 0;
            let taken = fits && mode == Mode::Take && debit.cost > 0;
            if taken {
                *count += debit.cost;
            }
            Verdict {
                fits,
                remaining: limit.saturating_sub(*count),
                retry_after: (!fits && debit.cost <= limit).then(|| Duration::from_micros(window)),
                reset_after: Duration::from_micros(window),
                receipt: taken.then_some(Receipt { cost: debit.cost, mark: *number, life: 0 }),
            }
        })
    }
}

fn is_window(debit: &Debit<'_>) -> bool {
    matches!(debit.policy.rule(), Rule::Window(_))
}

fn right(quota: Quota) -> Policy {
    quota.policy().expect("made of a right one")
}

fn changed(verdicts: &Verdicts, change: impl Fn(usize, &mut Verdict)) -> Verdicts {
    let change = |(at, verdict): (usize, &Verdict)| {
        let mut verdict = *verdict;
        change(at, &mut verdict);
        verdict
    };
    verdicts.iter().enumerate().map(change).collect()
}

impl Store for Mutant {
    fn decide<'a>(&'a self, debits: &'a [Debit<'a>], mode: Mode) -> Reply<'a, Result<Verdicts, StoreError>> {
        Reply::pending(Mutant::decide(self, debits, mode))
    }

    fn refund<'a>(&'a self, debit: Debit<'a>, receipt: Receipt) -> Reply<'a, Result<(), StoreError>> {
        let latest = self.state(|state| state.latest).filter(|_| self.bug == Bug::RefundNewest);
        let receipt = latest.map_or(receipt, |latest| Receipt { cost: receipt.cost, ..latest });
        Reply::pending(async move { self.inner.refund(self.other_policy(&debit), receipt).await })
    }
}
