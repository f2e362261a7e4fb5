use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use mainstay_core::container::{Container, Dep, Error};
use tokio::sync::{Barrier, Notify};

struct Settings;
struct Request;
struct Handler {
    request: Dep<Request>,
    settings: Dep<Settings>,
}
struct Stamp;

/// Counts the instances that exist and those ever made.
#[derive(Default)]
struct Counter {
    alive: AtomicUsize,
    made: AtomicUsize,
}

struct Counted(Arc<Counter>);

impl Counted {
    fn new(counter: &Arc<Counter>) -> Self {
        counter.alive.fetch_add(1, Ordering::SeqCst);
        counter.made.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(counter))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn each_lifetime_has_its_own_number_of_instances() {
    let mut builder = Container::builder();
    builder.value(Settings);
    builder.provide(|| async { Request }).scoped();
    builder.provide(|| async { Stamp }).transient();
    builder
        .provide(
            |request: Dep<Request>, settings: Dep<Settings>| async move { Handler { request, settings } },
        )
        .scoped();
    let container = builder.build().await.unwrap();
    let (one, other) = (container.scope(), container.scope());

    let request = one.resolve::<Request>().await.unwrap();
    let handler = one.clone().resolve::<Handler>().await.unwrap();
    assert!(Arc::ptr_eq(&handler.request.clone().into_arc(), &request), "one for a scope and its clones");
    assert!(!Arc::ptr_eq(&other.resolve::<Request>().await.unwrap(), &request), "another for another scope");
    let settings = container.resolve::<Settings>().unwrap();
    assert!(Arc::ptr_eq(&handler.settings.clone().into_arc(), &settings), "one for the container");
    assert!(Arc::ptr_eq(&other.resolve::<Settings>().await.unwrap(), &settings));
    let stamp = one.resolve::<Stamp>().await.unwrap();
    assert!(!Arc::ptr_eq(&one.resolve::<Stamp>().await.unwrap(), &stamp), "one for each question");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_resolves_of_one_scope_build_one_instance() {
    let counter = Arc::new(Counter::default());
    let mut builder = Container::builder();
    let shared = Arc::clone(&counter);
    builder
        .provide(move || {
            let counted = Counted::new(&shared);
            async {
                tokio::task::yield_now().await;
                counted
            }
        })
        .scoped();
    let scope = builder.build().await.unwrap().scope();
    let barrier = Arc::new(Barrier::new(64));
    let mut racers = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let (scope, barrier) = (scope.clone(), Arc::clone(&barrier));
        racers.spawn(async move {
            barrier.wait().await;
            scope.resolve::<Counted>().await.unwrap()
        });
    }
    let found = racers.join_all().await;
    assert!(found.iter().all(|counted| Arc::ptr_eq(counted, &found[0])));
    assert_eq!(counter.made.load(Ordering::SeqCst), 1);
    drop((found, scope));
    assert_eq!(counter.alive.load(Ordering::SeqCst), 0, "the scope's instances end with it");
}

#[tokio::test]
async fn a_cancelled_resolve_leaks_nothing_and_the_next_one_builds() {
    let counter = Arc::new(Counter::default());
    let (entered, open) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let mut builder = Container::builder();
    let shared = (Arc::clone(&counter), Arc::clone(&entered), Arc::clone(&open));
    builder
        .provide(move || {
            let (counter, entered, open) = shared.clone();
            async move {
                let counted = Counted::new(&counter);
                entered.notify_one();
                open.notified().await;
                counted
            }
        })
        .scoped();
    let scope = builder.build().await.unwrap().scope();
    tokio::select! {
        _ = scope.resolve::<Counted>() => panic!("the gate is closed"),
        () = entered.notified() => {}
    }
    assert_eq!(counter.alive.load(Ordering::SeqCst), 0);

    // The one who builds goes away: the one who waited takes over.
    let builder = tokio::spawn({
        let scope = scope.clone();
        async move { scope.resolve::<Counted>().await }
    });
    entered.notified().await;
    let mut waiter = Box::pin(scope.resolve::<Counted>());
    assert!((&mut waiter).now_or_never().is_none());
    builder.abort();
    tokio::select! {
        _ = &mut waiter => panic!("the gate is closed"),
        () = entered.notified() => {}
    }
    open.notify_one();
    let counted = waiter.await.unwrap();
    assert!(Arc::ptr_eq(&counted, &scope.resolve().await.unwrap()));
    assert_eq!(counter.alive.load(Ordering::SeqCst), 1);
    assert_eq!(counter.made.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_failed_scoped_constructor_is_tried_again() {
    let tries = AtomicUsize::new(0);
    let mut builder = Container::builder();
    builder
        .try_provide(move || {
            let first = tries.fetch_add(1, Ordering::SeqCst) == 0;
            async move { if first { Err("not yet") } else { Ok(Request) } }
        })
        .scoped();
    builder.value(Settings);
    builder
        .provide(
            |request: Dep<Request>, settings: Dep<Settings>| async move { Handler { request, settings } },
        )
        .scoped();
    let scope = builder.build().await.unwrap().scope();
    let error = scope.resolve::<Handler>().await.err().unwrap();
    assert_eq!(error.to_string(), "Handler → Request: constructor failed: not yet");
    assert!(matches!(error, Error::Construct { .. }));
    assert!(scope.resolve::<Handler>().await.is_ok());
}

#[tokio::test]
async fn a_scope_collects_contributions_of_any_lifetime() {
    struct Part(u8);
    let mut builder = Container::builder();
    builder.value(Part(1)).contribute();
    builder.provide(|| async { Part(2) }).scoped().contribute();
    builder.provide(|| async { Part(3) }).transient().contribute();
    let scope = builder.build().await.unwrap().scope();
    let (one, two) = (scope.resolve_all::<Part>().await.unwrap(), scope.resolve_all::<Part>().await.unwrap());
    assert_eq!(one.iter().map(|part| part.0).collect::<Vec<_>>(), [1, 2, 3]);
    let same: Vec<bool> = one.iter().zip(&two).map(|(a, b)| Arc::ptr_eq(a, b)).collect();
    assert_eq!(same, [true, true, false]);
}
