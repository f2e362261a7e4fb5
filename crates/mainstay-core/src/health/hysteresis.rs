//! Decides the state of a check from its results, so that one lost packet is not an outage.
//!
//! The first result is the state. Later the state gets worse when the last `fail_after` results
//! were all worse than it (it becomes the best of them), and better when the last `pass_after`
//! results were all better than it (it becomes the worst of them).

use super::Status;

/// For each threshold, how many results in a row were on the far side of it: enough to know both
/// rules without keeping the results.
#[derive(Debug, Default)]
pub(super) struct Hysteresis {
    state: Option<Status>,
    at_least_degraded: u32,
    unhealthy: u32,
    at_most_degraded: u32,
    healthy: u32,
}

impl Hysteresis {
    /// Takes one result and returns the state after it.
    pub(super) fn record(&mut self, result: Status, fail_after: u32, pass_after: u32) -> Status {
        count(&mut self.at_least_degraded, result >= Status::Degraded);
        count(&mut self.unhealthy, result == Status::Unhealthy);
        count(&mut self.at_most_degraded, result <= Status::Degraded);
        count(&mut self.healthy, result == Status::Healthy);

        let (fail_after, pass_after) = (fail_after.max(1), pass_after.max(1));
        let state = self.state.map_or(result, |state| {
            let worse = if self.unhealthy >= fail_after {
                Status::Unhealthy
            } else if self.at_least_degraded >= fail_after {
                Status::Degraded
            } else {
                Status::Healthy
            };
            let better = if self.healthy >= pass_after {
                Status::Healthy
            } else if self.at_most_degraded >= pass_after {
                Status::Degraded
            } else {
                Status::Unhealthy
            };
            // Both rules cannot fire at once: the latest result is on one side of the state.
            if result > state { state.max(worse) } else { state.min(better) }
        });
        self.state = Some(state);
        state
    }

    /// Failures in a row up to the latest result.
    pub(super) fn consecutive_failures(&self) -> u32 {
        self.unhealthy
    }
}

fn count(run: &mut u32, goes_on: bool) {
    *run = if goes_on { run.saturating_add(1) } else { 0 };
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The two sentences of the module documentation, over the whole history.
    fn naive(history: &[Status], fail_after: usize, pass_after: usize) -> Status {
        let mut state = history[0];
        for end in 2..=history.len() {
            let last = |n: usize| (end >= n).then(|| &history[end - n..end]);
            if let Some(run) = last(fail_after).filter(|run| run.iter().all(|r| *r > state)) {
                state = *run.iter().min().unwrap();
            } else if let Some(run) = last(pass_after).filter(|run| run.iter().all(|r| *r < state)) {
                state = *run.iter().max().unwrap();
            }
        }
        state
    }

    fn results() -> impl Strategy<Value = Vec<Status>> {
        let one = prop_oneof![
            3 => Just(Status::Healthy),
            1 => Just(Status::Degraded),
            3 => Just(Status::Unhealthy)
        ];
        prop::collection::vec(one, 1..60)
    }

    proptest! {
        #[test]
        fn every_history_ends_in_the_state_of_the_naive_model(
            history in results(), fail_after in 1_u32..5, pass_after in 1_u32..5
        ) {
            let mut hysteresis = Hysteresis::default();
            for end in 1..=history.len() {
                let state = hysteresis.record(history[end - 1], fail_after, pass_after);
                let model = naive(&history[..end], fail_after as usize, pass_after as usize);
                prop_assert_eq!(state, model, "after {:?}", &history[..end]);
            }
        }
    }

    #[test]
    fn a_flapping_probe_keeps_its_first_state() {
        let mut hysteresis = Hysteresis::default();
        hysteresis.record(Status::Healthy, 3, 2);
        for _ in 0..100 {
            assert_eq!(hysteresis.record(Status::Unhealthy, 3, 2), Status::Healthy);
            assert_eq!(hysteresis.record(Status::Unhealthy, 3, 2), Status::Healthy);
            assert_eq!(hysteresis.record(Status::Healthy, 3, 2), Status::Healthy);
        }
    }
}
