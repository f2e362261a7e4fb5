//! Two instances under load while Redis is killed, frozen, cut off, or hands over to a replica: nobody who reads or
//! writes a user notices more than a short wait, nobody reads for long what is no longer true, and afterwards both
//! share again.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_testkit::http::{Request, Response};
use mainstay_testkit::redis::{Cluster, Proxy, RedisServer, Sentinels};
use mainstay_testkit::{Service, Signal, eventually_async};
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::instances::connected;
use crate::{PATIENCE, created, path_of, service};

/// Clients of each instance, besides the one that writes.
const CLIENTS: usize = 4;
/// Between two requests of a client: the load is to be felt, and to leave two cores some room.
const PAUSE: Duration = Duration::from_millis(5);
/// A request asks for a decision and for a value, and waits 400 ms for either at most. More than that, and less than
/// the lease of a load that died would be waited for, is what a loaded machine adds.
const NOTICEABLE: Duration = Duration::from_secs(4);
/// What a command is waited for: hardly any request takes as long, because the guard opens.
const DETECTION: Duration = Duration::from_millis(400);
/// About a second after Redis is back both share again; the rest is for a loaded machine.
const RECOVERY: Duration = Duration::from_secs(5);
/// No near value is older.
const STALENESS: Duration = Duration::from_secs(3);
/// Longer than that.
const LONG: Duration = Duration::from_millis(3_200);
/// Short enough to end while the guard makes up its mind.
const SHORT: Duration = Duration::from_millis(700);
/// Requests that each phase of a test sees at least.
const SOME: usize = 100;

/// Two instances on one database and one Redis deployment, and clients that never stop to ask for one user and to
/// change it.
struct Loaded {
    services: [Service; 2],
    load: Load,
    locks: AtomicUsize,
    _dir: TempDir,
}

impl Loaded {
    async fn start(url: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let command = || {
            let command = service().env("REDIS_URL", url).env("LOG_LEVEL", "warn");
            command.dir(dir.path())
        };
        // Both at once, as a deployment starts them.
        let (one, other) = tokio::join!(command().start(), command().start());
        let path = path_of(&created(&one, "ada@example.org", "Ada").await);
        let load = Load::start([one.addr(), other.addr()], &path);
        let it = Self { services: [one, other], load, locks: AtomicUsize::default(), _dir: dir };
        it.share().await;
        it
    }

    /// Both are connected, a lock excludes, and what was written is read on both.
    async fn share(&self) {
        for service in &self.services {
            eventually_async("it is connected", PATIENCE, async || connected(service).await).await;
        }
        let [one, other] = &self.services;
        eventually_async("a lock of one is held for the other", PATIENCE, async || {
            let name = self.locks.fetch_add(1, Ordering::SeqCst);
            (lock(one, name).await, lock(other, name).await) == (200, 409)
        })
        .await;
        let written = self.load.written();
        for service in &self.services {
            eventually_async("what was written is read", PATIENCE, async || {
                self.load.read(service.addr()).await >= Some(written)
            })
            .await;
        }
    }

    /// Redis has just come back: both share again in time.
    async fn recover(&self) {
        let returned = Instant::now();
        self.share().await;
        let shared = Instant::now();
        assert!(shared - returned < RECOVERY, "after {:?}", shared - returned);
        self.load.met.returns.lock().unwrap().push((returned, shared));
        self.load.goes_on().await;
    }

    /// Ends the load, of which every request was answered in time and with what was true lately; and says little.
    async fn was_served(self) {
        let met = self.load.end().await;
        met.all_were_answered_in_time();
        met.nobody_read_what_was_no_longer_true();
        for service in &self.services {
            let lines = service.output_so_far().lines().count();
            assert!(lines < 60, "{lines} lines:\n{}", service.output_so_far());
        }
    }
}

async fn lock(service: &Service, name: usize) -> u16 {
    let request = Request::post(service.addr(), format!("/distributed/lock/lock-{name}"));
    request.json(&json!({"retryAttempts": 0})).send().await.status
}

/// What clients have met so far.
#[derive(Default)]
struct Met {
    requests: Mutex<Vec<Seen>>,
    /// Acknowledged versions, ascending.
    writes: Mutex<Vec<(Instant, u64)>>,
    /// From the return of Redis until both shared again: what its cache held is being taken away.
    returns: Mutex<Vec<(Instant, Instant)>>,
    /// Of whoever has written and then read something older.
    forgot: Mutex<Vec<(u64, u64)>>,
    answers: AtomicUsize,
    written: AtomicU64,
    ended: AtomicBool,
}

