//! The contract of [`mainstay_core::rate_limit::Store`].

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use mainstay_core::key::Key;
use mainstay_core::rate_limit::{Debit, Mode, Policy, Quota, Receipt, Store, Verdict, Verdicts};
use tokio::time::Instant;

use super::{Elapse, Suite};
use crate::Seed;

/// A fresh store, and a way to let time pass. Its clock and tokio's run at the same pace.
pub struct Backend {
    /// The store on trial.
    pub store: Arc<dyn Store>,
    /// Lets at least this much time pass for the store.
    pub elapse: Elapse,
}

/// The window of most cases: long beside a round trip, short enough to wait for.
const WINDOW: Duration = Duration::from_millis(500);

/// Three at once, then one each [`INTERVAL`].
const SMOOTH: Quota = Quota::new(5, WINDOW).gcra(3);
const INTERVAL: Duration = Duration::from_millis(100);

/// The cases.
#[must_use]
pub fn suite() -> Suite<Backend> {
    let suite = Suite::new("the contract of rate_limit::Store");
    let suite = limits(suite);
    let suite = several(suite);
    gcra(refunds(suite))
}

fn limits(suite: Suite<Backend>) -> Suite<Backend> {
    suite
        .case("a limit admits as many as it says, and counts down", async |at: Backend| {
            for left in (0..5).rev() {
                let verdict = at.take("k", window(5), 1).await;
                assert!(verdict.fits, "{verdict:?}");
                assert_eq!((verdict.remaining, verdict.retry_after), (left, None));
            }
            let refused = at.take("k", window(5), 1).await;
            assert!(!refused.fits && refused.receipt.is_none(), "{refused:?}");
            assert_eq!(refused.remaining, 0);
        })
        .case("what was admitted counts for a whole window", async |at: Backend| {
            for _ in 0..7 {
                let begun = Instant::now();
                assert!(at.take("k", window(5), 5).await.fits);
                at.elapse(WINDOW.mul_f64(0.9)).await;
                let again = at.take("k", window(5), 1).await;
                assert!(!again.fits || begun.elapsed() >= WINDOW, "the window is not over");
                at.elapse(again.reset_after).await;
            }
        })
        .case("no window holds more than the limit, whenever it begins", async |at: Backend| {
            let mut rng = Seed::new(7).rng();
            let mut admitted = Vec::new();
            for _ in 0..60 {
                let part = *rng.pick(&[0.0, 0.0, 0.0, 0.01, 0.1, 0.35, 0.9, 0.99]);
                at.elapse(WINDOW.mul_f64(part)).await;
                let (before, cost) = (Instant::now(), *rng.pick(&[1, 1, 2, 5]));
                if at.take("k", window(5), cost).await.fits {
                    admitted.push((before, Instant::now(), cost));
                }
            }
            for (first, (begin, ..)) in admitted.iter().enumerate() {
                // Only what certainly lies within one window.
                let within = admitted[first..].iter().take_while(|(_, end, _)| *end - *begin < WINDOW);
                let sum: u32 = within.map(|(.., cost)| cost).sum();
                assert!(sum <= 5, "{sum} in one window");
            }
        })
        .case("a refused caller who waits as told is admitted", async |at: Backend| {
            for (quota, cost) in [(window(6), 1), (window(6), 3), (window(6), 6), (window(6).buckets(3), 4)] {
                at.take("k", quota, 2).await;
                at.elapse(WINDOW.mul_f64(0.35)).await;
                at.take("k", quota, 4).await;
                let refused = at.take("k", quota, cost).await;
                let wait = refused.retry_after.expect("a cost within the limit fits some time");
                assert!(!refused.fits && wait <= WINDOW.mul_f64(4.0 / 3.0), "{refused:?}");
                at.elapse(wait).await;
                let again = at.take("k", quota, cost).await;
                assert!(again.fits, "{again:?} after {wait:?}");
                at.elapse(again.reset_after).await;
            }
        })
        .case("after reset_after all is free", async |at: Backend| {
            at.take("k", window(5), 3).await;
            at.elapse(WINDOW / 4).await;
            let reset = at.take("k", window(5), 1).await.reset_after;
            assert!(reset >= WINDOW && reset <= WINDOW.mul_f64(1.1), "{reset:?}");
            at.elapse(reset).await;
            assert!(at.take("k", window(5), 5).await.fits);
        })
        .case("what is more than the limit never fits, and nobody is told to wait", async |at: Backend| {
            let verdict = at.take("k", window(5), 6).await;
            assert!(!verdict.fits && verdict.retry_after.is_none(), "{verdict:?}");
            assert!(at.take("k", window(5), 5).await.fits, "nothing was charged");
        })
        .case("a cost of nothing fits always and charges nothing", async |at: Backend| {
            assert!(at.take("k", window(2), 0).await.receipt.is_none());
            assert!(at.take("k", window(2), 2).await.fits);
            assert!(at.take("k", window(2), 0).await.fits);
        })
        .case("a look charges nothing and says what a charge would", async |at: Backend| {
            for _ in 0..3 {
                let look = at.decide(&[debit("k", window(2), 1)], Mode::Peek).await[0];
                assert!(look.fits && look.remaining == 2 && look.receipt.is_none(), "{look:?}");
            }
            assert!(at.take("k", window(2), 2).await.fits);
            assert!(!at.decide(&[debit("k", window(2), 1)], Mode::Peek).await[0].fits);
        })
        .case("callers who race get the limit between them", async |at: Backend| {
            let debits = [debit("k", Quota::per_minute(10), 1)];
            let all = join_all((0..50).map(|_| at.store.decide(&debits, Mode::Take))).await;
            let admitted =
                all.into_iter().filter(|answer| answer.as_ref().expect("the store works").admitted()).count();
            assert_eq!(admitted, 10);
        })
        .case("keys do not count for each other, whatever they are called", async |at: Backend| {
            for key in ["k", "K", "k ", "{k}", "k*", "k\r\n", "k\0", "..%2fk", "k:w5"] {
                assert!(at.take(key, window(1), 1).await.fits, "{key:?}");
            }
        })
        .case("policies do not count for each other", async |at: Backend| {
            let quotas = [
                window(5),
                window(6),
                window(5).named("other"),
                window(5).buckets(5),
                Quota::new(5, WINDOW * 2),
                window(5).gcra(5),
            ];
            for quota in quotas {
                assert!(at.take("k", quota, 5).await.fits, "{quota:?}");
            }
        })
}

