//! The bulkhead against a list of who has a slot and a list of who waits.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use mainstay_core::bulkhead::{Bulkhead, Full, Slot};
use proptest::prelude::*;
use tokio::task::unconstrained;

use super::{bulkhead, policy};

#[derive(Debug, Clone, Copy)]
enum Step {
    TryAcquire,
    Acquire,
    /// Drops one of the slots.
    Release(prop::sample::Index),
    /// Drops one of the waiters.
    Leave(prop::sample::Index),
    Configure(u32, u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::TryAcquire),
        6 => Just(Step::Acquire),
        5 => any::<prop::sample::Index>().prop_map(Step::Release),
        3 => any::<prop::sample::Index>().prop_map(Step::Leave),
        2 => (1_u32..6, 0_u32..6).prop_map(|(slots, places)| Step::Configure(slots, places)),
    ];
    prop::collection::vec(step, 1..120)
}

/// Numbers of callers.
#[derive(Debug, Default)]
struct Model {
    slots: usize,
    places: usize,
    inside: Vec<u32>,
    line: VecDeque<u32>,
}

impl Model {
    fn has_room(&self) -> bool {
        self.inside.len() < self.slots && self.line.is_empty()
    }

    /// Lets in from the head of the line.
    fn settle(&mut self) {
        while self.inside.len() < self.slots
            && let Some(next) = self.line.pop_front()
        {
            self.inside.push(next);
        }
    }
}

type Waiting = Pin<Box<dyn Future<Output = Result<Slot, Full>>>>;

struct Real {
    bulkhead: Bulkhead,
    inside: Vec<(u32, Slot)>,
    waiting: Vec<(u32, Waiting)>,
}

impl Real {
    /// Asks everybody who waits, the latest first: who was given a slot has it, whoever asks first.
    fn settle(&mut self) {
        for at in (0..self.waiting.len()).rev() {
            if let Some(answer) = poll(&mut self.waiting[at].1) {
                let (caller, _) = self.waiting.remove(at);
                self.inside.push((caller, answer.expect("time does not pass")));
            }
        }
    }
}

fn poll(waiting: &mut Waiting) -> Option<Result<Slot, Full>> {
    match waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

fn sorted(callers: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut callers: Vec<_> = callers.collect();
    callers.sort_unstable();
    callers
}

async fn run(steps: Vec<Step>) {
    let long = Duration::from_secs(3600);
    let mut model = Model { slots: 2, places: 3, ..Model::default() };
    let mut real = Real { bulkhead: bulkhead(policy(2, 3, long)), inside: Vec::new(), waiting: Vec::new() };
    for (caller, step) in (0..).zip(steps) {
        match step {
            Step::TryAcquire => {
                let slot = real.bulkhead.try_acquire();
                assert_eq!(slot.is_ok(), model.has_room(), "{step:?} of {caller}: {model:?}");
                if let Ok(slot) = slot {
                    real.inside.push((caller, slot));
                    model.inside.push(caller);
                }
            }
            Step::Acquire => {
                let bulkhead = real.bulkhead.clone();
                let mut waiting: Waiting = Box::pin(unconstrained(async move { bulkhead.acquire().await }));
                match poll(&mut waiting) {
                    Some(Ok(slot)) => {
                        assert!(model.has_room(), "{model:?}");
                        real.inside.push((caller, slot));
                        model.inside.push(caller);
                    }
                    Some(Err(_)) => {
                        assert!(!model.has_room() && model.line.len() >= model.places, "{model:?}");
                    }
                    None => {
                        assert!(!model.has_room() && model.line.len() < model.places, "{model:?}");
                        real.waiting.push((caller, waiting));
                        model.line.push_back(caller);
                    }
                }
            }
            Step::Release(index) if !real.inside.is_empty() => {
                let (caller, slot) = real.inside.swap_remove(index.index(real.inside.len()));
                drop(slot);
                model.inside.retain(|inside| *inside != caller);
            }
            Step::Leave(index) if !real.waiting.is_empty() => {
                let (caller, waiting) = real.waiting.remove(index.index(real.waiting.len()));
                drop(waiting);
                model.line.retain(|waiting| *waiting != caller);
            }
            Step::Release(_) | Step::Leave(_) => {}
            Step::Configure(slots, places) => {
                real.bulkhead.configure(policy(slots, places, long)).unwrap();
                (model.slots, model.places) = (slots as usize, places as usize);
            }
        }
        model.settle();
        real.settle();
        assert_eq!(
            sorted(real.inside.iter().map(|(caller, _)| *caller)),
            sorted(model.inside.iter().copied()),
            "after {step:?} of {caller}"
        );
        let counts = (real.bulkhead.in_flight(), real.bulkhead.waiting());
        assert_eq!(counts, (model.inside.len(), model.line.len()), "after {step:?} of {caller}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn who_is_in_is_who_would_be_if_there_were_a_list(steps in steps()) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(unconstrained(run(steps)));
    }
}
