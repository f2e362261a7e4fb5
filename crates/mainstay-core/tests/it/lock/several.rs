use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_core::lock::{Error, Lost, Release};
use mainstay_testkit::Seed;

use super::{Bench, SECOND};

#[tokio::test(start_paused = true)]
async fn several_keys_are_locked_in_order_and_once_each() {
    let bench = Bench::near();
    let guards = bench.locks.lock_all(["b", "a", "c", "a"]).acquire().await.unwrap();
    let keys: Vec<_> = guards.iter().map(|guard| guard.key().to_owned()).collect();
    assert_eq!(keys, ["a", "b", "c"]);
    assert!(guards.fence("a") < guards.fence("b") && guards.fence("b") < guards.fence("c"));
    assert_eq!(guards.fence("d"), None);
    assert_eq!(guards.check(), Ok(()));
    assert_eq!(guards.run(async { 7 }).await, Ok(7));
    assert_eq!(guards.release().await, Ok(Release::Released));
    assert_eq!(bench.holders(), 0);
}

#[tokio::test(start_paused = true)]
async fn all_or_none_are_held() {
    for bench in [Bench::near(), Bench::far()] {
        bench.locks.lock("c").ttl(3600 * SECOND).lease().await.unwrap();
        let began = tokio::time::Instant::now();
        let refused = bench.locks.lock_all(["a", "b", "c"]).wait(5 * SECOND).acquire().await.map(drop);
        assert!(matches!(refused, Err(Error::Contended { .. })), "{refused:?}");
        assert!(began.elapsed() <= 5 * SECOND + Duration::from_millis(5));
        tokio::time::sleep(SECOND).await;
        assert_eq!(bench.holders(), 1);
        let refused = bench.locks.lock_all(["a", "c"]).try_acquire().await.map(drop);
        assert!(matches!(refused, Err(Error::Contended { .. })), "{refused:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn several_are_released_in_the_opposite_order() {
    let bench = Bench::near();
    let guards = bench.locks.lock_all(["a", "b", "c"]).acquire().await.unwrap();
    let served = Arc::new(Mutex::new(Vec::new()));
    for key in ["b", "a", "c"] {
        let (locks, served) = (bench.locks.clone(), Arc::clone(&served));
        tokio::spawn(async move {
            let _guard = locks.lock(key).acquire().await.unwrap();
            served.lock().unwrap().push(key);
        });
    }
    tokio::time::sleep(SECOND).await;
    drop(guards);
    tokio::time::sleep(SECOND).await;
    assert_eq!(*served.lock().unwrap(), ["c", "b", "a"], "woken in this order");
}

#[tokio::test(start_paused = true)]
async fn one_lost_is_all_lost() {
    let bench = Bench::near();
    let guards = bench.locks.lock_all(["a", "b"]).acquire().await.unwrap();
    let token = *guards.iter().last().unwrap().token();
    bench.locks.release("b", &token).await.unwrap();
    assert_eq!(guards.run(std::future::pending::<()>()).await, Err(Lost));
    assert_eq!(guards.check(), Err(Lost));
    assert_eq!(guards.release().await, Ok(Release::NotHeld));
    assert_eq!(bench.holders(), 0);
}

#[tokio::test(start_paused = true)]
async fn no_keys_and_too_many_keys_are_refused() {
    let bench = Bench::near();
    let many = |count: usize| bench.locks.lock_all((0..count).map(|n| format!("key-{n}")));
    for count in [0, 65] {
        let refused = many(count).acquire().await.map(drop);
        assert!(matches!(refused, Err(Error::Option { field: "keys", .. })), "{refused:?}");
    }
    let refused = bench.locks.lock_all(["a", ""]).acquire().await.map(drop);
    assert!(matches!(refused, Err(Error::Key(_))), "{refused:?}");
    assert_eq!(bench.holders(), 0);
    assert_eq!(many(64).acquire().await.unwrap().iter().len(), 64);
}

#[tokio::test(start_paused = true)]
async fn those_who_lock_some_of_the_same_never_wait_for_each_other_for_ever() {
    let mut rng = Seed::from_env("MAINSTAY_SEED").rng();
    let bench = Bench::far();
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let mut keys: Vec<_> = (0..8).map(|n| format!("key-{n}")).collect();
            rng.shuffle(&mut keys);
            keys.truncate(4);
            let locks = bench.locks.clone();
            tokio::spawn(async move {
                let guards = locks.lock_all(keys).wait(3600 * SECOND).acquire().await.unwrap();
                tokio::time::sleep(Duration::from_millis(10)).await;
                drop(guards);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    tokio::time::sleep(SECOND).await;
    assert_eq!(bench.holders(), 0);
}