fn several(suite: Suite<Backend>) -> Suite<Backend> {
    suite
        .case("several charges are made together", async |at: Backend| {
            let both = [debit("a", window(5), 2), debit("b", window(3), 1)];
            let verdicts = at.decide(&both, Mode::Take).await;
            assert!(verdicts.admitted());
            assert_eq!(verdicts.iter().map(|verdict| verdict.remaining).collect::<Vec<_>>(), [3, 2]);
        })
        .case("of several charges none is made when one does not fit", async |at: Backend| {
            at.take("b", window(3), 3).await;
            let all = [debit("a", window(5), 2), debit("b", window(3), 1), debit("c", window(5).gcra(5), 2)];
            for _ in 0..3 {
                let verdicts = at.decide(&all, Mode::Take).await;
                assert_eq!(
                    verdicts.iter().map(|verdict| verdict.fits).collect::<Vec<_>>(),
                    [true, false, true]
                );
                assert!(verdicts.iter().all(|verdict| verdict.receipt.is_none()));
            }
            assert!(at.take("a", window(5), 5).await.fits);
            assert!(at.take("c", window(5).gcra(5), 5).await.fits);
        })
        .case("one key charged twice in one call is charged twice", async |at: Backend| {
            let twice = [debit("k", window(5), 2), debit("k", window(5), 2)];
            assert!(at.decide(&twice, Mode::Take).await.admitted());
            assert_eq!(at.take("k", window(5), 0).await.remaining, 1);
            let refused = at.decide(&twice, Mode::Take).await;
            assert!(!refused[1].fits, "{refused:?}");
            at.elapse(refused[1].retry_after.expect("four fit into five")).await;
            assert!(at.decide(&twice, Mode::Take).await.admitted());
            let six = [debit("k", window(5), 3), debit("k", window(5), 3)];
            assert_eq!(at.decide(&six, Mode::Take).await[1].retry_after, None, "six never fit into five");
        })
        .case("a call without charges is admitted", async |at: Backend| {
            assert!(at.decide(&[], Mode::Take).await.admitted());
        })
}

