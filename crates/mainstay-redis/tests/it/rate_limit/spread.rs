//! One call over keys of different slots of a Cluster.

use std::sync::Arc;

use futures_util::future::join_all;
use mainstay_core::rate_limit::{Debit, Mode, Quota, Store};
use mainstay_redis::rate_limit::RedisLimits;
use mainstay_testkit::redis::Cluster;

use super::connect;
use super::lane::debit;

const HOUR: Quota = Quota::per_hour(20);

async fn left(limits: &RedisLimits, key: &str) -> u32 {
    limits.decide(&[debit(key, HOUR, 0)], Mode::Peek).await.unwrap()[0].remaining
}

#[tokio::test]
async fn over_several_slots_all_are_charged_or_in_the_end_none() {
    let cluster = Cluster::start().await;
    let limits = Arc::new(RedisLimits::new(connect(&cluster.url()).await, "n"));
    // Whoever is admitted holds one of each; callers take them in different orders and stop each other.
    let keys: Vec<String> = (0..6).map(|key| format!("key-{key}")).collect();
    let call = async |caller: usize| {
        let debits: Vec<Debit<'_>> = (0..6).map(|key| debit(&keys[(key + caller) % 6], HOUR, 1)).collect();
        limits.decide(&debits, Mode::Take).await.unwrap().admitted()
    };
    let admitted = join_all((0..60).map(call)).await.into_iter().filter(|admitted| *admitted).count();
    assert!(admitted <= 20, "{admitted} of 20");
    for key in &keys {
        assert_eq!(left(&limits, key).await as usize, 20 - admitted, "what was not admitted was given back");
    }
    limits.decide(&[debit("full", HOUR, 20)], Mode::Take).await.unwrap();
    let before = left(&limits, &keys[0]).await;
    let debits = [debit(&keys[0], HOUR, 0), debit("fresh", HOUR, 3), debit("full", HOUR, 1)];
    let refused = limits.decide(&debits, Mode::Take).await.unwrap();
    assert_eq!(refused.iter().map(|verdict| verdict.fits).collect::<Vec<_>>(), [true, true, false]);
    assert!(refused.iter().all(|verdict| verdict.receipt.is_none()));
    assert_eq!((left(&limits, &keys[0]).await, left(&limits, "fresh").await), (before, 20));

    // What is charged to all can be given back from each.
    let debits = [debit("one", HOUR, 2), debit("two", HOUR, 3), debit("one", HOUR, 4)];
    let charged = limits.decide(&debits, Mode::Take).await.unwrap();
    assert_eq!(charged.iter().map(|verdict| verdict.remaining).collect::<Vec<_>>(), [18, 17, 14]);
    for (debit, verdict) in debits.into_iter().zip(charged.iter()) {
        limits.refund(debit, verdict.receipt.unwrap()).await.unwrap();
    }
    assert_eq!((left(&limits, "one").await, left(&limits, "two").await), (20, 20));
}
