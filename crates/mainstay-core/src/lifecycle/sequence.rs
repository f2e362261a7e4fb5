//! The runner of the sequence.

use std::fmt::{self, Display};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use tokio::time::Instant;

use super::{Entry, Outcome, Phase, Report, Shared, Step};
use crate::task::panic_message;

/// One registered piece of work. Consumed by running it, so it cannot run twice.
pub(super) struct Hook {
    pub(super) step: Step,
    pub(super) name: String,
    deadline: Duration,
    work: Box<dyn FnOnce() -> BoxFuture<'static, Result<(), String>> + Send>,
}

impl Hook {
    pub(super) fn new<F, Fut, E>(step: Step, name: String, deadline: Duration, work: F) -> Self
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Display,
    {
        let work = || work().map(|result| result.map_err(|error| error.to_string())).boxed();
        Self { step, name, deadline, work: Box::new(work) }
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.step, self.name)
    }
}

/// How far the sequence has come; outlives a dropped run.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    began: Option<Instant>,
    entered: Option<Step>,
    /// Work of the entered step that has not begun.
    waiting: Vec<Hook>,
    entries: Mutex<Vec<Entry>>,
    report: Option<Report>,
}

impl Shared {
    /// Runs what is left of the sequence.
    pub(super) async fn run(&self) -> Report {
        let mut sequence = self.sequence.lock().await;
        let Sequence { began, entered, waiting, entries, report } = &mut *sequence;
        if let Some(report) = report {
            return report.clone();
        }
        let began = *began.get_or_insert_with(Instant::now);
        for step in Step::ALL {
            if *entered < Some(step) {
                *waiting = self.enter(step);
                *entered = Some(step);
                tracing::info!(?step, work = waiting.len(), "shutdown");
            }
            if *entered != Some(step) {
                continue; // an earlier run, since dropped, came further than this
            }
            if step == Step::StopComponents {
                while let Some(hook) = waiting.pop() {
                    self.run_hook(hook, began, entries).await;
                }
            } else {
                join_all(waiting.drain(..).map(|hook| self.run_hook(hook, began, entries))).await;
            }
        }
        let ended = Report {
            reason: self.requested.borrow().clone().unwrap_or_default(),
            steps: std::mem::take(entries.get_mut().unwrap_or_else(PoisonError::into_inner)),
            took: began.elapsed(),
        };
        tracing::info!(reason = ended.reason, took = ?ended.took, clean = ended.is_clean(), "shutdown ended");
        *report = Some(ended.clone());
        self.phase.send_replace(Phase::Stopped);
        ended
    }

    /// Not an `async fn`: the ticket must exist before the first poll, for a run dropped by then.
    fn run_hook<'a>(
        &'a self,
        hook: Hook,
        began: Instant,
        entries: &'a Mutex<Vec<Entry>>,
    ) -> impl Future<Output = ()> + 'a {
        let mut ticket =
            Ticket { entries, step: hook.step, name: hook.name, began: None, outcome: Outcome::Cut };
        async move {
            let left = self.options.shutdown_timeout.saturating_sub(began.elapsed());
            if left.is_zero() {
                return;
            }
            ticket.begin();
            // The call itself sits inside the caught future: a closure may panic before it returns one.
            let work = AssertUnwindSafe(async { (hook.work)().await }).catch_unwind();
            let outcome = tokio::select! {
                biased;
                () = self.aborted.cancelled() => Outcome::Cut,
                result = tokio::time::timeout(hook.deadline.min(left), work) => match result {
                    Ok(Ok(Ok(()))) => Outcome::Done,
                    Ok(Ok(Err(message))) => Outcome::Failed(message),
                    Ok(Err(panic)) => Outcome::Failed(format!("panicked: {}", panic_message(&*panic))),
                    Err(_) => Outcome::Overran,
                },
            };
            ticket.end(outcome);
        }
    }
}

/// Enters one piece of work into the report and the log, however its future ends.
struct Ticket<'a> {
    entries: &'a Mutex<Vec<Entry>>,
    step: Step,
    name: String,
    began: Option<Instant>,
    outcome: Outcome,
}

impl Ticket<'_> {
    fn begin(&mut self) {
        self.began = Some(Instant::now());
    }

    fn end(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let entry = Entry {
            step: self.step,
            name: std::mem::take(&mut self.name),
            took: self.began.map_or(Duration::ZERO, |began| began.elapsed()),
            outcome: std::mem::replace(&mut self.outcome, Outcome::Cut),
        };
        let Entry { step, name, took, outcome } = &entry;
        if *outcome == Outcome::Done {
            tracing::debug!(?step, name, ?took, "shutdown work done");
        } else {
            tracing::error!(?step, name, ?took, "shutdown work {outcome}");
        }
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }
}
