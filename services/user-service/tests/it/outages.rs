//! Two instances under load while Redis is killed, frozen, or hands over to a replica: nobody who reads or writes a
//! user notices more than a short wait, and afterwards both share again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mainstay_testkit::http::Request;
use mainstay_testkit::redis::{Cluster, RedisServer, Sentinels};
use mainstay_testkit::{Service, Signal, eventually_async};
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::instances::connected;
use crate::{PATIENCE, created, get, patch, path_of, service};

/// Clients of each instance.
const CLIENTS: usize = 8;
/// Below the 31 s for which what a dead store took with it would be waited for, beyond what a loaded machine needs.
const NOTICEABLE: Duration = Duration::from_secs(10);
/// Requests that each phase of a test sees at least.
const SOME: usize = 200;

/// Two instances on one database and one Redis deployment, and clients that never stop to ask for one user.
struct Loaded {
    services: [Service; 2],
    path: String,
    load: Load,
    _dir: TempDir,
}

impl Loaded {
    async fn start(url: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let command = || {
            let command = service().env("REDIS_URL", url).env("HEALTH_CHECK_INTERVAL", "100ms");
            command.env("LOG_LEVEL", "warn").dir(dir.path())
        };
        // Both at once, as a deployment starts them.
        let (one, other) = tokio::join!(command().start(), command().start());
        let path = path_of(&created(&one, "ada@example.org", "Ada").await);
        let load = Load::start(&[one.addr(), other.addr()], &path);
        let it = Self { services: [one, other], path, load, _dir: dir };
        it.shares_again().await;
        it
    }

    async fn is_without_redis(&self) {
        for service in &self.services {
            eventually_async("Redis is missed", PATIENCE, async || !connected(service).await).await;
        }
    }

    /// Both are connected, what one writes the other reads, and a lock excludes.
    async fn shares_again(&self) {
        for service in &self.services {
            eventually_async("the instance is connected", PATIENCE, async || connected(service).await).await;
        }
        let [one, other] = &self.services;
        eventually_async("locks are given", PATIENCE, async || lock(one).await == 200).await;
        eventually_async("the other is refused it", PATIENCE, async || lock(other).await == 409).await;
        let name = format!("Ada {}", self.load.answers());
        assert_eq!(patch(one, &self.path, json!({"name": name})).await.status, 200);
        eventually_async("the other reads what was written", PATIENCE, async || {
            get(other, &self.path).await.json()["name"] == name.as_str()
        })
        .await;
        self.load.goes_on().await;
    }
}

async fn lock(service: &Service) -> u16 {
    let request = Request::post(service.addr(), "/distributed/lock/shared");
    request.json(&json!({"ttl": 1_000})).send().await.status
}

/// What clients have met so far.
#[derive(Default)]
struct Met {
    answers: AtomicUsize,
    failures: AtomicUsize,
    slowest_ms: AtomicUsize,
    ended: AtomicBool,
}

struct Load {
    met: Arc<Met>,
    clients: JoinSet<()>,
}

impl Load {
    fn start(addrs: &[SocketAddr], path: &str) -> Self {
        let (met, mut clients) = (Arc::new(Met::default()), JoinSet::new());
        for addr in addrs.iter().flat_map(|addr| [*addr; CLIENTS]) {
            let (met, path) = (Arc::clone(&met), path.to_owned());
            clients.spawn(async move {
                while !met.ended.load(Ordering::SeqCst) {
                    let begun = Instant::now();
                    let response = Request::get(addr, path.as_str()).deadline(PATIENCE).try_send().await;
                    let took = usize::try_from(begun.elapsed().as_millis()).unwrap();
                    met.slowest_ms.fetch_max(took, Ordering::SeqCst);
                    if response.is_ok_and(|response| response.status == 200) {
                        met.answers.fetch_add(1, Ordering::SeqCst);
                    } else {
                        met.failures.fetch_add(1, Ordering::SeqCst);
                    }
                    sleep(Duration::from_millis(2)).await;
                }
            });
        }
        Self { met, clients }
    }

    fn answers(&self) -> usize {
        self.met.answers.load(Ordering::SeqCst)
    }

