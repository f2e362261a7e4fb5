//! Loads: one for all who wait, whatever becomes of the callers and of the loader.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use mainstay_core::cache::{Error, Ttl};
use mainstay_core::time::Clock;
use tokio::sync::oneshot;

use super::*;

#[tokio::test(start_paused = true)]
async fn callers_who_ask_for_the_same_key_share_one_load() {
    for it in [local(), remote()] {
        let loader = Loader::default();
        let get = || it.cache.get_or_load("k", Ttl::hours(1), loader.numbered(SECOND));
        let values = join_all((0..64).map(|_| get())).await;
        assert!(values.into_iter().all(|value| value.unwrap() == 1));
        assert_eq!(get().await.unwrap(), 1, "it was stored");
        assert_eq!(loader.count(), 1);
        assert_eq!((it.requests("miss"), it.requests("hit"), it.loads("ok")), (64.0, 1.0, 1.0));
        it.assert_idle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn keys_are_loaded_side_by_side() {
    let it = local();
    let loader = Loader::default();
    let begun = tokio::time::Instant::now();
    let keys = ["a", "b", "c"].map(|key| it.cache.get_or_load(key, Ttl::hours(1), loader.numbered(SECOND)));
    assert!(join_all(keys).await.iter().all(Result::is_ok));
    assert_eq!((loader.count(), begun.elapsed()), (3, SECOND));
    it.assert_idle().await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_neither_ends_nor_orphans_the_load() {
    for it in [local(), remote()] {
        let loader = Loader::default();
        let get = || it.cache.get_or_load("k", Ttl::hours(1), loader.numbered(SECOND));
        let left = tokio::time::timeout(SECOND / 2, get()).await;
        assert!(left.is_err(), "it takes longer");
        assert_eq!(get().await.unwrap(), 1, "the second joined the load of the first");
        assert_eq!(loader.count(), 1);
        it.assert_idle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_load_nobody_waits_for_is_stored() {
    let it = local();
    let loader = Loader::default();
    let get = it.cache.get_or_load("k", Ttl::hours(1), loader.numbered(SECOND));
    assert!(tokio::time::timeout(MS, get).await.is_err());
    tokio::time::sleep(SECOND).await;
    assert_eq!(it.cache.get::<usize>("k").await.unwrap(), Some(1));
    it.assert_idle().await;
}

#[tokio::test(start_paused = true)]
async fn an_error_reaches_all_who_wait_and_is_not_kept() {
    let it = local();
    let fail = || async { Err::<usize, _>(io::Error::other("no such table")) };
    let get = || it.cache.get_or_load("k", Ttl::hours(1), fail);
    for error in join_all([get(), get()]).await {
        let error = error.unwrap_err();
        assert_eq!(error.to_string(), "loading failed: no such table");
        assert_eq!(error.load_error::<io::Error>().unwrap().kind(), io::ErrorKind::Other);
        assert!(error.load_error::<std::fmt::Error>().is_none());
    }
    assert_eq!(it.loads("error"), 1.0);
    let loader = Loader::default();
    assert_eq!(it.cache.get_or_load("k", Ttl::hours(1), loader.numbered(MS)).await.unwrap(), 1);
    it.assert_idle().await;
}

#[tokio::test(start_paused = true)]
async fn a_loader_that_panics_is_an_error_for_all_who_wait_and_makes_room() {
    for it in [local(), remote()] {
        let bad = || async {
            tokio::time::sleep(MS).await;
            panic!("on purpose");
            #[expect(unreachable_code, reason = "gives the block its type")]
            Ok::<usize, Infallible>(0)
        };
        let get = || it.cache.get_or_load("k", Ttl::hours(1), bad);
        for error in join_all([get(), get(), get()]).await {
            assert!(matches!(error, Err(Error::LoadPanicked)), "{error:?}");
        }
        assert_eq!(it.loads("panic"), 1.0);
        it.assert_idle().await;
        let loader = Loader::default();
        assert_eq!(it.cache.get_or_load("k", Ttl::hours(1), loader.numbered(MS)).await.unwrap(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_loader_that_hangs_is_dropped_at_the_hard_timeout() {
    for it in [local(), remote()] {
        let (dropped, watch) = oneshot::channel::<()>();
        let hang = || async move {
            let _dropped = dropped;
            std::future::pending::<Result<usize, Infallible>>().await
        };
        let begun = tokio::time::Instant::now();
        let error =
            it.cache.get_or_load("k", Ttl::hours(1).hard_timeout(5 * SECOND), hang).await.unwrap_err();
        assert!(matches!(error, Error::LoadTimeout { after } if after == 5 * SECOND), "{error:?}");
        assert_eq!(begun.elapsed(), 5 * SECOND);
        assert!(watch.await.is_err(), "the loader was dropped");
        assert_eq!(it.loads("timeout"), 1.0);
        it.assert_idle().await;
        assert!(!it.cache.exists("k").await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn who_joins_a_load_late_waits_no_longer_than_their_own_hard_timeout() {
    let it = local();
    let slow = || async { std::future::pending::<Result<usize, Infallible>>().await };
    let patient = it.cache.clone();
    let patient = tokio::spawn(async move { patient.get_or_load("k", Ttl::hours(1), slow).await });
    settle().await;
    let begun = tokio::time::Instant::now();
    let policy = Ttl::hours(1).hard_timeout(SECOND);
    let error = it.cache.get_or_load("k", policy, slow).await.unwrap_err();
    assert!(matches!(error, Error::LoadTimeout { .. }));
    assert_eq!(begun.elapsed(), SECOND);
    assert!(patient.await.unwrap().is_err());
    it.assert_idle().await;
}

#[tokio::test(start_paused = true)]
async fn a_load_that_a_delete_overtook_is_returned_to_its_callers_and_not_stored() {
    for it in [local(), remote()] {
        let loader = Loader::default();
        let get = || it.cache.get_or_load("k", Ttl::hours(1), loader.numbered(SECOND));
        let change = async {
            tokio::time::sleep(SECOND / 2).await;
            assert!(!it.cache.delete("k").await.unwrap(), "there was no value yet");
            get().await.unwrap()
        };
        let (before, after) = tokio::join!(get(), change);
        assert_eq!((before.unwrap(), after), (1, 2), "who came after the delete did not get the old load");
        assert_eq!(it.cache.get::<usize>("k").await.unwrap(), Some(2));
        assert_eq!(it.metric("cache_fills_refused_total"), 1.0);
        it.assert_idle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_load_that_its_tag_overtook_is_not_seen_by_those_who_come_after() {
    let it = local();
    let loader = Loader::default();
    let get = || it.cache.get_or_load("k", Ttl::hours(1).tag("users"), loader.numbered(SECOND));
    let change = async {
        tokio::time::sleep(SECOND / 2).await;
        it.cache.invalidate_tag("users").await.unwrap();
        get().await.unwrap()
    };
    let (before, after) = tokio::join!(get(), change);
    assert_eq!((before.unwrap(), after), (1, 2));
    assert_eq!(it.cache.get::<usize>("k").await.unwrap(), Some(2));
    it.cache.invalidate_tag("users").await.unwrap();
    assert_eq!(it.cache.get::<usize>("k").await.unwrap(), None);
    it.assert_idle().await;
}

#[tokio::test(start_paused = true)]
async fn a_load_does_not_replace_what_was_set_meanwhile() {
    let it = local();
    let loader = Loader::default();
    let get = it.cache.get_or_load("k", Ttl::hours(1), loader.numbered(SECOND));
    let set = async {
        tokio::time::sleep(SECOND / 2).await;
        it.cache.set("k", &99_usize, Ttl::hours(1)).await.unwrap();
    };
    let (loaded, ()) = tokio::join!(get, set);
    assert_eq!(loaded.unwrap(), 1);
    assert_eq!(it.cache.get::<usize>("k").await.unwrap(), Some(99));
    it.assert_idle().await;
}

#[tokio::test(start_paused = true)]
async fn a_load_under_a_lease_of_another_process_is_waited_for() {
    let it = remote();
    let other = Cache::new(
        Arc::clone(&it.memory) as Arc<dyn Store>,
        Options::default(),
        &Metrics::new(),
        it.clock.clock(),
    );
    let loader = Loader::default();
    let get = |cache: &Cache| {
        let (cache, loader) = (cache.clone(), loader.clone());
        async move { cache.get_or_load("k", Ttl::hours(1), loader.numbered(SECOND)).await.unwrap() }
    };
    let both = (0..10).flat_map(|_| [get(&it.cache), get(&other)]);
    let begun = tokio::time::Instant::now();
    assert!(join_all(both).await.into_iter().all(|value| value == 1));
    assert_eq!(loader.count(), 1);
    assert_eq!(begun.elapsed(), SECOND, "those who waited were woken at once");
    it.assert_idle().await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_whose_holder_died_delays_others_only_until_it_runs_out() {
    let it = local();
    let key = mainstay_core::key::Key::new("k").unwrap();
    let claim = mainstay_core::cache::Claim {
        token: mainstay_core::cache::Token::random(),
        lease: 3 * SECOND,
        min_fresh: Duration::ZERO,
        tags: &[],
    };
    it.memory.lookup(key, claim).await.unwrap();
    let loader = Loader::default();
    let begun = tokio::time::Instant::now();
    let value = it.cache.get_or_load("k", Ttl::hours(1), loader.numbered(Duration::ZERO)).await;
    assert_eq!(value.unwrap(), 1);
    assert!(begun.elapsed() >= 3 * SECOND && begun.elapsed() < 4 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn one_key_asked_for_as_two_types_is_loaded_in_turns_and_nobody_panics() {
    let it = local();
    let number = it.cache.get_or_load("k", Ttl::hours(1), || async {
        tokio::time::sleep(SECOND).await;
        Ok::<_, Infallible>(7_usize)
    });
    let text = it.cache.get_or_load("k", Ttl::hours(1), || async {
        tokio::time::sleep(SECOND).await;
        Ok::<_, Infallible>("seven".to_owned())
    });
    let (number, text) = tokio::join!(number, text);
    assert_eq!((number.unwrap(), text.unwrap().as_str()), (7, "seven"));
    assert_eq!(it.metric("cache_decode_failures_total"), 1.0, "the number was no text");
    it.assert_idle().await;
}

#[tokio::test(start_paused = true)]
async fn that_there_is_no_value_is_kept_for_its_own_short_time() {
    let it = local();
    let loader = Loader::default();
    let policy = exactly(Ttl::hours(1)).negative_ttl(5 * SECOND);
    let get = || {
        let load = loader.numbered(MS);
        let absent = || async { load().await.map(|_| None::<String>) };
        it.cache.get_or_load_optional("k", policy.clone(), absent)
    };
    assert_eq!(get().await.unwrap(), None);
    assert_eq!(get().await.unwrap(), None);
    assert_eq!(loader.count(), 1);
    assert!(!it.cache.exists("k").await.unwrap());
    assert_eq!(it.cache.get::<String>("k").await.unwrap(), None);
    assert_eq!((it.requests("miss"), it.requests("negative")), (1.0, 2.0));
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(get().await.unwrap(), None);
    assert_eq!(loader.count(), 2);
    assert!(!it.cache.delete("k").await.unwrap(), "there is no value to delete");
    assert_eq!(get().await.unwrap(), None);
    assert_eq!(loader.count(), 3, "but the knowledge was deleted");
}

#[tokio::test(start_paused = true)]
async fn that_there_is_no_value_is_kept_for_30_seconds_at_most_whatever_the_jitter() {
    let it = local();
    let policy = Ttl::hours(1).negative_ttl(Ttl::seconds(30)).jitter(0.5);
    let loads = Arc::new(AtomicUsize::new(0));
    for _ in 0..100 {
        let count = Arc::clone(&loads);
        let load = move || async move {
            count.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Infallible>(None)
        };
        assert_eq!(
            it.cache.get_or_load_optional::<usize, _, _, _>("k", policy.clone(), load).await.unwrap(),
            None
        );
        tokio::time::sleep(30 * SECOND).await;
    }
    assert_eq!(loads.load(Ordering::SeqCst), 100);
}

#[tokio::test(start_paused = true)]
async fn who_must_have_a_value_loads_it_though_it_was_known_not_to_exist() {
    let it = local();
    let absent = || async { Ok::<Option<usize>, Infallible>(None) };
    let loader = Loader::default();
    assert_eq!(it.cache.get_or_load_optional("k", Ttl::hours(1), absent).await.unwrap(), None);
    assert_eq!(it.cache.get_or_load("k", Ttl::hours(1), loader.numbered(MS)).await.unwrap(), 1);
    assert_eq!(it.cache.get_or_load_optional("k", Ttl::hours(1), absent).await.unwrap(), Some(1));
    it.assert_idle().await;
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_the_loads_and_those_who_wait_are_told() {
    for it in [local(), remote()] {
        let loader = Loader::default();
        let (waiting, ended) =
            tokio::join!(it.cache.get_or_load("k", Ttl::hours(1), loader.numbered(20 * SECOND)), async {
                tokio::time::sleep(SECOND).await;
                it.cache.stop(SECOND).await
            });
        assert!(matches!(waiting, Err(Error::Stopped)), "{waiting:?}");
        assert_eq!(ended, Ok(()));
        it.assert_idle().await;
        let late = it.cache.get_or_load("k", Ttl::hours(1), loader.numbered(MS)).await;
        assert!(matches!(late, Err(Error::Stopped)), "{late:?}");
        it.cache.set("k", &7_usize, Ttl::hours(1)).await.unwrap();
        assert_eq!(it.cache.get_or_load("k", Ttl::hours(1), loader.numbered(MS)).await.unwrap(), 7);
        it.assert_idle().await;
    }
}

#[test]
fn a_load_whose_runtime_ends_leaves_its_key_to_others() {
    let runtime =
        || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let memory = Arc::new(Memory::new(&Options::default(), Clock::system()));
    let cache = Cache::new(
        Arc::clone(&memory) as Arc<dyn Store>,
        Options::default(),
        &Metrics::new(),
        Clock::system(),
    );
    let loader = Loader::default();
    let get = |takes| cache.get_or_load("k", Ttl::hours(1), loader.numbered(takes));
    runtime().block_on(async { tokio::time::timeout(SECOND, get(2 * SECOND)).await.unwrap_err() });
    assert_eq!(memory.usage().leases, 0);
    let begun = runtime().block_on(async {
        let begun = tokio::time::Instant::now();
        assert_eq!(get(MS).await.unwrap(), 2);
        begun.elapsed()
    });
    assert_eq!(begun, MS);
}

#[tokio::test(start_paused = true)]
async fn a_loader_that_panics_when_it_is_dropped_leaves_its_key_to_others() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    let it = local();
    let load = || async {
        let _bad = Bad;
        std::future::pending::<Result<usize, Infallible>>().await
    };
    let policy = Ttl::hours(1).hard_timeout(SECOND);
    // Its callers' own hard timeout comes at the same moment.
    it.cache.get_or_load("k", policy, load).await.unwrap_err();
    it.assert_idle().await;
    assert_eq!(it.loads("panic"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_ends_the_loads() {
    let Fixture { cache, memory, .. } = local();
    let ended = Arc::new(AtomicBool::new(false));
    struct OnDrop(Arc<AtomicBool>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let mark = OnDrop(Arc::clone(&ended));
    let load = || async move {
        let _mark = mark;
        std::future::pending::<Result<usize, Infallible>>().await
    };
    let get = cache.get_or_load("k", Ttl::hours(1), load);
    assert!(tokio::time::timeout(SECOND, get).await.is_err());
    drop(cache);
    settle().await;
    assert!(ended.load(Ordering::SeqCst));
    assert_eq!(memory.usage().leases, 0);
}
