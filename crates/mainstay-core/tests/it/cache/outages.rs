//! What a cache does while its store is down, slow, or silent.

use std::convert::Infallible;

use futures_util::future::join_all;
use mainstay_core::cache::{Error, Ttl};
use mainstay_core::store::Degrade;
use mainstay_testkit::faulty::Fault;

use super::*;

#[tokio::test(start_paused = true)]
async fn while_the_store_is_down_reads_and_writes_say_so() {
    let it = remote();
    it.faults.always(Fault::Unavailable);
    assert!(matches!(it.cache.get::<usize>("k").await, Err(Error::Unavailable(_))));
    assert!(matches!(it.cache.get_many::<usize>(&["k"]).await, Err(Error::Unavailable(_))));
    assert!(matches!(it.cache.exists("k").await, Err(Error::Unavailable(_))));
    assert!(matches!(it.cache.set("k", &1, Ttl::hours(1)).await, Err(Error::Unavailable(_))));
    assert!(matches!(it.cache.delete("k").await, Err(Error::Unavailable(_))));
    assert!(matches!(it.cache.invalidate_tag("t").await, Err(Error::Unavailable(_))));
    assert_eq!(it.requests("unavailable"), 3.0);
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_was_lost_has_an_unknown_outcome() {
    let it = remote();
    it.faults.next(1, Fault::LostReply);
    assert!(matches!(it.cache.set("k", &1, Ttl::hours(1)).await, Err(Error::Unknown(_))));
    assert!(it.stored("k").await, "here it arrived");
    it.paid().await;
    it.cache.set("k", &1, Ttl::hours(1)).await.unwrap();
    it.faults.next(1, Fault::LostRequest);
    assert!(matches!(it.cache.delete("k").await, Err(Error::Unknown(_))));
    assert!(it.stored("k").await, "here it did not");
    it.faults.next(1, Fault::LostReply);
    assert!(matches!(it.cache.invalidate_tag("t").await, Err(Error::Unknown(_))));
    it.paid().await;
    it.faults.next(1, Fault::LostReply);
    assert!(matches!(it.cache.get::<usize>("k").await, Err(Error::Unavailable(_))), "a read changes nothing");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_silent_costs_its_timeout() {
    let it = remote();
    it.faults.always(Fault::Hang);
    let begun = tokio::time::Instant::now();
    assert!(it.cache.get::<usize>("k").await.is_err());
    assert_eq!(begun.elapsed(), 500 * MS);
    let value = it.cache.get_or_load("k", Ttl::hours(1), Loader::default().numbered(SECOND)).await;
    assert_eq!((value.unwrap(), begun.elapsed()), (1, 2 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_down_callers_still_share_one_load() {
    let it = remote();
    it.faults.always(Fault::Unavailable);
    let loader = Loader::default();
    let get = || it.cache.get_or_load("k", Ttl::hours(1), loader.numbered(SECOND));
    assert!(join_all((0..64).map(|_| get())).await.into_iter().all(|value| value.unwrap() == 1));
    assert_eq!(get().await.unwrap(), 2, "nothing was stored");
    it.faults.mend();
    assert_eq!(get().await.unwrap(), 3);
    assert_eq!(get().await.unwrap(), 3, "and now it is");
    it.assert_idle().await;
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_down_few_loads_run_at_a_time() {
    let it = remote();
    it.faults.always(Fault::Unavailable);
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let loads = (0..200_usize).map(|n| {
        let (cache, running, most) = (it.cache.clone(), Arc::clone(&running), Arc::clone(&most));
        let load = move || async move {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(SECOND).await;
            running.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, Infallible>(n)
        };
        async move { cache.get_or_load(&n.to_string(), Ttl::hours(1), load).await.unwrap() }
    });
    let begun = tokio::time::Instant::now();
    assert_eq!(join_all(loads).await, (0..200).collect::<Vec<_>>());
    assert_eq!(most.load(Ordering::SeqCst), 32);
    assert_eq!(begun.elapsed(), 7 * SECOND);
    it.assert_idle().await;
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_down_who_finds_no_place_waits_until_the_hard_timeout() {
    let it = remote();
    it.faults.always(Fault::Unavailable);
    let policy = Ttl::hours(1).hard_timeout(5 * SECOND);
    let hang = || async { std::future::pending::<Result<usize, Infallible>>().await };
    let keys: Vec<_> = (0..40).map(|n| n.to_string()).collect();
    let begun = tokio::time::Instant::now();
    let answers = join_all(keys.iter().map(|key| it.cache.get_or_load(key, policy.clone(), hang))).await;
    assert!(answers.iter().all(|answer| matches!(answer, Err(Error::LoadTimeout { .. }))), "{answers:?}");
    assert_eq!(begun.elapsed(), 5 * SECOND);
    it.assert_idle().await;
    assert_eq!(it.cache.get_or_load("k", policy, Loader::default().numbered(MS)).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_delete_parts_new_callers_from_a_load_that_began_while_the_store_was_down() {
    let it = remote();
    let loader = Loader::default();
    let get = || it.cache.get_or_load("k", Ttl::hours(1), loader.numbered(SECOND));
    it.faults.always(Fault::Unavailable);
    let change = async {
        settle().await;
        it.faults.mend();
        it.cache.delete("k").await.unwrap();
        it.faults.always(Fault::Unavailable);
        get().await.unwrap()
    };
    let (before, after) = tokio::join!(get(), change);
    assert_eq!((before.unwrap(), after), (1, 2));
    it.assert_idle().await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_whose_grant_was_lost_is_given_back() {
    let it = remote();
    it.faults.next(1, Fault::LostReply);
    let loader = Loader::default();
    let get = || it.cache.get_or_load("k", Ttl::hours(1), loader.numbered(SECOND));
    assert_eq!(get().await.unwrap(), 1, "it is loaded without the store");
    it.assert_idle().await;
    assert_eq!(get().await.unwrap(), 2, "and the next need not wait for the lease to run out");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_could_not_be_settled_is_given_back_when_the_store_is_back() {
    for fault in [Fault::Unavailable, Fault::LostRequest, Fault::Hang] {
        let it = remote();
        let faults = it.faults.clone();
        let load = move || async move {
            faults.always(fault);
            Ok::<_, Infallible>(7_usize)
        };
        assert_eq!(it.cache.get_or_load("k", Ttl::hours(1), load).await.unwrap(), 7);
        tokio::time::sleep(3 * SECOND).await;
        it.faults.mend();
        let begun = tokio::time::Instant::now();
        let value = it.cache.get_or_load("k", Ttl::hours(1), Loader::default().numbered(MS)).await;
        assert!(value.is_ok(), "{fault:?}: {value:?}");
        assert!(begun.elapsed() < 3 * SECOND, "{fault:?}: after {:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn who_gives_back_a_lease_to_a_store_that_is_away_ends_with_the_cache() {
    let it = remote();
    let faults = it.faults.clone();
    let load = move || async move {
        faults.always(Fault::Unavailable);
        Ok::<_, Infallible>(7_usize)
    };
    assert_eq!(it.cache.get_or_load("k", Ttl::hours(1), load).await.unwrap(), 7);
    it.cache.stop(SECOND).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_granted_to_a_caller_who_left_is_given_back() {
    let it = remote();
    it.faults.next(1, Fault::Hang);
    let get = it.cache.get_or_load("k", Ttl::hours(1), Loader::default().numbered(MS));
    assert!(tokio::time::timeout(MS, get).await.is_err());
    it.assert_idle().await;
}

#[tokio::test(start_paused = true)]
async fn a_fill_whose_answer_was_lost_is_sent_again_and_disturbs_nothing() {
    for fault in [Fault::LostReply, Fault::LostRequest, Fault::Hang] {
        let it = remote();
        let faults = it.faults.clone();
        let load = move || async move {
            faults.next(1, fault);
            Ok::<_, Infallible>(7_usize)
        };
        assert_eq!(it.cache.get_or_load("k", Ttl::hours(1), load).await.unwrap(), 7);
        assert_eq!(it.cache.get::<usize>("k").await.unwrap(), Some(7), "{fault:?}");
        assert_eq!(it.metric("cache_fills_refused_total"), 0.0);
        it.assert_idle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_loaded_value_is_returned_though_it_cannot_be_stored() {
    let it = remote();
    let faults = it.faults.clone();
    let load = || async move {
        faults.always(Fault::Unavailable);
        Ok::<_, Infallible>(7_usize)
    };
    assert_eq!(it.cache.get_or_load("k", Ttl::hours(1), load).await.unwrap(), 7);
    it.faults.mend();
    assert!(!it.cache.exists("k").await.unwrap());
    tokio::time::sleep(32 * SECOND).await;
    it.assert_idle().await;
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_must_not_load_by_itself_refuses() {
    let faults = Faults::none();
    let mut options = Options::default();
    options.degrade = Degrade::Refuse;
    let store = faults.clone();
    let it = fixture(options, |memory| Arc::new(FaultyStore::new(memory, store)));
    let loader = Loader::default();
    assert_eq!(it.cache.get_or_load("k", Ttl::hours(1), loader.numbered(MS)).await.unwrap(), 1);
    faults.always(Fault::Unavailable);
    let refused = it.cache.get_or_load("k", Ttl::hours(1), loader.numbered(MS)).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
}
