use std::time::Duration;

use mainstay_core::lock::{Error, Locks, Release, Store};
use mainstay_testkit::faulty::Fault;
use tokio::time::Instant;

use super::{Bench, SECOND, on_paused_time};
use mainstay_testkit::faulty::lock::Faulty;
use std::sync::Arc;

#[tokio::test(start_paused = true)]
async fn a_store_that_is_not_reached_is_an_error_at_once() {
    let bench = Bench::far();
    bench.faults.always(Fault::Unavailable);
    let began = Instant::now();
    for request in
        [bench.locks.lock("k"), bench.locks.lock("k").retry(5, SECOND), bench.locks.lock("k").wait(SECOND)]
    {
        let refused = request.acquire().await.map(drop);
        assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    }
    let release = bench.locks.release("k", &"0".repeat(32).parse().unwrap()).await;
    assert!(matches!(release, Err(Error::Unavailable(_))), "{release:?}");
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(bench.locks.usage(), Default::default());
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_asked_for_again_and_has_the_same_lock() {
    for fault in [Fault::LostReply, Fault::LostRequest, Fault::Hang] {
        let bench = Bench::far();
        bench.faults.next(1, fault);
        let guard = bench.locks.lock("k").try_acquire().await.unwrap();
        assert_eq!(bench.holders(), 1, "{fault:?}");
        assert_eq!(guard.release().await, Ok(Release::Released), "{fault:?}");
        assert_eq!(bench.holders(), 0, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_answers_leaves_no_lock_held_by_nobody() {
    for fault in [Fault::LostReply, Fault::LostRequest, Fault::Hang] {
        let bench = Bench::far();
        bench.faults.always(fault);
        let unknown = bench.locks.lock("k").try_acquire().await.map(drop);
        assert!(matches!(unknown, Err(Error::Unknown(_))), "{fault:?}: {unknown:?}");
        let began = Instant::now();
        let unknown = bench.locks.lock("l").wait(3 * SECOND).acquire().await.map(drop);
        assert!(matches!(unknown, Err(Error::Unknown(_))), "{fault:?}: {unknown:?}");
        assert!(began.elapsed() <= 3 * SECOND + Duration::from_millis(5), "{fault:?}");
        bench.faults.mend();
        tokio::time::sleep(6 * SECOND).await;
        assert_eq!(bench.holders(), 0, "{fault:?}");
        assert_eq!(bench.locks.usage(), Default::default(), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_shorter_than_the_stores_timeout_leaves_the_outcome_unknown() {
    for waits in [Duration::from_millis(100), Duration::from_millis(500)] {
        let bench = Bench::far();
        bench.faults.always(Fault::Hang);
        let began = Instant::now();
        let unknown = bench.locks.lock("k").wait(waits).acquire().await.map(drop);
        assert!(matches!(unknown, Err(Error::Unknown(_))), "{unknown:?}");
        assert!(began.elapsed() <= waits + Duration::from_millis(2), "{:?}", began.elapsed());
        assert_eq!(bench.holders(), 1, "the question has arrived");
    }
}

#[tokio::test(start_paused = true)]
async fn the_longest_timeout_of_the_store_is_a_day() {
    let bench = Bench::far();
    let memory: Arc<dyn Store> = bench.memory.clone();
    let store = Arc::new(Faulty::new(memory, bench.faults.clone()));
    let locks = |op_timeout| {
        let mut options = on_paused_time();
        options.op_timeout = op_timeout;
        Locks::new(Arc::clone(&store) as Arc<dyn Store>, options, &bench.metrics, bench.time.clock())
    };
    let (day, hour) = (Duration::from_secs(24 * 3600), Duration::from_secs(3600));
    for op_timeout in [day, Duration::MAX] {
        bench.faults.always(Fault::Hang);
        let locks = locks(op_timeout);
        let asking = locks.lock("k").ttl(day).wait(hour).acquire();
        let asked = tokio::time::timeout(SECOND, asking).await.map(|asked| asked.map(drop));
        if op_timeout > day {
            let refused = Err(Error::Option { field: "op_timeout", reason: "must be at most 24 h" });
            assert_eq!(asked.unwrap(), refused);
        } else {
            assert!(asked.is_err(), "{asked:?}");
            assert_eq!(bench.holders(), 1, "it took effect");
            bench.faults.mend();
            tokio::time::sleep(hour).await;
            assert_eq!(bench.holders(), 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_unavailable_store_after_a_lost_answer_leaves_the_outcome_unknown() {
    let bench = Bench::far();
    bench.faults.next(1, Fault::LostReply);
    let locks = bench.locks.clone();
    let asked = tokio::spawn(async move { locks.lock("k").try_acquire().await.map(drop) });
    tokio::task::yield_now().await;
    bench.faults.always(Fault::Unavailable);
    let unknown = asked.await.unwrap();
    assert!(matches!(unknown, Err(Error::Unknown(_))), "{unknown:?}");
    bench.faults.mend();
    tokio::time::sleep(6 * SECOND).await;
    assert_eq!(bench.holders(), 0);
}

/// Only the first of the line has asked, and does not know what came of it.
#[tokio::test(start_paused = true)]
async fn behind_one_who_is_in_doubt_nobody_waits_for_a_store_that_is_not_reached() {
    let bench = Bench::far();
    bench.faults.always(Fault::LostReply);
    let ask = |wait| {
        let request = bench.locks.lock("k").wait(wait);
        tokio::spawn(async move { request.acquire().await.map(drop) })
    };
    let first = ask(20 * SECOND);
    tokio::task::yield_now().await;
    let early: Vec<_> = (0..63).map(|_| ask(20 * SECOND)).collect();
    tokio::task::yield_now().await;
    bench.faults.always(Fault::Unavailable);
    let began = Instant::now();
    for asked in early {
        let refused = asked.await.unwrap();
        assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    }
    assert!(began.elapsed() <= SECOND, "{:?}", began.elapsed());
    let began = Instant::now();
    for wait in [Duration::ZERO, 20 * SECOND] {
        let refused = ask(wait).await.unwrap();
        assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(bench.locks.usage().waiters, 1);

    bench.faults.mend();
    assert_eq!(first.await.unwrap(), Ok(()), "it asks until it knows");
    assert_eq!(ask(20 * SECOND).await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_acquire_whose_question_was_sent_is_cancelled() {
    let bench = Bench::far();
    bench.faults.always(Fault::Hang);
    let asking = bench.locks.lock("k").acquire();
    assert!(tokio::time::timeout(Duration::from_millis(100), asking).await.is_err());
    assert_eq!(bench.holders(), 1, "it took effect");
    bench.faults.mend();
    tokio::time::sleep(SECOND).await;
    assert_eq!(bench.holders(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_sees_a_silent_store_through() {
    let bench = Bench::far();
    bench.faults.always(Fault::Hang);
    let locks = bench.locks.clone();
    let waiter = tokio::spawn(async move { locks.lock("k").wait(60 * SECOND).acquire().await.map(drop) });
    tokio::time::sleep(20 * SECOND).await;
    bench.faults.mend();
    waiter.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_release_without_an_answer_is_tried_again() {
    for fault in [Fault::Unavailable, Fault::LostRequest, Fault::LostReply, Fault::Hang] {
        let bench = Bench::far();
        let guard = bench.locks.lock("k").acquire().await.unwrap();
        let dropped = bench.locks.lock("l").acquire().await.unwrap();
        bench.faults.always(fault);
        let outcome = guard.release().await;
        let expected = match fault {
            Fault::Unavailable => matches!(outcome, Err(Error::Unavailable(_))),
            _ => matches!(outcome, Err(Error::Unknown(_))),
        };
        assert!(expected, "{fault:?}: {outcome:?}");
        drop(dropped);
        tokio::time::sleep(5 * SECOND).await;
        bench.faults.mend();
        tokio::time::sleep(10 * SECOND).await;
        assert_eq!(bench.holders(), 0, "{fault:?}");
        assert_eq!(bench.locks.usage(), Default::default(), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn releases_are_given_up_when_the_ttl_is_over() {
    let bench = Bench::far();
    let guard = bench.locks.lock("k").ttl(10 * SECOND).acquire().await.unwrap();
    bench.faults.always(Fault::Unavailable);
    drop(guard);
    tokio::time::sleep(20 * SECOND).await;
    assert_eq!(bench.locks.usage(), Default::default());
}

#[tokio::test(start_paused = true)]
async fn stopping_gives_a_dead_store_one_last_chance() {
    let bench = Bench::far();
    let _guard = bench.locks.lock("k").acquire().await.unwrap();
    bench.faults.always(Fault::Unavailable);
    let began = Instant::now();
    bench.locks.stop(10 * SECOND).await.unwrap();
    assert!(began.elapsed() <= SECOND);

    let bench = Bench::far();
    let _guard = bench.locks.lock("k").acquire().await.unwrap();
    bench.faults.always(Fault::Hang);
    let overrun = bench.locks.stop(Duration::from_millis(100)).await.unwrap_err();
    assert_eq!(overrun.tasks, ["lock keeper"]);
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_comes_too_late_is_not_trusted() {
    let bench = Bench::far();
    bench.faults.delay(Duration::from_millis(400));
    let late = bench.locks.lock("k").ttl(SECOND / 5).wait(2 * SECOND).acquire().await.map(drop);
    assert!(matches!(late, Err(Error::Unknown(_))), "{late:?}");
}
