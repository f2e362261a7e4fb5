//! The contract of `mainstay_core::lock`.

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::key::Key;
use mainstay_core::lock::{
    Acquired, Changed, Claim, FLOOR_AHEAD, Fence, Holder, LockState, Release, Renewed, Store, Token,
};

use super::{Elapse, Suite};

/// Long enough not to end by itself within a case.
const LONG: Duration = Duration::from_secs(30);
/// Short enough to wait for.
const SHORT: Duration = Duration::from_millis(400);
/// How late a store may notice that a ttl is over.
const LATE: Duration = Duration::from_millis(100);
/// How soon a release is heard.
const SOON: Duration = Duration::from_secs(5);

/// A store under test.
pub struct Backend {
    /// Empty.
    pub store: Arc<dyn Store>,
    /// Lets this much of the store's time pass.
    pub elapse: Elapse,
}

impl Backend {
    async fn acquire(&self, key: &str, attempt: Token) -> Acquired {
        self.claim(key, &claim(attempt)).await
    }

    async fn claim(&self, key: &str, claim: &Claim) -> Acquired {
        self.store.acquire(name(key), *claim).await.expect("the store answers")
    }

    #[track_caller]
    fn granted(&self, key: &str, claim: &Claim) -> impl Future<Output = Fence> {
        let answer = self.claim(key, claim);
        async {
            match answer.await {
                Acquired::Granted { fence } => fence,
                refused => panic!("refused: {refused:?}"),
            }
        }
    }

    async fn hold(&self, key: &str) -> (Token, Fence) {
        let attempt = Token::random();
        (attempt, self.granted(key, &claim(attempt)).await)
    }

    async fn hold_for(&self, key: &str, ttl: Duration) -> (Token, Fence) {
        let attempt = Token::random();
        (attempt, self.granted(key, &Claim { ttl, ..claim(attempt) }).await)
    }

    async fn renew(&self, key: &str, (attempt, fence): (Token, Fence), ttl: Duration) -> Renewed {
        self.store.renew(name(key), attempt, fence, ttl).await.expect("the store answers")
    }

    async fn release(&self, key: &str, attempt: Token) -> Release {
        self.cancel(key, attempt, Duration::ZERO).await
    }

    async fn cancel(&self, key: &str, attempt: Token, tombstone: Duration) -> Release {
        self.store.release(name(key), attempt, tombstone).await.expect("the store answers")
    }

    async fn changed(&self, key: &str) -> Changed {
        self.store.changed(name(key)).await.expect("the store answers")
    }

    async fn holders(&self, key: &str) -> Vec<Holder> {
        self.store.holders(name(key)).await.expect("the store answers")
    }

    /// By their keys.
    async fn list(&self, limit: usize) -> Vec<LockState> {
        let mut locks = self.store.list(limit).await.expect("the store answers");
        locks.sort_by(|one, other| one.key.cmp(&other.key));
        locks
    }

    async fn is_free(&self, key: &str) -> bool {
        let attempt = Token::random();
        let free = matches!(self.acquire(key, attempt).await, Acquired::Granted { .. });
        self.release(key, attempt).await;
        free
    }

    async fn elapse(&self, time: Duration) {
        self.elapse.by(time).await;
    }
}

fn name(key: &str) -> Key<'_> {
    Key::new(key).expect("the suite's keys are valid")
}

fn claim(attempt: Token) -> Claim {
    Claim { attempt, permits: 1, ttl: LONG, floor: Fence::default() }
}

fn semaphore(attempt: Token, permits: u32) -> Claim {
    Claim { permits, ..claim(attempt) }
}

/// Every promise of [`Store`].
#[must_use]
pub fn suite() -> Suite<Backend> {
    let suite = Suite::new("the contract of a lock store");
    showing(semaphores(waiting(cancelling(ending(fences(holding(suite)))))))
}

fn holding(suite: Suite<Backend>) -> Suite<Backend> {
    suite
        .case(
            "a key has one holder, and who is refused hears of its fence and its time",
            async |b: Backend| {
                let (_, fence) = b.hold("k").await;
                match b.acquire("k", Token::random()).await {
                    Acquired::Held { retry_in, fence: holder } => {
                        assert!(!retry_in.is_zero() && retry_in <= LONG, "retry in {retry_in:?}");
                        assert_eq!(holder, fence);
                    }
                    other => panic!("{other:?}"),
                }
            },
        )
        .case("an attempt that asks again while it holds gets the same fence", async |b: Backend| {
            let (attempt, fence) = b.hold("k").await;
            assert_eq!(b.acquire("k", attempt).await, Acquired::Granted { fence });
        })
        .case("an attempt that asks again has a new ttl", async |b: Backend| {
            let (attempt, _) = b.hold_for("k", SHORT).await;
            b.elapse(SHORT / 2).await;
            b.granted("k", &Claim { ttl: 2 * SHORT, ..claim(attempt) }).await;
            b.elapse(SHORT).await;
            assert!(!b.is_free("k").await);
        })
        .case("keys do not know each other, whatever they are made of", async |b: Backend| {
            let keys = ["a", "a:b", "{a}", "*", "a\r\nb", "\0", "..%2f", "%2A", "é", &"x".repeat(2_048)];
            for key in keys {
                b.hold(key).await;
            }
            for key in keys {
                assert!(!b.is_free(key).await, "{key:?}");
            }
        })
}

