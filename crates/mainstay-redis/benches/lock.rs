//! What a lock on Redis costs, against two bare `EVALSHA` of redis-rs in the same run: nothing that asks a server twice
//! in two scripts can be faster.
//!
//! `cargo bench -p mainstay-redis --bench lock`; each figure is the median of the samples. The server shares the machine.
#![allow(missing_docs)]
#![allow(clippy::print_stdout, reason = "the table is the result")]

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::lock::{Locks, Options};
use mainstay_core::metrics::Metrics;
use mainstay_core::time::Clock;
use mainstay_redis::lock::{RedisLocks, Sources};
use mainstay_redis::{Address, Deployment, Redis};
use mainstay_testkit::redis::RedisServer;
use redis::aio::MultiplexedConnection;
use tokio::time::Instant;

const SAMPLES: usize = 9;
const TURNS: usize = 8_000;
const HANDOVERS: usize = 300;
/// A busy machine is no reason to stop.
const PATIENCE: Duration = Duration::from_secs(10);

/// Microseconds for each turn as its caller sees it, and what a turn costs the server.
struct Cost {
    wall: f64,
    server: f64,
    commands: f64,
}

struct Bench {
    server: RedisServer,
}

impl Bench {
    async fn measure<F: Future<Output = ()> + Send + 'static>(
        &self,
        callers: usize,
        turns: usize,
        task: impl Fn(usize, usize) -> F,
    ) -> Cost {
        let mut samples = Vec::new();
        let (cpu, commands) = self.spent().await;
        for _ in 0..SAMPLES {
            let start = Instant::now();
            let tasks: Vec<_> = (0..callers).map(|n| tokio::spawn(task(n, turns / callers))).collect();
            for task in tasks {
                task.await.expect("a case panicked");
            }
            samples.push(start.elapsed().as_secs_f64() * 1e6 / turns as f64);
        }
        let after = self.spent().await;
        let each = |spent: f64| spent / (SAMPLES * turns) as f64;
        samples.sort_by(f64::total_cmp);
        Cost {
            wall: samples[SAMPLES / 2],
            server: each((after.0 - cpu) * 1e6),
            commands: each(after.1 - commands),
        }
    }

    /// Seconds of the server's processor, and commands that clients have sent.
    async fn spent(&self) -> (f64, f64) {
        let info = self.server.command(&["INFO", "everything"]).await;
        let number = |text: &str| text.parse::<f64>().expect("a number");
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map_or(0.0, number);
        let calls = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")));
            line.and_then(|line| line.split(',').next()).map_or(0.0, number)
        };
        let asked: f64 = ["eval", "evalsha", "subscribe", "unsubscribe"].map(calls).iter().sum();
        (field("used_cpu_user:") + field("used_cpu_sys:"), asked)
    }

    async fn connect(&self) -> Redis {
        let address = self.server.address();
        let address = Address::new(address.ip().to_string(), address.port());
        let mut options = mainstay_redis::Options::new(Deployment::Standalone(address));
        options.command_timeout = PATIENCE;
        let redis = Redis::open(options, &Metrics::new(), Clock::system());
        redis.ready(Duration::from_secs(10)).await.expect("the server is there");
        while redis.listen(b"up".into()).await.is_err() {
            tokio::task::yield_now().await;
        }
        redis
    }

    async fn locks(&self, sources: Sources) -> Locks {
        let store = RedisLocks::with_sources(self.connect().await, "bench", "bench", sources);
        let mut options = Options::default();
        options.op_timeout = PATIENCE;
        Locks::new(Arc::new(store), options, &Metrics::new(), Clock::system())
    }

    async fn bare(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.server.url()).expect("an address");
        client.get_multiplexed_async_connection().await.expect("the server is there")
    }

    /// Two scripts that do next to nothing, one after the other.
    async fn two_scripts(&self, callers: usize) -> Cost {
        let connection = self.bare().await;
        let digest = self.server.command(&["SCRIPT", "LOAD", "return redis.call('GET', KEYS[1])"]).await;
        self.measure(callers, TURNS, |n, turns| {
            let (mut connection, digest, key) = (connection.clone(), digest.clone(), format!("bare-{n}"));
            async move {
                for _ in 0..2 * turns {
                    let mut script = redis::cmd("EVALSHA");
                    script.arg(&digest).arg(1).arg(&key);
                    connection.send_packed_command(&script).await.expect("an answer");
                }
            }
        })
        .await
    }

    async fn acquire_and_release(&self, callers: usize, sources: Sources) -> Cost {
        let locks = self.locks(sources).await;
        self.measure(callers, TURNS, |n, turns| {
            let (locks, key) = (locks.clone(), format!("own-{n}"));
            async move {
                for _ in 0..turns {
                    let guard = locks.lock(key.as_str()).acquire().await.expect("nobody holds it");
                    guard.release().await.expect("an answer");
                }
            }
        })
        .await
    }

    /// One more, where 300 hold already.
    async fn a_permit_of_many(&self) -> Cost {
        let locks = self.locks(Sources::default()).await;
        let mut held = Vec::new();
        for _ in 0..300 {
            held.push(locks.semaphore("many", 1_000).acquire().await.expect("there are more"));
        }
        let cost = self
            .measure(1, TURNS / 8, |_, turns| {
                let locks = locks.clone();
                async move {
                    for _ in 0..turns {
                        let guard = locks.semaphore("many", 1_000).acquire().await.expect("there are more");
                        guard.release().await.expect("an answer");
                    }
                }
            })
            .await;
        drop(held);
        cost
    }

    /// From a release in one process to the grant of another that waits, in microseconds; and what one handover, from
    /// both asking to both having released, asks of the server.
    async fn handover(&self) -> (f64, f64) {
        let (from, to) = (self.locks(Sources::default()).await, self.locks(Sources::default()).await);
        let (_, before) = self.spent().await;
        let mut samples = Vec::new();
        for _ in 0..HANDOVERS {
            let guard = from.lock("shared").acquire().await.expect("nobody holds it");
            let waiting = tokio::spawn({
                let request = to.lock("shared").wait(Duration::from_secs(60));
                async move { (request.acquire().await.expect("it is released"), Instant::now()) }
            });
            while !self.server.command(&["PUBSUB", "NUMSUB", "ms:{bench:lock:shared}:c"]).await.ends_with('1')
            {
            }
            let released = Instant::now();
            guard.release().await.expect("an answer");
            let (guard, granted) = waiting.await.expect("no panic");
            samples.push((granted - released).as_secs_f64() * 1e6);
            guard.release().await.expect("an answer");
        }
        let (_, after) = self.spent().await;
        samples.sort_by(f64::total_cmp);
        (samples[HANDOVERS / 2], (after - before) / HANDOVERS as f64)
    }
}

