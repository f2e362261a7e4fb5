//! What the cache on Redis costs, in one run: near, against the bare map it is built on; far, against bare
//! commands of the client it is built on and against the server's own `redis-benchmark`, with the round trips and the
//! server's time that each operation takes.
//!
//! `cargo bench -p mainstay-redis --bench cache`. The cases take turns in short rounds, so that whatever else the
//! machine does meets them alike; near cases show their first decile, far ones their median.
#![allow(missing_docs)]
#![allow(clippy::print_stdout, reason = "the table is the result")]

use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::process::Command;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use futures_util::FutureExt;
use mainstay_core::cache::{Cache, Options, Store, Ttl};
use mainstay_core::key::Key;
use mainstay_core::metrics::{Format, Metrics};
use mainstay_core::time::Clock;
use mainstay_redis::Redis;
use mainstay_redis::cache::RedisCache;
use mainstay_testkit::redis::RedisServer;
use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache as QuickCache, DefaultLifecycle};
use redis::aio::MultiplexedConnection;
use tokio::runtime::Builder;
use tokio::time::Instant;

const KEYS: usize = 1_024;
/// So many cases come first that are bare.
const BARE: usize = 3;
const NEAR_ROUNDS: usize = 201;
const FAR_ROUNDS: usize = 15;
/// Calls of one far round, over all callers; one caller has a tenth of them.
const CALLS: usize = 6_400;

type Value = Arc<String>;
type Quick =
    QuickCache<Box<str>, Value, UnitWeighter, foldhash::fast::RandomState, DefaultLifecycle<Box<str>, Value>>;
type Near<'a> = (&'static str, &'a (dyn Fn(&str) + Sync));
type Far = (&'static str, Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>);

/// Nanoseconds per operation where every thread runs all turns; the slowest thread counts.
fn near_round(threads: usize, keys: &[String], case: &(dyn Fn(&str) + Sync)) -> f64 {
    let start = Barrier::new(threads);
    let work = |thread: usize| {
        keys.iter().for_each(|key| case(key));
        start.wait();
        let begun = Instant::now();
        keys.iter().cycle().skip(thread * 97).take(2 * KEYS).for_each(|key| case(black_box(key)));
        begun.elapsed()
    };
    let slowest = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a case panicked")).max()
    });
    slowest.unwrap_or_default().as_secs_f64() * 1e9 / (2 * KEYS) as f64
}

fn near_table(keys: &[String], cases: &[Near<'_>]) {
    println!("{:<34} {:>10} {:>8} {:>10} {:>8}", "near", "1 thread", "x quick", "4 threads", "x quick");
    let measured: Vec<Vec<f64>> = [1, 4]
        .map(|threads| {
            let mut samples = vec![Vec::new(); cases.len()];
            for _ in 0..NEAR_ROUNDS {
                for ((_, case), samples) in cases.iter().zip(&mut samples) {
                    samples.push(near_round(threads, keys, case));
                }
            }
            samples.into_iter().map(|samples| nth(samples, 10)).collect()
        })
        .into();
    for (at, (name, _)) in cases.iter().enumerate() {
        let [one, four] =
            [0, 1].map(|which: usize| (measured[which][at], measured[which][at] / measured[which][0]));
        println!("{name:<34} {:>7.1} ns {:>8.2} {:>7.1} ns {:>8.2}", one.0, one.1, four.0, four.1);
    }
}

/// The sample below which a `parts`-th of them lies.
fn nth(mut samples: Vec<f64>, parts: usize) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / parts]
}

/// Nanoseconds for each call.
async fn far_round(callers: usize, case: &Far) -> f64 {
    let calls = if callers == 1 { CALLS / 10 } else { CALLS };
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
    begun.elapsed().as_nanos() as f64 / calls as f64
}

/// Microseconds of processor that the server has used.
async fn server_time(server: &RedisServer) -> f64 {
    let info = server.command(&["INFO", "cpu"]).await;
    let part = |name: &str| -> f64 {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|seconds| seconds.trim().parse().ok()).expect("it is told")
    };
    (part("used_cpu_sys") + part("used_cpu_user")) * 1e6
}

