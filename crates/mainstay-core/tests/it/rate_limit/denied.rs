//! What a far store refused is not asked again before its time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use mainstay_core::metrics::{Format, Metrics};
use mainstay_core::rate_limit::{
    Charge, Debit, Decision, Memory, Mode, Options, Quota, RateLimiter, Receipt, Store, Verdicts,
};
use mainstay_core::store::{Reply, StoreError};
use tokio::sync::Notify;

use super::{Hand, now};

const API: Quota = Quota::per_minute(3).named("api");

/// A store that decides at once, and whose answers take their time while they are held.
#[derive(Debug)]
struct Far {
    inner: Memory,
    asked: AtomicUsize,
    answers: Notify,
}

impl Store for Far {
    fn decide<'a>(&'a self, debits: &'a [Debit<'a>], mode: Mode) -> Reply<'a, Result<Verdicts, StoreError>> {
        Reply::pending(async move {
            let held = self.asked.fetch_add(1, Ordering::SeqCst) >= HELD;
            let verdicts = self.inner.decide(debits, mode).await;
            if held {
                self.answers.notified().await;
            }
            verdicts
        })
    }

    fn refund<'a>(&'a self, debit: Debit<'a>, receipt: Receipt) -> Reply<'a, Result<(), StoreError>> {
        self.inner.refund(debit, receipt)
    }
}

/// From this question on answers are held.
const HELD: usize = 1_000;

struct Rig {
    limiter: RateLimiter,
    store: Arc<Far>,
    time: Hand,
    metrics: Metrics,
}

fn rig() -> Rig {
    let (time, metrics) = (Hand::new(), Metrics::new());
    let inner = Memory::new(1_000, time.clock());
    let store = Arc::new(Far { inner, asked: AtomicUsize::new(0), answers: Notify::new() });
    let limiter = RateLimiter::new(store.clone(), Options::default(), &metrics, time.clock());
    Rig { limiter, store, time, metrics }
}

