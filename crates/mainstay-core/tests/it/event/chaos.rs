//! Everything at once: publishers that are dropped, handlers that fail in every way, subscriptions that come and
//! go, and a store that errs and loses its answers.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_core::backoff::Backoff;
use mainstay_core::event::store::Verdict;
use mainstay_core::event::{Error, Event, EventId, Events, Memory, Options, Outcome, Subscription};
use mainstay_core::metrics::Metrics;
use mainstay_testkit::faulty::Faults;
use mainstay_testkit::faulty::event::FaultyStore;
use mainstay_testkit::{Rng, Seed, TestClock};

use super::audit::Audit;
use super::{SECOND, bounds, tasks};

const GROUPS: [&str; 2] = ["users", "audit"];
const CONCURRENCY: usize = 24;
const PUBLISHERS: usize = 40;
const MILLI: Duration = Duration::from_millis(1);

/// How many times the scale of CI.
fn rounds() -> usize {
    std::env::var("MAINSTAY_ROUNDS").map_or(1, |rounds| rounds.parse().expect("MAINSTAY_ROUNDS is a number"))
}

fn options() -> Options {
    let mut options = Options::new("users");
    options.memory = bounds(1_000);
    options.memory.dead = usize::MAX;
    options.concurrency = CONCURRENCY;
    options.visibility = SECOND;
    options.handler_timeout = 200 * MILLI;
    options.backoff = Backoff::new(10 * MILLI, 100 * MILLI);
    options
}

#[derive(Clone)]
struct Chaos {
    events: Events,
    rng: Arc<Mutex<Rng>>,
    /// What publishing returned `Ok` for.
    published: Arc<Mutex<HashSet<EventId>>>,
    /// What a handler came to the end of, by group.
    handled: Arc<[Mutex<HashSet<EventId>>; GROUPS.len()]>,
    /// The most handlers of a subscription that ran at once.
    most: Arc<AtomicUsize>,
}

impl Chaos {
    fn below(&self, end: u64) -> u64 {
        self.rng.lock().unwrap().below(end)
    }

    fn millis(&self, end: u64) -> Duration {
        Duration::from_millis(self.below(end))
    }

    async fn subscribe(&self, group: usize) -> Subscription {
        let running = Arc::new(AtomicUsize::new(0));
        loop {
            let (chaos, running) = (self.clone(), Arc::clone(&running));
            let handler = move |event: Event<u64>| {
                let (chaos, running) = (chaos.clone(), Running::enter(&running, &chaos.most));
                async move {
                    let outcome = chaos.handle(&event).await;
                    if outcome == Outcome::Done {
                        chaos.handled[group].lock().unwrap().insert(event.id);
                    }
                    drop(running);
                    outcome
                }
            };
            match self.events.on("user.*").group(GROUPS[group]).handle(handler).await {
                Ok(subscription) => return subscription,
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
        }
    }

    async fn handle(&self, event: &Event<u64>) -> Outcome {
        match self.below(100) {
            0..3 => return Outcome::Failed { reason: "on purpose".into() },
            // A panic without the hook, which would print a backtrace for each.
            3..6 => std::panic::resume_unwind(Box::new("on purpose")),
            6 => std::future::pending().await,
            7..9 => return Outcome::Retry { after: Some(self.millis(50)) },
            9 => return Outcome::Reject { reason: event.data.to_string() },
            10..40 => tokio::time::sleep(self.millis(20)).await,
            40..60 => tokio::task::yield_now().await,
            _ => {}
        }
        Outcome::Done
    }

    /// Publishes, and drops some of the futures on the way.
    async fn publish(&self, number: u64) {
        let id = EventId::at(jiff::Timestamp::UNIX_EPOCH);
        loop {
            let publish = self.events.event("user.created").id(id).publish(&number);
            let patience = if self.below(10) == 0 { self.millis(3) } else { Duration::MAX };
            match tokio::time::timeout(patience, publish).await {
                Ok(Ok(id)) => {
                    self.published.lock().unwrap().insert(id);
                    return;
                }
                Ok(Err(Error::Backpressure)) => tokio::time::sleep(self.millis(200)).await,
                Ok(Err(error)) => {
                    assert!(error.is_transient(), "{error}");
                    if self.below(2) == 0 {
                        return; // given up; it may be out all the same
                    }
                }
                Err(_dropped) => return,
            }
        }
    }

    /// Stops subscriptions and starts others in their place, until dropped.
    async fn restart(&self, mut subscriptions: Vec<(usize, Subscription)>) {
        loop {
            tokio::time::sleep(self.millis(200)).await;
            let at = usize::try_from(self.below(subscriptions.len() as u64)).unwrap();
            let (group, subscription) = subscriptions.swap_remove(at);
            subscription.stop(self.millis(100)).await.unwrap();
            subscriptions.push((group, self.subscribe(group).await));
        }
    }
}

/// Counts the handlers of a subscription that run at once.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn enter(count: &Arc<AtomicUsize>, most: &AtomicUsize) -> Self {
        most.fetch_max(count.fetch_add(1, SeqCst) + 1, SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn every_event_whose_publish_returned_ends_once_in_every_group_and_nothing_leaks() {
    let clock = TestClock::new().clock();
    let audit = Audit::new(Memory::new(options().memory, clock.clone()));
    let books = Arc::clone(&audit.books);
    let faults = Faults::none();
    let store = Arc::new(FaultyStore::new(audit, faults.clone()));
    let metrics = Metrics::new();
    let events = Events::new(store, options(), &metrics, clock);
    let seed = Seed::from_env("MAINSTAY_SEED");
    let rng = Arc::new(Mutex::new(seed.rng()));
    let chaos =
        Chaos { events, rng, published: Arc::default(), handled: Arc::default(), most: Arc::default() };
    let mut subscriptions = Vec::new();
    for group in [0, 0, 1, 1] {
        subscriptions.push((group, chaos.subscribe(group).await));
    }
    faults.random(seed, 0.03);
    faults.delay(MILLI);

    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let chaos = chaos.clone();
            let each = rounds() * 20_000 / PUBLISHERS;
            tokio::spawn(async move {
                for number in 0..each {
                    chaos.publish((publisher * each + number) as u64).await;
                }
            })
        })
        .collect();
    let all = futures_util::future::join_all(publishers);
    tokio::select! {
        done = all => done.into_iter().for_each(|done| done.unwrap()),
        () = chaos.restart(subscriptions) => unreachable!("it goes on for ever"),
    }
    faults.mend();
    for group in 0..GROUPS.len() {
        chaos.subscribe(group).await; // one may just have been stopped
    }
    assert_eq!(chaos.events.stop(3_600 * SECOND).await, Ok(()));

