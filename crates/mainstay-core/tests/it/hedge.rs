//! Second attempts. Virtual time.

use std::cell::Cell;
use std::future::pending;
use std::time::Duration;

use mainstay_core::budget::Policy as BudgetPolicy;
use mainstay_core::hedge::{Budget, Hedge, Policy};
use mainstay_core::metrics::{Format, Metrics};
use mainstay_core::time::Clock;
use mainstay_testkit::{Seed, TestClock};
use tokio::time::{Instant, sleep, timeout};

const USUAL: Duration = Duration::from_millis(10);

struct Bench {
    hedge: Hedge,
    budget: Budget,
    metrics: Metrics,
}

/// What an attempt does.
#[derive(Clone, Copy)]
enum Does {
    Succeed(Duration),
    Fail(Duration),
    Hang,
}

use Does::{Fail, Hang, Succeed};

impl Bench {
    fn new() -> Self {
        let (metrics, clock) = (Metrics::new(), TestClock::new().clock());
        let budget = Budget::new(BudgetPolicy::default(), clock.clone()).unwrap();
        let hedge = Hedge::new("search", Policy::default(), budget.clone(), &metrics, clock).unwrap();
        Self { hedge, budget, metrics }
    }

    /// One that knows that calls usually take 10 ms.
    async fn used() -> Self {
        let bench = Self::new();
        for _ in 0..24 {
            assert_eq!(bench.call([Succeed(USUAL), Hang]).await, (Ok(1), USUAL, 1));
        }
        bench
    }

    /// The number of the attempt that ended the call, how long it took, and how many were begun.
    async fn call(&self, does: [Does; 2]) -> (Result<u32, u32>, Duration, u32) {
        let (begun, attempts) = (Instant::now(), Cell::new(0));
        let attempt = |attempt: u32| {
            attempts.set(attempt);
            async move {
                match does[attempt as usize - 1] {
                    Succeed(time) => sleep(time).await,
                    Fail(time) => {
                        sleep(time).await;
                        return Err(attempt);
                    }
                    Hang => pending().await,
                }
                Ok(attempt)
            }
        };
        let result = self.hedge.call(attempt).await;
        // Timers are of whole milliseconds.
        (result, Duration::from_millis(begun.elapsed().as_millis().try_into().unwrap()), attempts.get())
    }