fn fences(suite: Suite<Backend>) -> Suite<Backend> {
    suite
        .case("fences grow from holder to holder, released or expired", async |b: Backend| {
            let mut last = Fence::default();
            for round in 0..6 {
                let (attempt, fence) = b.hold_for("k", SHORT).await;
                assert!(fence > last, "{fence} after {last}");
                last = fence;
                if round % 2 == 0 {
                    b.release("k", attempt).await;
                } else {
                    b.elapse(SHORT + LATE).await;
                }
            }
        })
        .case("a fence is above its floor, and so are those that follow", async |b: Backend| {
            let (attempt, fence) = b.hold("k").await;
            b.release("k", attempt).await;
            let floor = Fence::from(fence.get() + 3_600_000_000);
            let attempt = Token::random();
            let above = b.granted("k", &Claim { floor, ..claim(attempt) }).await;
            assert!(above > floor, "{above} above {floor}");
            b.release("k", attempt).await;
            assert!(b.hold("k").await.1 > above);
        })
        .case("a floor out of reach moves the fences a day and no further", async |b: Backend| {
            let (attempt, fence) = b.hold("k").await;
            b.release("k", attempt).await;
            let attempt = Token::random();
            let floor = Fence::from(u64::MAX);
            let above = b.granted("k", &Claim { floor, ..claim(attempt) }).await;
            let ahead = Duration::from_micros(above.get() - fence.get());
            assert!(ahead < FLOOR_AHEAD + Duration::from_secs(600), "{ahead:?} ahead");
            b.release("k", attempt).await;
            assert!(b.hold("k").await.1 > above);
        })
}

fn ending(suite: Suite<Backend>) -> Suite<Backend> {
    suite
        .case("a hold ends with its ttl and not before", async |b: Backend| {
            b.hold_for("k", SHORT).await;
            b.elapse(SHORT / 2).await;
            assert!(!b.is_free("k").await);
            b.elapse(SHORT / 2 + LATE).await;
            assert!(b.is_free("k").await);
        })
        .case("renewing makes the ttl begin anew", async |b: Backend| {
            let held = b.hold_for("k", SHORT).await;
            for _ in 0..4 {
                b.elapse(SHORT / 2).await;
                assert_eq!(b.renew("k", held, SHORT).await, Renewed::Renewed);
            }
            b.elapse(SHORT + LATE).await;
            assert!(b.is_free("k").await);
        })
        .case("renewing never makes a holder: not of what expired", async |b: Backend| {
            let held = b.hold_for("k", SHORT).await;
            b.elapse(SHORT + LATE).await;
            assert_eq!(b.renew("k", held, LONG).await, Renewed::Lost);
            assert!(b.is_free("k").await);
        })
        .case("renewing never makes a holder: not of what was released", async |b: Backend| {
            let held = b.hold("k").await;
            b.release("k", held.0).await;
            assert_eq!(b.renew("k", held, LONG).await, Renewed::Lost);
            assert!(b.is_free("k").await);
        })
        .case("renewing takes the attempt and its fence", async |b: Backend| {
            let (attempt, fence) = b.hold_for("k", SHORT).await;
            assert_eq!(b.renew("k", (Token::random(), fence), LONG).await, Renewed::Lost);
            let wrong = Fence::from(fence.get() + 1);
            assert_eq!(b.renew("k", (attempt, wrong), LONG).await, Renewed::Lost);
            b.elapse(SHORT + LATE).await;
            assert!(b.is_free("k").await);
        })
        .case("a release frees the key, once", async |b: Backend| {
            let (attempt, _) = b.hold("k").await;
            assert_eq!(b.release("k", attempt).await, Release::Released);
            assert_eq!(b.release("k", attempt).await, Release::NotHeld);
            assert!(b.is_free("k").await);
        })
        .case("another's token releases nothing", async |b: Backend| {
            b.hold("k").await;
            assert_eq!(b.release("k", Token::random()).await, Release::NotHeld);
            assert!(!b.is_free("k").await);
        })
        .case("what expired is not released, and its next holder is not disturbed", async |b: Backend| {
            let (first, _) = b.hold_for("k", SHORT).await;
            b.elapse(SHORT + LATE).await;
            assert_eq!(b.release("k", first).await, Release::NotHeld);
            let second = b.hold("k").await;
            assert_eq!(b.release("k", first).await, Release::NotHeld);
            assert_eq!(b.renew("k", second, LONG).await, Renewed::Renewed);
        })
}

