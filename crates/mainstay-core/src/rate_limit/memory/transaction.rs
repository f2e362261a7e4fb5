//! A decision over several states, in one step.

use std::sync::{Arc, MutexGuard};

use smallvec::SmallVec;

use super::shard::{Shard, Shared};
use super::slot::{Locked, Slot};
use crate::rate_limit::meter::State;
use crate::rate_limit::policy::Policy;
use crate::rate_limit::store::{Debit, Mode, Verdict, Verdicts};
use crate::store::StoreError;
use crate::time::{Clock, Moment};

/// Where the state of a debit lies.
#[derive(Debug, Clone)]
pub(super) enum Place<'a> {
    /// With the keys of its shard that found no room.
    Shared(&'a Shard),
    /// In a slot of its own.
    Own(Arc<Slot>),
}

impl Place<'_> {
    /// The order in which locks are taken: no two callers can wait for each other.
    fn rank(&self) -> (bool, usize) {
        match self {
            Self::Shared(shard) => (false, std::ptr::from_ref(*shard).addr()),
            Self::Own(slot) => (true, Arc::as_ptr(slot).addr()),
        }
    }
}

enum Held<'a> {
    Shared(MutexGuard<'a, Shared>),
    Own(Locked<'a>),
}

/// All states of a call, locked. Each place is locked once, however many debits lie there.
struct Transaction<'a> {
    held: SmallVec<[Held<'a>; 2]>,
    /// For each debit, which of them.
    at: SmallVec<[usize; 2]>,
}

/// Decides; `None` if a slot was retired or came into being meanwhile: look the places up again.
pub(super) fn decide(
    debits: &[Debit<'_>],
    places: &[Place<'_>],
    mode: Mode,
    clock: &Clock,
) -> Option<Result<Verdicts, StoreError>> {
    let mut transaction = Transaction::begin(debits, places)?;
    // Read only now: a state's own past must not lie ahead of it.
    let now = clock.now();
    Some(transaction.decide(debits, mode, now))
}

impl<'a> Transaction<'a> {
    fn begin(debits: &[Debit<'_>], places: &'a [Place<'_>]) -> Option<Self> {
        let mut order: SmallVec<[usize; 2]> = (0..places.len()).collect();
        order.sort_by_key(|debit| places[*debit].rank());
        let mut held = SmallVec::new();
        let mut at: SmallVec<[usize; 2]> = SmallVec::from_elem(0, places.len());
        let mut last = None;
        for debit in order {
            if let Place::Shared(shard) = &places[debit] {
                if last != Some(places[debit].rank()) {
                    held.push(Held::Shared(shard.lock()));
                }
                // Under this lock no slot comes into being.
                if shard.with(&debits[debit], |_| ()).is_some() {
                    return None;
                }
            } else if let Place::Own(slot) = &places[debit]
                && last != Some(places[debit].rank())
            {
                held.push(Held::Own(slot.lock()?));
            }
            last = Some(places[debit].rank());
            at[debit] = held.len() - 1;
        }
        Some(Self { held, at })
    }

    fn decide(&mut self, debits: &[Debit<'_>], mode: Mode, now: Moment) -> Result<Verdicts, StoreError> {
        let mut verdicts: SmallVec<[Verdict; 1]> = SmallVec::new();
        for (index, debit) in debits.iter().enumerate() {
            let same =
                |other: &usize| self.at[*other] == self.at[index] && debits[*other].policy == debit.policy;
            let pending = (0..index).filter(same).map(|other| u64::from(debits[other].cost)).sum();
            let state = self.state(index, &debit.policy, now)?;
            verdicts.push(state.judge(now, debit.cost, pending));
        }
        if mode == Mode::Take && verdicts.iter().all(|verdict| verdict.fits) {
            for (index, debit) in debits.iter().enumerate() {
                verdicts[index] = self.state(index, &debit.policy, now)?.charge(now, debit.cost);
            }
        }
        Ok(verdicts.into_iter().collect())
    }

    fn state(&mut self, debit: usize, policy: &Policy, now: Moment) -> Result<&mut State, StoreError> {
        match &mut self.held[self.at[debit]] {
            Held::Shared(shared) => shared.state(policy, now),
            Held::Own(locked) => Ok(locked.state(now)),
        }
    }
}
