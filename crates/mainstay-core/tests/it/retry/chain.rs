//! Four services in a chain whose last one fails for 30 s. Virtual time.
//!
//! The leaf works on one request after the other and can do twice of what comes in. Who calls it gives up
//! after half a second, which it does not notice: what has queued up it works through, for nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use mainstay_core::deadline::timeout;
use mainstay_core::metrics::Metrics;
use mainstay_core::retry::{Budget, BudgetPolicy, Policy, Retry, Retryable, watched};
use mainstay_testkit::TestClock;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

const EVERY: Duration = Duration::from_millis(20);
const WORK: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_millis(500);

const FAILS_AT: Duration = Duration::from_secs(10);
const HEALS_AT: Duration = Duration::from_secs(40);
const ENDS_AT: Duration = Duration::from_secs(60);

struct Chain {
    retries: [Retry; 3],
    pass_on: bool,
    leaf: Leaf,
}

struct Leaf {
    fails: AtomicBool,
    free_at: Mutex<Instant>,
    attempts: Mutex<Vec<Instant>>,
}

#[derive(Debug, Clone, Copy)]
struct Failed {
    /// The header of the answer.
    exhausted: bool,
}

impl Leaf {
    async fn serve(&self) -> Result<(), Failed> {
        let now = Instant::now();
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner).push(now);
        let done = {
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            *free_at = now.max(*free_at) + WORK;
            *free_at
        };
        sleep_until(done).await;
        if self.fails.load(Ordering::SeqCst) { Err(Failed { exhausted: false }) } else { Ok(()) }
    }
}

impl Chain {
    fn new(budget: BudgetPolicy, pass_on: bool) -> Self {
        let clock = TestClock::new().clock();
        let retry = |name| {
            let budget = Budget::new(budget, clock.clone()).unwrap();
            Retry::new(name, Policy::default(), budget, &Metrics::new(), clock.clone()).unwrap()
        };
        let leaf = Leaf {
            fails: AtomicBool::new(false),
            free_at: Mutex::new(Instant::now()),
            attempts: Mutex::default(),
        };
        Self { retries: ["first", "second", "third"].map(retry), pass_on, leaf }
    }

    fn serve(&self, tier: usize) -> BoxFuture<'_, Result<(), Failed>> {
        Box::pin(async move {
            let Some(retry) = self.retries.get(tier) else {
                let answer = timeout(PATIENCE, self.leaf.serve()).await;
                return answer.unwrap_or(Err(Failed { exhausted: false }));
            };
            let classify =
                |failed: &Failed| if failed.exhausted { Retryable::Exhausted } else { Retryable::Yes };
            let (answer, gave_up) = watched(retry.call(classify, |_| self.serve(tier + 1))).await;
            answer.map_err(|_| Failed { exhausted: gave_up && self.pass_on })
        })
    }
}

/// What came of it.
struct Storm {
    begun: Instant,
    attempts: Vec<Instant>,
    /// When each request began, and whether it succeeded.
    requests: Vec<(Instant, bool)>,
}

impl Storm {
    async fn of(chain: Chain) -> Self {
        let (begun, chain) = (Instant::now(), Arc::new(chain));
        let mut requests = JoinSet::new();
        while begun.elapsed() < ENDS_AT {
            let fails = (FAILS_AT..HEALS_AT).contains(&begun.elapsed());
            chain.leaf.fails.store(fails, Ordering::SeqCst);
            let chain = Arc::clone(&chain);
            requests.spawn(async move { (Instant::now(), chain.serve(0).await.is_ok()) });
            sleep(EVERY).await;
        }
        let requests = requests.join_all().await;
        let attempts = std::mem::take(&mut *chain.leaf.attempts.lock().unwrap());
        Self { begun, attempts, requests }
    }

    /// Requests and attempts at the leaf while it failed.
    fn while_it_failed(&self) -> (f64, f64) {
        let within = |at: &Instant| (FAILS_AT..HEALS_AT).contains(&at.duration_since(self.begun));
        let requests = self.requests.iter().filter(|(at, _)| within(at)).count();
        (requests as f64, self.attempts.iter().filter(|at| within(at)).count() as f64)
    }

    /// When the last request began that failed, after the leaf was well again.
    fn recovery(&self) -> Duration {
        let last = self.requests.iter().filter(|(_, succeeded)| !succeeded).map(|(at, _)| *at).max();
        last.unwrap().duration_since(self.begun).saturating_sub(HEALS_AT)
    }
}

fn no_limit() -> BudgetPolicy {
    let mut budget = BudgetPolicy::default();
    (budget.ratio, budget.per_second, budget.burst) = (10_000.0, 10_000.0, 10_000.0);
    budget
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_retries_does_not_multiply_and_ends_with_its_cause() {
    let budget = BudgetPolicy::default();
    let storm = Storm::of(Chain::new(budget, true)).await;
    let (requests, attempts) = storm.while_it_failed();
    // The reserve of one tier only: the others are told not to try again.
    let reserve = budget.per_second * (HEALS_AT - FAILS_AT).as_secs_f64() + budget.burst;
    assert!(attempts <= 1.2 * requests + reserve, "{attempts} attempts for {requests} requests");
    assert!(attempts > 1.1 * requests, "some were tried again: {attempts} for {requests}");
    assert!(storm.recovery() < Duration::from_secs(1), "{:?}", storm.recovery());
    let after = storm.attempts.iter().filter(|at| at.duration_since(storm.begun) > HEALS_AT).count();
    assert!(after < 1_100, "back to one attempt for each of 1,000 requests: {after}");
}

#[tokio::test(start_paused = true)]
async fn without_budget_and_word_of_it_the_storm_multiplies_and_outlives_its_cause() {
    let storm = Storm::of(Chain::new(no_limit(), false)).await;
    let (requests, attempts) = storm.while_it_failed();
    assert!(attempts > 20.0 * requests, "{attempts} attempts for {requests} requests");
    assert!(storm.recovery() > Duration::from_secs(15), "{:?}", storm.recovery());
}

#[tokio::test(start_paused = true)]
async fn budgets_alone_multiply_by_tier_and_word_alone_by_attempts() {
    let budgets = Storm::of(Chain::new(BudgetPolicy::default(), false)).await.while_it_failed();
    assert!(budgets.1 > 1.6 * budgets.0, "{budgets:?}");
    let word = Storm::of(Chain::new(no_limit(), true)).await.while_it_failed();
    assert!((2.5..3.5).contains(&(word.1 / word.0)), "{word:?}");
}
