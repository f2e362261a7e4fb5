//! Who holds what, since when, and who waits.

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::key::InvalidKey;
use mainstay_core::lock::{Error, Locks, Memory};
use mainstay_core::metrics::Metrics;
use mainstay_testkit::TestClock;
use mainstay_testkit::faulty::Fault;

use super::{Bench, SECOND, on_paused_time};

#[tokio::test(start_paused = true)]
async fn what_this_process_holds_is_shown_the_longest_held_first() {
    let bench = Bench::near();
    let first = bench.locks.lock("z").ttl(3 * SECOND).acquire().await.unwrap();
    tokio::time::sleep(10 * SECOND).await;
    let second = bench.locks.lock("a").acquire().await.unwrap();
    tokio::time::sleep(SECOND).await;
    let held = bench.locks.holds();
    assert_eq!(held.iter().map(|held| &*held.key).collect::<Vec<_>>(), ["z", "a"]);
    assert_eq!((held[0].fence, &held[0].id), (first.fence(), &first.token().short_id()));
    assert_eq!(held[0].since, 11 * SECOND);
    assert!(held[0].ends_in > SECOND && held[0].ends_in < 3 * SECOND, "{:?}", held[0].ends_in);
    drop(first);
    let lost = second.lost();
    bench.locks.release("a", second.token()).await.unwrap();
    lost.await;
    assert_eq!(bench.locks.holds(), [], "neither what was released nor what was lost");
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_here_are_shown_with_the_time_of_the_first() {
    let bench = Bench::near();
    let _held = bench.another().lock("k").acquire().await.unwrap();
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let locks = bench.locks.clone();
            tokio::spawn(async move { drop(locks.lock("k").wait(60 * SECOND).acquire().await) })
        })
        .collect();
    tokio::time::sleep(5 * SECOND).await;
    let [line] = &*bench.locks.waits() else { panic!("one line") };
    assert_eq!((&*line.key, line.waiting, line.since), ("k", 3, 5 * SECOND));
    waiters.iter().for_each(tokio::task::JoinHandle::abort);
    for waiter in waiters {
        waiter.await.unwrap_err();
    }
    assert_eq!(bench.locks.waits(), []);
}

#[tokio::test(start_paused = true)]
async fn the_store_shows_the_holders_of_every_process_and_their_names() {
    let time = TestClock::new();
    let memory = Arc::new(Memory::new(time.clock()).owned_by("orders-7f"));
    let locks = || Locks::new(Arc::clone(&memory) as _, on_paused_time(), &Metrics::new(), time.clock());
    let (here, there) = (locks(), locks());
    let guard = there.lock("k").ttl(SECOND).acquire().await.unwrap();
    let waiting = here.clone();
    let waiter = tokio::spawn(async move { drop(waiting.lock("k").wait(60 * SECOND).acquire().await) });
    tokio::time::sleep(10 * SECOND).await;

    let [holder] = &*here.holders("k").await.unwrap() else { panic!("one holder") };
    assert_eq!((&*holder.owner, &holder.id), ("orders-7f", &guard.token().short_id()));
    assert_eq!((holder.fence, holder.since), (guard.fence(), 10 * SECOND));
    assert!(holder.ends_in <= SECOND, "{:?}", holder.ends_in);
    let [lock] = &*here.list(10).await.unwrap() else { panic!("one lock") };
    assert_eq!((&*lock.key, &lock.holders[..], lock.waiting), ("k", std::slice::from_ref(holder), 1));
    assert_eq!(here.holds(), [], "it is not held here");
    waiter.abort();
}

#[tokio::test(start_paused = true)]
async fn what_is_shown_is_bounded() {
    let bench = Bench::near();
    let mut guards = Vec::new();
    for n in 0..1_500 {
        guards.push(bench.locks.lock(format!("key-{n}")).acquire().await.unwrap());
        guards.push(bench.locks.semaphore("s", 10_000).acquire().await.unwrap());
    }
    assert_eq!(bench.locks.holds().len(), 1_000);
    assert_eq!(bench.locks.list(usize::MAX).await.unwrap().len(), 1_000);
    assert_eq!(bench.locks.holders("s").await.unwrap().len(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_is_not_taken_for_a_free_lock() {
    let bench = Bench::far();
    bench.faults.always(Fault::Unavailable);
    assert!(matches!(bench.locks.holders("k").await, Err(Error::Unavailable(_))));
    assert!(matches!(bench.locks.list(1).await, Err(Error::Unavailable(_))));
    bench.faults.always(Fault::Hang);
    let began = tokio::time::Instant::now();
    assert!(matches!(bench.locks.list(1).await, Err(Error::Unknown(_))));
    assert!(began.elapsed() <= Duration::from_millis(501), "{:?}", began.elapsed());
    assert_eq!(bench.locks.holders("").await, Err(Error::Key(InvalidKey::Empty)));
}
