//! Several processes: of one key one load runs at a time, in all of them together.

use std::net::SocketAddr;

use mainstay_core::cache::{Claim, Lookup, Outcome, Token};
use mainstay_redis::{Class, Command, Lane};
use mainstay_testkit::worker::{Parent, Worker};
use tokio::task::JoinSet;

use super::*;

const WORKER: &str = "cache::processes::worker";
const LEADER: &str = "cache::processes::leader";
const CALLERS: usize = 64;
const TTL: Duration = Duration::from_millis(40);
const DEADLINE: Duration = Duration::from_secs(60);

fn expiries() -> u64 {
    let times: u64 = std::env::var("MAINSTAY_ROUNDS").map_or(1, |times| times.parse().expect("a number"));
    (50 * times).min(1_000)
}

async fn micros(redis: &Redis) -> u64 {
    let command = Command::new(Class::Read, "TIME").lane(Lane::Main);
    let [seconds, micros] = redis.call(command).await.unwrap().into_array().unwrap();
    seconds.uint().unwrap() * 1_000_000 + micros.uint().unwrap()
}

/// Writes down when it began and when it ended.
async fn load(redis: Redis) -> Result<u64, std::io::Error> {
    let begun = micros(&redis).await;
    tokio::time::sleep(2 * MS).await;
    let span = format!("{begun} {}", micros(&redis).await);
    let written = redis.call(Command::new(Class::Once, "RPUSH").key("loads").arg(span)).await;
    Ok(written.unwrap().uint().unwrap())
}

async fn loads(server: &RedisServer) -> Vec<(u64, u64)> {
    let list = server.command(&["LRANGE", "loads", "0", "-1"]).await;
    let span = |line: &str| {
        let mut numbers = line.split(|c: char| !c.is_ascii_digit()).filter(|part| part.len() == 16);
        Some((numbers.next()?.parse().unwrap(), numbers.next()?.parse().unwrap()))
    };
    list.lines().filter_map(span).collect()
}

