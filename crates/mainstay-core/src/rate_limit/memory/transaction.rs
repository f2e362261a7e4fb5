//! A decision over several states, in one step.

use std::sync::{Arc, MutexGuard};

use smallvec::SmallVec;

use super::shard::{Shard, Shared};
use super::slot::{Locked, Slot};
use crate::rate_limit::meter::State;
use crate::rate_limit::named::Query;
use crate::rate_limit::store::{Mode, Verdict, Verdicts};
use crate::store::StoreError;
use crate::time::{Clock, Moment};

/// Where the state of a debit lies: in a slot of its own, or with those of its shard that found no room.
pub(super) struct Place<'a> {
    pub(super) query: Query<'a>,
    pub(super) shard: &'a Shard,
    pub(super) slot: Option<Arc<Slot>>,
}

impl Place<'_> {
    /// The order in which locks are taken: no two callers can wait for each other.
    fn rank(&self) -> (bool, usize) {
        match &self.slot {
            None => (false, std::ptr::from_ref(self.shard).addr()),
            Some(slot) => (true, Arc::as_ptr(slot).addr()),
        }
    }
}

enum Held<'a> {
    Shared(MutexGuard<'a, Shared>),
    Own(Locked<'a>),
}

/// All states of a call, locked. Each place is locked once, however many debits lie there.
struct Transaction<'a> {
    places: &'a [Place<'a>],
    held: SmallVec<[Held<'a>; 2]>,
    /// For each place, which of them.
    at: SmallVec<[usize; 2]>,
}

/// Decides; `None` if a slot was retired or came into being meanwhile: look the places up again.
pub(super) fn decide(
    places: &[Place<'_>],
    mode: Mode,
    clock: &Clock,
) -> Option<Result<Verdicts, StoreError>> {
    let mut transaction = Transaction::begin(places)?;
    // Read only now: a state's own past must not lie ahead of it.
    Some(transaction.decide(mode, clock.now()))
}

impl<'a> Transaction<'a> {
    fn begin(places: &'a [Place<'a>]) -> Option<Self> {
        let mut order: SmallVec<[usize; 2]> = (0..places.len()).collect();
        order.sort_by_key(|place| places[*place].rank());
        let mut transaction =
            Self { places, held: SmallVec::new(), at: SmallVec::from_elem(0, places.len()) };
        let mut last = None;
        for index in order {
            let place = &places[index];
            if last.replace(place.rank()) != Some(place.rank()) {
                transaction.held.push(match &place.slot {
                    None => Held::Shared(place.shard.lock()),
                    Some(slot) => Held::Own(slot.lock()?),
                });
            }
            // Under the lock of its shard no slot comes into being.
            if place.slot.is_none() && place.shard.with(place.query, |_| ()).is_some() {
                return None;
            }
            transaction.at[index] = transaction.held.len() - 1;
        }
        Some(transaction)
    }

    fn decide(&mut self, mode: Mode, now: Moment) -> Result<Verdicts, StoreError> {
        let mut verdicts: SmallVec<[Verdict; 1]> = SmallVec::new();
        for (index, place) in self.places.iter().enumerate() {
            let pending = (0..index).filter(|other| self.same_state(*other, index));
            let pending = pending.map(|other| u64::from(self.places[other].query.debit.cost)).sum();
            verdicts.push(self.state(index, now)?.judge(now, place.query.debit.cost, pending));
        }
        if mode == Mode::Take && verdicts.iter().all(|verdict| verdict.fits) {
            for (index, place) in self.places.iter().enumerate() {
                verdicts[index] = self.state(index, now)?.charge(now, place.query.debit.cost);
            }
        }
        Ok(verdicts.into_iter().collect())
    }

    fn same_state(&self, one: usize, other: usize) -> bool {
        let policy = |index: usize| self.places[index].query.debit.policy;
        self.at[one] == self.at[other] && policy(one) == policy(other)
    }

    fn state(&mut self, index: usize, now: Moment) -> Result<&mut State, StoreError> {
        match &mut self.held[self.at[index]] {
            Held::Shared(shared) => shared.state(&self.places[index].query.debit.policy, now),
            Held::Own(locked) => Ok(locked.state(now)),
        }
    }
}
