//! Four processes, sixteen tasks each, write to fenced resources while the server of their locks is killed, loses its
//! data, stands still, and cuts everybody off. `MAINSTAY_ROUNDS` multiplies the acquisitions: 50 make 100,000.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mainstay_core::lock::{Guard, Locks, Options};
use mainstay_redis::fence::{self, FencedStore};
use mainstay_redis::{Class, Redis, Script};
use mainstay_testkit::redis::{RedisServer, Sentinels};
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
    let mut rng = Seed::from_env("MAINSTAY_SEED").rng();
    let mut server = RedisServer::start().await;
    let contest = Contest::begin(&server.url(), &mut rng, 1).await;
    let weather = async || {
        tokio::time::sleep(millis(150 + rng.below(500))).await;
        misfortune(&mut server, &mut rng).await;
    };
    contest.under(weather, 4).await;
}

/// A quarter of the acquisitions: a failover takes its time.
#[tokio::test]
async fn however_often_the_primary_is_replaced_no_resource_takes_a_lower_fence_and_no_fence_serves_two() {
    let mut rng = Seed::from_env("MAINSTAY_SEED").rng();
    let mut sentinels = Sentinels::start().await;
    let contest = Contest::begin(&sentinels.url(), &mut rng, 4).await;
    let weather = async || {
        tokio::time::sleep(millis(150 + rng.below(300))).await;
        match rng.below(3) {
            0 => drop(sentinels.failover().await),
            _ => {
                sentinels.lossy_failover().await;
                sentinels.restart_dead().await;
            }
        }
    };
    contest.under(weather, 2).await;
}

/// The processes, and what they write to.
struct Contest {
    workers: Vec<Worker>,
    resource: RedisServer,
    acquisitions: u64,
}

impl Contest {
    async fn begin(locks: &str, rng: &mut Rng, part: u64) -> Self {
        let resource = RedisServer::start().await;
        let acquisitions = ACQUISITIONS * rounds() / part;
        let share = acquisitions.div_ceil(PROCESSES * TASKS).to_string();
        let url = resource.url();
        let spawn = |process: u64| {
            let (process, seed) = (process.to_string(), rng.next_u64().to_string());
            let env = [
                ("LOCKS", locks),
                ("RESOURCE", url.as_str()),
                ("PROCESS", process.as_str()),
                ("SHARE", share.as_str()),
                ("SEED", seed.as_str()),
            ];
            Worker::spawn("lock::chaos::contenders", &env)
        };
        let mut workers: Vec<Worker> = (0..PROCESSES).map(spawn).collect();
        for worker in &mut workers {
            assert_eq!(worker.line(30 * SECOND).await.as_deref(), Some("ready"));
        }
        Self { workers, resource, acquisitions }
    }

    /// Lets one misfortune come after the other until all have had their share and there were `least`, and judges.
    #[expect(clippy::print_stdout, reason = "what happened, for who runs it at full scale")]
    async fn under(mut self, mut weather: impl AsyncFnMut(), least: usize) {
        let deadline = Duration::from_secs(60 + 60 * rounds());
        for worker in &mut self.workers {
            worker.tell("go").await;
        }
        for _ in 0..least {
            weather().await;
        }
        for worker in &mut self.workers {
            worker.tell("enough").await;
        }
        let mut misfortunes = least;
        let done = async {
            for worker in &mut self.workers {
                println!("{}", worker.line(deadline).await.unwrap_or_default());
                let exit = worker.wait(30 * SECOND).await;
                assert!(exit.status.success(), "{}", worker.output_so_far());
            }
        };
        let storm = async {
            loop {
                weather().await;
                misfortunes += 1;
            }
        };
        tokio::select! {
            () = done => {}
            () = storm => {}
        }
        println!("{misfortunes} misfortunes");
        judge(&self.resource, self.acquisitions).await;
    }
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
async fn judge(resource: &RedisServer, acquisitions: u64) {
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
    let reached = u64::try_from(holders.len()).unwrap();
    assert!(reached >= acquisitions, "{reached} of {acquisitions} holders reached the resource");
}

#[tokio::test]
#[ignore = "a process of the test above"]
async fn contenders() {
    let Some(mut parent) = Parent::here() else { return };
    let env = |name| std::env::var(name).unwrap();
    let (server, resource) = (by_url(&env("LOCKS")).await, by_url(&env("RESOURCE")).await);
    let locks = locks(&server, options());
    let mut rng = Seed::new(env("SEED").parse().unwrap()).rng();
    let share: u64 = env("SHARE").parse().unwrap();
    let enough = Arc::new(AtomicBool::new(false));
    parent.say("ready");
    assert_eq!(parent.order().await, "go");
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let (locks, resource) = (locks.clone(), Resource::new(resource.clone()));
        let who = format!("{}.{task}", env("PROCESS"));
        let rng = Seed::new(rng.next_u64()).rng();
        let enough = Arc::clone(&enough);
        let done = move |held| held >= share && enough.load(Ordering::Relaxed);
        tasks.spawn(async move { contend(&locks, &resource, &who, rng, done).await });
    }
    assert_eq!(parent.order().await, "enough");
    enough.store(true, Ordering::Relaxed);
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

async fn contend(
    locks: &Locks,
    resource: &Resource,
    who: &str,
    mut rng: Rng,
    done: impl Fn(u64) -> bool,
) -> Tally {
    let mut tally = Tally::default();
    while !done(tally.held) {
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
