use std::io::Error as IoError;
use std::time::Duration;

use mainstay_core::lifecycle::{Lifecycle, Options, Outcome, Phase, Step};

use super::{Log, SECOND, hang, lifecycle, outcomes, that};

#[tokio::test(start_paused = true)]
async fn work_that_overruns_is_dropped_and_named_and_the_rest_goes_on() {
    let lifecycle = lifecycle();
    let log = Log::default();
    hang(&lifecycle, Step::FinishRequests, "http", SECOND * 3);
    lifecycle.on(Step::FinishRequests, "grpc", SECOND * 3, log.work("grpc", SECOND));
    lifecycle.on(Step::Flush, "flush", SECOND, log.work("flush", Duration::ZERO));
    let report = lifecycle.run_shutdown().await;
    assert_eq!(outcomes(&report), ["grpc: done", "http: overran its deadline", "flush: done"]);
    assert_eq!(report.steps[1].took, SECOND * 3);
    assert!(!report.is_clean());
}

#[tokio::test(start_paused = true)]
async fn work_that_fails_or_panics_is_reported_and_the_rest_goes_on() {
    let lifecycle = lifecycle();
    let log = Log::default();
    lifecycle.on(Step::StopComponents, "first", SECOND, log.work("first", Duration::ZERO));
    lifecycle.on(Step::StopComponents, "fails", SECOND, || async { Err(IoError::other("disk full")) });
    lifecycle.on(Step::StopComponents, "panics", SECOND, || async {
        panic!("in the future") as Result<(), IoError>
    });
    let early = true;
    lifecycle.on(Step::StopComponents, "panics early", SECOND, move || {
        assert!(!early, "in the call");
        async { Ok::<_, IoError>(()) }
    });
    let report = lifecycle.run_shutdown().await;
    assert_eq!(
        outcomes(&report),
        [
            "panics early: failed: panicked: in the call",
            "panics: failed: panicked: in the future",
            "fails: failed: disk full",
            "first: done",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_concurrent_work_leaves_its_neighbours_alone() {
    let lifecycle = lifecycle();
    let log = Log::default();
    lifecycle.on(Step::Flush, "panics", SECOND, || async { panic!("boom") as Result<(), IoError> });
    lifecycle.on(Step::Flush, "logs", SECOND * 2, log.work("logs", SECOND));
    let report = lifecycle.run_shutdown().await;
    assert_eq!(outcomes(&report), ["panics: failed: panicked: boom", "logs: done"]);
}

#[tokio::test(start_paused = true)]
async fn the_total_deadline_bounds_everything() {
    let options = Options::default().shutdown_timeout(SECOND * 10).drain_delay(SECOND * 4);
    let lifecycle = Lifecycle::new(options);
    let log = Log::default();
    hang(&lifecycle, Step::FinishRequests, "requests", SECOND * 60);
    lifecycle.on(Step::StopComponents, "database", SECOND, log.work("database", Duration::ZERO));
    lifecycle.on(Step::Flush, "flush", SECOND, log.work("flush", Duration::ZERO));
    let report = lifecycle.run_shutdown().await;
    assert_eq!(
        outcomes(&report),
        ["drain delay: done", "requests: overran its deadline", "database: cut short", "flush: cut short"]
    );
    assert_eq!(report.took, SECOND * 10);
    assert_eq!(report.steps[2].took, Duration::ZERO);
    assert!(log.entries().is_empty(), "what had no time left never began");
}

#[tokio::test(start_paused = true)]
async fn an_abort_ends_everything_at_once() {
    let lifecycle = lifecycle();
    let log = Log::default();
    lifecycle.on(Step::NotReady, "tell", SECOND, log.work("tell", Duration::ZERO));
    lifecycle.on(Step::FinishRequests, "requests", SECOND * 20, log.work("requests", SECOND * 19));
    hang(&lifecycle, Step::FinishRequests, "sockets", SECOND * 20);
    lifecycle.on(Step::StopComponents, "database", SECOND, log.work("database", Duration::ZERO));
    lifecycle.request_shutdown("first");
    let run = lifecycle.run_shutdown();
    let abort = async {
        tokio::time::sleep(SECOND * 2).await;
        lifecycle.abort("second");
    };
    let (report, ()) = tokio::join!(run, abort);
    assert_eq!(report.took, SECOND * 2);
    assert_eq!(report.reason, "first");
    assert_eq!(that(&report, &Outcome::Done), ["tell"]);
    assert_eq!(that(&report, &Outcome::Cut), ["requests", "sockets", "database"]);
    assert_eq!(log.entries(), ["tell", "tell done", "requests"]);
    assert_eq!(*lifecycle.phase().borrow(), Phase::Stopped);
}

#[tokio::test(start_paused = true)]
async fn an_abort_cuts_the_drain_delay() {
    let lifecycle = Lifecycle::new(Options::default());
    lifecycle.abort("now");
    assert_eq!(lifecycle.shutdown_requested().await, "now");
    let report = lifecycle.run_shutdown().await;
    assert_eq!(outcomes(&report), ["drain delay: cut short"]);
    assert_eq!(report.took, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_run_can_be_taken_up_and_runs_nothing_twice() {
    let lifecycle = lifecycle();
    let log = Log::default();
    for name in ["last", "middle", "first"] {
        lifecycle.on(Step::StopComponents, name, SECOND * 9, log.work(name, SECOND * 2));
    }
    lifecycle.on(Step::Flush, "flush", SECOND, log.work("flush", Duration::ZERO));
    // Dropped in the middle of "middle".
    assert!(tokio::time::timeout(SECOND * 3, lifecycle.run_shutdown()).await.is_err());
    let report = lifecycle.run_shutdown().await;
    assert_eq!(outcomes(&report), ["first: done", "middle: cut short", "last: done", "flush: done"]);
    assert_eq!(log.entries(), ["first", "first done", "middle", "last", "last done", "flush", "flush done"]);
    assert_eq!(report.took, SECOND * 5, "counted from the first call");
}

#[tokio::test(start_paused = true)]
async fn a_run_dropped_in_a_concurrent_step_reports_all_its_work_once() {
    const WORK: usize = 100;
    let lifecycle = lifecycle();
    for n in 0..WORK {
        hang(&lifecycle, Step::Flush, &format!("w{n}"), SECOND * 9);
    }
    assert!(tokio::time::timeout(SECOND, lifecycle.run_shutdown()).await.is_err());
    let report = lifecycle.run_shutdown().await;
    assert_eq!(that(&report, &Outcome::Cut).len(), WORK);
    assert_eq!(report.steps.len(), WORK);
}

#[tokio::test(start_paused = true)]
async fn a_run_may_live_in_a_task_of_its_own() {
    let lifecycle = lifecycle();
    hang(&lifecycle, Step::Flush, "flush", SECOND);
    let run = tokio::spawn({
        let lifecycle = lifecycle.clone();
        async move { lifecycle.run_shutdown().await }
    });
    assert_eq!(outcomes(&run.await.unwrap()), ["flush: overran its deadline"]);
}
