//! What a decision over Redis costs, against bare `EVALSHA` of redis-rs in the same run: of the same script, and of one
//! that does nothing.
//!
//! `cargo bench -p mainstay-redis --bench rate_limit`. The cases take turns in short rounds, so that whatever else the
//! machine does meets them alike; the table has each one's median. The server shares the machine.
#![allow(missing_docs)]
#![allow(clippy::print_stdout, reason = "the table is the result")]

use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use mainstay_core::metrics::Metrics;
use mainstay_core::rate_limit::{Options, Quota, RateLimiter};
use mainstay_core::time::Clock;
use mainstay_redis::Redis;
use mainstay_redis::rate_limit::RedisLimits;
use mainstay_testkit::redis::RedisServer;
use redis::aio::MultiplexedConnection;
use tokio::runtime::Builder;
use tokio::time::Instant;

const ROUNDS: usize = 15;
/// Decisions of one round, over all callers; one caller has a tenth of them.
const CALLS: usize = 6_400;

/// More than a bench can use up.
const PLENTY: Quota = Quota::new(16_000_000, Duration::from_secs(1));
/// Used up at once.
const SCARCE: Quota = Quota::per_hour(1);

type Case = (&'static str, Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>);

/// What a case costs in one round, for each decision.
struct Cost {
    nanos: f64,
    /// Microseconds of the server in commands, as it counts them itself.
    server: f64,
    commands: f64,
}

async fn round(server: &RedisServer, callers: usize, case: &Case) -> Cost {
    let calls = if callers == 1 { CALLS / 10 } else { CALLS };
    server.command(&["CONFIG", "RESETSTAT"]).await;
    let begun = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let call = Arc::clone(&case.1);
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
    let nanos = begun.elapsed().as_nanos() as f64 / calls as f64;
    let info = server.command(&["INFO", "commandstats"]).await;
    let number = |name: &str| -> f64 {
        let line = info.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:")).expect("scripts ran");
        let field = line.split(',').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
        field.and_then(|number| number.parse().ok()).expect("it is told")
    };
    Cost { nanos, server: number("usec_per_call"), commands: number("calls") / calls as f64 }
}

fn median(samples: impl Iterator<Item = f64>) -> f64 {
    let mut samples: Vec<f64> = samples.collect();
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// The first two cases are the bare ones.
async fn table(server: &RedisServer, cases: &[Case]) {
    for callers in [1, 64] {
        let mut costs: Vec<Vec<Cost>> = cases.iter().map(|_| Vec::new()).collect();
        for _ in 0..ROUNDS {
            for (case, costs) in cases.iter().zip(&mut costs) {
                costs.push(round(server, callers, case).await);
            }
        }
        let nanos = |which: usize| median(costs[which].iter().map(|cost| cost.nanos));
        println!(
            "{:<34} {:>9} {:>13} {:>13} {:>12} {:>12}",
            format!("{callers} caller(s)"),
            "ns",
            "x return 1",
            "x same script",
            "server's us",
            "round trips"
        );
        for (at, (name, _)) in cases.iter().enumerate() {
            let (ns, costs) = (nanos(at), &costs[at]);
            println!(
                "{name:<34} {ns:>9.0} {:>13.2} {:>13.2} {:>12.2} {:>12.2}",
                nanos(0) / ns,
                nanos(1) / ns,
                median(costs.iter().map(|cost| cost.server)),
                median(costs.iter().map(|cost| cost.commands)),
            );
        }
        println!();
    }
}

async fn loaded(server: &RedisServer, script: &str) -> String {
    server.command(&["SCRIPT", "LOAD", script]).await
}

fn bare(connections: &[MultiplexedConnection], name: &'static str, words: redis::Cmd) -> Case {
    let (connections, next) = (connections.to_vec(), AtomicUsize::new(0));
    let call = move || {
        let which = next.fetch_add(1, Ordering::Relaxed) % connections.len();
        let (mut connection, words) = (connections[which].clone(), words.clone());
        Box::pin(async move { drop(connection.send_packed_command(&words).await.expect("an answer")) })
            as Pin<Box<_>>
    };
    (name, Arc::new(call))
}

fn ours(limiter: &RateLimiter, name: &'static str, quota: Quota) -> Case {
    let limiter = limiter.clone();
    let call = move || {
        let limiter = limiter.clone();
        Box::pin(async move {
            let decision = limiter.check("user:123", quota).await.expect("the quota is right");
            assert!(decision.allowed && !decision.degraded, "the server decides");
        }) as Pin<Box<_>>
    };
    (name, Arc::new(call))
}

/// Nanoseconds for a refusal that is remembered.
async fn refusal(limiter: &RateLimiter) -> f64 {
    while limiter.check("user:123", SCARCE).await.expect("the quota is right").allowed {}
    let thousand = |_| {
        let begun = Instant::now();
        for _ in 0..1_000 {
            black_box(limiter.check(black_box("user:123"), SCARCE).now_or_never().expect("at once"))
                .expect("the quota is right");
        }
        begun.elapsed().as_nanos() as f64 / 1_000.0
    };
    median((0..1_001).map(thousand))
}

/// Calls per second of the server's own program, if it is there.
fn program(server: &RedisServer, digest: &str, callers: usize) -> Option<f64> {
    let port = server.address().port().to_string();
    let (callers, calls) = (callers.to_string(), CALLS * callers.min(10));
    let output = Command::new("redis-benchmark")
        .args(["-p", &port, "-c", &callers, "-n", &calls.to_string(), "--csv", "EVALSHA", digest, "1", "k"])
        .output();
    let text = String::from_utf8(output.ok()?.stdout).ok()?;
    text.lines().last()?.split(',').nth(1)?.trim_matches('"').parse().ok()
}

fn main() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let server = RedisServer::start().await;
        let options = mainstay_redis::Options::parse(&server.url()).expect("a URL");
        let redis = Redis::open(options, &Metrics::new(), Clock::system());
        redis.ready(Duration::from_secs(5)).await.expect("a connection");
        let store = Arc::new(RedisLimits::new(redis, "bench"));
        let limiter = RateLimiter::new(store, Options::default(), &Metrics::new(), Clock::system());

        let client = redis::Client::open(format!("{}?protocol=resp3", server.url())).expect("a URL");
        let mut connections = Vec::new();
        for _ in 0..2 {
            connections.push(client.get_multiplexed_async_connection().await.expect("a connection"));
        }
        let nothing = loaded(&server, "return 1").await;
        let (decide, _) = RedisLimits::scripts();
        let decide = loaded(&server, decide).await;
        // A window of 16,000,000 in 10 buckets of 100 ms, charged with one.
        let question = [16_000_000_u64 | 10 << 32, 100_000]
            .map(u64::to_le_bytes)
            .concat()
            .into_iter()
            .chain([1, 0, 0, 0]);
        let question: Vec<u8> = question.collect();
        let call = redis::cmd("EVALSHA");
        let cases = [
            bare(
                &connections,
                "bare EVALSHA: return 1",
                call.clone().arg(&nothing).arg(1).arg("k").to_owned(),
            ),
            bare(
                &connections,
                "bare EVALSHA: window of 10 buckets",
                call.clone()
                    .arg(decide)
                    .arg(1)
                    .arg("ms:{bench:rl:user:0}:.w10.16000000.1000000")
                    .arg("take")
                    .arg(question)
                    .to_owned(),
            ),
            ours(&limiter, "window of 10 buckets", PLENTY),
            ours(&limiter, "window of 60 buckets", PLENTY.buckets(60)),
            ours(&limiter, "GCRA", PLENTY.gcra(16_000_000)),
        ];
        table(&server, &cases).await;
        println!("a refusal that is remembered: {:.0} ns", refusal(&limiter).await);
        for callers in [1, 64] {
            match tokio::task::block_in_place(|| program(&server, &nothing, callers)) {
                Some(calls) => {
                    println!(
                        "redis-benchmark, EVALSHA of return 1, {callers} client(s): {calls:.0} per second"
                    );
                }
                None => println!("redis-benchmark: not here"),
            }
        }
    });
}