/// An answer: its version of the user, if it had one.
struct Seen {
    begun: Instant,
    ended: Instant,
    version: Result<u64, String>,
}

impl Met {
    async fn exchange(&self, request: Request) -> Option<u64> {
        let begun = Instant::now();
        let answer = request.deadline(PATIENCE).try_send().await;
        let version = answer.map_err(|error| error.to_string()).and_then(|answer| version(&answer));
        let seen = version.as_ref().ok().copied();
        self.requests.lock().unwrap().push(Seen { begun, ended: Instant::now(), version });
        self.answers.fetch_add(1, Ordering::SeqCst);
        seen
    }

    fn all_were_answered_in_time(&self) {
        let requests = self.requests.lock().unwrap();
        let failed: Vec<_> = requests.iter().filter_map(|seen| seen.version.as_ref().err()).collect();
        assert!(failed.is_empty(), "{} of {}, such as {}", failed.len(), requests.len(), failed[0]);
        let took = || requests.iter().map(|seen| seen.ended - seen.begun);
        let (slowest, late) = (took().max().unwrap(), took().filter(|took| *took >= DETECTION).count());
        assert!(slowest < NOTICEABLE, "one took {slowest:?}");
        assert!(late * 4 < requests.len(), "{late} of {} took {DETECTION:?} or more", requests.len());
    }

    fn nobody_read_what_was_no_longer_true(&self) {
        let forgot = self.forgot.lock().unwrap();
        assert!(forgot.is_empty(), "whoever had written read something older: {forgot:?}");
        let (writes, returns) = (self.writes.lock().unwrap(), self.returns.lock().unwrap());
        for seen in self.requests.lock().unwrap().iter() {
            let (Some(before), Ok(version)) = (seen.begun.checked_sub(STALENESS), &seen.version) else {
                continue;
            };
            if returns.iter().any(|(from, to)| seen.begun < *to && *from < seen.ended) {
                continue;
            }
            let known = writes.partition_point(|(at, _)| *at <= before);
            let least = known.checked_sub(1).map_or(0, |last| writes[last].1);
            assert!(*version >= least, "version {version} was read, {STALENESS:?} after {least} was written");
        }
    }
}

fn version(answer: &Response) -> Result<u64, String> {
    match answer.status {
        200 => answer.json()["version"].as_u64().ok_or_else(|| "no version".to_owned()),
        status => Err(format!("{status} {}", answer.text())),
    }
}

struct Load {
    met: Arc<Met>,
    clients: JoinSet<()>,
    path: String,
}

impl Load {
    fn start(addrs: [SocketAddr; 2], path: &str) -> Self {
        let (met, mut clients) = (Arc::new(Met::default()), JoinSet::new());
        for addr in addrs.iter().flat_map(|addr| [*addr; CLIENTS]) {
            let (met, path) = (Arc::clone(&met), path.to_owned());
            clients.spawn(async move {
                while !met.ended.load(Ordering::SeqCst) {
                    met.exchange(Request::get(addr, path.as_str()).bearer(&crate::admin())).await;
                    sleep(PAUSE).await;
                }
            });
        }
        clients.spawn(write(Arc::clone(&met), addrs, path.to_owned()));
        Self { met, clients, path: path.to_owned() }
    }

    async fn read(&self, addr: SocketAddr) -> Option<u64> {
        self.met.exchange(Request::get(addr, self.path.as_str()).bearer(&crate::admin())).await
    }

    fn written(&self) -> u64 {
        self.met.written.load(Ordering::SeqCst)
    }

    async fn goes_on(&self) {
        let answers = || self.met.answers.load(Ordering::SeqCst);
        let (before, written) = (answers(), self.written());
        eventually_async("requests are answered", PATIENCE, async || {
            answers() >= before + SOME && self.written() > written
        })
        .await;
    }

    async fn end(mut self) -> Arc<Met> {
        self.met.ended.store(true, Ordering::SeqCst);
        while let Some(client) = self.clients.join_next().await {
            client.unwrap();
        }
        self.met
    }
}

/// Changes the user on the one and the other in turns. Whoever has written reads what it wrote.
async fn write(met: Arc<Met>, addrs: [SocketAddr; 2], path: String) {
    let mut turn = addrs.iter().cycle().enumerate();
    while let Some((number, addr)) = turn.next().filter(|_| !met.ended.load(Ordering::SeqCst)) {
        let change = Request::patch(*addr, path.as_str())
            .bearer(&crate::admin())
            .json(&json!({"name": format!("Ada {number}")}));
        if let Some(written) = met.exchange(change).await {
            met.writes.lock().unwrap().push((Instant::now(), written));
            met.written.store(written, Ordering::SeqCst);
            let read = met.exchange(Request::get(*addr, path.as_str()).bearer(&crate::admin())).await;
            if let Some(read) = read.filter(|read| *read < written) {
                met.forgot.lock().unwrap().push((written, read));
            }
        }
        sleep(10 * PAUSE).await;
    }
}