    fn shows(&self, line: &str) -> bool {
        self.metrics.render(Format::Prometheus).lines().any(|shown| shown == line)
    }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[tokio::test(start_paused = true)]
async fn nothing_is_hedged_before_enough_is_known() {
    let bench = Bench::new();
    for _ in 0..20 {
        assert_eq!(bench.hedge.delay(), None);
        assert_eq!(bench.call([Succeed(USUAL), Succeed(USUAL)]).await, (Ok(1), USUAL, 1));
    }
    let bench = Bench::new();
    timeout(Duration::from_secs(3600), bench.call([Hang, Succeed(USUAL)])).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_late_call_is_made_again_and_the_first_success_wins() {
    let bench = Bench::used().await;
    assert_eq!(bench.hedge.delay(), Some(USUAL));
    assert_eq!(bench.call([Hang, Succeed(millis(5))]).await, (Ok(2), millis(15), 2));
    assert_eq!(bench.call([Succeed(millis(12)), Hang]).await, (Ok(1), millis(12), 2));
    assert!(bench.shows("hedges_total{name=\"search\",won=\"second\"} 1"));
    assert!(bench.shows("hedges_total{name=\"search\",won=\"first\"} 1"));
}

#[tokio::test(start_paused = true)]
async fn the_attempt_that_loses_is_dropped() {
    struct Alive<'a>(&'a Cell<u32>);
    impl Drop for Alive<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() - 1);
        }
    }
    let (bench, alive) = (Bench::used().await, Cell::new(0));
    let attempt = |attempt| {
        alive.set(alive.get() + 1);
        let alive = Alive(&alive);
        async move {
            let _alive = alive;
            if attempt == 1 {
                pending::<()>().await;
            }
            sleep(USUAL).await;
            Ok::<_, ()>(())
        }
    };
    bench.hedge.call(attempt).await.unwrap();
    assert_eq!(alive.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_error_before_the_hedge_is_the_end_of_the_call() {
    let bench = Bench::used().await;
    assert_eq!(bench.call([Fail(millis(3)), Succeed(USUAL)]).await, (Err(1), millis(3), 1));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_one_waits_for_the_other() {
    let bench = Bench::used().await;
    assert_eq!(bench.call([Fail(millis(12)), Succeed(millis(20))]).await, (Ok(2), millis(30), 2));
    assert_eq!(bench.call([Succeed(millis(30)), Fail(millis(1))]).await, (Ok(1), millis(30), 2));
    assert_eq!(bench.call([Fail(millis(12)), Fail(millis(20))]).await, (Err(1), millis(30), 2));
    assert_eq!(bench.call([Fail(millis(30)), Fail(millis(1))]).await, (Err(1), millis(30), 2));
    assert!(bench.shows("hedges_total{name=\"search\",won=\"none\"} 2"));
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_the_budget_does_not_pay_for_is_not_made() {
    let bench = Bench::used().await;
    while bench.budget.withdraw() {}
    assert_eq!(bench.call([Succeed(millis(40)), Succeed(USUAL)]).await, (Ok(1), millis(40), 1));
    assert!(bench.shows("hedges_unpaid_total{name=\"search\"} 1"));
}

#[tokio::test(start_paused = true)]
async fn the_delay_stays_within_its_bounds() {
    let bench = Bench::used().await;
    let mut policy = Policy::default();
    (policy.min_delay, policy.max_delay) = (millis(50), millis(60));
    bench.hedge.configure(policy.clone()).unwrap();
    assert_eq!(bench.hedge.delay(), Some(millis(50)));
    (policy.min_delay, policy.max_delay) = (millis(1), millis(2));
    bench.hedge.configure(policy.clone()).unwrap();
    assert_eq!(bench.hedge.delay(), Some(millis(2)));
    policy.percentile = 1.0;
    assert_eq!(bench.hedge.configure(policy).unwrap_err().field, "percentile");
}

/// Latencies without memory: half of the hedged calls lose. If those were not remembered, the usual would
/// look faster, and twice as many were hedged.
#[tokio::test(start_paused = true)]
async fn calls_that_lost_to_their_hedge_count_as_late() {
    let bench = Bench::new();
    let mut rich = BudgetPolicy::default();
    rich.ratio = 1.0;
    bench.budget.configure(rich).unwrap();
    let mut rng = Seed::from_env("MAINSTAY_SEED").rng();
    let mut hedges = 0;
    for _ in 0..4_000 {
        let mut takes = || {
            let share = 1.0 - rng.below(1_000_000) as f64 / 1e6;
            Succeed(Duration::from_secs_f64(-share.ln()))
        };
        let does = [takes(), takes()];
        bench.budget.deposit();
        hedges += u32::from(bench.call(does).await.2 == 2);
    }
    assert!((120..=290).contains(&hedges), "{hedges} of 4,000");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_under_a_hedge_counts_as_late() {
    let bench = Bench::used().await;
    for _ in 0..8 {
        bench.budget.deposit();
        timeout(millis(500), bench.call([Hang, Hang])).await.unwrap_err();
        sleep(Duration::from_secs(1)).await;
    }
    assert!(bench.hedge.delay() >= Some(millis(400)), "{:?}", bench.hedge.delay());
    assert!(bench.shows("hedges_total{name=\"search\",won=\"none\"} 8"));
}

#[test]
fn a_call_in_time_allocates_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let budget = Budget::new(BudgetPolicy::default(), Clock::system()).unwrap();
    let hedge = Hedge::new("search", Policy::default(), budget, &Metrics::new(), Clock::system()).unwrap();
    runtime.block_on(async {
        for _ in 0..100 {
            hedge.call(|_| async { Ok::<_, ()>(()) }).await.unwrap();
        }
    });
    let allocations = allocation_counter::measure(|| {
        runtime.block_on(async {
            for _ in 0..100 {
                hedge.call(|_| async { Ok::<_, ()>(()) }).await.unwrap();
            }
        });
    });
    assert_eq!(allocations.count_total, 0);
}
