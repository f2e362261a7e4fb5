//! Invalidations that happen whatever becomes of whoever owes them, and values that bring their own lifetime.

use mainstay_core::cache::{Error, Lifetime};
use mainstay_testkit::eventually_async;
use mainstay_testkit::faulty::Fault;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

impl Fixture {
    async fn keep(&self, key: &str, tag: &str) {
        self.cache.set(key, &1, Ttl::hours(1).tag(tag)).await.unwrap();
    }

    async fn is_kept(&self, key: &str) -> bool {
        self.cache.get::<u32>(key).await.unwrap().is_some()
    }

    async fn eventually_gone(&self, key: &str) {
        eventually_async("the value is taken away", MINUTE, async || !self.is_kept(key).await).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_takes_away_what_bears_its_tags_when_it_is_run() {
    let it = remote();
    it.keep("a", "x").await;
    it.keep("b", "y").await;
    it.keep("c", "z").await;
    let owed = it.cache.invalidation(["x", "y"]).unwrap();
    assert!(it.is_kept("a").await, "not before");
    owed.run().await.unwrap();
    assert!(!it.is_kept("a").await && !it.is_kept("b").await && it.is_kept("c").await);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_dropped_happens_in_the_background_and_a_cancelled_one_does_not() {
    let it = remote();
    it.keep("a", "x").await;
    it.cache.invalidation(["x"]).unwrap().cancel();
    settle().await;
    assert!(it.is_kept("a").await);
    drop(it.cache.invalidation(["x"]).unwrap());
    it.eventually_gone("a").await;
    it.keep("a", "x").await;
    // Later ones find the task of the first gone, or not.
    drop(it.cache.invalidation(["x"]).unwrap());
    it.eventually_gone("a").await;
}

#[tokio::test(start_paused = true)]
async fn one_whose_store_is_away_is_repeated_until_it_is_back() {
    for fault in [Fault::Unavailable, Fault::LostRequest] {
        let it = remote();
        it.keep("a", "x").await;
        it.keep("b", "y").await;
        it.faults.always(fault);
        let refused = it.cache.invalidation(["x", "y"]).unwrap().run().await;
        assert!(matches!(refused, Err(Error::Unavailable(_) | Error::Unknown(_))), "{refused:?}");
        tokio::time::sleep(MINUTE).await;
        it.faults.mend();
        it.eventually_gone("a").await;
        it.eventually_gone("b").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_asked_by_one_task_however_many_owe() {
    let it = remote();
    it.faults.always(Fault::Unavailable);
    for _ in 0..1000 {
        drop(it.cache.invalidation(["x"]).unwrap());
    }
    settle().await;
    let asked = it.faults.calls();
    tokio::time::sleep(MINUTE).await;
    let asked = it.faults.calls() - asked;
    assert!((60..=300).contains(&asked), "{asked} questions in a minute");
    it.cache.stop(SECOND).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_change_while_its_tag_is_being_invalidated_is_invalidated_too() {
    // At every point on the way of the first question, the one between its effect and its answer included.
    for turns in 0..10 {
        let it = remote();
        let near = Cache::new(it.memory.clone(), Options::default(), &Metrics::new(), it.clock.clock());
        drop(it.cache.invalidation(["x"]).unwrap());
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        near.set("a", &1, Ttl::hours(1).tag("x")).await.unwrap();
        drop(it.cache.invalidation(["x"]).unwrap());
        it.eventually_gone("a").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_cannot_be_one_is_refused() {
    let it = remote();
    let refused = it.cache.invalidation(["x", ""]);
    assert!(matches!(refused, Err(Error::Policy { field: "tag", .. })), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_value_lives_as_long_as_its_loader_says_and_the_policy_allows() {
    for (says, lives) in [(10, 10), (7200, 3600), (0, 0)] {
        let it = remote();
        let load = async move || Ok::<_, Infallible>(Some((7, Lifetime::new(Duration::from_secs(says)))));
        let policy = Ttl::hours(1).jitter(0.0);
        let loaded = it.cache.get_or_load_expiring::<u32, _, _, _>("a", policy, load).await.unwrap();
        assert_eq!(loaded, Some(7));
        it.clock.suspend(Duration::from_secs(lives).saturating_sub(SECOND / 10));
        assert!(lives == 0 || it.is_kept("a").await, "{says}");
        it.clock.suspend(SECOND / 5);
        assert!(!it.is_kept("a").await, "{says}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lifetime_can_shorten_how_long_a_stale_value_is_served() {
    for (stale_for, served) in [(Duration::MAX, Some(1)), (SECOND, None)] {
        let it = remote();
        let lifetime = Lifetime::new(10 * SECOND).stale_for(stale_for);
        let first = async move || Ok::<_, io::Error>(Some((1, lifetime)));
        let policy = Ttl::hours(1).stale_for(Ttl::hours(1));
        it.cache.get_or_load_expiring::<u32, _, _, _>("a", policy.clone(), first).await.unwrap();
        it.clock.suspend(MINUTE);
        let fails = async || Err::<Option<(u32, Lifetime)>, _>(io::Error::other("on purpose"));
        let answer = it.cache.get_or_load_expiring::<u32, _, _, _>("a", policy, fails).await;
        assert_eq!(answer.ok().flatten(), served);
    }
}

#[tokio::test(start_paused = true)]
async fn no_lifetime_is_too_long_to_compute_nor_longer_than_it_says() {
    for seconds in [Duration::MAX, 10 * SECOND] {
        for _ in 0..100 {
            let it = remote();
            let load = async move || Ok::<_, Infallible>(Some((1, Lifetime::new(seconds))));
            let policy = Ttl::days(3650).jitter(0.5);
            it.cache.get_or_load_expiring::<u32, _, _, _>("a", policy, load).await.unwrap();
            it.clock.suspend(10 * SECOND);
            assert_eq!(it.is_kept("a").await, seconds == Duration::MAX);
        }
    }
}
