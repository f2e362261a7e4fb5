//! What lies on the server, and for how long.

use std::time::Duration;

use mainstay_core::rate_limit::{Debit, Mode, Quota, Receipt, Store, Verdict};
use mainstay_redis::Redis;
use mainstay_redis::rate_limit::RedisLimits;
use mainstay_testkit::eventually_async;
use mainstay_testkit::redis::RedisServer;

use super::connect;
use super::lane::{Patch, debit};

const SHORT: Quota = Quota::new(5, Duration::from_millis(200));
const SMOOTH: Quota = Quota::new(5, Duration::from_millis(200)).gcra(5);

async fn take(limits: &RedisLimits, debit: Debit<'_>) -> Verdict {
    limits.decide(&[debit], Mode::Take).await.unwrap()[0]
}

async fn charge(limits: &RedisLimits, debit: Debit<'_>) -> Receipt {
    take(limits, debit).await.receipt.unwrap()
}

#[tokio::test]
async fn a_state_lives_as_long_as_it_counts_and_no_longer() {
    let server = RedisServer::start().await;
    let limits = RedisLimits::new(connect(&server.url()).await, "n");
    for (quota, key) in [(SHORT, "ms:{n:rl:k}:.w10.5.200000"), (SMOOTH, "ms:{n:rl:k}:.g5.5.200000")] {
        for cost in [3, 1] {
            let verdict = take(&limits, debit("k", quota, cost)).await;
            let left: u128 = server.command(&["PTTL", key]).await.parse().unwrap();
            let counts = verdict.reset_after.as_millis();
            assert!(left <= counts + 2 && left + 50 >= counts, "{left} ms for {counts}");
        }
        let gone = async || server.command(&["EXISTS", key]).await == "0";
        eventually_async("the state is gone", Duration::from_secs(5), gone).await;
    }
    let year = Quota::new(5, Duration::from_secs(365 * 24 * 3600)).buckets(1);
    take(&limits, debit("k", year, 1)).await;
    let left: u64 = server.command(&["PTTL", "ms:{n:rl:k}:.w1.5.31536000000000"]).await.parse().unwrap();
    assert!((365 * 24 * 3_600_000..=2 * 365 * 24 * 3_600_001).contains(&left), "{left}");
}

#[tokio::test]
async fn a_refused_call_changes_no_byte() {
    let server = RedisServer::start().await;
    let limits = RedisLimits::new(connect(&server.url()).await, "n");
    let (minute, smooth) = (Quota::per_minute(9), Quota::per_minute(9).gcra(9));
    let full = debit("full", minute, 9);
    let all = [debit("a", minute, 2), debit("b", smooth, 2), full];
    assert!(limits.decide(&all, Mode::Take).await.unwrap().admitted());
    let dump = async || {
        let mut lines = Vec::new();
        for key in
            ["ms:{n:rl:a}:.w10.9.60000000", "ms:{n:rl:b}:.g9.9.60000000", "ms:{n:rl:full}:.w10.9.60000000"]
        {
            let time = server.command(&["PEXPIRETIME", key]).await;
            lines.push((server.command(&["DUMP", key]).await, time));
        }
        (lines, server.command(&["DBSIZE"]).await)
    };
    let before = dump().await;
    for _ in 0..5 {
        let fresh = debit("fresh", minute, 1);
        assert!(!limits.decide(&[all[0], fresh, all[1], full], Mode::Take).await.unwrap().admitted());
        limits.decide(&[all[0], fresh, all[1]], Mode::Peek).await.unwrap();
    }
    assert_eq!(dump().await, before);
}

#[tokio::test]
async fn a_refund_does_not_lengthen_a_life() {
    let server = RedisServer::start().await;
    let limits = RedisLimits::new(connect(&server.url()).await, "n");
    for quota in [SHORT, SMOOTH] {
        let receipt = charge(&limits, debit("k", quota, 5)).await;
        limits.refund(debit("k", quota, 0), receipt).await.unwrap();
        let empty = async || server.command(&["DBSIZE"]).await == "0";
        eventually_async("the state is gone", Duration::from_secs(5), empty).await;
    }
}

/// What a bug in the life of a state does: the calls say what is wrong.
async fn lives(redis: &Redis, name: &str, patch: Patch) -> Result<(), &'static str> {
    let (decide, refund) = RedisLimits::scripts();
    let limits = RedisLimits::with_scripts(redis.clone(), name, patch(decide).leak(), patch(refund).leak());
    // A refund moves the marks of all that comes after it in the same life.
    let first = charge(&limits, debit("k", SMOOTH, 5)).await;
    limits.refund(debit("k", SMOOTH, 0), first).await.unwrap();
    let second = charge(&limits, debit("k", SMOOTH, 5)).await;
    take(&limits, debit("w", SHORT, 5)).await;
    tokio::time::sleep(Duration::from_millis(190)).await;
    if take(&limits, debit("w", SHORT, 1)).await.fits {
        return Err("forgotten too early");
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    take(&limits, debit("k", SMOOTH, 5)).await;
    limits.refund(debit("k", SMOOTH, 0), second).await.unwrap();
    if take(&limits, debit("k", SMOOTH, 3)).await.fits {
        return Err("gave back to a life what was charged to another");
    }
    Ok(())
}

#[tokio::test]
async fn a_receipt_of_an_earlier_life_is_worth_nothing() {
    let server = RedisServer::start().await;
    let redis = connect(&server.url()).await;
    assert_eq!(lives(&redis, "right", str::to_owned).await, Ok(()));
    let early: Patch = |script| script.replace(" - now) / 1000) + 1", " - now) / 2000)");
    assert_eq!(lives(&redis, "early", early).await, Err("forgotten too early"));
    let forgetful: Patch = |script| script.replace("if born ~= life then return 0 end", "");
    assert!(lives(&redis, "forgetful", forgetful).await.is_err());
}
