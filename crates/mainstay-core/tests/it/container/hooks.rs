use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mainstay_core::container::{Builder, Container, Dep};
use tokio::sync::Notify;

use super::Log;

struct Pool;
struct Service;
struct Server;

/// `Server → Service → Pool`, registered top down; every hook writes to the log.
fn chain(log: &Log) -> Builder {
    fn entry<T: Send + Sync + 'static>(
        binding: mainstay_core::container::Binding<'_, T>,
        log: &Log,
        name: &'static str,
    ) {
        let (start, stop) = (log.clone(), log.clone());
        binding
            .on_start(move |_| {
                start.push(format!("start {name}"));
                async {}
            })
            .on_stop(move |_| {
                stop.push(format!("stop {name}"));
                async {}
            });
    }
    let mut builder = Container::builder();
    entry(builder.provide(|_: Dep<Service>| async { Server }), log, "server");
    entry(builder.provide(|_: Dep<Pool>| async { Service }), log, "service");
    entry(builder.value(Pool), log, "pool");
    builder
}

#[tokio::test]
async fn components_start_in_dependency_order_and_stop_in_reverse() {
    let log = Log::default();
    let container = chain(&log).build().await.unwrap();
    assert!(log.entries().is_empty(), "building starts nothing");
    container.start().await.unwrap();
    assert_eq!(log.entries(), ["start pool", "start service", "start server"]);
    let report = container.stop().await;
    assert_eq!(report.stopped, ["Server", "Service", "Pool"]);
    assert_eq!(log.entries()[3..], ["stop server", "stop service", "stop pool"]);
}

#[tokio::test]
async fn starting_or_stopping_again_runs_no_hook_twice() {
    let log = Log::default();
    let container = chain(&log).build().await.unwrap();
    container.start().await.unwrap();
    container.start().await.unwrap();
    container.stop().await;
    assert!(container.stop().await.stopped.is_empty());
    assert_eq!(log.entries().len(), 6);
}

#[tokio::test]
async fn a_partial_start_is_rolled_back_in_reverse() {
    let log = Log::default();
    let mut builder = chain(&log);
    builder.override_with(|test| {
        test.provide(|_: Dep<Service>| async { Server })
            .on_start(|_| async { Err("port in use") })
            .on_stop(|_| async { unreachable!("it never started") as () });
    });
    let container = builder.build().await.unwrap();
    assert_eq!(container.start().await.unwrap_err().to_string(), "Server: start hook failed: port in use");
    assert_eq!(log.entries(), ["start pool", "start service", "stop service", "stop pool"]);
    assert!(container.stop().await.stopped.is_empty(), "the roll-back left nothing to stop");
}

#[tokio::test]
async fn a_failed_build_stops_what_was_built() {
    struct Connection;
    let log = Log::default();
    let mut builder = chain(&log);
    let stop = log.clone();
    // Up as soon as it is built, as it has no start hook.
    builder.provide(|_: Dep<Pool>| async { Connection }).on_stop(move |_| {
        stop.push("stop connection");
        async {}
    });
    builder.override_with(|test| {
        test.try_provide(|_: Dep<Service>, _: Dep<Connection>| async { Err::<Server, _>("no") });
    });
    assert!(builder.build().await.is_err());
    assert_eq!(log.entries(), ["stop connection"], "the others were built but never started");
}

#[tokio::test]
async fn a_roll_back_goes_on_after_a_stop_hook_that_panics() {
    let log = Log::default();
    let mut builder = chain(&log);
    builder.override_with(|test| {
        test.provide(|_: Dep<Pool>| async { Service }).on_stop(|_| async { panic!("on purpose") as () });
        test.provide(|_: Dep<Service>| async { Server }).on_start(|_| async { Err("no") });
    });
    let container = builder.build().await.unwrap();
    assert!(container.start().await.is_err());
    assert_eq!(log.entries(), ["start pool", "stop pool"]);
}

#[tokio::test(start_paused = true)]
async fn each_hook_has_its_own_deadline() {
    let mut builder = Container::builder();
    let slow = |_: Dep<Pool>| tokio::time::sleep(Duration::from_secs(20));
    builder
        .value(Pool)
        .on_start(slow)
        .start_deadline(Duration::from_secs(21))
        .on_stop(slow)
        .stop_deadline(Duration::from_secs(19));
    let container = builder.build().await.unwrap();
    container.start().await.unwrap();
    assert_eq!(
        container.stop().await.into_result().unwrap_err().to_string(),
        "Pool: stop hook did not finish within 19s"
    );
}

#[tokio::test]
async fn a_hook_receives_the_component_it_belongs_to() {
    let hits = Arc::new(AtomicUsize::new(0));
    let mut builder = Container::builder();
    builder.value_dyn(Arc::clone(&hits)).on_start(|hits| async move {
        hits.fetch_add(1, Ordering::Relaxed);
    });
    builder.build().await.unwrap().start().await.unwrap();
    assert_eq!(hits.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_dropped_start_can_be_stopped_and_a_dropped_stop_goes_on() {
    let log = Log::default();
    let entered = Arc::new(Notify::new());
    let mut builder = chain(&log);
    let (start, stop) = (Arc::clone(&entered), Arc::clone(&entered));
    let hang = |entered: Arc<Notify>| async move {
        entered.notify_one();
        std::future::pending::<()>().await;
    };
    builder.override_with(|test| {
        test.provide(|_: Dep<Pool>| async { Service }).on_stop(move |_| hang(Arc::clone(&stop)));
        test.provide(|_: Dep<Service>| async { Server }).on_start(move |_| hang(Arc::clone(&start)));
    });
    let container = builder.build().await.unwrap();
    tokio::select! {
        _ = container.start() => panic!("the start hook hangs"),
        () = entered.notified() => {}
    }
    tokio::select! {
        _ = container.stop() => panic!("the stop hook hangs"),
        () = entered.notified() => {}
    }
    let rest = container.stop().await;
    assert_eq!(rest.stopped, ["Pool"], "the hook that was dropped does not run again");
    assert_eq!(log.entries(), ["start pool", "stop pool"]);
}