/// Commands that were sent and answered, of all connections but the bare ones.
fn commands(metrics: &Metrics) -> f64 {
    let text = metrics.render(Format::Prometheus);
    let lines = text.lines().filter(|line| line.starts_with("redis_commands_total{"));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Nanoseconds for each call of the server's own program, if it is there.
fn program(server: &RedisServer, callers: usize, words: &[&str]) -> Option<f64> {
    let port = server.address().port().to_string();
    let (clients, calls) = (callers.to_string(), (CALLS * callers.min(10)).to_string());
    let options = ["-p", &port, "-c", &clients, "-n", &calls, "--csv"];
    let output = Command::new("redis-benchmark").args(options).args(words).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let each_second: f64 = text.lines().last()?.split(',').nth(1)?.trim_matches('"').parse().ok()?;
    Some(1e9 / each_second)
}

/// Each case against the one that is named as its bare one, and against the program's calls of that.
async fn far_table(server: &RedisServer, metrics: &Metrics, cases: &[(Far, usize)], words: &[&[&str]; BARE]) {
    for callers in [1, 64] {
        let calls = if callers == 1 { CALLS / 10 } else { CALLS } as f64;
        let mut samples = vec![Vec::new(); cases.len()];
        let mut busy = vec![Vec::new(); cases.len()];
        let mut trips = vec![0.0; cases.len()];
        let mut theirs: [Vec<f64>; BARE] = Default::default();
        for _ in 0..FAR_ROUNDS {
            for (at, (case, _)) in cases.iter().enumerate() {
                let before = (server_time(server).await, commands(metrics));
                samples[at].push(far_round(callers, case).await);
                busy[at].push((server_time(server).await - before.0) / calls);
                trips[at] = if at < BARE { 1.0 } else { (commands(metrics) - before.1) / calls };
            }
        }
        for _ in 0..FAR_ROUNDS / 5 {
            for (words, theirs) in words.iter().zip(&mut theirs) {
                theirs.extend(tokio::task::block_in_place(|| program(server, callers, words)));
            }
        }
        let theirs = theirs.map(|samples| (!samples.is_empty()).then(|| nth(samples, 2)));
        let busy: Vec<f64> = busy.into_iter().map(|samples| nth(samples, 2)).collect();
        let medians: Vec<f64> = samples.into_iter().map(|samples| nth(samples, 2)).collect();
        println!(
            "\n{:<34} {:>8} {:>8} {:>18} {:>12} {:>12}",
            format!("far, {callers} caller(s)"),
            "ns",
            "to bare",
            "to redis-benchmark",
            "round trips",
            "server's us"
        );
        for (at, ((name, _), bare)) in cases.iter().enumerate() {
            let (ns, to_bare) = (medians[at], medians[*bare] / medians[at]);
            let to_program =
                theirs[*bare].map_or_else(|| "not here".into(), |ns| format!("{:.2}", ns / medians[at]));
            let (trips, busy) = (trips[at], busy[at]);
            println!("{name:<34} {ns:>8.0} {to_bare:>8.2} {to_program:>18} {trips:>12.2} {busy:>12.1}");
        }
    }
}

fn bare(connections: &[MultiplexedConnection], name: &'static str, words: redis::Cmd) -> Far {
    let (connections, next) = (connections.to_vec(), AtomicUsize::new(0));
    let call = move || {
        let which = next.fetch_add(1, Ordering::Relaxed) % connections.len();
        let (mut connection, words) = (connections[which].clone(), words.clone());
        Box::pin(async move { drop(connection.send_packed_command(&words).await.expect("an answer")) })
            as Pin<Box<_>>
    };
    (name, Arc::new(call))
}

fn ours<F: Future<Output = ()> + Send + 'static>(
    name: &'static str,
    cache: &Cache,
    call: impl Fn(Cache) -> F + Send + Sync + 'static,
) -> Far {
    let cache = cache.clone();
    (name, Arc::new(move || Box::pin(call(cache.clone())) as Pin<Box<_>>))
}

fn open(redis: &Redis, near_ttl: Duration) -> (Arc<RedisCache>, Cache) {
    let mut options = Options::default();
    options.near_ttl = near_ttl;
    let (metrics, clock) = (Metrics::new(), Clock::system());
    let store = Arc::new(RedisCache::new(redis.clone(), "bench", options.clone(), &metrics, clock.clone()));
    (Arc::clone(&store), Cache::new(store, options, &metrics, clock))
}