#[tokio::test]
#[ignore = "a worker of the test below"]
async fn worker() {
    let Some(mut parent) = Parent::here() else { return };
    let server: SocketAddr = std::env::var("SERVER").unwrap().parse().unwrap();
    let process = Arc::new(Process::start(server, "svc").await);
    parent.say("ready");
    let last: u64 = parent.order().await.parse().unwrap();
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let process = Arc::clone(&process);
        callers.spawn(async move {
            let policy = exactly(TTL).hard_timeout(10 * SECOND);
            loop {
                let redis = process.redis.clone();
                let seen = process.cache.get_or_load("hot", policy.clone(), move || load(redis)).await;
                if seen.unwrap() >= last {
                    return;
                }
                tokio::time::sleep(MS * (1 + u32::try_from(caller).unwrap() % 8)).await;
            }
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }
    parent.say("done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_processes_of_64_callers_load_once_for_each_expiry() {
    let server = RedisServer::start().await;
    let address = server.address().to_string();
    let mut workers: Vec<_> = (0..8).map(|_| Worker::spawn(WORKER, &[("SERVER", &address)])).collect();
    for worker in &mut workers {
        assert_eq!(worker.line(DEADLINE).await.as_deref(), Some("ready"));
    }
    let last = expiries();
    for worker in &mut workers {
        worker.tell(&last.to_string()).await;
    }
    for worker in &mut workers {
        let deadline = DEADLINE + TTL * 10 * u32::try_from(last).unwrap();
        assert_eq!(worker.line(deadline).await.as_deref(), Some("done"), "{}", worker.output_so_far());
    }
    let loads = loads(&server).await;
    assert!(loads.len() as u64 >= last);
    for pair in loads.windows(2) {
        let ((_, ended), (begun, _)) = (pair[0], pair[1]);
        let between = Duration::from_micros(begun.saturating_sub(ended));
        assert!(between >= TTL, "a load began {between:?} after another ended: its value was fresh");
    }
}

#[tokio::test]
#[ignore = "a worker of the test below"]
async fn leader() {
    let Some(parent) = Parent::here() else { return };
    let server: SocketAddr = std::env::var("SERVER").unwrap().parse().unwrap();
    let process = Process::with(server, "svc", Options::default()).await;
    let hangs = move || async move {
        parent.say("loading");
        std::future::pending::<Result<u64, std::io::Error>>().await
    };
    let _killed = process.cache.get_or_load("hot", exactly(SECOND).hard_timeout(SECOND), hangs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_leader_is_killed_one_other_loads_once_its_lease_has_run_out() {
    let server = RedisServer::start().await;
    let address = server.address().to_string();
    let process = Arc::new(Process::start(server.address(), "svc").await);
    let mut leader = Worker::spawn(LEADER, &[("SERVER", &address)]);
    assert_eq!(leader.line(DEADLINE).await.as_deref(), Some("loading"));
    leader.kill();
    let killed = tokio::time::Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let process = Arc::clone(&process);
        callers.spawn(async move {
            let (redis, policy) = (process.redis.clone(), exactly(10 * SECOND).hard_timeout(10 * SECOND));
            process.cache.get_or_load("hot", policy, move || load(redis)).await.unwrap()
        });
    }
    while let Some(seen) = callers.join_next().await {
        assert_eq!(seen.unwrap(), 1);
    }
    // The lease: the hard timeout, and twice the store's.
    let waited = killed.elapsed();
    assert!(waited < 2 * SECOND + SECOND, "{waited:?}");
    assert_eq!(loads(&server).await.len(), 1);
    leader.wait(DEADLINE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_leave_at_any_moment_leave_no_lease() {
    let server = RedisServer::start().await;
    let process = Arc::new(Process::start(server.address(), "svc").await);
    let mut rng = mainstay_testkit::Seed::from_env("MAINSTAY_SEED").rng();
    let mut callers = JoinSet::new();
    for n in 0..rounds(300) {
        let (process, patience) = (Arc::clone(&process), Duration::from_micros(rng.below(3_000)));
        callers.spawn(async move {
            let load = || async {
                tokio::time::sleep(MS).await;
                Ok::<_, std::io::Error>(7_u64)
            };
            let policy = exactly(Ttl::hours(1)).hard_timeout(2 * SECOND);
            let key = format!("k{}", n % 40);
            let loaded = process.cache.get_or_load(&key, policy, load);
            let _left = tokio::time::timeout(patience, loaded).await;
            if n % 3 == 0 {
                let _left = tokio::time::timeout(patience, process.cache.delete(&key)).await;
            }
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }
    let leases = async || {
        let keys = server.command(&["KEYS", "*:le"]).await;
        keys.lines().filter(|line| line.contains("ms:{")).count()
    };
    eventually_async("no lease is left", SECOND, async || leases().await == 0).await;
}

/// How many scripts the server ran.
async fn scripts(server: &RedisServer) -> u64 {
    let stats = server.command(&["INFO", "commandstats"]).await;
    let count = |line: &str| line.strip_prefix("cmdstat_evalsha:calls=")?.split(',').next()?.parse().ok();
    stats.lines().find_map(count).unwrap_or(0)
}

/// After a load has failed its key is kept from everybody for a time, also from who has nothing to serve meanwhile.
#[tokio::test]
async fn who_waits_for_a_kept_key_does_not_ask_again_and_again() {
    let server = RedisServer::start().await;
    let process = Process::start(server.address(), "svc").await;
    let (key, token) = (Key::new("k").unwrap(), Token::random());
    let claim = Claim { token, lease: 60 * SECOND, min_fresh: Duration::ZERO, tags: &[] };
    assert!(matches!(process.store.lookup(key, claim).await, Ok(Lookup::Lease { .. })));
    process.store.settle(key, token, Outcome::Keep(SECOND)).await.unwrap();
    let before = scripts(&server).await;
    let load = || async { Ok::<_, std::io::Error>(7_u64) };
    assert_eq!(process.cache.get_or_load("k", Ttl::hours(1), load).await.unwrap(), 7);
    let asked = scripts(&server).await - before;
    assert!(asked <= 12, "{asked} questions in a second");
}
