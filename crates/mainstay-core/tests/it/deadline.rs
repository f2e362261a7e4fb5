//! One deadline travels.

use std::future::{pending, ready};
use std::time::Duration;

use futures_util::future::lazy;
use mainstay_core::deadline::{Deadline, Elapsed, MAX_HEADER, carried, timeout};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

async fn remaining() -> Option<Duration> {
    Deadline::current().map(Deadline::remaining)
}

#[tokio::test(start_paused = true)]
async fn there_is_none_unless_somebody_sets_one() {
    assert_eq!(Deadline::current(), None);
    assert_eq!(Deadline::after(SECOND).scope(remaining()).await, Some(SECOND));
    assert_eq!(Deadline::current(), None);
}

#[tokio::test(start_paused = true)]
async fn of_two_the_earlier_holds() {
    let (near, far) = (Deadline::after(SECOND), Deadline::after(5 * SECOND));
    assert_eq!(near.scope(async { far.scope(remaining()).await }).await, Some(SECOND));
    let inner = far.scope(async { (near.scope(remaining()).await, remaining().await) });
    assert_eq!(inner.await, (Some(SECOND), Some(5 * SECOND)));
}

#[tokio::test(start_paused = true)]
async fn of_two_the_earlier_holds_wherever_the_inner_one_was_made() {
    let (near, far) = (Deadline::after(SECOND), Deadline::after(5 * SECOND));
    // As a layer does that wraps what a service returns, before anybody awaits it.
    let inner = far.scope(remaining());
    assert_eq!(near.scope(inner).await, Some(SECOND));
    let made = near.scope(lazy(|_| far.scope(remaining()))).await;
    assert_eq!(made.await, Some(SECOND), "and if it is awaited elsewhere");
}

#[tokio::test(start_paused = true)]
async fn a_task_has_it_only_if_it_is_carried_there() {
    let work = async {
        let without = tokio::spawn(remaining()).await.unwrap();
        (without, tokio::spawn(carried(remaining())).await.unwrap())
    };
    assert_eq!(Deadline::after(SECOND).scope(work).await, (None, Some(SECOND)));
    assert_eq!(tokio::spawn(carried(remaining())).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_says_whether_the_attempt_or_the_whole_is_over() {
    let begun = Instant::now();
    assert_eq!(timeout(SECOND, pending::<()>()).await, Err(Elapsed::Timeout { after: SECOND }));
    assert_eq!(begun.elapsed(), SECOND);
    let whole = Deadline::after(2 * SECOND).scope(async { timeout(5 * SECOND, pending::<()>()).await });
    assert_eq!(whole.await, Err(Elapsed::Deadline));
    assert_eq!(begun.elapsed(), 3 * SECOND);
    let attempt = Deadline::after(5 * SECOND).scope(async { timeout(SECOND, pending::<()>()).await });
    assert!(!attempt.await.unwrap_err().is_deadline());
}

#[tokio::test(start_paused = true)]
async fn what_is_awaited_within_a_timeout_knows_of_it() {
    assert_eq!(timeout(SECOND, remaining()).await, Ok(Some(SECOND)));
    let inner = Deadline::after(2 * SECOND).scope(async { timeout(5 * SECOND, remaining()).await });
    assert_eq!(inner.await, Ok(Some(2 * SECOND)));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_begun_after_the_deadline() {
    let late =
        Deadline::after(Duration::ZERO).scope(async { timeout(SECOND, async { panic!("begun") }).await });
    assert_eq!(late.await, Err::<(), _>(Elapsed::Deadline));
}

#[tokio::test(start_paused = true)]
async fn a_time_without_end_is_no_timeout() {
    let work = async {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        remaining().await
    };
    assert_eq!(timeout(Duration::MAX, work).await, Ok(None));
    assert!(Deadline::after(Duration::MAX).remaining() > Duration::from_secs(1_000_000_000));
    let inner = Deadline::after(Duration::MAX).scope(async { timeout(Duration::MAX, ready(7)).await });
    assert_eq!(inner.await, Ok(7));
}

#[tokio::test(start_paused = true)]
async fn the_header_is_what_remains_in_whole_milliseconds() {
    let deadline = Deadline::parse(" 1500 ").unwrap();
    assert_eq!((deadline.remaining(), deadline.header()), (Duration::from_millis(1_500), 1_500));
    tokio::time::advance(Duration::from_micros(499_001)).await;
    assert_eq!(deadline.header(), 1_000);
    tokio::time::advance(SECOND * 2).await;
    assert!(deadline.is_over() && deadline.header() == 0);
    assert!(Deadline::parse("0").unwrap().is_over());
}

#[tokio::test(start_paused = true)]
async fn a_header_is_bounded_and_a_bad_one_is_an_error() {
    for far in ["3600001", "18446744073709551615", "99999999999999999999999999"] {
        assert_eq!(Deadline::parse(far).unwrap().remaining(), MAX_HEADER, "{far}");
    }
    assert_eq!(Deadline::after(Duration::MAX).header(), 3_600_000);
    for bad in ["", " ", "-1", "+1", "1.5", "1s", "1e3", "0x10", "1 2", "١", "1\n"] {
        let error = Deadline::parse(bad).unwrap_err();
        assert_eq!(error.to_string(), "mainstay-deadline-ms must be a whole number of milliseconds");
    }
}