impl Rig {
    fn asked(&self) -> usize {
        self.store.asked.swap(0, Ordering::SeqCst)
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_remembered_until_the_wait_it_told_is_over() {
    let rig = rig();
    assert!(rig.limiter.check_cost("k", API, 3).await.unwrap().allowed);
    let first = rig.limiter.check("k", API).await.unwrap();
    let wait = first.retry_after.unwrap();
    assert_eq!(rig.asked(), 2);
    for passed in 1..=10 {
        rig.time.advance(1_000);
        let again = now(rig.limiter.check("k", API)).unwrap();
        assert_eq!((again.allowed, again.remaining, again.degraded), (false, 0, false));
        assert_eq!(again.retry_after, Some(wait - Duration::from_millis(passed)));
        assert_eq!(again.reset_after, first.reset_after - Duration::from_millis(passed));
        assert!(!now(rig.limiter.check_all(&[Charge::new("k", API)])).unwrap().allowed());
    }
    assert_eq!(rig.asked(), 0);
    let rendered = rig.metrics.render(Format::Prometheus);
    assert!(rendered.contains("rate_limit_deny_cache_hits_total{policy=\"api\"} 20"), "{rendered}");
    assert!(
        rendered.contains("rate_limit_decisions_total{policy=\"api\",result=\"denied\"} 21"),
        "{rendered}"
    );

    rig.time.advance(u64::try_from((wait - Duration::from_millis(10)).as_micros()).unwrap());
    assert!(rig.limiter.check("k", API).await.unwrap().allowed, "waiting as told is enough");
    assert_eq!(rig.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_store_might_admit_is_asked() {
    let rig = rig();
    rig.limiter.check_cost("k", API, 2).await.unwrap();
    let refused = rig.limiter.check_cost("k", API, 2).await.unwrap();
    assert!(!refused.allowed && refused.remaining == 1);
    assert_eq!(rig.asked(), 2);
    assert!(!rig.limiter.check_cost("k", API, 3).await.unwrap().allowed, "it may have to wait longer");
    assert!(rig.limiter.check("other", API).await.unwrap().allowed);
    assert!(rig.limiter.check("k", API.named("other")).await.unwrap().allowed);
    rig.limiter.peek("k", API).await.unwrap();
    rig.limiter.check_all(&[Charge::new("k", API).cost(2), Charge::new("other", API)]).await.unwrap();
    assert!(rig.limiter.check("k", API).await.unwrap().allowed);
    assert_eq!(rig.asked(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_refund_ends_what_was_remembered() {
    let rig = rig();
    let charged = rig.limiter.check_cost("k", API, 3).await.unwrap();
    for _ in 0..3 {
        assert!(!rig.limiter.check("k", API).await.unwrap().allowed);
    }
    rig.limiter.refund("k", API, &charged).await.unwrap();
    assert!(rig.limiter.check("k", API).await.unwrap().allowed);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_from_before_a_refund_is_not_remembered_after_it() {
    let rig = rig();
    let charged = rig.limiter.check_cost("k", API, 3).await.unwrap();
    rig.store.asked.store(HELD, Ordering::SeqCst);
    let mut late = Box::pin(rig.limiter.check("k", API));
    assert!((&mut late).now_or_never().is_none(), "decided, and the answer is on its way");
    rig.store.asked.store(0, Ordering::SeqCst);
    rig.limiter.refund("k", API, &charged).await.unwrap();
    rig.store.answers.notify_one();
    assert!(!late.await.unwrap().allowed);
    assert!(rig.limiter.check("k", API).await.unwrap().allowed);
}

/// A store that has decided before the caller goes on, as one whose command is sent at once can have. In between
/// comes a refund of another task.
#[derive(Debug)]
struct Eager {
    inner: Memory,
    refund: Mutex<Option<(RateLimiter, Decision)>>,
}

impl Store for Eager {
    fn decide<'a>(&'a self, debits: &'a [Debit<'a>], mode: Mode) -> Reply<'a, Result<Verdicts, StoreError>> {
        let decided = now(self.inner.decide(debits, mode));
        if let Some((limiter, charged)) = self.refund.lock().unwrap().take() {
            now(limiter.refund("k", API, &charged)).unwrap();
        }
        Reply::pending(async { decided })
    }

    fn refund<'a>(&'a self, debit: Debit<'a>, receipt: Receipt) -> Reply<'a, Result<(), StoreError>> {
        self.inner.refund(debit, receipt)
    }
}

#[tokio::test(start_paused = true)]
async fn a_refund_that_overtakes_the_asking_task_is_noticed() {
    let time = Hand::new();
    let store = Arc::new(Eager { inner: Memory::new(1_000, time.clock()), refund: Mutex::default() });
    let limiter = RateLimiter::new(store.clone(), Options::default(), &Metrics::new(), time.clock());
    for both in [false, true] {
        let ask = async || match both {
            true => limiter.check_all(&[Charge::new("k", API)]).await.unwrap().allowed(),
            false => limiter.check("k", API).await.unwrap().allowed,
        };
        let charged = limiter.check_cost("k", API, if both { 2 } else { 3 }).await.unwrap();
        assert!(charged.allowed);
        *store.refund.lock().unwrap() = Some((limiter.clone(), charged));
        assert!(!ask().await, "decided before the refund");
        assert!(ask().await, "and asked again after it");
    }
}

#[tokio::test(start_paused = true)]
async fn a_near_store_is_always_asked() {
    let (time, metrics) = (Hand::new(), Metrics::new());
    let limiter = RateLimiter::in_memory(Options::default(), &metrics, time.clock());
    for _ in 0..9 {
        limiter.check("k", API).await.unwrap();
    }
    assert!(
        metrics.render(Format::Prometheus).contains("rate_limit_deny_cache_hits_total{policy=\"api\"} 0")
    );
}
