//! Servers that lose what they had acknowledged, and whose calendars leap.

use mainstay_core::lock::{Acquired, Claim, Fence, Renewed, Store, Token};
use mainstay_testkit::redis::{RedisServer, Sentinels};

use super::{SECOND, claim, connect, granted, millis, name, store};

/// The finding that fences by `INCR` fail on: the replica that is promoted has not heard of the last grants.
#[tokio::test]
async fn fences_stay_above_over_a_failover_that_loses_grants() {
    let mut sentinels = Sentinels::start().await;
    let before = store(&connect(sentinels.master()).await);
    granted(&before, "k", claim(Token::random(), SECOND)).await;
    sentinels.cut_replicas().await;
    let mut last = Fence::default();
    for _ in 0..5 {
        let attempt = Token::random();
        last = granted(&before, "lost", claim(attempt, SECOND)).await;
        before.release(name("lost"), attempt, millis(0)).await.unwrap();
    }
    let old = sentinels.master();
    sentinels.kill_master().await;
    let new = sentinels.wait_for_new_master(old).await;
    assert_eq!(
        sentinels.server(new).command(&["EXISTS", "ms:{test:lock:lost}:f"]).await,
        "0",
        "nothing was lost"
    );
    let after = store(&connect(new).await);
    let fence = granted(&after, "lost", claim(Token::random(), SECOND)).await;
    assert!(fence > last, "{fence} after {last}");
}

/// With the floor even if the new server's calendar lies back.
#[tokio::test]
async fn the_floor_lifts_fences_over_a_calendar_that_lies_back_on_an_empty_server() {
    let (ahead, behind) = (RedisServer::start().await, RedisServer::builder().clock_shim().start().await);
    behind.step_clock(-60.0);
    let (ahead, behind) = (store(&connect(ahead.address()).await), store(&connect(behind.address()).await));
    let last = granted(&ahead, "k", claim(Token::random(), SECOND)).await;
    let low = granted(&behind, "low", claim(Token::random(), SECOND)).await;
    assert!(low < last, "the promise's condition: {low} should show that the calendar lies back");
    let with_floor = Claim { floor: last, ..claim(Token::random(), SECOND) };
    assert!(granted(&behind, "k", with_floor).await > last);
}

#[tokio::test]
async fn a_calendar_set_back_neither_frees_what_is_held_nor_lowers_fences_nor_holds_for_longer_than_a_ttl() {
    let server = RedisServer::builder().clock_shim().start().await;
    let store = store(&connect(server.address()).await);
    let ttl = millis(600);
    let (held, left) = (Token::random(), Token::random());
    let fence = granted(&store, "held", claim(held, ttl)).await;
    let before = granted(&store, "left", claim(left, ttl)).await;
    server.step_clock(-60.0);
    assert_eq!(store.renew(name("held"), held, fence, ttl).await, Ok(Renewed::Renewed));
    let refused = store.acquire(name("left"), claim(Token::random(), ttl)).await.unwrap();
    assert!(matches!(refused, Acquired::Held { retry_in, .. } if retry_in <= ttl), "{refused:?}");
    tokio::time::sleep(ttl + millis(50)).await;
    let after = granted(&store, "left", claim(Token::random(), ttl)).await;
    assert!(after > before, "{after} after {before}");
    assert_eq!(store.renew(name("held"), held, fence, ttl).await, Ok(Renewed::Lost));
}

/// What is not promised, so that nobody is surprised.
#[tokio::test]
async fn a_calendar_set_forward_ends_what_is_held_and_its_renewal_says_so() {
    let server = RedisServer::builder().clock_shim().start().await;
    let store = store(&connect(server.address()).await);
    let attempt = Token::random();
    let first = granted(&store, "k", claim(attempt, 30 * SECOND)).await;
    server.step_clock(60.0);
    assert_eq!(store.renew(name("k"), attempt, first, 30 * SECOND).await, Ok(Renewed::Lost));
    assert!(granted(&store, "k", claim(Token::random(), SECOND)).await > first);
}
