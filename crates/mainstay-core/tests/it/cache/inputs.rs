//! Bad input ends in an error that names the field, and changes nothing.

use std::convert::Infallible;

use mainstay_core::cache::{Error, Ttl};
use mainstay_core::codec::Codec;
use mainstay_core::key::InvalidKey;

use super::*;

/// The field that is at fault, of a set and of a load alike.
async fn refused(policy: impl Into<Policy>) -> &'static str {
    let it = local();
    let policy = policy.into();
    let loader = Loader::default();
    let loaded = it.cache.get_or_load("k", policy.clone(), loader.numbered(MS)).await;
    let set = it.cache.set("k", &1, policy).await;
    assert_eq!(loader.count(), 0, "nothing is loaded in vain");
    assert!(!it.cache.exists("k").await.unwrap());
    match (loaded, set) {
        (Err(Error::Policy { field, .. }), Err(Error::Policy { field: same, .. })) if field == same => field,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_cannot_be_met_is_refused_by_its_field() {
    for ttl in
        [Ttl::millis(0), Ttl::from(Duration::from_nanos(1)), Ttl::millis(10_u64.pow(18)), Ttl::days(3651)]
    {
        assert_eq!(refused(ttl).await, "ttl", "{ttl:?}");
    }
    assert_eq!(refused(Ttl::days(u64::MAX)).await, "ttl");
    assert_eq!(refused(Duration::MAX).await, "ttl");
    let good = Ttl::hours(1);
    assert_eq!(refused(good.stale_for(Duration::MAX)).await, "stale_for");
    for factor in [f64::NAN, f64::INFINITY, -1.0, 101.0] {
        assert_eq!(refused(good.early_refresh(factor)).await, "early_refresh");
    }
    for fraction in [f64::NAN, f64::NEG_INFINITY, -0.1, 0.6] {
        assert_eq!(refused(good.jitter(fraction)).await, "jitter");
    }
    assert_eq!(refused(good.hard_timeout(Duration::ZERO)).await, "hard_timeout");
    assert_eq!(refused(good.hard_timeout(Duration::MAX)).await, "hard_timeout");
    assert_eq!(refused(good.negative_ttl(Duration::ZERO)).await, "negative_ttl");
    assert_eq!(refused(good.negative_ttl(Ttl::seconds(31))).await, "negative_ttl");
    assert_eq!(refused(good.tag("")).await, "tag");
    assert_eq!(refused((0..9).fold(Policy::new(good), |policy, n| policy.tag(n.to_string()))).await, "tag");
}

#[tokio::test(start_paused = true)]
async fn the_longest_times_do_not_overflow() {
    let it = local();
    let longest = Ttl::days(3650).stale_for(Ttl::days(3650)).soft_timeout(Duration::MAX).jitter(0.5);
    it.cache.set("k", &1, longest.clone()).await.unwrap();
    tokio::time::advance(Duration::from_secs(3600 * 24 * 1000)).await;
    assert_eq!(it.cache.get_or_load("k", longest, Loader::default().numbered(MS)).await.unwrap(), 1);
    it.cache.set("short", &1, Ttl::millis(1).jitter(0.5)).await.unwrap();
    assert!(it.cache.exists("short").await.unwrap(), "jitter takes no life away altogether");
}

#[tokio::test(start_paused = true)]
async fn a_key_is_any_text_of_1_to_2048_bytes() {
    let it = local();
    let names = ["{user}*", "a\r\nb", "nul\0", "..%2f..%2fetc", "é\u{202e}", &"x".repeat(2048)];
    for (n, name) in names.iter().enumerate() {
        it.cache.set(name, &n, Ttl::hours(1)).await.unwrap();
    }
    for (n, name) in names.iter().enumerate() {
        assert_eq!(it.cache.get::<usize>(name).await.unwrap(), Some(n));
    }
    let megabyte = "x".repeat(1 << 20);
    for (name, why) in [("", InvalidKey::Empty), (&megabyte, InvalidKey::TooLong { length: 1 << 20 })] {
        let is_refused = |error: Error| matches!(error, Error::Key(key) if key == why);
        assert!(is_refused(it.cache.get::<usize>(name).await.unwrap_err()));
        assert!(is_refused(it.cache.set(name, &1, Ttl::hours(1)).await.unwrap_err()));
        assert!(is_refused(it.cache.delete(name).await.unwrap_err()));
        assert!(is_refused(it.cache.exists(name).await.unwrap_err()));
        assert!(is_refused(it.cache.get_many::<usize>(&["good", name]).await.unwrap_err()));
        assert!(is_refused(it.cache.set_many(&[("good", 1), (name, 1)], Ttl::hours(1)).await.unwrap_err()));
        let load = Loader::default().numbered(MS);
        assert!(is_refused(it.cache.get_or_load(name, Ttl::hours(1), load).await.unwrap_err()));
    }
    assert!(!it.cache.exists("good").await.unwrap(), "of many with a bad one none is stored");
    assert!(matches!(it.cache.invalidate_tag("").await, Err(Error::Policy { field: "tag", .. })));
}

#[tokio::test(start_paused = true)]
async fn a_value_over_the_limit_is_refused_and_never_cut() {
    let mut options = Options::default();
    options.max_value_bytes = 100;
    let it = fixture(options, |memory| memory);
    let (fits, large) = ("x".repeat(98), "x".repeat(99)); // and two quotation marks
    it.cache.set("k", &fits, Ttl::hours(1)).await.unwrap();
    let error = it.cache.set("k", &large, Ttl::hours(1)).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { size: 101, max: 100 }), "{error:?}");
    assert_eq!(it.cache.get::<String>("k").await.unwrap(), Some(fits));

    let expected = large.clone();
    let load = || async { Ok::<_, Infallible>(large) };
    assert_eq!(it.cache.get_or_load("loaded", Ttl::hours(1), load).await.unwrap(), expected);
    assert!(!it.cache.exists("loaded").await.unwrap(), "it is returned and not stored");
    assert_eq!(it.metric("cache_fills_refused_total"), 1.0);
    it.assert_idle().await;
}

