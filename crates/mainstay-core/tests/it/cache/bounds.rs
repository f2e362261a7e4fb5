//! Memory is bounded, whatever is asked of it.

use std::sync::{OnceLock, mpsc};

use mainstay_core::cache::{Entry, Outcome, Token, Ttl, Value};
use mainstay_core::codec::Codec;
use mainstay_core::key::Key;
use mainstay_core::time::Clock;
use serde::{Deserialize, Serialize};

use super::*;

fn small(max_bytes: usize) -> Options {
    let mut options = Options::default();
    options.max_bytes = max_bytes;
    options.max_value_bytes = 10_000;
    options.max_tags = 100;
    options
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_keys_stay_within_the_bound_and_the_hot_ones_stay() {
    let it = fixture(small(1 << 20), |memory| memory);
    let hot: Vec<_> = (0..100).map(|n| format!("hot:{n}")).collect();
    for key in &hot {
        it.cache.set(key, key, Ttl::hours(1)).await.unwrap();
    }
    let mut lost = 0;
    for n in 0..100_000 {
        it.cache.set(&format!("cold:{n}"), &n, Ttl::hours(1)).await.unwrap();
        let key = &hot[n % hot.len()];
        if it.cache.get::<String>(key).await.unwrap().is_none() {
            it.cache.set(key, key, Ttl::hours(1)).await.unwrap();
            lost += 1;
        }
        if n % 1_000 == 0 {
            assert!(it.memory.usage().bytes <= 1 << 20, "{:?}", it.memory.usage());
        }
    }
    let usage = it.memory.usage();
    assert!(usage.entries > 2_000 && usage.bytes > 900_000, "the room is used: {usage:?}");
    assert!(usage.entries as u64 + usage.evictions >= 100_000, "{usage:?}");
    assert!(lost < 1_000, "of 100,000 reads of hot keys {lost} missed");
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_tags_stay_within_their_bound_and_a_forgotten_tag_invalidates() {
    let it = fixture(small(64 << 20), |memory| memory);
    for n in 0..100_000 {
        it.cache.set(&n.to_string(), &n, Ttl::hours(1).tag(n.to_string())).await.unwrap();
    }
    let mut readable = 0;
    for n in 0..100_000 {
        readable += usize::from(it.cache.exists(&n.to_string()).await.unwrap());
    }
    assert!((50..=200).contains(&readable), "{readable} of 100 tags are known");
}

#[tokio::test(start_paused = true)]
async fn the_names_of_tags_take_room_like_other_bytes() {
    let it = fixture(small(1 << 20), |memory| memory);
    let tagged = (0..8).fold(Policy::new(Ttl::hours(1)), |policy, n| policy.tag(n.to_string().repeat(2_000)));
    for n in 0..1_000 {
        it.cache.set(&n.to_string(), &n, tagged.clone()).await.unwrap();
    }
    let usage = it.memory.usage();
    assert!(usage.entries * 16_000 <= 1 << 20, "{usage:?}");
}

#[tokio::test(start_paused = true)]
async fn a_value_that_finds_no_room_takes_the_old_one_away() {
    let it = fixture(small(5_000), |memory| memory);
    it.cache.set("k", "old", Ttl::hours(1)).await.unwrap();
    it.cache.set("k", &"x".repeat(9_000), Ttl::hours(1)).await.unwrap();
    assert_eq!(it.cache.get::<String>("k").await.unwrap(), None);
    assert_eq!(it.memory.usage().entries, 0);
}

#[tokio::test(start_paused = true)]
async fn leases_that_nobody_settles_are_swept() {
    let it = local();
    for n in 0..10_000 {
        let name = n.to_string();
        let key = mainstay_core::key::Key::new(&name).unwrap();
        let claim = mainstay_core::cache::Claim {
            token: mainstay_core::cache::Token::random(),
            lease: SECOND,
            min_fresh: Duration::ZERO,
            tags: &[],
        };
        it.memory.lookup(key, claim).await.unwrap();
        if n % 100 == 0 {
            tokio::time::advance(SECOND).await;
        }
        assert!(it.memory.usage().leases <= 101);
    }
}

/// Looks at its store when it is dropped.
#[derive(Clone, Serialize, Deserialize)]
struct Nosy;

static NOSY_ABOUT: OnceLock<Memory> = OnceLock::new();

impl Drop for Nosy {
    fn drop(&mut self) {
        let memory = NOSY_ABOUT.get().expect("it was made first");
        drop((memory.usage(), memory.get(Key::new("0").unwrap())));
    }
}

#[test]
fn values_are_dropped_while_nothing_is_locked() {
    let (done, is_done) = mpsc::channel();
    std::thread::spawn(move || {
        let memory = NOSY_ABOUT.get_or_init(|| Memory::new(&small(5_000), Clock::system()));
        let entry = || {
            let value = Value::new(Codec::Json.encode(&Nosy).unwrap(), Codec::Json, Duration::ZERO);
            assert!(value.decode::<Nosy>().unwrap().is_some(), "it remembers a nosy value");
            Entry { value: Arc::new(value), fresh_for: SECOND, stale_for: SECOND, tags: Vec::new() }
        };
        for n in 0..100 {
            let name = (n / 2).to_string();
            memory.put(&[(Key::new(&name).unwrap(), entry())]).now().unwrap().unwrap();
        }
        assert!(memory.usage().evictions > 0);
        let (key, token) = (Key::new("0").unwrap(), Token::random());
        let claim = mainstay_core::cache::Claim { token, lease: SECOND, min_fresh: SECOND, tags: &[] };
        memory.lookup(key, claim).now().unwrap().unwrap();
        memory.settle(key, token, Outcome::Fill(entry())).now().unwrap().unwrap();
        memory.invalidate(mainstay_core::cache::Target::Key(key)).now().unwrap().unwrap();
        done.send(()).unwrap();
    });
    is_done.recv_timeout(Duration::from_secs(10)).expect("nobody waits for a lock it holds");
}

#[tokio::test(start_paused = true)]
async fn the_smallest_and_largest_bounds_are_bounds() {
    for bound in [0, 1, usize::MAX] {
        let mut options = small(bound);
        (options.max_value_bytes, options.max_tags) = (bound.max(10), bound);
        (options.degraded_loads, options.op_timeout) = (bound, Duration::MAX);
        let it = fixture(options, |memory| memory);
        for n in 0..100 {
            let policy = Ttl::hours(1).tag("one").tag("two");
            let load = move || async move { Ok::<_, std::io::Error>(n) };
            assert_eq!(it.cache.get_or_load(&n.to_string(), policy, load).await.unwrap(), n);
        }
        assert_eq!(it.memory.usage().entries, if bound == usize::MAX { 100 } else { 0 });
        it.assert_idle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_expired_value_that_is_asked_for_makes_room() {
    let it = local();
    it.cache.set("k", &1, exactly(Ttl::seconds(1))).await.unwrap();
    tokio::time::advance(SECOND).await;
    assert_eq!(it.memory.usage().entries, 1);
    assert!(!it.cache.exists("k").await.unwrap());
    assert_eq!((it.memory.usage().entries, it.memory.usage().bytes), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_the_store_holds_is_measured_while_it_lives() {
    let (metrics, clock) = (Metrics::new(), TestClock::new());
    let cache = Cache::in_memory(small(1 << 20), &metrics, clock.clock());
    cache.set("k", &"x".repeat(98), Ttl::hours(1)).await.unwrap();
    let text = metrics.render(Format::Prometheus);
    assert!(text.contains("\ncache_entries 1\n"), "{text}");
    assert!(text.contains(&format!("\ncache_bytes {}\n", 1 + 2 * 100 + 256)), "{text}");
    assert!(text.contains("\ncache_evictions_total 0\n"), "{text}");
    drop(cache);
    assert!(!metrics.render(Format::Prometheus).contains("\ncache_entries"));
}