fn without_message() -> Sources {
    let mut sources = Sources::default();
    let silent = sources.release.replace("redis.call('PUBLISH', ARGV[2], '')", "");
    assert_ne!(silent, sources.release);
    sources.release = silent.leak();
    sources
}

fn row(what: &str, cost: &Cost, bare: &Cost) {
    println!(
        "{what:<44} {:>9.1} µs {:>6.2}x {:>9.1} µs {:>6.2}x {:>8.1}",
        cost.wall,
        cost.wall / bare.wall,
        cost.server,
        cost.server / bare.server,
        cost.commands
    );
}

#[tokio::main]
async fn main() {
    let bench = Bench { server: RedisServer::start().await };
    println!("{:<44} {:>12} {:>7} {:>12} {:>7} {:>8}", "", "a turn", "", "server", "", "commands");
    for callers in [1, 64] {
        println!("{callers} caller(s)");
        let bare = bench.two_scripts(callers).await;
        row("two bare EVALSHA", &bare, &bare);
        row("acquire and release", &bench.acquire_and_release(callers, Sources::default()).await, &bare);
        row("the same without PUBLISH", &bench.acquire_and_release(callers, without_message()).await, &bare);
    }
    let bare = bench.two_scripts(1).await;
    row("a permit where 300 are held", &bench.a_permit_of_many().await, &bare);
    let round_trip = bare.wall / 2.0;
    let (latency, commands) = bench.handover().await;
    println!(
        "handover {latency:.1} µs: {:.2} round trips of {round_trip:.1} µs; {commands:.1} commands in all",
        latency / round_trip
    );
}
