//! What a call costs over what the bare client costs, on one server in the same run.
//!
//! `cargo bench -p mainstay-redis --bench connection`. The cases take turns in short rounds, so that whatever else
//! the machine does meets them alike; the table has each one's median.
#![allow(missing_docs)]
#![allow(clippy::print_stdout, reason = "the table is the result")]

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use mainstay_core::metrics::Metrics;
use mainstay_core::time::Clock;
use mainstay_redis::{Address, Answer, Class, Command, Deployment, Options, Redis, Script};
use mainstay_testkit::redis::RedisServer;
use redis::aio::MultiplexedConnection;
use tokio::runtime::Builder;
use tokio::time::Instant;

const ROUNDS: usize = 41;
/// Calls of one round, over all callers.
const CALLS: usize = 8_000;
/// Commands of one batch.
const BATCH: usize = 100;
const SCRIPT: &str = "return redis.call('GET', KEYS[1])";

/// Two connections, as a pool of [`Redis`] has.
#[derive(Clone)]
struct Bare {
    connections: Vec<MultiplexedConnection>,
    next: Arc<AtomicUsize>,
    digest: Arc<str>,
}

impl Bare {
    async fn connect(server: &RedisServer) -> Self {
        let client = redis::Client::open(format!("{}?protocol=resp3", server.url())).expect("a URL");
        let mut connections = Vec::new();
        for _ in 0..2 {
            connections.push(client.get_multiplexed_async_connection().await.expect("a connection"));
        }
        let load = redis::cmd("SCRIPT").arg("LOAD").arg(SCRIPT).to_owned();
        let digest: String = load.query_async(&mut connections[0]).await.expect("a digest");
        Self { connections, next: Arc::default(), digest: digest.into() }
    }

    async fn call(&self, words: redis::Cmd) {
        let which = self.next.fetch_add(1, Ordering::Relaxed) % self.connections.len();
        let value = self.connections[which].clone().send_packed_command(&words).await.expect("an answer");
        assert!(matches!(value, redis::Value::BulkString(_)));
    }
}

/// Nanoseconds for each call.
async fn round<F: Future<Output = ()> + Send + 'static>(
    callers: usize,
    call: impl Fn() -> F + Clone + Send + Sync + 'static,
) -> f64 {
    let begun = Instant::now();
    // One caller has a tenth of the calls: each takes a round trip of its own.
    let calls = if callers == 1 { CALLS / 10 } else { CALLS };
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let call = call.clone();
            tokio::spawn(async move {
                for _ in 0..calls / callers {
                    call().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a case panicked");
    }
    begun.elapsed().as_nanos() as f64 / calls as f64
}

/// Nanoseconds for each of 100 `GET`s: in a pipeline of the bare client, as calls at once, and in a batch.
async fn batches(bare: &Bare, redis: &Redis) -> [f64; 3] {
    let get = || Command::new(Class::Read, "GET").key("ms:k");
    let mut pipeline = redis::Pipeline::new();
    for _ in 0..BATCH {
        pipeline.cmd("GET").arg("ms:k");
    }
    let mut connection = bare.connections[0].clone();
    let mut samples: [Vec<f64>; 3] = Default::default();
    for _ in 0..ROUNDS * 10 {
        let begun = Instant::now();
        let values = connection.send_packed_commands(&pipeline, 0, BATCH).await.expect("answers");
        samples[0].push(begun.elapsed().as_nanos() as f64 / BATCH as f64);
        assert_eq!(values.len(), BATCH);

        let begun = Instant::now();
        let answers = join_all((0..BATCH).map(|_| redis.call(get()))).await;
        samples[1].push(begun.elapsed().as_nanos() as f64 / BATCH as f64);
        assert!(answers.iter().all(Result::is_ok));

        let begun = Instant::now();
        let answers = redis.call_all((0..BATCH).map(|_| get()).collect()).await;
        samples[2].push(begun.elapsed().as_nanos() as f64 / BATCH as f64);
        assert!(answers.iter().all(Result::is_ok));
    }
    samples.map(median)
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn main() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let server = RedisServer::start().await;
        server.command(&["SET", "ms:k", &"x".repeat(100)]).await;
        let address = Address::new(server.address().ip().to_string(), server.address().port());
        let options = Options::new(Deployment::Standalone(address));
        let redis = Redis::open(options, &Metrics::new(), Clock::system());
        redis.ready(Duration::from_secs(5)).await.expect("a connection");
        let (bare, script) = (Bare::connect(&server).await, Arc::new(Script::new(SCRIPT)));

        println!("callers  command   bare ns   ours ns   throughput to bare");
        for callers in [1, 64] {
            for scripted in [false, true] {
                let (mut theirs, mut ours) = (Vec::new(), Vec::new());
                for _ in 0..ROUNDS {
                    let bare = bare.clone();
                    theirs.push(
                        round(callers, move || {
                            let bare = bare.clone();
                            async move {
                                let words = match scripted {
                                    false => redis::cmd("GET").arg("ms:k").to_owned(),
                                    true => {
                                        redis::cmd("EVALSHA").arg(&*bare.digest).arg(1).arg("ms:k").to_owned()
                                    }
                                };
                                bare.call(words).await;
                            }
                        })
                        .await,
                    );
                    let (redis, script) = (redis.clone(), Arc::clone(&script));
                    ours.push(
                        round(callers, move || {
                            let command = match scripted {
                                false => Command::new(Class::Read, "GET").key("ms:k"),
                                true => script.call(Class::Read, &["ms:k"]),
                            };
                            let call = redis.call(command);
                            async move { assert!(matches!(call.await, Ok(Answer::Bytes(_)))) }
                        })
                        .await,
                    );
                }
                let (theirs, ours) = (median(theirs), median(ours));
                let name = if scripted { "EVALSHA" } else { "GET" };
                println!("{callers:>7}  {name:<7} {theirs:>9.0} {ours:>9.0}   {:.2}", theirs / ours);
            }
        }
        let [pipeline, calls, batch] = batches(&bare, &redis).await;
        println!("\n{BATCH} GETs, ns each: bare pipeline {pipeline:.0}, calls at once {calls:.0}, call_all {batch:.0}");
    });
}