fn cancelling(suite: Suite<Backend>) -> Suite<Backend> {
    suite
        .case("a cancelled attempt is not granted, another is", async |b: Backend| {
            let attempt = Token::random();
            assert_eq!(b.cancel("k", attempt, LONG).await, Release::NotHeld);
            assert_eq!(b.acquire("k", attempt).await, Acquired::Cancelled);
            assert!(b.is_free("k").await);
        })
        .case("a released attempt does not come back while its tombstone stands", async |b: Backend| {
            let (attempt, _) = b.hold("k").await;
            assert_eq!(b.cancel("k", attempt, LONG).await, Release::Released);
            assert_eq!(b.acquire("k", attempt).await, Acquired::Cancelled);
        })
        .case("a tombstone does not stand for ever", async |b: Backend| {
            let attempt = Token::random();
            b.cancel("k", attempt, SHORT).await;
            b.elapse(SHORT + LATE).await;
            b.granted("k", &claim(attempt)).await;
        })
        .case("without a tombstone nothing is remembered", async |b: Backend| {
            let attempt = Token::random();
            b.cancel("k", attempt, Duration::ZERO).await;
            b.granted("k", &claim(attempt)).await;
        })
        .case("a tombstone stands on its own key only", async |b: Backend| {
            let attempt = Token::random();
            b.cancel("k", attempt, LONG).await;
            b.granted("other", &claim(attempt)).await;
        })
}

fn waiting(suite: Suite<Backend>) -> Suite<Backend> {
    suite
        .case("a release is heard by all who wait", async |b: Backend| {
            let (attempt, _) = b.hold("k").await;
            let (one, two) = (b.changed("k").await, b.changed("k").await);
            b.release("k", attempt).await;
            let heard = tokio::time::timeout(SOON, async { tokio::join!(one, two) }).await;
            assert!(heard.is_ok(), "not heard");
        })
        .case("a release after subscribing is heard, though nobody listened yet", async |b: Backend| {
            let (attempt, _) = b.hold("k").await;
            let changed = b.changed("k").await;
            b.release("k", attempt).await;
            let (attempt, _) = b.hold("k").await;
            assert!(tokio::time::timeout(SOON, changed).await.is_ok(), "not heard");
            b.release("k", attempt).await;
        })
        .case("who waits for a free key hears its next release", async |b: Backend| {
            let changed = b.changed("k").await;
            let (attempt, _) = b.hold("k").await;
            b.release("k", attempt).await;
            assert!(tokio::time::timeout(SOON, changed).await.is_ok(), "not heard");
        })
        .case("another key's release is not mistaken for one's own for ever", async |b: Backend| {
            b.hold("k").await;
            let (other, _) = b.hold("other").await;
            let changed = b.changed("k").await;
            b.release("other", other).await;
            // A wake-up without cause is allowed, a grant without cause is not.
            let _woken = tokio::time::timeout(LATE, changed).await;
            assert!(!b.is_free("k").await);
        })
}

