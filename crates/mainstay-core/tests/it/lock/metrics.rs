use std::time::Duration;

use mainstay_core::lock::Error;
use mainstay_core::metrics::Format;
use mainstay_testkit::faulty::Fault;

use super::{Bench, SECOND};

fn shows(bench: &Bench, line: &str) {
    let text = bench.metrics.render(Format::Prometheus);
    assert!(text.lines().any(|shown| shown == line), "{line} not in\n{text}");
}

#[tokio::test(start_paused = true)]
async fn what_happens_is_counted() {
    let bench = Bench::far();
    let guard = bench.locks.lock("k").ttl(3 * SECOND).acquire().await.unwrap();
    let locks = bench.locks.clone();
    let waiter = tokio::spawn(async move { locks.lock("k").wait(2 * SECOND).acquire().await.map(drop) });
    tokio::time::sleep(SECOND / 2).await;
    shows(&bench, "lock_held 1");
    shows(&bench, "lock_waiters 1");
    assert!(matches!(waiter.await.unwrap(), Err(Error::Contended { .. })));
    shows(&bench, "lock_waiters 0");
    shows(&bench, "lock_renewals_total{result=\"renewed\"} 2");
    drop(guard);
    tokio::time::sleep(SECOND).await;
    shows(&bench, "lock_held 0");

    let guard = bench.locks.lock("k").ttl(3 * SECOND).acquire().await.unwrap();
    bench.locks.release("k", guard.token()).await.unwrap();
    guard.lost().await;
    bench.faults.next(1, Fault::Unavailable);
    assert!(bench.locks.lock("l").acquire().await.is_err());
    bench.faults.next(3, Fault::LostRequest);
    assert!(bench.locks.lock("m").try_acquire().await.is_err());
    bench.locks.lock("n").ttl(Duration::ZERO).acquire().await.unwrap_err();
    drop(guard);
    for line in [
        "lock_acquisitions_total{result=\"acquired\"} 2",
        "lock_acquisitions_total{result=\"contended\"} 1",
        "lock_acquisitions_total{result=\"unavailable\"} 1",
        "lock_acquisitions_total{result=\"unknown\"} 1",
        "lock_renewals_total{result=\"lost\"} 1",
        "lock_lost_total 1",
        "lock_held 0",
        "lock_wait_duration_seconds_count 2",
        "lock_hold_duration_seconds_count 2",
    ] {
        shows(&bench, line);
    }
}
