//! Four processes, sixteen tasks each, write to fenced resources while the server of their locks is killed, loses its
//! data, stands still, and cuts everybody off. `MAINSTAY_ROUNDS` multiplies the acquisitions: 50 make 100,000.

use std::collections::HashMap;
use std::time::Duration;

use mainstay_core::lock::{Guard, Locks, Options};
use mainstay_redis::fence::{self, FencedStore};
use mainstay_redis::{Class, Redis, Script};
use mainstay_testkit::redis::RedisServer;
use mainstay_testkit::worker::{Parent, Worker};
use mainstay_testkit::{Rng, Seed};

use super::{NAMESPACE, SECOND, by_url, locks, millis, until_answered};

const ACQUISITIONS: u64 = 2_000;
const PROCESSES: u64 = 4;
const TASKS: u64 = 16;
const KEYS: u64 = 12;

/// Another resource, that writes down what it has accepted, and who says that he holds which fence.
const LEDGER: &str = "
    local key, fence, who = KEYS[1], ARGV[1], ARGV[2]
    redis.call('RPUSH', key .. ':claims', fence .. ' ' .. who)
    if tonumber(fence) < tonumber(redis.call('GET', key) or '0') then return 0 end
    redis.call('SET', key, fence)
    redis.call('RPUSH', key .. ':log', fence .. ' ' .. who)
    return 1
";

fn rounds() -> u64 {
    std::env::var("MAINSTAY_ROUNDS").map_or(1, |times| times.parse().expect("a number"))
}

fn options() -> Options {
    let mut options = Options::default();
    options.ttl = millis(300);
    options.op_timeout = millis(150);
    options.wait = 2 * SECOND;
    options
}

#[tokio::test]
async fn whatever_happens_to_the_server_no_resource_takes_a_lower_fence_and_no_fence_serves_two() {
    let seed = Seed::from_env("MAINSTAY_SEED");
    let mut rng = seed.rng();
    let mut server = RedisServer::start().await;
    let resource = RedisServer::start().await;
    let share = (ACQUISITIONS * rounds()).div_ceil(PROCESSES * TASKS).to_string();
    let (lock_url, resource_url) = (server.url(), resource.url());
    let mut workers: Vec<Worker> = (0..PROCESSES)
        .map(|process| {
            let (process, seed) = (process.to_string(), rng.next_u64().to_string());
            let env = [
                ("LOCKS", lock_url.as_str()),
                ("RESOURCE", resource_url.as_str()),
                ("PROCESS", process.as_str()),
                ("SHARE", share.as_str()),
                ("SEED", seed.as_str()),
            ];
            Worker::spawn("lock::chaos::contenders", &env)
        })
        .collect();
    for worker in &mut workers {
        assert_eq!(worker.line(30 * SECOND).await.as_deref(), Some("ready"));
    }
    for worker in &mut workers {
        worker.tell("go").await;
    }
    let mut faults = 0;
    let done = async {
        for worker in &mut workers {
            let line = worker.line(Duration::from_secs(60 + 20 * rounds())).await;
            println!("{}", line.unwrap_or_default());
            let exit = worker.wait(30 * SECOND).await;
            assert!(exit.status.success(), "{}", worker.output_so_far());
        }
    };
    let weather = async {
        loop {
            tokio::time::sleep(millis(150 + rng.below(500))).await;
            misfortune(&mut server, &mut rng).await;
            faults += 1;
        }
    };
    tokio::select! {
        () = done => {}
        () = weather => {}
    }
    println!("{faults} misfortunes");
    assert!(faults > 3, "too tame");
    judge(&resource).await;
}

async fn misfortune(server: &mut RedisServer, rng: &mut Rng) {
    match rng.below(4) {
        0 => server.restart_empty().await,
        1 => {
            server.kill();
            tokio::time::sleep(millis(rng.below(200))).await;
            server.restart().await;
        }
        2 => {
            server.pause();
            tokio::time::sleep(millis(100 + rng.below(700))).await;
            server.resume();
        }
        _ => {
            server.command(&["CLIENT", "KILL", "TYPE", "normal"]).await;
            server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        }
    }
}

