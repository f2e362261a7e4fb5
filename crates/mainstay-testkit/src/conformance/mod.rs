//! The contracts, as cases that every backend must pass.
//!
//! A suite owns its cases and reads as the contract: one sentence each. A backend brings a way to make a
//! fresh store and to let time pass; it cannot leave a case out. The same suites convict the
//! [`mutants`](crate::mutants), which shows that they can fail.

pub mod cache;
pub mod event;
pub mod lock;
pub mod rate_limit;
pub mod session;

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;

/// Longest time a case may take, on tokio's clock: a case that waits for ever has failed.
const CASE_DEADLINE: Duration = Duration::from_secs(600);

type Boxed = Pin<Box<dyn Future<Output = ()>>>;
type Run<B> = Box<dyn Fn(B) -> Boxed>;

/// How a test lets time pass for a backend's store: by a paused clock, or by waiting.
#[derive(Clone)]
pub struct Elapse(Arc<dyn Fn(Duration) -> Boxed>);

impl Elapse {
    /// Time passes while `passing` runs: at least as much as it is given.
    #[must_use]
    pub fn of<F: Future<Output = ()> + 'static>(passing: impl Fn(Duration) -> F + 'static) -> Self {
        Self(Arc::new(move |time| Box::pin(passing(time))))
    }

    /// Lets at least this much time pass.
    pub async fn by(&self, time: Duration) {
        (self.0)(time).await;
    }
}

/// The cases of one contract, for backends of type `B`.
pub struct Suite<B> {
    contract: &'static str,
    cases: Vec<(&'static str, Run<B>)>,
}

impl<B: 'static> Suite<B> {
    /// A suite without cases.
    #[must_use]
    pub fn new(contract: &'static str) -> Self {
        Self { contract, cases: Vec::new() }
    }

    /// Adds a case: a sentence about behaviour, and the code that holds a backend to it by panicking.
    #[must_use]
    pub fn case<F: Future<Output = ()> + 'static>(
        mut self,
        sentence: &'static str,
        run: impl Fn(B) -> F + 'static,
    ) -> Self {
        self.cases.push((sentence, Box::new(move |backend| Box::pin(run(backend)))));
        self
    }

    /// The cases whose sentence begins like this: to show that they convict what they are for.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn only(mut self, beginning: &str) -> Self {
        self.cases.retain(|(sentence, _)| sentence.starts_with(beginning));
        assert!(!self.is_empty(), "{} has no case that begins with: {beginning}", self.contract);
        self
    }

    /// Runs every case on a backend of its own.
    ///
    /// # Panics
    ///
    /// If cases fail, with all their sentences.
    pub async fn run(&self, backend: impl AsyncFn() -> B) {
        let failures = self.failures(backend).await;
        assert!(failures.is_empty(), "{} broken:\n{}", self.contract, failures.join("\n"));
    }

    /// Runs every case on a backend of its own, all at once: for backends whose time passes by waiting.
    ///
    /// # Panics
    ///
    /// If cases fail, with all their sentences.
    pub async fn run_at_once(&self, backend: impl AsyncFn() -> B) {
        let failures = self.failures_at_once(backend).await;
        assert!(failures.is_empty(), "{} broken:\n{}", self.contract, failures.join("\n"));
    }

    /// The cases that fail, with what they said.
    pub async fn failures(&self, backend: impl AsyncFn() -> B) -> Vec<String> {
        let mut failures = Vec::new();
        for (sentence, run) in &self.cases {
            failures.extend(failure(sentence, run, backend().await).await);
        }
        failures
    }

    /// The same, with all cases run at once.
    pub async fn failures_at_once(&self, backend: impl AsyncFn() -> B) -> Vec<String> {
        let cases =
            self.cases.iter().map(async |(sentence, run)| failure(sentence, run, backend().await).await);
        join_all(cases).await.into_iter().flatten().collect()
    }

    /// Number of cases.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cases.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }
}

/// What a case said when it failed.
async fn failure<B>(sentence: &str, run: &Run<B>, backend: B) -> Option<String> {
    let case = AssertUnwindSafe(run(backend)).catch_unwind();
    match tokio::time::timeout(CASE_DEADLINE, case).await {
        Ok(Ok(())) => None,
        Ok(Err(panic)) => Some(format!("- {sentence}: {}", mainstay_core::task::panic_message(&*panic))),
        Err(_) => Some(format!("- {sentence}: still waiting after {CASE_DEADLINE:?}")),
    }
}
