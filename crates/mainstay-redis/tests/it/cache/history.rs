//! Histories of versions, over two processes with values near and one observer without: nobody who asks after a
//! change was acknowledged sees what was before, in the process that made it; nobody sees it later than the bound
//! elsewhere; and nothing that is older is ever stored.

use std::convert::Infallible;
use std::sync::Mutex as StdMutex;
use std::sync::atomic::AtomicU64;

use mainstay_testkit::redis::Cluster;
use mainstay_testkit::{Rng, Seed};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::*;

const KEYS: usize = 4;

/// A key's source, and what is known of it.
#[derive(Default)]
struct Source {
    version: AtomicU64,
    /// One writer at a time: whose cache is written last is not what is tested.
    writing: Mutex<()>,
    /// The highest version whose change was acknowledged: in each process, and with the time.
    settled: [AtomicU64; 2],
    acknowledged: StdMutex<Vec<(Instant, u64)>>,
}

impl Source {
    fn settled_anywhere(&self) -> u64 {
        self.settled.iter().map(|settled| settled.load(Ordering::SeqCst)).max().unwrap_or_default()
    }

    /// How long it was known at `begun` that `seen` is old; zero if it is not.
    fn age(&self, seen: u64, begun: Instant) -> Duration {
        let acknowledged = self.acknowledged.lock().unwrap();
        let newer = acknowledged.iter().find(|(_, version)| *version > seen);
        newer.map_or(Duration::ZERO, |(at, _)| begun.saturating_duration_since(*at))
    }
}

#[derive(Default)]
struct History {
    sources: [Source; KEYS],
    /// Longest that an old version was seen in another process, in microseconds.
    oldest: AtomicU64,
    seen: AtomicUsize,
}

fn key(at: usize) -> String {
    format!("key:{at}")
}

fn policy(at: usize) -> Policy {
    Ttl::hours(1).tag(format!("tag:{at}"))
}

async fn write(process: &Process, here: usize, history: &History, rng: &mut Rng, at: usize) {
    let source = &history.sources[at];
    let _alone = source.writing.lock().await;
    let version = source.version.fetch_add(1, Ordering::SeqCst) + 1;
    let (cache, key) = (&process.cache, key(at));
    match rng.below(5) {
        0 => cache.set(&key, &version, policy(at)).await.unwrap(),
        1 => assert!(cache.set_if_newer(&key, &version, version, policy(at)).await.unwrap()),
        2 => cache.invalidate_tag(&format!("tag:{at}")).await.unwrap(),
        3 => assert!(cache.delete_version(&key, version).await.unwrap()),
        _ => drop(cache.delete(&key).await.unwrap()),
    }
    source.settled[here].fetch_max(version, Ordering::SeqCst);
    source.acknowledged.lock().unwrap().push((Instant::now(), version));
}

/// A read, and at least what it must see.
async fn read(cache: &Cache, history: &Arc<History>, rng: &mut Rng, at: usize) -> Option<u64> {
    let (key, policy) = (key(at), policy(at));
    if rng.chance(0.5) {
        return cache.get(&key).await.unwrap();
    }
    let (history, turns) = (Arc::clone(history), rng.below(30));
    let load = move || async move {
        let version = history.sources[at].version.load(Ordering::SeqCst);
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        Ok::<_, Infallible>(version)
    };
    Some(cache.get_or_load(&key, policy, load).await.unwrap())
}

async fn live(process: Arc<Process>, here: usize, history: Arc<History>, mut rng: Rng, turns: usize) {
    for _ in 0..turns {
        let at = usize::try_from(rng.below(KEYS as u64)).unwrap();
        if rng.chance(0.1) {
            write(&process, here, &history, &mut rng, at).await;
            continue;
        }
        let source = &history.sources[at];
        let (at_least, begun) = (source.settled[here].load(Ordering::SeqCst), Instant::now());
        let Some(seen) = read(&process.cache, &history, &mut rng, at).await else { continue };
        assert!(seen >= at_least, "version {at_least} was acknowledged here, and {seen} is seen");
        let age = source.age(seen, begun);
        assert!(age <= BOUND, "version {seen} is seen {age:?} after a newer one was acknowledged");
        history.oldest.fetch_max(u64::try_from(age.as_micros()).unwrap(), Ordering::SeqCst);
        history.seen.fetch_add(1, Ordering::SeqCst);
    }
}

/// Sees what the server has: nothing is near here.
async fn observe(process: Arc<Process>, history: Arc<History>, mut rng: Rng, turns: usize) {
    for _ in 0..turns {
        let at = usize::try_from(rng.below(KEYS as u64)).unwrap();
        let at_least = history.sources[at].settled_anywhere();
        if let Some(seen) = process.get(&key(at)).await {
            assert!(seen >= at_least, "version {at_least} was acknowledged, and {seen} is stored");
        }
    }
}

async fn hold_to_the_history(url: &str, turns: usize) {
    const TASKS: usize = 8;
    let turns = turns / (2 * TASKS);
    let mut far = patient();
    far.near_ttl = Duration::ZERO;
    let observer = Arc::new(Process::at(url, "svc", far).await);
    let history = Arc::new(History::default());
    let mut rng = Seed::from_env("MAINSTAY_SEED").rng();
    let mut next = || Seed::new(rng.next_u64()).rng();
    let mut tasks = JoinSet::new();
    let mut processes = Vec::new();
    for here in 0..2 {
        let process = Arc::new(Process::at(url, "svc", patient()).await);
        for _ in 0..TASKS {
            tasks.spawn(live(Arc::clone(&process), here, Arc::clone(&history), next(), turns));
        }
        processes.push(process);
    }
    tasks.spawn(observe(observer, Arc::clone(&history), next(), turns));
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    assert!(history.seen.load(Ordering::SeqCst) > turns);
    let near: f64 = processes.iter().map(|process| process.near_hits()).sum();
    assert!(near > 0.0, "values were near");
    let oldest = Duration::from_micros(history.oldest.load(Ordering::SeqCst));
    tracing::info!(?oldest, near, "history");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_read_after_an_acknowledged_change_sees_an_older_version_and_no_old_load_is_stored() {
    let server = RedisServer::start().await;
    hold_to_the_history(&server.url(), rounds(20_000)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_a_cluster_too_where_values_and_tags_lie_on_different_servers() {
    let cluster = Cluster::start().await;
    hold_to_the_history(&cluster.url(), rounds(4_000)).await;
}
