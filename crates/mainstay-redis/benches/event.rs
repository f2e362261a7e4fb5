//! What an event over Redis costs: publishing against a bare `XADD`, and from publish to done against `XADD`,
//! `XREADGROUP` and `XACK` written by hand, over redis-rs in the same run.
//!
//! `cargo bench -p mainstay-redis --bench event`; each figure is the median of the samples. The server shares the machine.
#![allow(missing_docs)]
#![allow(clippy::print_stdout, reason = "the table is the result")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mainstay_core::event::{self, Event, Events};
use mainstay_core::metrics::Metrics;
use mainstay_core::time::Clock;
use mainstay_redis::Redis;
use mainstay_redis::event::{Options, RedisEvents};
use mainstay_testkit::redis::RedisServer;
use redis::aio::MultiplexedConnection;
use tokio::sync::Notify;
use tokio::time::Instant;

const SAMPLES: usize = 7;
const EVENTS: usize = 8_000;
/// A busy machine is no reason to stop.
const PATIENCE: Duration = Duration::from_secs(10);

/// Microseconds for each event, and of the time each publisher waited the median and the 99th percentile.
struct Cost {
    each: f64,
    p50: f64,
    p99: f64,
}

/// `publish` is called for each event by so many publishers; `done` waits until all are handled.
async fn measure<P, F, D>(publishers: usize, publish: impl Fn(usize) -> P, done: impl Fn() -> D) -> Cost
where
    P: Fn() -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
    D: Future<Output = ()>,
{
    let (mut samples, mut waits) = (Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        let start = Instant::now();
        let tasks: Vec<_> = (0..publishers)
            .map(|number| {
                let publish = publish(number);
                tokio::spawn(async move {
                    let mut waits = Vec::with_capacity(EVENTS / publishers);
                    for _ in 0..EVENTS / publishers {
                        let start = Instant::now();
                        publish().await;
                        waits.push(start.elapsed().as_secs_f64() * 1e6);
                    }
                    waits
                })
            })
            .collect();
        for task in tasks {
            waits.extend(task.await.expect("a case panicked"));
        }
        done().await;
        samples.push(start.elapsed().as_secs_f64() * 1e6 / EVENTS as f64);
    }
    samples.sort_by(f64::total_cmp);
    waits.sort_by(f64::total_cmp);
    let at = |percent: usize| waits[waits.len() * percent / 100];
    Cost { each: samples[SAMPLES / 2], p50: at(50), p99: at(99) }
}

async fn bare(server: &RedisServer) -> MultiplexedConnection {
    let client = redis::Client::open(server.url()).expect("an address");
    client.get_multiplexed_async_connection().await.expect("the server is there")
}

async fn xadd(mut connection: MultiplexedConnection, stream: &'static str) {
    let mut add = redis::cmd("XADD");
    add.arg(stream).arg("*").arg("type").arg("user.created").arg("data").arg(DATA);
    connection.send_packed_command(&add).await.expect("an answer");
}

const DATA: &str = r#"{"id":"01a20653-c19f-7454-a87c-2b1405338019","version":1}"#;

async fn bus(server: &RedisServer) -> Events {
    let mut options = mainstay_redis::Options::parse(&server.url()).expect("an address");
    options.command_timeout = PATIENCE;
    let redis = Redis::open(options, &Metrics::new(), Clock::system());
    redis.ready(PATIENCE).await.expect("the server is there");
    let mut bounds = Options::default();
    bounds.max_queue = 1_000_000;
    let store = Arc::new(RedisEvents::new(redis, "bench", bounds));
    let mut options = event::Options::new("bench");
    options.op_timeout = PATIENCE;
    options.concurrency = 256;
    Events::new(store, options, &Metrics::new(), Clock::system())
}

/// The ids of what was read.
fn ids(answer: redis::Value) -> Vec<String> {
    let list = |value| if let redis::Value::Array(values) = value { values } else { Vec::new() };
    let streams = list(answer).into_iter().filter_map(|stream| list(stream).pop());
    let entries = streams.flat_map(list).filter_map(|entry| list(entry).into_iter().next());
    entries.filter_map(|id| redis::FromRedisValue::from_redis_value(id).ok()).collect()
}

