//! Values that refuse lower fences.

use bytes::Bytes;
use mainstay_core::lock::Fence;
use mainstay_redis::fence::{Error, Fenced, FencedStore};
use mainstay_testkit::redis::{Proxy, RedisServer};

use super::{connect, until_answered};

fn stale(accepted: u64) -> Result<(), Error> {
    Err(Error::Stale { accepted: Fence::from(accepted) })
}

#[tokio::test]
async fn a_value_takes_the_same_fence_and_higher_ones_and_refuses_lower_ones() {
    let server = RedisServer::start().await;
    let store = FencedStore::new(connect(server.address()).await, "test");
    let value = store.key("}{*").unwrap();
    assert_eq!(value.get().await, Ok(Fenced::default()));
    // Compared as the 64 bits they are, not as doubles or texts.
    let fences = [9, 10, 10, 1 << 53, (1 << 53) + 1, u64::MAX - 1, u64::MAX];
    for (at, fence) in fences.into_iter().enumerate() {
        let written = format!("{at}\r\n");
        assert_eq!(value.set(Fence::from(fence), written.as_bytes()).await, Ok(()));
        for lower in fences.into_iter().filter(|lower| *lower < fence) {
            assert_eq!(value.set(Fence::from(lower), b"late").await, stale(fence));
            assert_eq!(value.delete(Fence::from(lower)).await, stale(fence));
        }
        let fenced = Fenced { value: Some(Bytes::from(written)), fence: Fence::from(fence) };
        assert_eq!(value.get().await, Ok(fenced));
    }
}

#[tokio::test]
async fn a_deleted_value_remembers_its_fence_for_a_while_and_a_written_one_for_ever() {
    let server = RedisServer::start().await;
    let store = FencedStore::new(connect(server.address()).await, "test");
    let value = store.key("k").unwrap();
    assert_eq!(value.set(Fence::from(7), b"").await, Ok(()));
    assert_eq!(value.delete(Fence::from(8)).await, Ok(()));
    assert_eq!(value.get().await, Ok(Fenced { value: None, fence: Fence::from(8) }));
    assert_eq!(value.set(Fence::from(7), b"late").await, stale(8));
    let left: i64 = server.command(&["PTTL", "ms:{test:fenced:k}:v"]).await.parse().unwrap();
    assert!(left > 6 * 24 * 3_600_000, "{left}");
    assert_eq!(value.set(Fence::from(8), b"again").await, Ok(()));
    assert_eq!(server.command(&["PTTL", "ms:{test:fenced:k}:v"]).await, "-1");
}

#[tokio::test]
async fn without_an_answer_the_outcome_is_unknown_and_writing_again_is_safe() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address()).await;
    let store = FencedStore::new(connect(proxy.address()).await, "test");
    let value = store.key("k").unwrap();
    proxy.drop_replies();
    let unknown = value.set(Fence::from(7), b"once").await;
    assert!(matches!(unknown, Err(Error::Store(_))), "{unknown:?}");
    proxy.pass();
    until_answered(|| async {
        match value.set(Fence::from(7), b"once").await {
            Err(Error::Store(error)) => Err(error),
            other => {
                assert_eq!(other, Ok(()));
                Ok(())
            }
        }
    })
    .await;
    assert_eq!(value.get().await.unwrap().value.as_deref(), Some(&b"once"[..]));
}
