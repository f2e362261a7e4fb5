use std::time::Duration;

use mainstay_core::key::InvalidKey;
use mainstay_core::lock::{Error, Fence, Request};
use proptest::prelude::*;

use super::{Bench, SECOND};

#[tokio::test(start_paused = true)]
async fn names_may_hold_anything_but_nothing_and_a_book() {
    let bench = Bench::near();
    for key in ["{}*", "a\r\nb", "\0", "..%2f", &"x".repeat(2_048)] {
        drop(bench.locks.lock(key).acquire().await.unwrap());
    }
    assert_eq!(bench.locks.lock("").acquire().await.map(drop), Err(Error::Key(InvalidKey::Empty)));
    let long = bench.locks.lock("x".repeat(1 << 20)).lease().await.map(drop);
    assert!(matches!(long, Err(Error::Key(InvalidKey::TooLong { .. }))), "{long:?}");
    let token = "0".repeat(32).parse().unwrap();
    assert_eq!(bench.locks.release("", &token).await, Err(Error::Key(InvalidKey::Empty)));
}

#[tokio::test(start_paused = true)]
async fn an_option_out_of_bounds_is_named() {
    let bench = Bench::near();
    let lock = || bench.locks.lock("k");
    let day = Duration::from_secs(24 * 3600);
    for (request, field) in [
        (lock().ttl(Duration::ZERO), "ttl"),
        (lock().ttl(Duration::from_millis(1)), "ttl"),
        (lock().ttl(day + SECOND), "ttl"),
        (lock().ttl(Duration::MAX), "ttl"),
        (bench.locks.semaphore("k", 0), "permits"),
        (bench.locks.semaphore("k", u32::MAX), "permits"),
        (lock().ttl(2 * SECOND).max_hold(SECOND), "max_hold"),
        (lock().wait(Duration::MAX), "wait"),
        (lock().retry(u32::MAX, SECOND), "retry attempts"),
        (lock().retry(3, Duration::ZERO), "retry delay"),
        (lock().retry(3, Duration::MAX), "retry delay"),
    ] {
        match request.acquire().await {
            Err(Error::Option { field: named, reason }) => assert_eq!(named, field, "{reason}"),
            other => panic!("{field}: {other:?}"),
        }
    }
    let error = lock().ttl(Duration::ZERO).acquire().await.unwrap_err();
    assert_eq!(error.to_string(), "ttl must be between 10 ms and 24 h");
    assert_eq!(bench.locks.usage(), Default::default());
}

#[tokio::test(start_paused = true)]
async fn the_largest_options_work() {
    let bench = Bench::near();
    let day = Duration::from_secs(24 * 3600);
    let request = bench.locks.semaphore("k", 10_000).ttl(day).max_hold(Duration::MAX).wait(day);
    let guard = request.floor(Fence::from(u64::MAX)).acquire().await.unwrap();
    tokio::time::sleep(day / 2).await;
    assert_eq!(guard.check(), Ok(()));
}

fn anything() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::ZERO),
        Just(Duration::MAX),
        (0..u64::MAX).prop_map(Duration::from_secs),
        (0..100_000_u64).prop_map(Duration::from_millis),
        (0..u64::MAX).prop_map(Duration::from_nanos),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_input_panics(
        (ttl, wait, hold, delay) in (anything(), anything(), anything(), anything()),
        (permits, attempts, floor) in any::<(u32, u32, u64)>(),
        key in "\\PC{0,20}",
        choice in 0..4,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let bench = Bench::near();
            let mut request: Request = bench.locks.semaphore(key, permits).ttl(ttl).floor(floor.into());
            if choice & 1 == 0 { request = request.max_hold(hold); }
            request = if choice & 2 == 0 { request.wait(wait) } else { request.retry(attempts, delay) };
            match request.acquire().await {
                Ok(guard) => assert_eq!(guard.check(), Ok(())),
                Err(error) => assert!(matches!(error, Error::Key(_) | Error::Option { .. }), "{error}"),
            }
            assert_eq!(bench.locks.usage(), Default::default());
        });
    }
}
