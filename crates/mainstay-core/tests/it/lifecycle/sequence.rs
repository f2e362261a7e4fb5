use std::time::Duration;

use futures_util::FutureExt;
use mainstay_core::container::Container;
use mainstay_core::lifecycle::{Lifecycle, Options, Phase, Step};

use super::{Log, SECOND, lifecycle, ok, outcomes};

#[tokio::test(start_paused = true)]
async fn steps_run_in_their_order_whatever_the_order_of_registration() {
    let lifecycle = lifecycle();
    let log = Log::default();
    for (step, name) in [
        (Step::Flush, "flush"),
        (Step::StopComponents, "stop"),
        (Step::NotReady, "not ready"),
        (Step::FinishRequests, "finish"),
        (Step::DrainDelay, "delay"),
        (Step::StopAccepting, "close"),
    ] {
        lifecycle.on(step, name, SECOND, log.work(name, SECOND / 2));
    }
    let report = lifecycle.run_shutdown().await;
    assert!(report.is_clean());
    let began: Vec<_> = log.entries().into_iter().step_by(2).collect();
    assert_eq!(began, ["not ready", "delay", "close", "finish", "stop", "flush"]);
    assert_eq!(report.steps.iter().map(|entry| entry.step).collect::<Vec<_>>(), Step::ALL);
    assert_eq!(report.took, SECOND * 3);
}

#[tokio::test(start_paused = true)]
async fn the_work_of_one_step_runs_concurrently() {
    let lifecycle = lifecycle();
    let log = Log::default();
    lifecycle.on(Step::Flush, "slow", SECOND * 4, log.work("slow", SECOND * 3));
    lifecycle.on(Step::Flush, "fast", SECOND * 4, log.work("fast", SECOND));
    let report = lifecycle.run_shutdown().await;
    assert_eq!(log.entries(), ["slow", "fast", "fast done", "slow done"]);
    assert_eq!(outcomes(&report), ["fast: done", "slow: done"]);
    assert_eq!(report.took, SECOND * 3);
}

#[tokio::test(start_paused = true)]
async fn components_stop_one_after_the_other_the_last_registered_first() {
    let lifecycle = lifecycle();
    let log = Log::default();
    for name in ["database", "repository", "service"] {
        lifecycle.on(Step::StopComponents, name, SECOND * 2, log.work(name, SECOND));
    }
    let report = lifecycle.run_shutdown().await;
    assert_eq!(
        log.entries(),
        ["service", "service done", "repository", "repository done", "database", "database done"]
    );
    assert_eq!(report.took, SECOND * 3);
}

#[tokio::test(start_paused = true)]
async fn the_phase_tells_readiness_first_and_the_end_last() {
    let lifecycle = Lifecycle::new(Options::default().drain_delay(SECOND * 7));
    let phase = lifecycle.phase();
    assert_eq!(*phase.borrow(), Phase::Starting);
    lifecycle.running();
    assert_eq!(*phase.borrow(), Phase::Running);

    let seen = Log::default();
    for step in Step::ALL {
        let (seen, phase) = (seen.clone(), lifecycle.phase());
        lifecycle.on(step, "look", SECOND, move || {
            seen.push(format!("{:?}", *phase.borrow()));
            ok()
        });
    }
    let report = lifecycle.run_shutdown().await;
    let steps: Vec<_> = Step::ALL.iter().map(|step| format!("{:?}", Phase::Draining(*step))).collect();
    assert_eq!(seen.entries(), steps);
    assert_eq!(*phase.borrow(), Phase::Stopped);
    assert_eq!(report.took, SECOND * 7, "the drain delay");

    lifecycle.running();
    assert_eq!(*phase.borrow(), Phase::Stopped, "nothing runs again");
}

#[tokio::test(start_paused = true)]
async fn without_a_drain_delay_nothing_waits() {
    let report = lifecycle().run_shutdown().await;
    assert_eq!(report.took, Duration::ZERO);
    assert!(report.steps.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_first_request_wins_and_asking_again_changes_nothing() {
    let lifecycle = lifecycle();
    let log = Log::default();
    lifecycle.on(Step::Flush, "flush", SECOND, log.work("flush", Duration::ZERO));
    assert!(lifecycle.shutdown_requested().now_or_never().is_none());
    lifecycle.request_shutdown("disk full");
    lifecycle.request_shutdown("listener failed");
    assert_eq!(lifecycle.shutdown_requested().await, "disk full");
    let report = lifecycle.run_shutdown().await;
    lifecycle.request_shutdown("too late");
    assert_eq!(report.reason, "disk full");
    assert_eq!(outcomes(&report), ["flush: done"], "two requests are not an abort");
}

#[tokio::test(start_paused = true)]
async fn asking_wakes_everyone_who_waits_for_it() {
    let lifecycle = lifecycle();
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let lifecycle = lifecycle.clone();
            tokio::spawn(async move { lifecycle.shutdown_requested().await })
        })
        .collect();
    tokio::task::yield_now().await;
    lifecycle.request_shutdown("enough");
    for waiter in waiting {
        assert_eq!(waiter.await.unwrap(), "enough");
    }
}

#[tokio::test(start_paused = true)]
async fn running_it_again_gives_the_same_report_and_runs_nothing_twice() {
    let lifecycle = lifecycle();
    let log = Log::default();
    lifecycle.on(Step::Flush, "flush", SECOND * 2, log.work("flush", SECOND));
    let (one, other) = tokio::join!(lifecycle.run_shutdown(), lifecycle.run_shutdown());
    assert_eq!(one, other);
    assert_eq!(lifecycle.run_shutdown().await, one);
    assert_eq!(log.entries(), ["flush", "flush done"]);
}

#[tokio::test(start_paused = true)]
async fn work_for_a_later_step_can_still_be_registered() {
    let lifecycle = lifecycle();
    let log = Log::default();
    let (late, inner) = (lifecycle.clone(), log.clone());
    lifecycle.on(Step::FinishRequests, "requests", SECOND, move || {
        late.on(Step::Flush, "later", SECOND, inner.work("later", Duration::ZERO));
        late.on(Step::FinishRequests, "now", SECOND, inner.work("now", Duration::ZERO));
        late.on(Step::NotReady, "before", SECOND, inner.work("before", Duration::ZERO));
        ok()
    });
    let report = lifecycle.run_shutdown().await;
    lifecycle.on(Step::Flush, "after", SECOND, log.work("after", Duration::ZERO));
    assert_eq!(outcomes(&report), ["requests: done", "later: done"]);
    assert_eq!(outcomes(&lifecycle.run_shutdown().await), ["requests: done", "later: done"]);
    assert_eq!(log.entries(), ["later", "later done"]);
}

#[tokio::test(start_paused = true)]
async fn two_lives_in_one_process_are_independent() {
    let (one, other) = (lifecycle(), lifecycle());
    other.running();
    one.abort("only this one");
    assert!(one.run_shutdown().await.is_clean(), "it had nothing to do");
    assert_eq!(*other.phase().borrow(), Phase::Running);
    assert!(other.shutdown_requested().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_container_stops_as_one_component() {
    struct Pool;
    let mut builder = Container::builder();
    builder.value(Pool).on_stop(|_| async { Err("still in use") });
    let container = builder.build().await.unwrap();
    let lifecycle = lifecycle();
    lifecycle.on(Step::StopComponents, "container", SECOND, move || async move {
        container.stop().await.into_result()
    });
    let report = lifecycle.run_shutdown().await;
    assert_eq!(outcomes(&report), ["container: failed: Pool: stop hook failed: still in use"]);
}