/// One reader by hand: a batch is read, handled by doing nothing, and acknowledged.
async fn read_by_hand(mut connection: MultiplexedConnection, handled: Arc<AtomicUsize>, bell: Arc<Notify>) {
    loop {
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP").arg("g").arg("c").arg("COUNT").arg(256);
        read.arg("STREAMS").arg("by-hand").arg(">");
        let answer = connection.send_packed_command(&read).await.expect("an answer");
        let ids = ids(answer);
        if ids.is_empty() {
            tokio::time::sleep(Duration::from_micros(200)).await;
            continue;
        }
        let mut ack = redis::cmd("XACK");
        ack.arg("by-hand").arg("g").arg(&ids);
        connection.send_packed_command(&ack).await.expect("an answer");
        handled.fetch_add(ids.len(), Ordering::Relaxed);
        bell.notify_one();
    }
}

/// Waits until so many more are handled.
async fn until(handled: &AtomicUsize, bell: &Notify) {
    while handled.load(Ordering::Relaxed) < EVENTS {
        bell.notified().await;
    }
    handled.fetch_sub(EVENTS, Ordering::Relaxed);
}

fn line(what: &str, publishers: usize, theirs: &Cost, ours: &Cost) {
    println!(
        "{what:<28} {publishers:>3} {:>8.1} {:>8.1} {:>10.2} {:>8.0} {:>8.0} {:>8.0} {:>8.0}",
        theirs.each,
        ours.each,
        theirs.each / ours.each,
        theirs.p50,
        ours.p50,
        theirs.p99,
        ours.p99
    );
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let server = RedisServer::start().await;
        println!("µs per event                   n     bare     ours throughput bare p50 ours p50 bare p99 ours p99");
        for publishers in [1, 64] {
            let connection = bare(&server).await;
            let theirs = measure(
                publishers,
                |_| {
                    let connection = connection.clone();
                    move || xadd(connection.clone(), "bare")
                },
                async || {},
            )
            .await;
            let events = bus(&server).await;
            let ours = measure(
                publishers,
                |_| {
                    let events = events.clone();
                    move || {
                        let events = events.clone();
                        async move {
                            events.publish("bare.created", DATA).await.expect("published");
                        }
                    }
                },
                async || {},
            )
            .await;
            line("publish / XADD", publishers, &theirs, &ours);
        }
        for publishers in [1, 64] {
            server.command(&["DEL", "by-hand"]).await;
            server.command(&["XGROUP", "CREATE", "by-hand", "g", "$", "MKSTREAM"]).await;
            let (handled, bell) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
            let (connection, reader) = (bare(&server).await, bare(&server).await);
            let reading = tokio::spawn(read_by_hand(reader, Arc::clone(&handled), Arc::clone(&bell)));
            let theirs = measure(
                publishers,
                |_| {
                    let connection = connection.clone();
                    move || xadd(connection.clone(), "by-hand")
                },
                || until(&handled, &bell),
            )
            .await;
            reading.abort();
            let events = bus(&server).await;
            let (handled, bell) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
            let (count, ring) = (Arc::clone(&handled), Arc::clone(&bell));
            let handler = move |_: Event<String>| {
                count.fetch_add(1, Ordering::Relaxed);
                ring.notify_one();
                async {}
            };
            events.on("user.created").group("bench").handle(handler).await.expect("subscribed");
            let ours = measure(
                publishers,
                |_| {
                    let events = events.clone();
                    move || {
                        let events = events.clone();
                        async move {
                            events.publish("user.created", DATA).await.expect("published");
                        }
                    }
                },
                || until(&handled, &bell),
            )
            .await;
            line("publish, handle, done / by hand", publishers, &theirs, &ours);
            events.stop(PATIENCE).await.expect("stopped");
            let queue = mainstay_core::event::Queue::shared(
                "bench".into(),
                mainstay_core::event::Pattern::new("user.created").expect("a type"),
            );
            bus(&server).await.retire(&queue).await.expect("retired");
        }
    });
}
