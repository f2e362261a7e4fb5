use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mainstay_core::lock::{Locks, Lost, Release};
use mainstay_core::metrics::Metrics;
use mainstay_core::time::{Clock, Moment, Source};
use mainstay_testkit::faulty::Fault;

use super::{Bench, SECOND, on_paused_time};

#[tokio::test(start_paused = true)]
async fn a_guard_is_renewed_for_as_long_as_it_lives() {
    let bench = Bench::near();
    let guard = bench.locks.lock("k").ttl(3 * SECOND).acquire().await.unwrap();
    for _ in 0..100 {
        tokio::time::sleep(SECOND).await;
        assert_eq!(guard.check(), Ok(()));
    }
    assert_eq!(guard.release().await, Ok(Release::Released));
}

#[test]
fn guards_are_renewed_though_the_runtime_of_the_first_one_has_ended() {
    let runtime =
        || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let time = ByHand::default();
    let locks = Locks::in_memory(on_paused_time(), &Metrics::new(), Clock::of(Arc::new(time.clone())));
    for _ in 0..3 {
        runtime().block_on(async {
            let guard = locks.lock("k").ttl(3 * SECOND).acquire().await.unwrap();
            for _ in 0..100 {
                tokio::time::sleep(SECOND / 10).await;
                time.0.fetch_add(100_000, Ordering::SeqCst);
            }
            assert_eq!(guard.check(), Ok(()));
            assert_eq!(locks.usage().held, 1);
        });
    }
}

/// Belongs to no runtime, as the machine's clock does.
#[derive(Debug, Clone, Default)]
struct ByHand(Arc<AtomicU64>);

impl Source for ByHand {
    fn now(&self) -> Moment {
        Moment::from_micros(self.0.load(Ordering::SeqCst))
    }

    fn wall(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
}

#[tokio::test(start_paused = true)]
async fn a_guard_is_lost_when_its_longest_time_is_over() {
    let bench = Bench::near();
    let began = tokio::time::Instant::now();
    let request = bench.locks.lock("k").ttl(3 * SECOND).max_hold(10 * SECOND);
    let guard = request.acquire().await.unwrap();
    guard.lost().await;
    let held = began.elapsed();
    assert!(held >= 9 * SECOND && held <= 10 * SECOND + Duration::from_millis(5), "{held:?}");
    assert_eq!(guard.check(), Err(Lost));
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(bench.holders(), 0, "nobody renews it any more");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_for_less_than_the_ttl_costs_nothing() {
    let bench = Bench::far();
    let guard = bench.locks.lock("k").ttl(6 * SECOND).acquire().await.unwrap();
    for fault in [Fault::Unavailable, Fault::LostReply, Fault::LostRequest, Fault::Hang] {
        bench.faults.always(fault);
        tokio::time::sleep(3 * SECOND).await;
        bench.faults.mend();
        tokio::time::sleep(3 * SECOND).await;
        assert_eq!(guard.check(), Ok(()), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_for_longer_costs_the_lock_before_another_can_have_it() {
    for fault in [Fault::Unavailable, Fault::LostRequest, Fault::Hang] {
        let bench = Bench::far();
        let guard = bench.locks.lock("k").ttl(6 * SECOND).acquire().await.unwrap();
        bench.faults.always(fault);
        let other = bench.another();
        let lost = guard.lost();
        tokio::select! {
            biased;
            // Polled first, but at the same moment the loss must be told already.
            _ = other.lock("k").wait(60 * SECOND).acquire() => panic!("{fault:?}: taken before it was lost"),
            Lost { .. } = lost => {}
        }
        assert_eq!(guard.check(), Err(Lost));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_taken_away_is_lost_at_the_next_renewal() {
    let bench = Bench::near();
    let guard = bench.locks.lock("k").ttl(30 * SECOND).acquire().await.unwrap();
    bench.locks.release("k", guard.token()).await.unwrap();
    let began = tokio::time::Instant::now();
    guard.lost().await;
    assert!(began.elapsed() <= 10 * SECOND + Duration::from_millis(5), "{:?}", began.elapsed());
    assert!(guard.lost_token().is_cancelled(), "who asks later hears of it, too");
}

#[tokio::test(start_paused = true)]
async fn after_a_suspend_the_first_check_fails_and_asks_nobody() {
    let bench = Bench::far();
    let guard = bench.locks.lock("k").acquire().await.unwrap();
    let calls = bench.faults.calls();
    bench.time.suspend(31 * SECOND);
    assert_eq!(guard.check(), Err(Lost));
    assert_eq!(bench.faults.calls(), calls);
    guard.lost().await;
}

#[tokio::test(start_paused = true)]
async fn after_a_suspend_a_loss_is_told_within_a_second() {
    let bench = Bench::near();
    let guard = bench.locks.lock("k").acquire().await.unwrap();
    let lost = guard.lost();
    tokio::time::sleep(SECOND / 2).await;
    bench.time.suspend(31 * SECOND);
    tokio::time::timeout(SECOND, lost).await.expect("told");
}

#[tokio::test(start_paused = true)]
async fn validity_is_counted_from_before_the_question_was_sent() {
    let bench = Bench::far();
    bench.faults.delay(Duration::from_millis(400));
    let guard = bench.locks.lock("k").ttl(SECOND).acquire().await.unwrap();
    bench.faults.always(Fault::Unavailable);
    // 1 s after the question, less its margin, is 600 ms after the answer.
    tokio::time::advance(Duration::from_millis(580)).await;
    assert_eq!(guard.check(), Ok(()));
    tokio::time::advance(Duration::from_millis(20)).await;
    assert_eq!(guard.check(), Err(Lost));
}

#[tokio::test(start_paused = true)]
async fn a_lost_guard_still_releases_what_is_left() {
    let bench = Bench::near();
    let request = bench.locks.lock("k").ttl(10 * SECOND).max_hold(10 * SECOND);
    let guard = request.acquire().await.unwrap();
    guard.lost().await;
    assert_eq!(bench.holders(), 1, "the margin is not over at the store");
    drop(guard);
    assert_eq!(bench.holders(), 0);
}