    async fn goes_on(&self) {
        let before = self.answers();
        eventually_async("requests are answered", NOTICEABLE, async || self.answers() >= before + SOME).await;
    }

    /// Ends it: every request of all was answered with the user, in time.
    async fn was_served(mut self) {
        self.met.ended.store(true, Ordering::SeqCst);
        while let Some(client) = self.clients.join_next().await {
            client.unwrap();
        }
        assert_eq!(self.met.failures.load(Ordering::SeqCst), 0, "of {}", self.answers());
        let slowest = Duration::from_millis(self.met.slowest_ms.load(Ordering::SeqCst) as u64);
        assert!(slowest < NOTICEABLE, "one took {slowest:?}");
    }
}

#[tokio::test]
async fn redis_is_killed_again_and_again_and_every_request_is_answered() {
    let mut redis = RedisServer::start().await;
    let it = Loaded::start(&redis.url()).await;
    for _ in 0..3 {
        redis.kill();
        it.is_without_redis().await;
        it.load.goes_on().await;
        redis.restart_empty().await;
        it.shares_again().await;
    }
    it.load.was_served().await;
}

#[tokio::test]
async fn redis_freezes_while_users_are_loaded_and_no_lease_of_it_is_waited_for() {
    let redis = RedisServer::start().await;
    let it = Loaded::start(&redis.url()).await;
    for round in 0..5 {
        // Each write makes the next readers load, so that some are at it when Redis stands still.
        let writes = async {
            for number in 0..20 {
                let name = format!("Ada {round} {number}");
                assert_eq!(patch(&it.services[0], &it.path, json!({"name": name})).await.status, 200);
            }
        };
        let freezes = async {
            sleep(Duration::from_millis(20)).await;
            redis.pause();
        };
        tokio::join!(writes, freezes);
        it.is_without_redis().await;
        it.load.goes_on().await;
        redis.resume();
        it.shares_again().await;
    }
    it.load.was_served().await;
}

#[tokio::test]
async fn the_primary_of_sentinels_is_killed_and_every_request_is_answered() {
    let mut sentinels = Sentinels::start().await;
    let it = Loaded::start(&sentinels.url()).await;
    for _ in 0..2 {
        let old = sentinels.master();
        sentinels.kill_master().await;
        it.load.goes_on().await;
        sentinels.wait_for_new_master(old).await;
        it.shares_again().await;
        sentinels.restart_dead().await;
    }
    sentinels.failover().await;
    it.shares_again().await;
    it.load.was_served().await;
}

#[tokio::test]
async fn primaries_of_a_cluster_are_killed_and_every_request_is_answered() {
    let mut cluster = Cluster::start().await;
    let it = Loaded::start(&cluster.url()).await;
    // One after the other, so that whatever lies where has been without its server.
    for slot in [0, 8_000, 16_000] {
        cluster.kill_master(slot).await;
        it.load.goes_on().await;
        cluster.wait_until_covered().await;
        it.shares_again().await;
        cluster.restart_dead().await;
    }
    it.load.was_served().await;
}

#[tokio::test]
async fn an_instance_stops_in_time_while_redis_is_down_or_frozen() {
    for frozen in [false, true] {
        let mut redis = RedisServer::start().await;
        let Loaded { services: [mut one, other], load, .. } = Loaded::start(&redis.url()).await;
        load.was_served().await;
        if frozen {
            redis.pause();
        } else {
            redis.kill();
        }
        // One that has not heard of it, and one that has.
        one.signal(Signal::Term);
        eventually_async("Redis is missed", PATIENCE, async || !connected(&other).await).await;
        let mut late = other;
        late.signal(Signal::Term);
        for service in [&mut one, &mut late] {
            let exit = service.wait_exit(Duration::from_secs(30)).await;
            assert_eq!(exit.status.code(), Some(0), "frozen: {frozen}\n{}", exit.output);
        }
    }
}

#[tokio::test]
async fn two_instances_that_start_without_redis_share_when_it_appears() {
    let mut redis = RedisServer::start().await;
    let url = redis.url();
    redis.kill();
    let (it, ()) = tokio::join!(Loaded::start(&url), async {
        sleep(Duration::from_secs(4)).await;
        redis.restart_empty().await;
    });
    it.load.was_served().await;
}