fn main() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let server = runtime.block_on(RedisServer::start());
    let metrics = Metrics::new();
    let redis = runtime.block_on(async {
        let options = mainstay_redis::Options::parse(&server.url()).expect("a URL");
        let redis = Redis::open(options, &metrics, Clock::system());
        redis.ready(Duration::from_secs(5)).await.expect("a connection");
        redis
    });
    let keys: Vec<String> = (0..KEYS).map(|n| format!("user:profile:{n:07}")).collect();
    let (store, cache) = open(&redis, Duration::from_secs(3_600));
    let value = Arc::new("x".repeat(100));
    let quick: Quick = QuickCache::with(
        4 * KEYS,
        4 * KEYS as u64,
        UnitWeighter,
        foldhash::fast::RandomState::default(),
        DefaultLifecycle::default(),
    );
    runtime.block_on(async {
        for key in &keys {
            quick.insert(key.as_str().into(), Arc::clone(&value));
            cache.set(key, &value, Ttl::hours(1)).await.expect("it is stored");
            cache.get::<Value>(key).await.expect("it is read").expect("it is there");
        }
    });
    let get = |key: &str| {
        let hit = cache.get::<Value>(key).now_or_never().expect("ready");
        black_box(hit.expect("it is read").expect("a hit"));
    };
    let get_or_load = |key: &str| {
        let load = || async { Err::<Value, std::fmt::Error>(std::fmt::Error) };
        let hit = cache.get_or_load(key, Ttl::hours(1), load).now_or_never().expect("ready");
        black_box(hit.expect("a hit"));
    };
    let store_get = |key: &str| {
        let hit = store.get(Key::new(key).expect("a name")).now().expect("ready");
        drop(black_box(hit.expect("it is read").expect("a hit")));
    };
    let quick_get = |key: &str| drop(black_box(quick.get(key).expect("a hit")));
    let clock = Clock::system();
    let now = |_: &str| _ = black_box(clock.now());
    near_table(
        &keys,
        &[
            ("quick_cache bare: get", &quick_get),
            ("RedisCache: get, near", &store_get),
            ("Cache::get::<Arc<T>>, near", &get),
            ("Cache::get_or_load::<Arc<T>>, near", &get_or_load),
            ("part: read the clock", &now),
        ],
    );

    runtime.block_on(async {
        let client = redis::Client::open(format!("{}?protocol=resp3", server.url())).expect("a URL");
        let mut connections = Vec::new();
        for _ in 0..2 {
            connections.push(client.get_multiplexed_async_connection().await.expect("a connection"));
        }
        let load = redis::cmd("SCRIPT").arg("LOAD").arg("return redis.call('GET', KEYS[1])").to_owned();
        let digest: String = load.query_async(&mut connections[0]).await.expect("a digest");
        let bytes = "x".repeat(100);
        let (_, far) = open(&redis, Duration::ZERO);
        let next = Arc::new(AtomicU64::new(0));
        let text = Arc::clone(&value);
        let loaded = Arc::clone(&value);
        let cases = [
            (bare(&connections, "bare SET", redis::cmd("SET").arg("k").arg(&bytes).to_owned()), 0),
            (bare(&connections, "bare GET", redis::cmd("GET").arg("k").to_owned()), 1),
            (
                bare(
                    &connections,
                    "bare EVALSHA",
                    redis::cmd("EVALSHA").arg(&digest).arg(1).arg("k").to_owned(),
                ),
                2,
            ),
            (
                ours("get, far (to GET)", &far, |cache| async move {
                    drop(
                        cache.get::<Value>("user:profile:0000001").await.expect("it is read").expect("a hit"),
                    );
                }),
                1,
            ),
            (
                ours("get_or_load, far hit (to EVALSHA)", &far, |cache| async move {
                    let load = || async { Err::<Value, std::fmt::Error>(std::fmt::Error) };
                    drop(
                        cache.get_or_load("user:profile:0000001", Ttl::hours(1), load).await.expect("a hit"),
                    );
                }),
                2,
            ),
            (
                ours("set (to EVALSHA)", &far, move |cache| {
                    let text = Arc::clone(&text);
                    async move { cache.set("set", &text, Ttl::hours(1)).await.expect("it is stored") }
                }),
                2,
            ),
            (
                ours("get_or_load, miss (to EVALSHA)", &far, move |cache| {
                    let (key, loaded) =
                        (format!("miss:{}", next.fetch_add(1, Ordering::Relaxed)), Arc::clone(&loaded));
                    async move {
                        let load = || async { Ok::<_, std::fmt::Error>(loaded) };
                        drop(cache.get_or_load(&key, Ttl::minutes(1), load).await.expect("it is loaded"));
                    }
                }),
                2,
            ),
        ];
        let words: [&[&str]; BARE] = [&["SET", "k", &bytes], &["GET", "k"], &["EVALSHA", &digest, "1", "k"]];
        far_table(&server, &metrics, &cases, &words).await;
    });
}