/// What is in the ledger was allowed.
async fn judge(resource: &RedisServer) {
    let mut holders: HashMap<(u64, u64), String> = HashMap::new();
    for key in 0..KEYS {
        let lines = async |list: &str| {
            let lines = resource.command(&["LRANGE", &format!("{{k{key}}}:{list}"), "0", "-1"]).await;
            let parsed = lines.lines().map(|line| {
                let (fence, who) = line.split_once(' ').expect("two words");
                (fence.parse::<u64>().expect("a fence"), who.to_owned())
            });
            parsed.collect::<Vec<_>>()
        };
        for (fence, who) in lines("claims").await {
            let holder = holders.entry((key, fence)).or_insert_with(|| who.clone());
            assert_eq!(*holder, who, "fence {fence} of key {key} serves two");
        }
        let accepted = lines("log").await;
        assert!(accepted.is_sorted_by_key(|(fence, _)| *fence), "key {key}");
    }
    let wanted = usize::try_from(ACQUISITIONS * rounds()).unwrap();
    assert!(holders.len() >= wanted, "{} of {wanted} holders reached the resource", holders.len());
}

#[tokio::test]
#[ignore = "a process of the test above"]
async fn contenders() {
    let Some(mut parent) = Parent::here() else { return };
    let env = |name| std::env::var(name).unwrap();
    let (server, resource) = (by_url(&env("LOCKS")).await, by_url(&env("RESOURCE")).await);
    let locks = locks(&server, options());
    let mut rng = Seed::new(env("SEED").parse().unwrap()).rng();
    let share = env("SHARE").parse().unwrap();
    parent.say("ready");
    assert_eq!(parent.order().await, "go");
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let (locks, resource) = (locks.clone(), Resource::new(resource.clone()));
        let who = format!("{}.{task}", env("PROCESS"));
        let rng = Seed::new(rng.next_u64()).rng();
        tasks.spawn(async move { contend(&locks, &resource, &who, rng, share).await });
    }
    let mut total = Tally::default();
    while let Some(tally) = tasks.join_next().await {
        total += tally.unwrap();
    }
    parent.say(&format!("{total:?}"));
}

#[derive(Debug, Default)]
struct Tally {
    held: u64,
    lost: u64,
    refused: u64,
    failed: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.held += other.held;
        self.lost += other.lost;
        self.refused += other.refused;
        self.failed += other.failed;
    }
}

async fn contend(locks: &Locks, resource: &Resource, who: &str, mut rng: Rng, share: u64) -> Tally {
    let mut tally = Tally::default();
    while tally.held < share {
        let key = format!("k{}", rng.below(KEYS));
        let Ok(guard) = locks.lock(&key).acquire().await else {
            tally.failed += 1;
            tokio::time::sleep(millis(5)).await;
            continue;
        };
        let who = format!("{who}.{}", tally.held);
        tally.held += 1;
        // Now and then, long enough to be overtaken.
        if rng.chance(0.02) {
            tokio::time::sleep(millis(rng.below(400))).await;
        }
        tally.lost += u64::from(guard.check().is_err());
        tally.refused += u64::from(!resource.write(&key, &guard, &who).await);
        if rng.chance(0.5) {
            let _outcome = guard.release().await;
        }
    }
    tally
}

struct Resource {
    redis: Redis,
    ledger: Script,
    values: FencedStore,
}

impl Resource {
    fn new(redis: Redis) -> Self {
        let values = FencedStore::new(redis.clone(), NAMESPACE);
        Self { redis, ledger: Script::new(LEDGER), values }
    }

    /// Whoever holds writes, also if he has just been told that he holds no longer.
    async fn write(&self, key: &str, guard: &Guard, who: &str) -> bool {
        let fence = guard.fence();
        let accepted = until_answered(|| async {
            let command = self.ledger.call(Class::Idem, &[&format!("{{{key}}}")]).arg(fence.get()).arg(who);
            Ok(self.redis.call(command).await?.int()? == 1)
        })
        .await;
        let value = self.values.key(key).unwrap();
        let written = until_answered(async || match value.set(fence, who.as_bytes()).await {
            Ok(()) => Ok(true),
            Err(fence::Error::Stale { accepted }) => {
                assert!(accepted > fence);
                Ok(false)
            }
            Err(fence::Error::Store(error)) => Err(error),
            Err(other) => panic!("{other}"),
        })
        .await;
        accepted && written
    }
}
