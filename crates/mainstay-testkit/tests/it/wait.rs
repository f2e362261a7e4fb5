//! Promises of `eventually` and `eventually_async`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use mainstay_testkit::{eventually, eventually_async};

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_condition_that_comes_true_ends_the_wait() {
    let mut looks = 0;
    eventually("three looks", LONG, || {
        looks += 1;
        looks == 3
    });
    assert_eq!(looks, 3);
}

#[test]
#[should_panic(expected = "not within 0ns: the moon is cheese")]
fn a_condition_that_stays_false_panics_with_its_description() {
    eventually("the moon is cheese", Duration::ZERO, || false);
}

#[tokio::test(start_paused = true)]
async fn on_the_runtime_the_clock_that_counts_is_the_one_tests_pause() {
    let started = tokio::time::Instant::now();
    eventually_async("a minute has passed", 2 * LONG, async || started.elapsed() > LONG).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "not within 60s: it answers")]
async fn a_condition_that_hangs_is_given_up_at_the_deadline() {
    eventually_async("it answers", LONG, async || std::future::pending().await).await;
}

#[test]
fn the_panic_names_the_line_of_the_test() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let line = line!() + 2;
    let panic = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(eventually_async("never", Duration::ZERO, async || false));
    }));
    let panic = panic.unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains(&format!("tests/it/wait.rs:{line}:")), "{message}");
}
