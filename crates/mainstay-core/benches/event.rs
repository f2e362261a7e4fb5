//! What an event costs from publish to the end of its handler, against channels that carry the same value in the
//! same run.
//!
//! `cargo bench -p mainstay-core --bench event`; the table has the ratios.
#![allow(missing_docs)]
#![allow(clippy::print_stdout, reason = "the table is the result")]

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use mainstay_core::event::{Error, Event, Events, Options};
use mainstay_core::metrics::Metrics;
use mainstay_core::time::Clock;
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, broadcast, mpsc};
use tokio::time::Instant;

/// Events of one run. Fewer than a queue holds, so that nobody waits for room.
const EVENTS: usize = 8_000;
const RUNS: usize = 31;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct UserCreated {
    id: u64,
    email: String,
    name: String,
}

fn value(id: usize) -> UserCreated {
    UserCreated { id: id as u64, email: "ada@example.org".into(), name: "Ada Lovelace".into() }
}

/// Counts what was handled and tells when all of it was.
#[derive(Default)]
struct Count {
    handled: AtomicUsize,
    all: Notify,
}

impl Count {
    fn one(&self, user: &UserCreated) {
        std::hint::black_box(user);
        if self.handled.fetch_add(1, Relaxed) + 1 == EVENTS {
            self.all.notify_one();
        }
    }
}

fn main() {
    let mut nanos = BTreeMap::new();
    for threads in [1, 4] {
        // Cases take turns, so that a slow moment of the machine meets all of them.
        let mut samples: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for _ in 0..RUNS {
            let mut run = |case, time: Duration| {
                samples.entry(case).or_default().push(time.as_secs_f64() * 1e9 / EVENTS as f64);
            };
            run("events", timed(threads, events));
            run("events, 1 at a time", timed(threads, events_one_by_one));
            run("mpsc, typed", timed(threads, mpsc_typed));
            run("mpsc, JSON", timed(threads, mpsc_json));
            run("mpsc, JSON, task each", timed(threads, mpsc_json_tasks));
            run("broadcast, typed", timed(threads, broadcast_typed));
            run("broadcast, JSON", timed(threads, broadcast_json));
        }
        for (case, mut samples) in samples {
            samples.sort_by(f64::total_cmp);
            nanos.insert((threads, case), samples[samples.len() / 2]);
        }
    }
    println!("publish to handled, ns per event, medians of {RUNS} runs of {EVENTS} events\n");
    println!("{:<24} {:>10} {:>12} {:>10} {:>12}", "", "1 thread", "events are", "4 threads", "events are");
    let cases: Vec<_> = nanos.keys().filter(|(threads, _)| *threads == 1).map(|(_, case)| *case).collect();
    for case in cases {
        let column =
            |threads| (nanos[&(threads, case)], nanos[&(threads, "events")] / nanos[&(threads, case)]);
        let ((one, ratio_one), (four, ratio_four)) = (column(1), column(4));
        println!("{case:<24} {one:>10.0} {ratio_one:>10.2} x {four:>10.0} {ratio_four:>10.2} x");
    }
}

/// Runs on a fresh runtime; the case says how long the part took that counts.
fn timed<F: Future<Output = Duration>>(threads: usize, case: fn() -> F) -> Duration {
    runtime(threads).block_on(case())
}

fn runtime(threads: usize) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(threads).enable_time().build().expect("a runtime can be built")
}

/// Publishes from a task, as a service does, and waits until everything is handled.
async fn measure<F: Future<Output = ()> + Send + 'static>(
    count: Arc<Count>,
    publish: impl FnOnce() -> F,
) -> Duration {
    let started = Instant::now();
    let publisher = tokio::spawn(publish());
    count.all.notified().await;
    let took = started.elapsed();
    publisher.await.expect("publishing does not panic");
    took
}

async fn events() -> Duration {
    on_events(Options::new("bench")).await
}

async fn events_one_by_one() -> Duration {
    let mut options = Options::new("bench");
    options.concurrency = 1;
    on_events(options).await
}

async fn on_events(options: Options) -> Duration {
    let count = Arc::new(Count::default());
    let events = Events::in_memory(options, &Metrics::new(), Clock::system());
    let handler = Arc::clone(&count);
    let handler = move |event: Event<UserCreated>| {
        handler.one(&event.data);
        async {}
    };
    events.subscribe("user.created", handler).await.expect("the store is in this process");
    let publisher = events.clone();
    let took = measure(Arc::clone(&count), || async move {
        for id in 0..EVENTS {
            publisher.publish("user.created", &value(id)).await.expect("there is room");
        }
    });
    let took = took.await;
    let stopped: Result<(), Error> = events.stop(Duration::from_secs(5)).await.map_err(|_| Error::Stopped);
    stopped.expect("everything is handled");
    took
}

async fn mpsc_typed() -> Duration {
    let count = Arc::new(Count::default());
    let (send, mut receive) = mpsc::channel(10_000);
    let handler = Arc::clone(&count);
    tokio::spawn(async move {
        while let Some(user) = receive.recv().await {
            handler.one(&user);
        }
    });
    measure(count, || async move {
        for id in 0..EVENTS {
            send.send(value(id)).await.expect("the receiver lives");
        }
    })
    .await
}

async fn mpsc_json() -> Duration {
    let count = Arc::new(Count::default());
    let (send, mut receive) = mpsc::channel::<Vec<u8>>(10_000);
    let handler = Arc::clone(&count);
    tokio::spawn(async move {
        while let Some(json) = receive.recv().await {
            handler.one(&read(&json));
        }
    });
    measure(count, || async move {
        for id in 0..EVENTS {
            send.send(json(id)).await.expect("the receiver lives");
        }
    })
    .await
}

/// A panic ends one handler, and handlers run side by side: what the bus does, too.
async fn mpsc_json_tasks() -> Duration {
    let count = Arc::new(Count::default());
    let (send, mut receive) = mpsc::channel::<Vec<u8>>(10_000);
    let handler = Arc::clone(&count);
    tokio::spawn(async move {
        while let Some(json) = receive.recv().await {
            let handler = Arc::clone(&handler);
            tokio::spawn(async move { handler.one(&read(&json)) });
        }
    });
    measure(count, || async move {
        for id in 0..EVENTS {
            send.send(json(id)).await.expect("the receiver lives");
        }
    })
    .await
}

async fn broadcast_typed() -> Duration {
    let count = Arc::new(Count::default());
    let (send, mut receive) = broadcast::channel(10_000);
    let handler = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok(user) = receive.recv().await {
            handler.one(&user);
        }
    });
    measure(count, || async move {
        for id in 0..EVENTS {
            send.send(value(id)).expect("the receiver lives");
            tokio::task::coop::consume_budget().await;
        }
    })
    .await
}

async fn broadcast_json() -> Duration {
    let count = Arc::new(Count::default());
    let (send, mut receive) = broadcast::channel::<Vec<u8>>(10_000);
    let handler = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok(json) = receive.recv().await {
            handler.one(&read(&json));
        }
    });
    measure(count, || async move {
        for id in 0..EVENTS {
            send.send(json(id)).expect("the receiver lives");
            tokio::task::coop::consume_budget().await;
        }
    })
    .await
}

fn json(id: usize) -> Vec<u8> {
    serde_json::to_vec(&value(id)).expect("strings and numbers are JSON")
}

fn read(json: &[u8]) -> UserCreated {
    serde_json::from_slice(json).expect("it was written here")
}