    assert_eq!(tasks(), 0);
    assert_eq!(chaos.most.load(SeqCst), CONCURRENCY);
    let stats = chaos.events.stats().await.unwrap();
    assert!(stats.iter().all(|stats| stats.unfinished() == 0), "{stats:?}");
    let (books, published) = (books.lock().unwrap(), chaos.published.lock().unwrap());
    assert!(published.len() > rounds() * 10_000, "{} events are no test", published.len());
    assert!(published.is_subset(&books.accepted));
    assert_eq!(books.ended.len(), GROUPS.len());
    for (queue, ended) in &books.ended {
        let ids: HashSet<_> = ended.keys().copied().collect();
        assert_eq!(ids, books.accepted, "{queue}: what was accepted has ended, and nothing else");
        let group = GROUPS.iter().position(|group| **group == *queue.group).unwrap();
        let handled = chaos.handled[group].lock().unwrap();
        for (id, verdicts) in ended {
            assert_eq!(verdicts.len(), 1, "{queue}: {id} has ended more than once: {verdicts:?}");
            assert!(verdicts[0] != Verdict::Done || handled.contains(id), "{queue}: {id} without a handler");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_many_threads_every_event_is_handled_once() {
    let mut options = Options::new("users");
    options.memory = bounds(500);
    let events = Events::in_memory(options, &Metrics::new(), mainstay_core::time::Clock::system());
    let handled: Arc<Vec<AtomicUsize>> =
        Arc::new((0..rounds() * 20_000).map(|_| AtomicUsize::new(0)).collect());
    for _ in 0..4 {
        let handled = Arc::clone(&handled);
        let handler = move |event: Event<usize>| {
            handled[event.data].fetch_add(1, SeqCst);
            async {}
        };
        events.subscribe("user.*", handler).await.unwrap();
    }
    let publishers: Vec<_> = (0..4)
        .map(|publisher| {
            let (events, count) = (events.clone(), handled.len());
            tokio::spawn(async move {
                for number in (publisher..count).step_by(4) {
                    while let Err(error) = events.publish("user.created", &number).await {
                        assert!(matches!(error, Error::Backpressure), "{error}");
                        tokio::task::yield_now().await;
                    }
                }
            })
        })
        .collect();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    events.stop(60 * SECOND).await.unwrap();
    assert!(handled.iter().all(|times| times.load(SeqCst) == 1));
}

#[tokio::test(start_paused = true)]
async fn dropping_publish_subscribe_and_stop_at_any_poll_leaks_nothing() {
    let rng = Arc::new(Mutex::new(Seed::from_env("MAINSTAY_SEED").rng()));
    for _ in 0..rounds() * 300 {
        let faults = Faults::none();
        let clock = TestClock::new().clock();
        let memory = Memory::new(options().memory, clock.clone());
        let events = Events::new(
            Arc::new(FaultyStore::new(memory, faults.clone())),
            options(),
            &Metrics::new(),
            clock,
        );
        faults.delay(MILLI);
        let patience = || Duration::from_millis(rng.lock().unwrap().below(6));
        let _dropped = tokio::time::timeout(patience(), async {
            let subscription = events.on("user.*").handle(|_: Event<u32>| tokio::time::sleep(MILLI)).await?;
            events.publish_all("user.created", &[1, 2, 3]).await?;
            let _stopped = subscription.stop(SECOND).await;
            events.publish("user.created", &4).await
        })
        .await;
        let _dropped = tokio::time::timeout(patience(), events.stop(patience())).await;
        let stopped = events.stop(60 * SECOND).await;
        assert!(stopped.is_ok() || stopped.is_err_and(|left| left.stuck == 0), "{stopped:?}");
        assert_eq!(tasks(), 0);
    }
}