fn refunds(suite: Suite<Backend>) -> Suite<Backend> {
    suite
        .case("a refund gives back what was charged", async |at: Backend| {
            let receipt = at.charge("k", window(5), 3).await;
            at.charge("k", window(5), 2).await;
            at.refund("k", window(5), receipt).await;
            assert_eq!(at.take("k", window(5), 0).await.remaining, 3);
            assert!(at.take("k", window(5), 3).await.fits);
            assert!(!at.take("k", window(5), 1).await.fits);
        })
        .case("a refund comes off where it was charged", async |at: Backend| {
            let receipt = at.charge("k", window(5), 2).await;
            at.elapse(WINDOW / 2).await;
            let begun = Instant::now();
            at.charge("k", window(5), 3).await;
            at.refund("k", window(5), receipt).await;
            at.charge("k", window(5), 2).await;
            // The time at which the first charge would have left: nothing was left of it.
            at.elapse(WINDOW.mul_f64(0.65)).await;
            let more = at.take("k", window(5), 1).await;
            assert!(!more.fits || begun.elapsed() >= WINDOW);
        })
        .case("a charge that has left its window is not refunded", async |at: Backend| {
            let receipt = at.charge("k", window(5), 3).await;
            at.elapse(WINDOW.mul_f64(1.15)).await;
            at.charge("k", window(5), 5).await;
            at.refund("k", window(5), receipt).await;
            assert!(!at.take("k", window(5), 1).await.fits);
        })
        .case("a refund to a key that is not known is nothing", async |at: Backend| {
            let receipt = at.charge("k", window(5), 3).await;
            at.refund("other", window(5), receipt).await;
            assert_eq!(at.take("other", window(5), 0).await.remaining, 5);
        })
}

fn gcra(suite: Suite<Backend>) -> Suite<Backend> {
    suite
        .case("GCRA admits its burst, then one at a time", async |at: Backend| {
            let begun = Instant::now();
            assert!(at.take("k", SMOOTH, 3).await.fits);
            let refused = at.take("k", SMOOTH, 1).await;
            assert!(!refused.fits || begun.elapsed() >= INTERVAL, "{refused:?}");
            at.elapse(refused.retry_after.unwrap_or(INTERVAL)).await;
            assert!(at.take("k", SMOOTH, 1).await.fits);
            let refused = at.take("k", SMOOTH, 1).await;
            assert!(!refused.fits || begun.elapsed() >= 2 * INTERVAL, "{refused:?}");
            assert_eq!(at.take("k", SMOOTH, 4).await.retry_after, None, "four never fit into three");
        })
        .case("GCRA earns no part of a request", async |at: Backend| {
            let begun = Instant::now();
            at.take("k", SMOOTH, 3).await;
            at.elapse(INTERVAL.mul_f64(0.6)).await;
            let early = at.take("k", SMOOTH, 1).await;
            assert!(!early.fits || begun.elapsed() >= INTERVAL, "six tenths of one are none");
        })
        .case("a refund under GCRA gives back what is not earned yet", async |at: Backend| {
            let begun = Instant::now();
            let receipt = at.charge("k", SMOOTH, 2).await;
            at.charge("k", SMOOTH, 1).await;
            at.refund("k", SMOOTH, receipt).await;
            let left = at.take("k", SMOOTH, 0).await.remaining;
            assert!(left == 2 || left == 3 && begun.elapsed() >= INTERVAL, "{left}");
            let receipt = at.charge("k", SMOOTH, 2).await;
            at.gives_back_nothing(receipt).await;
        })
        .case("a late refund under GCRA gives nothing, whatever was refunded before", async |at: Backend| {
            let receipt = at.charge("k", SMOOTH, 3).await;
            at.refund("k", SMOOTH, receipt).await;
            let receipt = at.charge("k", SMOOTH, 3).await;
            at.gives_back_nothing(receipt).await;
        })
}

fn window(limit: u32) -> Quota {
    Quota::new(limit, WINDOW)
}

fn policy(quota: Quota) -> Policy {
    quota.policy().expect("the quotas in here are right")
}

fn debit(key: &str, quota: Quota, cost: u32) -> Debit<'_> {
    Debit { key: Key::new(key).expect("the keys in here are right"), policy: policy(quota), cost }
}

impl Backend {
    async fn elapse(&self, time: Duration) {
        self.elapse.by(time).await;
    }

    async fn decide(&self, debits: &[Debit<'_>], mode: Mode) -> Verdicts {
        self.store.decide(debits, mode).await.expect("the store works")
    }

    async fn take(&self, key: &str, quota: Quota, cost: u32) -> Verdict {
        self.decide(&[debit(key, quota, cost)], Mode::Take).await[0]
    }

    async fn charge(&self, key: &str, quota: Quota, cost: u32) -> Receipt {
        self.take(key, quota, cost).await.receipt.expect("it fits")
    }

    /// Refunds a charge to [`SMOOTH`] when all of it is earned again.
    async fn gives_back_nothing(&self, receipt: Receipt) {
        self.elapse(INTERVAL.mul_f64(3.1)).await;
        let begun = Instant::now();
        self.charge("k", SMOOTH, 3).await;
        self.refund("k", SMOOTH, receipt).await;
        let more = self.take("k", SMOOTH, 1).await;
        assert!(!more.fits || begun.elapsed() >= INTERVAL, "it was earned long ago");
    }

    async fn refund(&self, key: &str, quota: Quota, receipt: Receipt) {
        self.store.refund(debit(key, quota, 0), receipt).await.expect("the store works");
    }
}
