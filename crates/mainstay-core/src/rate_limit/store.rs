//! The contract between the limiter and where its state lies.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use smallvec::SmallVec;

use super::policy::Policy;
use crate::key::Key;
use crate::store::{Reply, StoreError};

/// Where limits are kept. Each verb is one atomic step, also between processes.
///
/// A store measures time by a clock of its own, in whole microseconds, and rounds toward refusal.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Decides over all `debits` in one step: each judged as if those before it had been charged, and in
    /// [`Mode::Take`] all are charged if all fit, else none. Answers one verdict for each, in order.
    ///
    /// - A [`Rule::Window`](super::Rule::Window) never lets a window of its length hold more than the limit,
    ///   whenever it begins and however many callers race. A [`Rule::Gcra`](super::Rule::Gcra) never lets
    ///   the arrival time run ahead by more than its tolerance.
    /// - A denied call changes no count.
    /// - `retry_after` suffices: the same call after exactly that time, with no other in between, is
    ///   admitted. `None` if it never will be.
    /// - A clock that steps back reopens nothing.
    /// - A cost of 0 always fits and charges nothing. The same key twice is charged twice.
    /// - A key's state under one policy is apart from that under another. State that no longer counts
    ///   is removed.
    ///
    /// # Errors
    /// [`StoreError::Unknown`]: the charge may have been taken. It is never asked again and counts as spent.
    fn decide<'a>(&'a self, debits: &'a [Debit<'a>], mode: Mode) -> Reply<'a, Result<Verdicts, StoreError>>;

    /// Takes back a charge, as far as it still counts, where it was counted: as if it had not been made.
    /// Never more than was charged; nothing once it has left the window. A receipt comes once.
    ///
    /// # Errors
    /// [`StoreError::Unknown`]: the refund may have been made. It is never asked again.
    fn refund<'a>(&'a self, debit: Debit<'a>, receipt: Receipt) -> Reply<'a, Result<(), StoreError>>;
}

/// One charge among those of a call.
#[derive(Debug, Clone, Copy)]
pub struct Debit<'a> {
    /// Whose.
    pub key: Key<'a>,
    /// Under which policy.
    pub policy: Policy,
    /// How much.
    pub cost: u32,
}

/// Whether a decision charges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Charges what is admitted.
    Take,
    /// Only says what would be.
    Peek,
}

/// What a store says of one debit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it fits. The call is admitted if all of its debits fit.
    pub fits: bool,
    /// What still fits now, after this charge if it was made.
    pub remaining: u32,
    /// If it does not fit: when it will. `None`: never, it is more than ever fits.
    pub retry_after: Option<Duration>,
    /// When all is free again if nothing more is charged.
    pub reset_after: Duration,
    /// What a refund needs. `None`: nothing was charged.
    pub receipt: Option<Receipt>,
}

/// What was charged, for a refund. The two numbers mean something to the store only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// How much.
    pub cost: u32,
    /// Where it was counted: the bucket, or the end of the charge.
    pub mark: u64,
    /// Which life of the state counted it.
    pub life: u64,
}

/// The verdicts of one call, in the order of its debits. One needs no allocation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdicts(SmallVec<[Verdict; 1]>);

impl Verdicts {
    /// Whether all fit.
    #[must_use]
    pub fn admitted(&self) -> bool {
        self.iter().all(|verdict| verdict.fits)
    }
}

impl Deref for Verdicts {
    type Target = [Verdict];

    fn deref(&self) -> &[Verdict] {
        &self.0
    }
}

impl From<Verdict> for Verdicts {
    fn from(verdict: Verdict) -> Self {
        Self(SmallVec::from_buf([verdict]))
    }
}

impl FromIterator<Verdict> for Verdicts {
    fn from_iter<I: IntoIterator<Item = Verdict>>(verdicts: I) -> Self {
        Self(verdicts.into_iter().collect())
    }
}
