//! Answers and their questions, while callers give up and wires break.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::future::join_all;
use mainstay_redis::Lane;
use mainstay_testkit::Seed;
use mainstay_testkit::redis::{Proxy, RedisServer};
use tokio::time::{sleep, timeout};

use super::*;

/// One of these callers does that many rounds, times `MAINSTAY_ROUNDS`.
const CALLERS: u64 = 32;
const ROUNDS: usize = 150;

/// How often a caller's counter was counted up: at least, and at most.
type Counted = (i64, i64);

/// What a caller does in a round: over which lane, together with what, and how soon it gives up.
type Round = (Lane, u64, Option<Duration>);

async fn caller(redis: Redis, number: u64, rounds: Vec<Round>) -> Counted {
    let (own, other) = (format!("ms:{number}"), format!("ms:{}", (number + 1) % CALLERS));
    let (mut least, mut most) = (0, 0);
    for (lane, kind, patience) in rounds {
        let count = incr(&format!("ms:n:{number}")).lane(lane);
        let commands = match kind {
            0 => vec![count],
            1 => vec![get(&own).lane(lane)],
            _ => vec![get(&other).lane(lane), count, get(&own).lane(lane)],
        };
        let counts = i64::from(kind != 1);
        let Ok(answers) = timeout(patience.unwrap_or(SOON), redis.call_all(commands)).await else {
            most += counts;
            continue;
        };
        let read: Vec<_> = match kind {
            0 => vec![],
            1 => vec![(&own, &answers[0])],
            _ => vec![(&other, &answers[0]), (&own, &answers[2])],
        };
        for (key, answer) in read {
            match answer {
                Ok(value) => assert_eq!(value, &Answer::Bytes(Bytes::from(key.clone())), "of another key"),
                Err(error) => assert!(!matches!(error, CallError::Rejected { .. }), "{error}"),
            }
        }
        let counted = match kind {
            0 => Some(&answers[0]),
            1 => None,
            _ => Some(&answers[1]),
        };
        match counted {
            Some(Ok(now)) => {
                (least, most) = (least + 1, most + 1);
                assert!((least..=most).contains(&now.int().unwrap()), "{now:?} of {least} to {most}");
            }
            Some(Err(CallError::Unknown { .. })) => most += 1,
            Some(Err(error)) => assert!(matches!(error, CallError::NotSent { .. }), "{error}"),
            None => {}
        }
    }
    (least, most)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_gives_up_and_whatever_is_cut_each_gets_its_own_answer_and_once_is_at_most_once() {
    let mut rng = Seed::from_env("MAINSTAY_SEED").rng();
    let times = std::env::var("MAINSTAY_ROUNDS").map_or(1, |times| times.parse().expect("a number"));
    let server = RedisServer::start().await;
    let proxy = Arc::new(Proxy::start(server.address()).await);
    let (redis, direct) =
        (connected(options(proxy.address())).await, connected(options(server.address())).await);
    for number in 0..CALLERS {
        direct.call(set(&format!("ms:{number}"), &format!("ms:{number}"))).await.unwrap();
    }
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| {
            let rounds = (0..ROUNDS * times)
                .map(|_| {
                    let lane = *rng.pick(&[Lane::Main, Lane::Tracked, Lane::Keeper]);
                    let patience = rng.chance(0.5).then(|| Duration::from_micros(rng.below(3_000)));
                    (lane, rng.below(3), patience)
                })
                .collect();
            tokio::spawn(caller(redis.clone(), number, rounds))
        })
        .collect();
    let stop = Arc::new(AtomicBool::new(false));
    let wire = {
        let (proxy, stop) = (Arc::clone(&proxy), Arc::clone(&stop));
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let few = usize::try_from(1 + rng.below(30)).unwrap();
                match rng.below(5) {
                    0 => proxy.cut(),
                    1 => proxy.cut_after_request(few),
                    2 => proxy.cut_reply_after(10 * few),
                    3 => proxy.split_every(few),
                    _ => proxy.delay(Duration::from_micros(rng.below(2_000))),
                }
                sleep(Duration::from_millis(rng.below(20))).await;
                proxy.pass();
                sleep(Duration::from_millis(rng.below(60))).await;
            }
        })
    };
    let mut all: Counted = (0, 0);
    for (number, counted) in join_all(callers).await.into_iter().enumerate() {
        let (least, most) = counted.unwrap();
        let happened = count(&direct, &format!("ms:n:{number}")).await.unwrap();
        assert!((least..=most).contains(&happened), "{happened} of {least} to {most}");
        all = (all.0 + least, all.1 + most);
    }
    println!("counted up {all:?} times");
    assert!(all.0 > 0 && all.0 < all.1, "some were answered, and some were not");
    stop.store(true, Ordering::Relaxed);
    wire.await.unwrap();
}