#[tokio::test]
async fn redis_is_killed_and_every_request_is_answered_with_what_is_true() {
    // What it had in its cache it has again: what was true before.
    let mut redis = RedisServer::builder().aof_always().start().await;
    let it = Loaded::start(&redis.url()).await;
    for outage in [SHORT, LONG] {
        redis.kill();
        sleep(outage).await;
        redis.restart().await;
        it.recover().await;
    }
    it.was_served().await;
}

#[tokio::test]
async fn redis_freezes_and_every_request_is_answered_with_what_is_true() {
    let redis = RedisServer::start().await;
    let it = Loaded::start(&redis.url()).await;
    for outage in [SHORT, LONG] {
        redis.pause();
        sleep(outage).await;
        redis.resume();
        it.recover().await;
    }
    it.was_served().await;
}

#[tokio::test]
async fn the_wire_to_redis_falls_silent_and_every_request_is_answered_with_what_is_true() {
    let redis = RedisServer::start().await;
    let proxy = Proxy::start(redis.address()).await;
    let it = Loaded::start(&format!("redis://{}", proxy.address())).await;
    for outage in [SHORT, LONG] {
        proxy.blackhole();
        sleep(outage).await;
        proxy.pass();
        it.recover().await;
    }
    it.was_served().await;
}

#[tokio::test]
async fn the_wire_to_redis_is_cut_again_and_again_and_every_request_is_answered_with_what_is_true() {
    let redis = RedisServer::start().await;
    let proxy = Proxy::start(redis.address()).await;
    let it = Loaded::start(&format!("redis://{}", proxy.address())).await;
    for round in 0..20 {
        if round % 2 == 0 {
            proxy.cut();
        } else {
            proxy.cut_after_request(1 + round);
        }
        sleep(LONG / 20).await;
    }
    proxy.refuse();
    sleep(SHORT).await;
    proxy.pass();
    it.recover().await;
    it.was_served().await;
}

#[tokio::test]
async fn the_primary_of_sentinels_is_killed_and_every_request_is_answered() {
    let mut sentinels = Sentinels::start().await;
    let it = Loaded::start(&sentinels.url()).await;
    let old = sentinels.master();
    sentinels.kill_master().await;
    it.load.goes_on().await;
    sentinels.wait_for_new_master(old).await;
    it.recover().await;
    sentinels.restart_dead().await;
    sentinels.failover().await;
    it.recover().await;
    // Not what was true: a failover may forget the last invalidations.
    it.load.end().await.all_were_answered_in_time();
}

#[tokio::test]
async fn primaries_of_a_cluster_are_killed_and_every_request_is_answered() {
    let mut cluster = Cluster::start().await;
    let it = Loaded::start(&cluster.url()).await;
    // One after the other: a second failover finds what the first has left.
    for slot in [0, 16_000] {
        cluster.kill_master(slot).await;
        it.load.goes_on().await;
        cluster.wait_until_covered().await;
        it.recover().await;
        cluster.restart_dead().await;
    }
    it.load.end().await.all_were_answered_in_time();
}

#[tokio::test]
async fn an_instance_stops_in_time_while_redis_is_down_or_frozen() {
    for frozen in [false, true] {
        let mut redis = RedisServer::start().await;
        let it = Loaded::start(&redis.url()).await;
        if frozen {
            redis.pause();
        } else {
            redis.kill();
        }
        // One that has not heard of it, and one that has.
        it.services[0].signal(Signal::Term);
        eventually_async("Redis is missed", PATIENCE, async || !connected(&it.services[1]).await).await;
        it.services[1].signal(Signal::Term);
        let Loaded { services, load, .. } = it;
        for mut service in services {
            let exit = service.wait_exit(PATIENCE).await;
            assert_eq!(exit.status.code(), Some(0), "frozen: {frozen}\n{}", exit.output);
        }
        load.end().await;
    }
}

#[tokio::test]
async fn two_instances_that_start_without_redis_share_when_it_appears() {
    let mut redis = RedisServer::start().await;
    let url = redis.url();
    redis.kill();
    let (it, ()) = tokio::join!(Loaded::start(&url), async {
        sleep(Duration::from_millis(2_500)).await;
        redis.restart_empty().await;
    });
    it.was_served().await;
}
