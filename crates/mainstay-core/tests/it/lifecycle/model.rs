//! Random shutdowns in virtual time against a naive model.
//!
//! Times are whole seconds plus a rest that tells their kind, so that no two kinds ever end in the
//! same millisecond: work 1 ms, deadlines 20 ms, the total 400 ms, the abort 700 ms.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mainstay_core::lifecycle::{Lifecycle, Options, Outcome, Report, Step};
use proptest::prelude::*;

use super::outcomes;

#[derive(Debug, Clone, Copy)]
enum End {
    Done,
    Failed,
    Panicked,
    Never,
}

#[derive(Debug, Clone, Copy)]
struct Work {
    step: Step,
    end: End,
    lasts: Duration,
    deadline: Duration,
}

#[derive(Debug, Clone)]
struct Shutdown {
    work: Vec<Work>,
    total: Duration,
    abort: Option<Duration>,
}

fn seconds(most: u64, rest: u64) -> impl Strategy<Value = Duration> {
    (0..most).prop_map(move |seconds| Duration::from_millis(seconds * 1000 + rest))
}

fn shutdown() -> impl Strategy<Value = Shutdown> {
    let end = prop_oneof![4 => Just(End::Done), 1 => Just(End::Failed), 1 => Just(End::Panicked), 1 => Just(End::Never)];
    let work = (prop::sample::select(Step::ALL.to_vec()), end, seconds(8, 1), seconds(10, 20))
        .prop_map(|(step, end, lasts, deadline)| Work { step, end, lasts, deadline });
    (prop::collection::vec(work, 0..10), seconds(30, 400), prop::option::weighted(0.3, seconds(20, 700)))
        .prop_map(|(work, total, abort)| Shutdown { work, total, abort })
}

impl Work {
    /// How it ends when it begins at `now`, and how long it took.
    fn predict(&self, now: Duration, total: Duration, abort: Option<Duration>) -> (Outcome, Duration) {
        let abort = abort.map(|at| at.saturating_sub(now));
        if now >= total || abort == Some(Duration::ZERO) {
            return (Outcome::Cut, Duration::ZERO);
        }
        let limit = self.deadline.min(total - now);
        let (outcome, took) = match self.end {
            End::Done if self.lasts < limit => (Outcome::Done, self.lasts),
            End::Failed if self.lasts < limit => (Outcome::Failed("on purpose".into()), self.lasts),
            End::Panicked if self.lasts < limit => {
                (Outcome::Failed("panicked: on purpose".into()), self.lasts)
            }
            _ => (Outcome::Overran, limit),
        };
        match abort {
            Some(left) if left < took => (Outcome::Cut, left),
            _ => (outcome, took),
        }
    }
}

impl Shutdown {
    /// The outcome of each piece of work, and the length of the whole.
    fn predict(&self) -> (Vec<(Outcome, Duration)>, Duration) {
        let mut outcomes = vec![(Outcome::Cut, Duration::ZERO); self.work.len()];
        let mut now = Duration::ZERO;
        for step in Step::ALL {
            let mut end = now;
            for at in (0..self.work.len()).rev().filter(|&at| self.work[at].step == step) {
                outcomes[at] = self.work[at].predict(now, self.total, self.abort);
                end = end.max(now + outcomes[at].1);
                if step == Step::StopComponents {
                    now = end;
                }
            }
            now = end;
        }
        (outcomes, now)
    }

    /// A life with this work, and how often each piece began.
    fn lifecycle(&self) -> (Lifecycle, Vec<Arc<AtomicUsize>>) {
        let options = Options::default().shutdown_timeout(self.total).drain_delay(Duration::ZERO);
        let lifecycle = Lifecycle::new(options);
        let begun: Vec<Arc<AtomicUsize>> = self.work.iter().map(|_| Arc::default()).collect();
        for (at, work) in self.work.iter().copied().enumerate() {
            let begun = Arc::clone(&begun[at]);
            lifecycle.on(work.step, at.to_string(), work.deadline, move || async move {
                begun.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(work.lasts).await;
                match work.end {
                    End::Done => Ok(()),
                    End::Failed => Err("on purpose"),
                    End::Panicked => panic!("on purpose"),
                    End::Never => std::future::pending().await,
                }
            });
        }
        (lifecycle, begun)
    }
}

async fn abort(lifecycle: &Lifecycle, after: Option<Duration>) {
    if let Some(after) = after {
        tokio::time::sleep(after).await;
        lifecycle.abort("on purpose");
    }
}

fn check_form(report: &Report, begun: &[Arc<AtomicUsize>]) -> Result<(), TestCaseError> {
    prop_assert!(report.steps.is_sorted_by_key(|entry| entry.step), "{:?}", outcomes(report));
    let mut names: Vec<usize> = report.steps.iter().map(|entry| entry.name.parse().unwrap()).collect();
    names.sort_unstable();
    prop_assert!(names.into_iter().eq(0..begun.len()), "each work once: {:?}", outcomes(report));
    prop_assert!(begun.iter().all(|begun| begun.load(Ordering::SeqCst) <= 1));
    Ok(())
}

fn in_virtual_time<T>(test: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(test)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_work_ends_as_and_when_the_model_says(shutdown in shutdown()) {
        let (lifecycle, begun) = shutdown.lifecycle();
        let (report, ()) = in_virtual_time(async {
            tokio::join!(lifecycle.run_shutdown(), abort(&lifecycle, shutdown.abort))
        });
        check_form(&report, &begun)?;
        let (wanted, took) = shutdown.predict();
        for entry in &report.steps {
            let at: usize = entry.name.parse().unwrap();
            prop_assert_eq!((&entry.outcome, entry.took), (&wanted[at].0, wanted[at].1), "work {}", at);
        }
        prop_assert_eq!(report.took, took);
        prop_assert_eq!(report.is_clean(), wanted.iter().all(|(outcome, _)| *outcome == Outcome::Done));
    }

    #[test]
    fn runs_that_are_dropped_at_any_time_add_up_to_one(
        shutdown in shutdown(), patience in prop::collection::vec(seconds(6, 900), 1..6),
    ) {
        let (lifecycle, begun) = shutdown.lifecycle();
        let total = shutdown.total;
        let report = in_virtual_time(async {
            for patience in patience {
                _ = tokio::time::timeout(patience, lifecycle.run_shutdown()).await;
            }
            lifecycle.run_shutdown().await
        });
        check_form(&report, &begun)?;
        prop_assert!(report.took <= total);
        let begun = begun.iter().filter(|begun| begun.load(Ordering::SeqCst) == 1).count();
        let ran = report.steps.iter().filter(|entry| !entry.took.is_zero()).count();
        prop_assert_eq!(ran, begun, "what began is reported with its time");
    }
}
