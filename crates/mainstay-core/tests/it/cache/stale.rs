//! What is served after its time, and what is loaded before its end.

use mainstay_core::cache::Ttl;

use super::*;

fn stale_for_a_minute() -> Policy {
    exactly(Ttl::seconds(10)).stale_for(Ttl::minutes(1))
}

#[tokio::test(start_paused = true)]
async fn without_patience_a_stale_value_is_served_at_once_while_a_new_one_is_loaded() {
    let it = local();
    let loader = Loader::default();
    let policy = stale_for_a_minute().soft_timeout(Duration::ZERO);
    let get = || it.cache.get_or_load("k", policy.clone(), loader.numbered(SECOND));
    assert_eq!(get().await.unwrap(), 1);
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(it.cache.get::<usize>("k").await.unwrap(), None, "only who loads gets stale values");
    let begun = tokio::time::Instant::now();
    assert_eq!((get().await.unwrap(), get().await.unwrap()), (1, 1));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(it.requests("stale"), 2.0);
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(get().await.unwrap(), 2);
    assert_eq!(loader.count(), 2, "one load in the background");
    it.assert_idle().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_soft_timeout_a_stale_value_is_served_only_if_loading_fails_or_takes_too_long() {
    let it = local();
    let loader = Loader::default();
    let get = |takes| it.cache.get_or_load("k", stale_for_a_minute(), loader.numbered(takes));
    for (takes, expected) in [(29 * SECOND, 1), (31 * SECOND, 7)] {
        it.cache.set("k", &7_usize, stale_for_a_minute()).await.unwrap();
        tokio::time::sleep(10 * SECOND).await;
        let begun = tokio::time::Instant::now();
        assert_eq!(get(takes).await.unwrap(), expected);
        assert_eq!(begun.elapsed(), takes.min(30 * SECOND));
    }
    assert_eq!(it.cache.get_or_load("k", stale_for_a_minute(), loader.failing()).await.unwrap(), 7);
    it.cache.stop(SECOND).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_load_of_another_process_is_waited_for_like_an_own_one() {
    let it = remote();
    let store = Arc::clone(&it.memory) as Arc<dyn Store>;
    let other = Cache::new(store, Options::default(), &Metrics::new(), it.clock.clock());
    let policy = stale_for_a_minute();
    let soft = policy.clone().soft_timeout(SECOND);
    let (two, loader) = (2 * SECOND, Loader::default());
    let began = |at: tokio::time::Instant| at.elapsed().as_secs();
    let there = |takes| other.get_or_load("k", policy.clone(), loader.numbered(takes));
    let here = |policy: &Policy| it.cache.get_or_load("k", policy.clone(), loader.numbered(two));
    let seven = || async {
        it.cache.set("k", &7_usize, policy.clone()).await.unwrap();
        tokio::time::sleep(10 * SECOND).await;
        tokio::time::Instant::now()
    };

    let begun = seven().await;
    let answers = tokio::join!(there(two), here(&policy), async { (here(&soft).await, began(begun)) });
    assert_eq!((answers.0.unwrap(), answers.1.unwrap(), began(begun)), (1, 1, 2));
    assert_eq!((answers.2.0.unwrap(), answers.2.1), (7, 1));

    let begun = seven().await;
    let answers = tokio::join!(there(Duration::MAX), here(&policy));
    assert_eq!((answers.0.unwrap(), answers.1.unwrap(), began(begun)), (7, 7, 30));

    let begun = seven().await;
    let answers =
        tokio::join!(other.get_or_load("k", policy.clone(), loader.failing_after(two)), here(&policy));
    assert_eq!((answers.0.unwrap(), answers.1.unwrap(), began(begun)), (7, 7, 2));
    assert_eq!(loader.count(), 3, "only the other process loads");
}

#[tokio::test(start_paused = true)]
async fn with_a_soft_timeout_the_new_value_is_waited_for_that_long() {
    let it = local();
    let loader = Loader::default();
    let policy = stale_for_a_minute().soft_timeout(SECOND);
    let get = |takes| it.cache.get_or_load("k", policy.clone(), loader.numbered(takes));
    assert_eq!(get(MS).await.unwrap(), 1);
    tokio::time::sleep(11 * SECOND).await;
    let begun = tokio::time::Instant::now();
    assert_eq!(get(SECOND / 2).await.unwrap(), 2);
    assert_eq!(begun.elapsed(), SECOND / 2, "it came in time");
    tokio::time::sleep(11 * SECOND).await;
    let begun = tokio::time::Instant::now();
    assert_eq!(get(2 * SECOND).await.unwrap(), 2);
    assert_eq!(begun.elapsed(), SECOND, "it came too late");
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(it.cache.get::<usize>("k").await.unwrap(), Some(3), "and was stored nevertheless");
    it.assert_idle().await;
}

#[tokio::test(start_paused = true)]
async fn an_expired_value_is_served_for_its_second_time_and_no_longer() {
    let it = local();
    let loader = Loader::default();
    it.cache.set("k", &7_usize, stale_for_a_minute()).await.unwrap();
    tokio::time::sleep(69 * SECOND).await;
    assert_eq!(it.cache.get_or_load("k", stale_for_a_minute(), loader.failing()).await.unwrap(), 7);
    tokio::time::sleep(2 * SECOND).await;
    assert!(it.cache.get_or_load("k", stale_for_a_minute(), loader.failing()).await.is_err());
    it.assert_idle().await;
}

#[tokio::test(start_paused = true)]
async fn a_value_whose_second_time_ends_during_the_wait_is_not_served() {
    let it = local();
    let policy = stale_for_a_minute().soft_timeout(5 * SECOND).hard_timeout(8 * SECOND);
    let get = |takes| it.cache.get_or_load("k", policy.clone(), Loader::default().numbered(takes));
    for (takes, expected) in [(7 * SECOND, Some(1)), (20 * SECOND, None)] {
        it.cache.set("k", &7_usize, policy.clone()).await.unwrap();
        tokio::time::sleep(67 * SECOND).await;
        assert_eq!(get(takes).await.ok(), expected, "the stale value has 3 s left");
    }
    it.assert_idle().await;
}

#[tokio::test(start_paused = true)]
async fn the_longest_soft_timeout_is_the_hard_one() {
    let it = local();
    let policy = stale_for_a_minute().soft_timeout(Duration::MAX);
    it.cache.set("k", &7_usize, policy.clone()).await.unwrap();
    tokio::time::sleep(10 * SECOND).await;
    let loaded = it.cache.get_or_load("k", policy, Loader::default().numbered(29 * SECOND)).await;
    assert_eq!(loaded.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_is_spared_while_there_is_a_stale_value() {
    let it = local();
    let loader = Loader::default();
    let policy = stale_for_a_minute().soft_timeout(SECOND);
    it.cache.set("k", &7_usize, policy.clone()).await.unwrap();
    tokio::time::sleep(10 * SECOND).await;
    for _ in 0..30 {
        let value = it.cache.get_or_load("k", policy.clone(), loader.failing()).await;
        assert_eq!(value.unwrap(), 7);
        tokio::time::sleep(SECOND / 10).await;
    }
    assert_eq!(loader.count(), 3, "once a second");
    assert_eq!(it.requests("stale"), 30.0);
    tokio::time::sleep(SECOND).await;
    let recovered = it.cache.get_or_load("k", policy, loader.numbered(MS)).await;
    assert_eq!(recovered.unwrap(), 4, "and when it is back, the new value is taken");
    it.assert_idle().await;
}

#[tokio::test(start_paused = true)]
async fn a_delete_takes_the_stale_value_and_the_pause_away() {
    let it = local();
    let loader = Loader::default();
    it.cache.set("k", &7_usize, stale_for_a_minute()).await.unwrap();
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(it.cache.get_or_load("k", stale_for_a_minute(), loader.failing()).await.unwrap(), 7);
    settle().await;
    it.cache.delete("k").await.unwrap();
    let begun = tokio::time::Instant::now();
    let loaded = it.cache.get_or_load("k", stale_for_a_minute(), loader.numbered(MS)).await;
    assert_eq!((loaded.unwrap(), begun.elapsed()), (2, MS));
    it.assert_idle().await;
}

#[tokio::test(start_paused = true)]
async fn a_value_is_loaded_anew_in_the_background_before_it_expires() {
    for it in [local(), remote()] {
        let loader = Loader::default();
        // A load takes a second and β is large: the refresh is certain well before the end.
        let policy = exactly(Ttl::minutes(1)).early_refresh(100.0);
        let get = || it.cache.get_or_load("k", policy.clone(), loader.numbered(SECOND));
        assert_eq!(get().await.unwrap(), 1);
        let begun = tokio::time::Instant::now();
        while loader.count() == 1 {
            let asked = tokio::time::Instant::now();
            assert_eq!(get().await.unwrap(), 1);
            assert_eq!(asked.elapsed(), Duration::ZERO, "nobody waits");
            tokio::time::sleep(MS).await;
        }
        assert!(begun.elapsed() < Duration::from_secs(60));
        let meanwhile = futures_util::future::join_all((0..20).map(|_| get())).await;
        assert!(meanwhile.into_iter().all(|value| value.unwrap() == 1));
        tokio::time::sleep(SECOND).await;
        assert_eq!((get().await.unwrap(), loader.count()), (2, 2), "by one caller");
        // What is still running is the refresh that the last call may have begun.
        it.cache.stop(SECOND).await.unwrap();
        it.assert_idle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn times_to_live_vary_within_their_jitter() {
    let it = local();
    let mut expired = Vec::new();
    for n in 0..200 {
        it.cache.set(&n.to_string(), &n, Ttl::seconds(100).jitter(0.1)).await.unwrap();
    }
    for second in 0..120 {
        let mut gone = 0;
        for n in 0..200 {
            gone += usize::from(!it.cache.exists(&n.to_string()).await.unwrap());
        }
        expired.push(gone);
        assert!(second >= 90 || gone == 0, "{gone} gone after {second} s");
        tokio::time::sleep(SECOND).await;
    }
    assert_eq!(expired[111], 200);
    assert!(expired[95] > 0 && expired[105] < 200, "they do not expire together: {expired:?}");
}
