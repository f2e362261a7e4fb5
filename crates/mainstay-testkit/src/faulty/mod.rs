//! Stores that fail on purpose.
//!
//! Each wrapper in here is a store around a store; what goes wrong is said by a [`Faults`] that the test
//! keeps: nothing is reached, answers take long, or (worst of all) the write happens and its answer is lost.

pub mod cache;
pub mod event;
pub mod lock;
pub mod rate_limit;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mainstay_core::store::StoreError;

use crate::{Rng, Seed};

/// What a faulty store does to the next calls. Clones are the same switch.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Plan>>);

#[derive(Debug, Default)]
struct Plan {
    fault: Option<Fault>,
    /// For how many calls the fault stays; `None` is until it is mended.
    left: Option<usize>,
    delay: Duration,
    answer_delay: Duration,
    random: Option<(Rng, f64)>,
    calls: usize,
}

/// One way to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The store is not reached: nothing happens.
    Unavailable,
    /// The call takes effect and its answer is lost.
    LostReply,
    /// The call takes no effect and no answer comes: to the caller the same as a lost answer.
    LostRequest,
    /// No answer ever comes; the call takes effect.
    Hang,
}

impl Faults {
    /// Everything works.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    fn plan<T>(&self, change: impl FnOnce(&mut Plan) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Every call fails like this until [`Faults::mend`].
    pub fn always(&self, fault: Fault) {
        self.plan(|plan| (plan.fault, plan.left) = (Some(fault), None));
    }

    /// The next `calls` calls fail like this.
    pub fn next(&self, calls: usize, fault: Fault) {
        self.plan(|plan| (plan.fault, plan.left) = (Some(fault), Some(calls)));
    }

    /// Each call fails with `probability`, in a random way that the seed repeats.
    pub fn random(&self, seed: Seed, probability: f64) {
        self.plan(|plan| plan.random = Some((seed.rng(), probability)));
    }

    /// Every answer takes this long.
    pub fn delay(&self, delay: Duration) {
        self.plan(|plan| plan.delay = delay);
    }

    /// Every call takes effect at once, and its answer is on its way for this long.
    pub fn delay_answers(&self, delay: Duration) {
        self.plan(|plan| plan.answer_delay = delay);
    }

    /// Everything works again.
    pub fn mend(&self) {
        self.plan(|plan| *plan = Plan { calls: plan.calls, ..Plan::default() });
    }

    /// How many calls have reached the wrapper.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.plan(|plan| plan.calls)
    }

    /// Makes a call go wrong as planned: every method of a wrapper goes through here.
    ///
    /// # Errors
    /// The fault's, or what the call itself answered.
    pub async fn around<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let (fault, delay, answer_delay) = self.plan(|plan| (plan.draw(), plan.delay, plan.answer_delay));
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        match fault {
            None if answer_delay.is_zero() => call.await,
            None => {
                let answer = call.await;
                tokio::time::sleep(answer_delay).await;
                answer
            }
            Some(Fault::Unavailable) => Err(StoreError::unavailable("on purpose")),
            Some(Fault::LostRequest) => Err(StoreError::unknown("request lost on purpose")),
            Some(Fault::LostReply) => {
                let _lost = call.await;
                Err(StoreError::unknown("reply lost on purpose"))
            }
            Some(Fault::Hang) => {
                let _lost = call.await;
                std::future::pending().await
            }
        }
    }
}

impl Plan {
    fn draw(&mut self) -> Option<Fault> {
        self.calls += 1;
        if let Some((rng, probability)) = &mut self.random
            && rng.chance(*probability)
        {
            return Some(*rng.pick(&[Fault::Unavailable, Fault::LostReply, Fault::LostRequest]));
        }
        match &mut self.left {
            None => self.fault,
            Some(0) => None,
            Some(left) => {
                *left -= 1;
                self.fault
            }
        }
    }
}
