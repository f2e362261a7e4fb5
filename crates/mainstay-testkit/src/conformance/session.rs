//! The contract of `mainstay_auth::session`.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use mainstay_auth::session::{Bounds, Digest, NewSession, Rotated, Rotation, Session, SessionStore};

use super::Suite;

const IDLE: Duration = Duration::from_secs(1_000);
const LIFETIME: Duration = Duration::from_secs(10_000);
const GRACE: Duration = Duration::from_secs(10);
const MOST: usize = 32;

/// A store under test.
pub struct Backend {
    /// Empty.
    pub store: Arc<dyn SessionStore>,
}

/// So many microseconds after the beginning.
fn at(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(1_767_225_600_123_456 + micros).expect("a moment in 2026")
}

fn seconds(count: i64) -> Timestamp {
    at(count * 1_000_000)
}

fn ago(now: Timestamp, time: Duration) -> Timestamp {
    now.saturating_sub(time).expect("a short time")
}

fn bounds(now: Timestamp) -> Bounds {
    Bounds { now, idle_since: ago(now, IDLE) }
}

fn token(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn session(id: &str, subject: &str, opened: Timestamp) -> Session {
    let expires = opened.saturating_add(LIFETIME).expect("a short time");
    let (id, subject, about) = (id.to_owned(), subject.to_owned(), "a browser".to_owned());
    Session { id, subject, about, opened, used: opened, expires }
}

impl Backend {
    /// A session whose family is its id and whose token is `first`.
    async fn open(&self, session: Session) -> Vec<String> {
        self.open_at_most(session, MOST).await
    }

    async fn open_at_most(&self, session: Session, most: usize) -> Vec<String> {
        let new = NewSession { family: token(&session.id), token: token("first"), session };
        self.store.open(&new, most).await.expect("the store answers")
    }

    async fn rotate(&self, id: &str, presented: &str, next: &str, now: Timestamp) -> Rotated {
        let rotation = Rotation {
            family: token(id),
            presented: token(presented),
            next: token(next),
            bounds: bounds(now),
            grace_since: ago(now, GRACE),
        };
        self.store.rotate(&rotation).await.expect("the store answers")
    }

    async fn list(&self, subject: &str, now: Timestamp) -> Vec<Session> {
        self.store.list(subject, bounds(now)).await.expect("the store answers")
    }

    async fn ids(&self, subject: &str, now: Timestamp) -> Vec<String> {
        self.list(subject, now).await.into_iter().map(|session| session.id).collect()
    }

    async fn revoke(&self, id: &str, owner: Option<&str>) -> bool {
        self.store.revoke(id, owner).await.expect("the store answers")
    }

    async fn revoke_all(&self, subject: &str, but: Option<&str>) -> Vec<String> {
        let mut ids = self.store.revoke_all(subject, but).await.expect("the store answers");
        ids.sort();
        ids
    }
}

/// All its cases.
#[must_use]
pub fn suite() -> Suite<Backend> {
    let suite = Suite::new("mainstay_auth::session::SessionStore");
    listing(ending(tokens(suite)))
}

fn tokens(suite: Suite<Backend>) -> Suite<Backend> {
    suite
        .case("the last token is replaced by the next, and the session was used then", async |b: Backend| {
            b.open(session("s", "ada", at(0))).await;
            let used = Session { used: seconds(5), ..session("s", "ada", at(0)) };
            assert_eq!(b.rotate("s", "first", "second", seconds(5)).await, Rotated::Fresh(used.clone()));
            assert_eq!(b.list("ada", seconds(5)).await, [used]);
            let used = Session { used: seconds(9), ..session("s", "ada", at(0)) };
            assert_eq!(b.rotate("s", "second", "third", seconds(9)).await, Rotated::Fresh(used));
        })
        .case("a token that comes back within the grace time changes nothing", async |b: Backend| {
            b.open(session("s", "ada", at(0))).await;
            assert!(matches!(b.rotate("s", "first", "second", seconds(5)).await, Rotated::Fresh(_)));
            for late in [seconds(5), seconds(15)] {
                assert_eq!(b.rotate("s", "first", "stolen", late).await, Rotated::Elsewhere);
            }
            assert!(matches!(b.rotate("s", "second", "third", seconds(16)).await, Rotated::Fresh(_)));
        })
        .case("a token that comes back after the grace time ends its session", async |b: Backend| {
            b.open(session("s", "ada", at(0))).await;
            b.open(session("other", "ada", at(0))).await;
            b.rotate("s", "first", "second", seconds(5)).await;
            let late = at(15_000_001);
            let used = Session { used: seconds(5), ..session("s", "ada", at(0)) };
            assert_eq!(b.rotate("s", "first", "stolen", late).await, Rotated::Reused(used));
            for token in ["first", "second", "stolen"] {
                assert_eq!(b.rotate("s", token, "next", late).await, Rotated::Unknown, "{token}");
            }
            assert_eq!(b.ids("ada", late).await, ["other"], "no other session");
        })
        .case("a token that was replaced twice has no grace time", async |b: Backend| {
            b.open(session("s", "ada", at(0))).await;
            b.rotate("s", "first", "second", seconds(1)).await;
            b.rotate("s", "second", "third", seconds(2)).await;
            assert!(matches!(b.rotate("s", "first", "x", seconds(2)).await, Rotated::Reused(_)));
            assert_eq!(b.rotate("s", "third", "x", seconds(2)).await, Rotated::Unknown);
        })
        .case("a token that never was, of a session that is, ends it", async |b: Backend| {
            b.open(session("s", "ada", at(0))).await;
            assert!(matches!(b.rotate("s", "made up", "x", seconds(1)).await, Rotated::Reused(_)));
            assert!(b.ids("ada", seconds(1)).await.is_empty());
        })
        .case("a token of no session is unknown", async |b: Backend| {
            b.open(session("s", "ada", at(0))).await;
            assert_eq!(b.rotate("other", "first", "x", seconds(1)).await, Rotated::Unknown);
            assert_eq!(b.ids("ada", seconds(1)).await, ["s"]);
        })
        .case("of many who present one token at once, one goes on", async |b: Backend| {
            b.open(session("s", "ada", at(0))).await;
            let names: Vec<String> = (0..16).map(|i| format!("next {i}")).collect();
            let all = join_all(names.iter().map(|next| b.rotate("s", "first", next, seconds(1)))).await;
            let fresh: Vec<usize> = (0..16).filter(|i| matches!(all[*i], Rotated::Fresh(_))).collect();
            let elsewhere = all.iter().filter(|rotated| **rotated == Rotated::Elsewhere).count();
            assert_eq!((fresh.len(), elsewhere), (1, 15), "{all:?}");
            let last = &names[fresh[0]];
            assert!(matches!(b.rotate("s", last, "x", seconds(2)).await, Rotated::Fresh(_)));
        })
        .case("of many who bring a stolen token back at once, none goes on", async |b: Backend| {
            b.open(session("s", "ada", at(0))).await;
            b.rotate("s", "first", "second", seconds(1)).await;
            let thieves = (0..8).map(|_| b.rotate("s", "first", "x", seconds(100)));
            let (all, owner) =
                futures_util::join!(join_all(thieves), b.rotate("s", "second", "third", seconds(100)));
            assert!(all.iter().all(|one| matches!(one, Rotated::Reused(_) | Rotated::Unknown)), "{all:?}");
            assert!(!matches!(owner, Rotated::Elsewhere), "{owner:?}");
            assert_eq!(b.rotate("s", "third", "x", seconds(100)).await, Rotated::Unknown);
        })
}

fn ending(suite: Suite<Backend>) -> Suite<Backend> {
    suite
        .case("a session that is not used for the idle time is over", async |b: Backend| {
            b.open(session("s", "ada", at(0))).await;
            assert_eq!(b.rotate("s", "first", "x", at(1_000_000_001)).await, Rotated::Unknown);
            assert!(matches!(b.rotate("s", "first", "x", seconds(1_000)).await, Rotated::Fresh(_)));
            assert!(matches!(b.rotate("s", "x", "y", seconds(2_000)).await, Rotated::Fresh(_)));
        })
        .case(
            "a session that has lasted its lifetime is over, however much it is used",
            async |b: Backend| {
                b.open(session("s", "ada", at(0))).await;
                for step in 1..20 {
                    let (old, next) = (format!("{}", step - 1), format!("{step}"));
                    let old = if step == 1 { "first" } else { &old };
                    assert!(matches!(
                        b.rotate("s", old, &next, seconds(step * 500)).await,
                        Rotated::Fresh(_)
                    ));
                }
                assert_eq!(b.rotate("s", "19", "x", seconds(10_000)).await, Rotated::Unknown);
                assert!(matches!(b.rotate("s", "19", "x", at(9_999_999_999)).await, Rotated::Fresh(_)));
            },
        )
        .case("a token that comes back to a session that is over is unknown", async |b: Backend| {
            b.open(session("s", "ada", at(0))).await;
            b.rotate("s", "first", "second", seconds(1)).await;
            assert_eq!(b.rotate("s", "first", "x", seconds(5_000)).await, Rotated::Unknown);
        })
        .case("a session is revoked by its id, once", async |b: Backend| {
            b.open(session("s", "ada", at(0))).await;
            b.open(session("t", "ada", at(0))).await;
            assert!(b.revoke("s", None).await);
            assert!(!b.revoke("s", None).await && !b.revoke("nobody's", None).await);
            assert_eq!(b.rotate("s", "first", "x", seconds(1)).await, Rotated::Unknown);
            assert_eq!(b.ids("ada", seconds(1)).await, ["t"]);
        })
        .case("a session is not revoked for somebody else", async |b: Backend| {
            b.open(session("s", "ada", at(0))).await;
            for other in ["bob", "", "ADA", "ada "] {
                assert!(!b.revoke("s", Some(other)).await, "{other:?}");
            }
            assert!(b.revoke("s", Some("ada")).await);
        })
        .case("all sessions of a subject are revoked, and nobody else's", async |b: Backend| {
            for (id, subject) in [("1", "ada"), ("2", "ada"), ("3", "Ada"), ("4", "ada "), ("5", "bob")] {
                b.open(session(id, subject, at(0))).await;
            }
            assert_eq!(b.revoke_all("ada", None).await, ["1", "2"]);
            assert!(b.revoke_all("ada", None).await.is_empty());
            assert_eq!(b.ids("Ada", at(0)).await, ["3"]);
            assert_eq!(b.ids("ada ", at(0)).await, ["4"]);
            assert_eq!(b.ids("bob", at(0)).await, ["5"]);
        })
        .case("all sessions of a subject but one are revoked", async |b: Backend| {
            for id in ["1", "2", "3"] {
                b.open(session(id, "ada", at(0))).await;
            }
            assert_eq!(b.revoke_all("ada", Some("2")).await, ["1", "3"]);
            assert_eq!(b.ids("ada", at(0)).await, ["2"]);
        })
        .case("sessions that are over are forgotten, and no others", async |b: Backend| {
            b.open(session("idle", "ada", at(0))).await;
            b.open(session("used", "ada", at(0))).await;
            b.rotate("used", "first", "x", seconds(500)).await;
            assert_eq!(b.store.purge(bounds(seconds(1_000))).await, Ok(0));
            assert_eq!(b.store.purge(bounds(seconds(1_001))).await, Ok(1));
            assert_eq!(b.ids("ada", seconds(1_001)).await, ["used"]);
            let expired = Bounds { now: seconds(10_000), idle_since: at(0) };
            assert_eq!(b.store.purge(expired).await, Ok(1));
        })
        .case("beyond the most of one subject, the session used longest ago ends", async |b: Backend| {
            b.open(session("bob's", "bob", at(0))).await;
            for (id, opened) in [("1", 1), ("2", 2), ("3", 3)] {
                assert!(b.open_at_most(session(id, "ada", seconds(opened)), 3).await.is_empty());
            }
            b.rotate("1", "first", "x", seconds(4)).await;
            assert_eq!(b.open_at_most(session("4", "ada", seconds(5)), 3).await, ["2"]);
            assert_eq!(b.ids("ada", seconds(5)).await, ["4", "1", "3"]);
            assert_eq!(b.rotate("2", "first", "x", seconds(6)).await, Rotated::Unknown);
            assert_eq!(b.ids("bob", seconds(5)).await, ["bob's"]);
        })
}

fn listing(suite: Suite<Backend>) -> Suite<Backend> {
    suite
        .case("what is listed is what was kept, to the microsecond", async |b: Backend| {
            let subject = "ü".repeat(128);
            let about = format!("{}'; --\u{1F600}", "é".repeat(120));
            let kept = Session { about, ..session("an-id_1", &subject, at(7)) };
            b.open(kept.clone()).await;
            assert_eq!(b.list(&subject, at(8)).await, [kept]);
        })
        .case("sessions are listed from the last used on, without those that are over", async |b: Backend| {
            for (id, opened) in [("old", 0), ("a", 600), ("d", 700), ("b", 700), ("c", 600)] {
                b.open(session(id, "ada", seconds(opened))).await;
            }
            b.open(session("bob's", "bob", seconds(600))).await;
            b.rotate("a", "first", "x", seconds(800)).await;
            assert_eq!(b.ids("ada", seconds(900)).await, ["a", "b", "d", "c", "old"]);
            assert_eq!(b.ids("ada", seconds(1_001)).await, ["a", "b", "d", "c"]);
            assert!(b.ids("nobody", seconds(900)).await.is_empty());
        })
}