fn semaphores(suite: Suite<Backend>) -> Suite<Backend> {
    suite
        .case("as many hold as there are permits, each with a higher fence", async |b: Backend| {
            let mut last = (Token::random(), Fence::default());
            for _ in 0..3 {
                let attempt = Token::random();
                let fence = b.granted("s", &semaphore(attempt, 3)).await;
                assert!(fence > last.1, "{fence} after {}", last.1);
                last = (attempt, fence);
            }
            let refused = b.claim("s", &semaphore(Token::random(), 3)).await;
            assert!(matches!(refused, Acquired::Held { fence, .. } if fence == last.1), "{refused:?}");
            assert_eq!(b.release("s", last.0).await, Release::Released);
            b.granted("s", &semaphore(Token::random(), 3)).await;
            let refused = b.claim("s", &semaphore(Token::random(), 3)).await;
            assert!(matches!(refused, Acquired::Held { .. }), "{refused:?}");
        })
        .case(
            "a permit ends with its own ttl, and the first to end says when to retry",
            async |b: Backend| {
                let (short, long) = (Token::random(), Token::random());
                b.granted("s", &semaphore(long, 2)).await;
                b.granted("s", &Claim { ttl: SHORT, ..semaphore(short, 2) }).await;
                match b.claim("s", &semaphore(Token::random(), 2)).await {
                    Acquired::Held { retry_in, .. } => assert!(retry_in <= SHORT, "{retry_in:?}"),
                    other => panic!("{other:?}"),
                }
                b.elapse(SHORT + LATE).await;
                b.granted("s", &semaphore(Token::random(), 2)).await;
                let refused = b.claim("s", &semaphore(Token::random(), 2)).await;
                assert!(matches!(refused, Acquired::Held { .. }), "{refused:?}");
                assert_eq!(b.release("s", long).await, Release::Released);
            },
        )
        .case("a permit is renewed alone", async |b: Backend| {
            let (kept, left) = (Token::random(), Token::random());
            let fence = b.granted("s", &Claim { ttl: SHORT, ..semaphore(kept, 2) }).await;
            b.granted("s", &Claim { ttl: SHORT, ..semaphore(left, 2) }).await;
            assert_eq!(b.renew("s", (kept, fence), LONG).await, Renewed::Renewed);
            b.elapse(SHORT + LATE).await;
            assert_eq!(b.release("s", left).await, Release::NotHeld);
            assert_eq!(b.release("s", kept).await, Release::Released);
        })
        .case("where permits differ the smaller number wins, whoever came first", async |b: Backend| {
            b.granted("s", &semaphore(Token::random(), 5)).await;
            b.granted("s", &semaphore(Token::random(), 5)).await;
            let small = b.claim("s", &semaphore(Token::random(), 2)).await;
            assert!(matches!(small, Acquired::Held { .. }), "{small:?}");
            b.granted("t", &semaphore(Token::random(), 2)).await;
            b.granted("t", &semaphore(Token::random(), 5)).await;
            let large = b.claim("t", &semaphore(Token::random(), 5)).await;
            assert!(matches!(large, Acquired::Held { .. }), "{large:?}");
        })
}

fn showing(suite: Suite<Backend>) -> Suite<Backend> {
    suite
        .case("a holder is shown with its fence and its times, not with its token", async |b: Backend| {
            assert_eq!(b.holders("k").await, []);
            let held = b.hold("k").await;
            b.elapse(SHORT).await;
            assert_eq!(b.renew("k", held, LONG).await, Renewed::Renewed);
            let [holder] = &*b.holders("k").await else { panic!("one holder") };
            assert_eq!((holder.fence, holder.permits), (held.1, 1));
            assert_eq!(holder.id, held.0.short_id());
            assert!(holder.since >= SHORT - LATE && holder.since < LONG, "since {:?}", holder.since);
            assert!(holder.ends_in > LONG - SHORT && holder.ends_in <= LONG, "{:?} left", holder.ends_in);
        })
        .case("the holders of a semaphore are shown in the order they came", async |b: Backend| {
            let mut fences = Vec::new();
            for _ in 0..12 {
                fences.push(b.granted("s", &semaphore(Token::random(), 12)).await);
            }
            let shown: Vec<_> = b.holders("s").await.iter().map(|holder| holder.fence).collect();
            assert_eq!(shown, fences);
        })
        .case("what was released or has expired is not shown", async |b: Backend| {
            b.hold_for("expired", SHORT).await;
            let (released, _) = b.hold("released").await;
            b.cancel("released", released, LONG).await;
            b.elapse(SHORT + LATE).await;
            assert_eq!(b.holders("expired").await, []);
            assert_eq!(b.holders("released").await, []);
            assert_eq!(b.list(100).await, []);
        })
        .case("what is held is listed, by the names that users gave", async |b: Backend| {
            let keys = ["a", "a:b", "é/{x}*"];
            for key in keys {
                b.hold(key).await;
            }
            let locks = b.list(100).await;
            assert_eq!(locks.iter().map(|lock| &*lock.key).collect::<Vec<_>>(), keys);
            for lock in locks {
                let [holder] = &*lock.holders else { panic!("one holder of {}", lock.key) };
                let [same] = &*b.holders(&lock.key).await else { panic!("one holder of {}", lock.key) };
                assert_eq!((&holder.id, holder.fence), (&same.id, same.fence));
            }
        })
        .case("no more is listed than was asked for", async |b: Backend| {
            for n in 0..30 {
                b.hold(&format!("key-{n}")).await;
            }
            assert_eq!(b.list(0).await, []);
            assert_eq!(b.list(7).await.len(), 7);
            assert_eq!(b.list(usize::MAX).await.len(), 30);
        })
        .case("who waits for a held key is counted there and nowhere else", async |b: Backend| {
            b.hold("other").await;
            b.hold("waited for").await;
            let waiting = b.changed("waited for").await;
            let counts: Vec<_> = b.list(100).await.iter().map(|lock| lock.waiting).collect();
            assert_eq!(counts, [0, 1]);
            drop(waiting);
        })
}
