//! Expiry, deletion and tags against a model that keeps a plain map.

use std::collections::HashMap;

use mainstay_core::cache::Ttl;
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Set { key: usize, ttl: u64, stale: u64, tag: Option<usize> },
    Get(usize),
    Load { key: usize, ttl: u64, stale: u64, tag: Option<usize> },
    Delete(usize),
    InvalidateTag(usize),
    Advance(u64),
}

const KEYS: [&str; 3] = ["a", "b", "c"];
const TAGS: [&str; 2] = ["t", "u"];

fn step() -> impl Strategy<Value = Step> {
    let write = || (0..KEYS.len(), 1..50_u64, 0..50_u64, prop::option::of(0..TAGS.len()));
    prop_oneof![
        write().prop_map(|(key, ttl, stale, tag)| Step::Set { key, ttl, stale, tag }),
        write().prop_map(|(key, ttl, stale, tag)| Step::Load { key, ttl, stale, tag }),
        (0..KEYS.len()).prop_map(Step::Get),
        (0..KEYS.len()).prop_map(Step::Delete),
        (0..TAGS.len()).prop_map(Step::InvalidateTag),
        (0..40_u64).prop_map(Step::Advance),
    ]
}

#[derive(Debug, Clone, Copy)]
struct Kept {
    value: usize,
    fresh_until: u64,
    usable_until: u64,
    tag: Option<usize>,
}

#[derive(Default)]
struct Model {
    now: u64,
    kept: HashMap<usize, Kept>,
}

impl Model {
    fn set(&mut self, key: usize, value: usize, ttl: u64, stale: u64, tag: Option<usize>) {
        let fresh_until = self.now + ttl;
        self.kept.insert(key, Kept { value, fresh_until, usable_until: fresh_until + stale, tag });
    }

    fn fresh(&self, key: usize) -> Option<usize> {
        self.kept.get(&key).filter(|kept| kept.fresh_until > self.now).map(|kept| kept.value)
    }

    fn usable(&self, key: usize) -> Option<usize> {
        self.kept.get(&key).filter(|kept| kept.usable_until > self.now).map(|kept| kept.value)
    }
}

fn policy(ttl: u64, stale: u64, tag: Option<usize>) -> Policy {
    let policy = exactly(Ttl::millis(ttl)).stale_for(Ttl::millis(stale)).soft_timeout(Duration::ZERO);
    tag.map_or(policy.clone(), |tag| policy.tag(TAGS[tag]))
}

async fn run(steps: Vec<Step>) {
    let it = local();
    let mut model = Model::default();
    for (value, step) in steps.into_iter().enumerate() {
        match step {
            Step::Set { key, ttl, stale, tag } => {
                it.cache.set(KEYS[key], &value, policy(ttl, stale, tag)).await.unwrap();
                model.set(key, value, ttl, stale, tag);
            }
            Step::Load { key, ttl, stale, tag } => {
                let load = move || async move { Ok::<_, std::convert::Infallible>(value) };
                let loaded = it.cache.get_or_load(KEYS[key], policy(ttl, stale, tag), load).await.unwrap();
                // The load in the background needs its turns; no time passes.
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
                let (fresh, usable) = (model.fresh(key), model.usable(key));
                assert_eq!(loaded, fresh.or(usable).unwrap_or(value));
                if fresh.is_none() {
                    model.set(key, value, ttl, stale, tag);
                }
            }
            Step::Get(key) => {
                assert_eq!(it.cache.get::<usize>(KEYS[key]).await.unwrap(), model.fresh(key));
                assert_eq!(it.cache.exists(KEYS[key]).await.unwrap(), model.fresh(key).is_some());
            }
            Step::Delete(key) => {
                assert_eq!(it.cache.delete(KEYS[key]).await.unwrap(), model.fresh(key).is_some());
                model.kept.remove(&key);
            }
            Step::InvalidateTag(tag) => {
                it.cache.invalidate_tag(TAGS[tag]).await.unwrap();
                model.kept.retain(|_, kept| kept.tag != Some(tag));
            }
            Step::Advance(millis) => {
                tokio::time::advance(Duration::from_millis(millis)).await;
                model.now += millis;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_cache_is_a_map_whose_entries_expire(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(run(steps));
    }
}
