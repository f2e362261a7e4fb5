use std::time::Duration;

use mainstay_core::lifecycle::{Outcome, Phase, Step, signals};
use mainstay_core::task::TaskGroup;
use rustix::process::{Signal, getpid, kill_process};

use super::{hang, lifecycle, that};

/// One test for everything, as a signal goes to the whole process and so to every listener in it.
#[tokio::test]
async fn the_first_signal_drains_and_the_second_stops_at_once() {
    for (first, name, second) in
        [(Signal::TERM, "SIGTERM", Signal::TERM), (Signal::INT, "SIGINT", Signal::TERM)]
    {
        let lifecycle = lifecycle();
        let tasks = TaskGroup::new();
        tasks.spawn("signals", signals(&lifecycle).unwrap());
        hang(&lifecycle, Step::FinishRequests, "requests", Duration::from_secs(25));

        kill_process(getpid(), first).unwrap();
        assert_eq!(lifecycle.shutdown_requested().await, name);
        let mut phase = lifecycle.phase();
        let second = async {
            phase.wait_for(|phase| *phase == Phase::Draining(Step::FinishRequests)).await.unwrap();
            kill_process(getpid(), second).unwrap();
        };
        let (report, ()) = tokio::join!(lifecycle.run_shutdown(), second);
        assert_eq!(that(&report, &Outcome::Cut), ["requests"]);
        assert_eq!(tasks.stop(Duration::from_secs(5)).await, Ok(()), "the listener ends by itself");
    }
}

#[tokio::test]
async fn the_listener_ends_when_the_sequence_has_ended() {
    let lifecycle = lifecycle();
    let listener = signals(&lifecycle).unwrap();
    lifecycle.run_shutdown().await;
    listener.await;
}