#[tokio::test(start_paused = true)]
async fn a_value_that_cannot_be_written_is_an_error() {
    let it = local();
    let odd = std::collections::HashMap::from([((1, 2), 3)]);
    let load = odd.clone();
    let load = || async { Ok::<_, Infallible>(load) };
    assert!(matches!(it.cache.set("k", &odd, Ttl::hours(1)).await, Err(Error::Codec(_))));
    assert!(matches!(it.cache.get_or_load("k", Ttl::hours(1), load).await, Err(Error::Codec(_))));
    it.assert_idle().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_written_as_another_type_is_a_miss_and_is_loaded_anew() {
    let it = local();
    it.cache.set("k", &"text", Ttl::hours(1)).await.unwrap();
    assert_eq!(it.cache.get::<usize>("k").await.unwrap(), None);
    assert_eq!((it.requests("miss"), it.metric("cache_decode_failures_total")), (1.0, 1.0));
    let loader = Loader::default();
    assert_eq!(it.cache.get_or_load("k", Ttl::hours(1), loader.numbered(MS)).await.unwrap(), 1);
    assert_eq!(it.cache.get::<usize>("k").await.unwrap(), Some(1), "the new value is stored");
    it.assert_idle().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_of_codec_leaves_what_is_stored_readable() {
    let it = local();
    it.cache.set("k", &("Ada", 36), Ttl::hours(1)).await.unwrap();
    let mut options = Options::default();
    options.codec = Codec::MessagePack;
    let store = Arc::clone(&it.memory) as Arc<dyn Store>;
    let next = Cache::new(store, options, &it.metrics, it.clock.clock());
    assert_eq!(next.get("k").await.unwrap(), Some(("Ada".to_owned(), 36)));
    next.set("k", &("Eve", 37), Ttl::hours(1)).await.unwrap();
    assert_eq!(it.cache.get("k").await.unwrap(), Some(("Eve".to_owned(), 37)));
}

#[tokio::test(start_paused = true)]
async fn values_are_read_and_written_together() {
    let it = local();
    it.cache.set_many(&[("a", 1), ("b", 2)], Ttl::hours(1)).await.unwrap();
    assert_eq!(it.cache.get_many(&["b", "x", "a"]).await.unwrap(), [Some(2), None, Some(1)]);
    assert_eq!(it.cache.get_many::<u8>(&[]).await.unwrap(), []);
    it.cache.set_many::<u8>(&[], Ttl::hours(1)).await.unwrap();
    let shared = it.cache.get::<Arc<u8>>("a").await.unwrap();
    assert_eq!(shared.as_deref(), Some(&1), "an Arc is as good as its content");
}
