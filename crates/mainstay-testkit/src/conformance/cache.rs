//! The contract of `mainstay_core::cache`.

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::cache::{Claim, Entry, Found, Lookup, Outcome, Settled, Store, Tag, Target, Token, Value};
use mainstay_core::codec::Codec;
use mainstay_core::key::Key;
use mainstay_core::store::StoreError;

use super::{Elapse, Suite};

/// A store under test, and its time.
#[derive(Clone)]
pub struct Backend {
    /// A fresh store.
    pub store: Arc<dyn Store>,
    /// Lets at least this much time pass for the store.
    pub elapse: Elapse,
}

/// A time to live that a case lets pass.
const SHORT: Duration = Duration::from_millis(100);
/// A time that does not pass in a case.
const LONG: Duration = Duration::from_secs(600);

/// Every sentence of the contract.
#[must_use]
pub fn suite() -> Suite<Backend> {
    versions(leases(tags(values(Suite::new("cache store")))))
}

fn values(suite: Suite<Backend>) -> Suite<Backend> {
    suite
        .case("what was never put is not found", async |it: Backend| {
            assert_eq!(it.get("k").await, None);
            assert!(!it.invalidate("k").await, "there was nothing");
        })
        .case("what was put is found, byte for byte, with the time it has left", async |it: Backend| {
            it.put("k", entry("\0\r\n{}é", LONG)).await;
            let found = it.find("k").await.expect("it was put");
            assert_eq!(found.value.bytes(), "\0\r\n{}é".as_bytes());
            assert_eq!((found.value.codec(), found.value.is_absent()), (Codec::MessagePack, false));
            assert_eq!(found.value.cost(), Duration::from_millis(7));
            assert!(found.fresh_for <= LONG && found.fresh_for > LONG - Duration::from_secs(60));
        })
        .case("a name is not another, however it is written", async |it: Backend| {
            let names = ["a", "A", "a ", "a\0", "a\n", "{a}", "a*", "a:b", "a%3Ab", "..%2f", "é", "e\u{301}"];
            for name in names {
                it.put(name, entry(name, LONG)).await;
            }
            for name in names {
                assert_eq!(it.get(name).await.as_deref(), Some(name));
            }
        })
        .case("a longest name is a name like others", async |it: Backend| {
            let (one, other) = ("x".repeat(2048), "x".repeat(2047) + "y");
            it.put(&one, entry("1", LONG)).await;
            it.put(&other, entry("2", LONG)).await;
            assert_eq!(it.get(&one).await.as_deref(), Some("1"));
        })
        .case("the latest put is what is found", async |it: Backend| {
            it.put("k", entry("1", LONG)).await;
            it.put("k", entry("2", LONG)).await;
            assert_eq!(it.get("k").await.as_deref(), Some("2"));
        })
        .case("many keys are read in their order", async |it: Backend| {
            it.put("a", entry("1", LONG)).await;
            it.put("c", entry("3", LONG)).await;
            let keys = ["c", "b", "a", "c"].map(key);
            let found = it.store.get_many(&keys).await.expect("it answers");
            let found: Vec<_> = found.into_iter().map(|found| found.map(text)).collect();
            assert_eq!(found, [Some("3".into()), None, Some("1".into()), Some("3".into())]);
            assert!(it.store.get_many(&[]).await.expect("it answers").is_empty());
        })
        .case("many are put at once", async |it: Backend| {
            let entries = [(key("a"), entry("1", LONG)), (key("b"), entry("2", LONG))];
            it.store.put(&entries).await.expect("it answers");
            assert_eq!(it.get("a").await.as_deref(), Some("1"));
            assert_eq!(it.get("b").await.as_deref(), Some("2"));
        })
        .case("a value is gone after its time", async |it: Backend| {
            it.put("k", entry("1", SHORT)).await;
            it.elapse(SHORT).await;
            assert_eq!(it.get("k").await, None);
            assert!(!it.invalidate("k").await, "it has expired");
            assert!(matches!(it.lookup("k", Token::random()).await, Lookup::Lease { stale: None, .. }));
        })
        .case("what is invalidated is gone", async |it: Backend| {
            it.put("k", entry("1", LONG)).await;
            it.put("other", entry("2", LONG)).await;
            assert!(it.invalidate("k").await);
            assert!(!it.invalidate("k").await, "it is gone already");
            assert_eq!(it.get("k").await, None);
            assert_eq!(it.get("other").await.as_deref(), Some("2"));
        })
        .case("that there is no value can be known, and is no value", async |it: Backend| {
            let absent = Value::absent(Duration::ZERO);
            it.put("k", Entry { value: Arc::new(absent), ..entry("", LONG) }).await;
            let found = it.find("k").await.expect("it is known");
            assert!(found.value.is_absent() && found.value.bytes().is_empty());
            assert!(!it.invalidate("k").await);
        })
        .case("a stale value is offered with the lease, and to those who wait", async |it: Backend| {
            it.put("k", Entry { stale_for: LONG, ..entry("old", SHORT) }).await;
            it.get("k").await; // from here on it may lie nearer than the store's own place
            it.elapse(SHORT).await;
            assert_eq!(it.get("k").await, None, "it is not fresh");
            let Lookup::Lease { stale: Some(stale), .. } = it.lookup("k", Token::random()).await else {
                panic!("the lease is free and the value is stale");
            };
            assert_eq!(stale.fresh_for, Duration::ZERO);
            assert!(stale.usable_for <= LONG && stale.usable_for > LONG - Duration::from_secs(60));
            assert_eq!(text(stale), "old");
            let Lookup::Busy { stale, .. } = it.lookup("k", Token::random()).await else {
                panic!("the lease is taken");
            };
            assert_eq!(stale.map(text).as_deref(), Some("old"));
        })
        .case("a stale value is gone after its second time", async |it: Backend| {
            it.put("k", Entry { stale_for: SHORT, ..entry("old", SHORT) }).await;
            it.elapse(2 * SHORT).await;
            assert!(matches!(it.lookup("k", Token::random()).await, Lookup::Lease { stale: None, .. }));
        })
        .case("who wants it fresher than it is gets the lease", async |it: Backend| {
            it.put("k", entry("1", LONG)).await;
            let claim = Claim { min_fresh: LONG, ..claim(Token::random(), LONG) };
            let lookup = it.store.lookup(key("k"), claim).await.expect("it answers");
            let Lookup::Lease { stale: Some(found), .. } = lookup else { panic!("{lookup:?}") };
            assert!(!found.fresh_for.is_zero());
            assert_eq!(it.get("k").await.as_deref(), Some("1"), "for others it is fresh");
            assert!(matches!(it.lookup("k", Token::random()).await, Lookup::Hit(_)));
        })
}

fn versions(suite: Suite<Backend>) -> Suite<Backend> {
    suite
        .case("a newer version replaces an older one, and never the other way", async |it: Backend| {
            assert!(it.put_version("k", "2", 2).await);
            assert!(!it.put_version("k", "1", 1).await);
            assert!(!it.put_version("k", "other", 2).await, "it is known");
            assert_eq!(it.get("k").await.as_deref(), Some("2"));
            assert!(it.put_version("k", "max", u64::MAX).await);
            assert!(!it.put_version("k", "9", u64::MAX - 1).await);
            assert_eq!(it.get("k").await.as_deref(), Some("max"));
            assert!(it.put_version("other", "0", 0).await, "a first version may be 0");
        })
        .case("what was deleted in a version does not come back in an older one", async |it: Backend| {
            assert!(it.put_version("k", "1", 1).await);
            assert!(it.invalidate_version("k", 3).await);
            assert_eq!(it.get("k").await, None);
            assert!(!it.put_version("k", "2", 2).await);
            assert!(!it.put_version("k", "3", 3).await);
            assert_eq!(it.get("k").await, None);
            assert!(it.put_version("k", "4", 4).await);
            assert!(!it.invalidate_version("k", 3).await, "it is older than what is there");
            assert_eq!(it.get("k").await.as_deref(), Some("4"));
        })
        .case("what was deleted before it was seen does not come into being", async |it: Backend| {
            assert!(it.invalidate_version("k", 1).await);
            assert!(!it.put_version("k", "1", 1).await);
            assert_eq!(it.get("k").await, None);
        })
        .case("a fill that a version overtook is refused", async |it: Backend| {
            let (token, _) = it.lease("k").await;
            assert!(it.put_version("k", "newer", 7).await);
            assert_eq!(it.fill("k", token, "older").await, Settled::Refused);
            assert_eq!(it.get("k").await.as_deref(), Some("newer"));
            let (token, _) = it.lease("j").await;
            assert!(it.invalidate_version("j", 7).await);
            assert_eq!(it.fill("j", token, "older").await, Settled::Refused);
            assert_eq!(it.get("j").await, None);
        })
        .case("an older version disturbs nobody who loads", async |it: Backend| {
            assert!(it.invalidate_version("k", 7).await);
            let (token, _) = it.lease("k").await;
            assert!(!it.put_version("k", "6", 6).await);
            assert!(!it.invalidate_version("k", 6).await);
            assert_eq!(it.fill("k", token, "1").await, Settled::Done);
        })
        .case("versions outlive writes without one", async |it: Backend| {
            assert!(it.put_version("k", "2", 2).await);
            it.put("k", entry("set", LONG)).await;
            it.invalidate("k").await;
            assert!(!it.put_version("k", "1", 1).await);
            assert!(it.put_version("k", "3", 3).await);
        })
}

fn leases(suite: Suite<Backend>) -> Suite<Backend> {
    suite
        .case("of many who miss exactly one gets the lease, the others learn who", async |it: Backend| {
            let winner = it.lease("k").await.0;
            for _ in 0..10 {
                let Lookup::Busy { stale: None, holder, retry_in } = it.lookup("k", Token::random()).await
                else {
                    panic!("the lease is taken");
                };
                assert_eq!(holder, Some(winner));
                assert!(!retry_in.is_zero() && retry_in <= LONG);
            }
            assert!(matches!(it.lookup("other", Token::random()).await, Lookup::Lease { .. }));
        })
        .case("asking again with the same token gives the same lease", async |it: Backend| {
            let (token, _) = it.lease("k").await;
            assert!(matches!(it.lookup("k", token).await, Lookup::Lease { .. }));
            assert!(matches!(it.lookup("k", Token::random()).await, Lookup::Busy { .. }));
            assert_eq!(it.fill("k", token, "1").await, Settled::Done);
        })
        .case("a fill under the lease is found, and ends the lease", async |it: Backend| {
            let (token, _) = it.lease("k").await;
            assert_eq!(it.fill("k", token, "1").await, Settled::Done);
            assert_eq!(it.get("k").await.as_deref(), Some("1"));
            assert!(matches!(it.lookup("k", Token::random()).await, Lookup::Hit(_)));
            assert_eq!(it.fill("k", token, "2").await, Settled::Refused, "the second copy");
            assert_eq!(it.get("k").await.as_deref(), Some("1"));
        })
        .case("a fill without the lease changes nothing", async |it: Backend| {
            assert_eq!(it.fill("k", Token::random(), "1").await, Settled::Refused);
            let (token, _) = it.lease("k").await;
            assert_eq!(it.fill("k", Token::random(), "2").await, Settled::Refused);
            assert_eq!(it.get("k").await, None);
            assert_eq!(it.fill("k", token, "3").await, Settled::Done, "the holder was not disturbed");
        })
        .case("a fill that an invalidation overtook is refused", async |it: Backend| {
            let (token, _) = it.lease("k").await;
            it.invalidate("k").await;
            assert_eq!(it.fill("k", token, "old").await, Settled::Refused);
            assert_eq!(it.get("k").await, None);
            assert!(matches!(it.lookup("k", Token::random()).await, Lookup::Lease { .. }));
        })
        .case(
            "a fill that an invalidation overtook is refused, also when the key is loaded again",
            async |it: Backend| {
                let (old, _) = it.lease("k").await;
                it.invalidate("k").await;
                let (new, _) = it.lease("k").await;
                assert_eq!(it.fill("k", old, "old").await, Settled::Refused);
                assert_eq!(it.fill("k", new, "new").await, Settled::Done);
                assert_eq!(it.get("k").await.as_deref(), Some("new"));
            },
        )
        .case("a fill that a put overtook is refused", async |it: Backend| {
            let (token, _) = it.lease("k").await;
            it.put("k", entry("newer", LONG)).await;
            assert_eq!(it.fill("k", token, "older").await, Settled::Refused);
            assert_eq!(it.get("k").await.as_deref(), Some("newer"));
        })
        .case("a lease runs out, and its fill is refused", async |it: Backend| {
            let token = Token::random();
            it.store.lookup(key("k"), claim(token, SHORT)).await.expect("it answers");
            it.elapse(SHORT).await;
            assert_eq!(it.fill("k", token, "late").await, Settled::Refused);
            let (next, _) = it.lease("k").await;
            assert_eq!(it.fill("k", token, "later").await, Settled::Refused);
            assert_eq!(it.fill("k", next, "1").await, Settled::Done);
        })
        .case("a lease that is given back is free at once", async |it: Backend| {
            let (token, _) = it.lease("k").await;
            assert_eq!(it.settle("k", token, Outcome::GiveBack).await, Settled::Done);
            assert_eq!(it.settle("k", token, Outcome::GiveBack).await, Settled::Refused);
            let (next, _) = it.lease("k").await;
            assert_eq!(it.settle("k", token, Outcome::GiveBack).await, Settled::Refused);
            assert_eq!(it.fill("k", next, "1").await, Settled::Done, "the next was not disturbed");
        })
        .case("a lease that is kept is nobody's until its time has passed", async |it: Backend| {
            let (token, _) = it.lease("k").await;
            assert_eq!(it.settle("k", token, Outcome::Keep(SHORT)).await, Settled::Done);
            let Lookup::Busy { holder: None, retry_in, .. } = it.lookup("k", Token::random()).await else {
                panic!("nobody gets it, and it is nobody's");
            };
            assert!(retry_in <= SHORT);
            assert_eq!(it.fill("k", token, "1").await, Settled::Refused);
            assert_eq!(it.settle("k", token, Outcome::Keep(LONG)).await, Settled::Refused);
            it.elapse(SHORT).await;
            it.lease("k").await;
        })
        .case("an invalidation also breaks a lease that is kept", async |it: Backend| {
            let (token, _) = it.lease("k").await;
            it.settle("k", token, Outcome::Keep(LONG)).await;
            it.invalidate("k").await;
            it.lease("k").await;
        })
        .case("an invalidation of a tag also breaks a lease that is kept", async |it: Backend| {
            let (token, _) = it.tagged_lease("k").await;
            it.settle("k", token, Outcome::Keep(LONG)).await;
            it.invalidate_tag("users").await;
            it.lease("k").await;
        })
        .case("a lease that is kept wakes those who wait: its holder loads no more", async |it: Backend| {
            let (token, _) = it.lease("k").await;
            let woken = it.store.changed(key("k"));
            it.settle("k", token, Outcome::Keep(LONG)).await;
            soon(woken).await;
        })
        .case("a fill wakes those who wait", async |it: Backend| {
            let (token, _) = it.lease("k").await;
            let woken = it.store.changed(key("k"));
            it.fill("k", token, "1").await;
            soon(woken).await;
        })
        .case("a lease given back wakes those who wait", async |it: Backend| {
            let (token, _) = it.lease("k").await;
            let (one, other) = (it.store.changed(key("k")), it.store.changed(key("k")));
            it.settle("k", token, Outcome::GiveBack).await;
            soon(one).await;
            soon(other).await;
        })
        .case("a put and an invalidation wake those who wait", async |it: Backend| {
            it.lease("k").await;
            let woken = it.store.changed(key("k"));
            it.put("k", entry("1", LONG)).await;
            soon(woken).await;
            it.lease("j").await;
            let woken = it.store.changed(key("j"));
            it.invalidate("j").await;
            soon(woken).await;
        })
}

fn tags(suite: Suite<Backend>) -> Suite<Backend> {
    suite
        .case("invalidating a tag takes away what bears it, and nothing else", async |it: Backend| {
            it.put("a", tagged("1", &["users"])).await;
            it.put("b", tagged("2", &["orders", "users"])).await;
            it.put("c", tagged("3", &["orders"])).await;
            it.put("d", entry("4", LONG)).await;
            it.invalidate_tag("users").await;
            assert_eq!(it.get("a").await, None);
            assert_eq!(it.get("b").await, None);
            assert_eq!(it.get("c").await.as_deref(), Some("3"));
            assert_eq!(it.get("d").await.as_deref(), Some("4"));
            assert!(!it.invalidate("a").await);
        })
        .case("what is put after its tag was invalidated stays", async |it: Backend| {
            it.invalidate_tag("users").await;
            it.put("a", tagged("1", &["users"])).await;
            assert_eq!(it.get("a").await.as_deref(), Some("1"));
            it.invalidate_tag("users").await;
            assert_eq!(it.get("a").await, None, "a second time, too");
            it.put("a", tagged("2", &["users"])).await;
            assert_eq!(it.get("a").await.as_deref(), Some("2"));
        })
        .case("what is filled under a lease bears its tags", async |it: Backend| {
            let (token, tags) = it.tagged_lease("k").await;
            assert!(tags.iter().all(|tag| tag.epoch.is_some()), "{tags:?}");
            let filled = Outcome::Fill(Entry { tags, ..entry("1", LONG) });
            assert_eq!(it.settle("k", token, filled).await, Settled::Done);
            assert_eq!(it.get("k").await.as_deref(), Some("1"));
            it.invalidate_tag("users").await;
            assert_eq!(it.get("k").await, None);
        })
        .case("what was loading when its tag was invalidated is never found", async |it: Backend| {
            let (token, tags) = it.tagged_lease("k").await;
            it.invalidate_tag("users").await;
            let filled = Outcome::Fill(Entry { tags, ..entry("old", LONG) });
            it.settle("k", token, filled).await;
            assert_eq!(it.get("k").await, None);
        })
        .case("invalidating a tag breaks the leases that bear it", async |it: Backend| {
            let (old, _) = it.tagged_lease("k").await;
            it.invalidate_tag("users").await;
            let (new, tags) = it.tagged_lease("k").await;
            assert_ne!(old, new);
            assert_eq!(it.fill("k", old, "old").await, Settled::Refused);
            let filled = Outcome::Fill(Entry { tags, ..entry("new", LONG) });
            assert_eq!(it.settle("k", new, filled).await, Settled::Done);
            assert_eq!(it.get("k").await.as_deref(), Some("new"));
        })
        .case("a stale value whose tag was invalidated is not offered", async |it: Backend| {
            it.put("k", Entry { fresh_for: SHORT, stale_for: LONG, ..tagged("1", &["users"]) }).await;
            it.elapse(SHORT).await;
            it.invalidate_tag("users").await;
            assert!(matches!(it.lookup("k", Token::random()).await, Lookup::Lease { stale: None, .. }));
        })
        .case("a fresh value whose tag was invalidated is loaded anew", async |it: Backend| {
            it.put("k", tagged("old", &["users"])).await;
            it.invalidate_tag("users").await;
            let token = Token::random();
            assert!(matches!(it.lookup("k", token).await, Lookup::Lease { stale: None, .. }));
            assert!(matches!(it.lookup("k", Token::random()).await, Lookup::Busy { stale: None, .. }));
            assert_eq!(it.fill("k", token, "new").await, Settled::Done);
            assert_eq!(it.get("k").await.as_deref(), Some("new"));
        })
        .case("a tag is no key", async |it: Backend| {
            it.put("users", tagged("1", &["users"])).await;
            assert!(it.invalidate("users").await);
            it.put("other", tagged("2", &["users"])).await;
            it.invalidate("users").await;
            assert_eq!(it.get("other").await.as_deref(), Some("2"));
        })
}

fn key(name: &str) -> Key<'_> {
    Key::new(name).expect("the suite's names are good")
}

fn entry(text: &str, fresh_for: Duration) -> Entry {
    let value = Value::new(text.to_owned().into(), Codec::MessagePack, Duration::from_millis(7));
    Entry { value: Arc::new(value), fresh_for, stale_for: Duration::ZERO, tags: Vec::new() }
}

fn tagged(text: &str, tags: &[&str]) -> Entry {
    let tags = tags.iter().map(|name| Tag { name: (*name).into(), epoch: None }).collect();
    Entry { tags, ..entry(text, LONG) }
}

fn claim(token: Token, lease: Duration) -> Claim<'static> {
    Claim { token, lease, min_fresh: Duration::ZERO, tags: &[] }
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function to map with")]
fn text(found: Found) -> String {
    String::from_utf8(found.value.bytes().to_vec()).expect("the suite's values are text")
}

/// The wake-up has come or comes, on whatever clock.
async fn soon(woken: impl Future<Output = ()>) {
    let woken = tokio::time::timeout(Duration::from_secs(10), woken).await;
    woken.expect("those who wait are woken");
}

fn answered<T>(answer: Result<T, StoreError>) -> T {
    answer.expect("the store answers")
}

impl Backend {
    async fn elapse(&self, time: Duration) {
        self.elapse.by(time).await;
    }

    async fn find(&self, name: &str) -> Option<Found> {
        answered(self.store.get(key(name)).await)
    }

    async fn get(&self, name: &str) -> Option<String> {
        self.find(name).await.map(text)
    }

    async fn put(&self, name: &str, entry: Entry) {
        answered(self.store.put(&[(key(name), entry)]).await);
    }

    async fn put_version(&self, name: &str, text: &str, version: u64) -> bool {
        answered(self.store.put_if_newer(key(name), entry(text, LONG), version).await)
    }

    async fn invalidate_version(&self, name: &str, version: u64) -> bool {
        answered(self.store.invalidate(Target::Version { key: key(name), version }).await)
    }

    async fn lookup(&self, name: &str, token: Token) -> Lookup {
        answered(self.store.lookup(key(name), claim(token, LONG)).await)
    }

    /// The lease, which is free.
    async fn lease(&self, name: &str) -> (Token, Vec<Tag>) {
        self.lease_with(name, &[]).await
    }

    async fn tagged_lease(&self, name: &str) -> (Token, Vec<Tag>) {
        self.lease_with(name, &["orders".into(), "users".into()]).await
    }

    async fn lease_with(&self, name: &str, tags: &[Arc<str>]) -> (Token, Vec<Tag>) {
        let token = Token::random();
        let claim = Claim { tags, ..claim(token, LONG) };
        match answered(self.store.lookup(key(name), claim).await) {
            Lookup::Lease { tags, .. } => (token, tags),
            other => panic!("the lease should be free: {other:?}"),
        }
    }

    async fn settle(&self, name: &str, token: Token, outcome: Outcome) -> Settled {
        answered(self.store.settle(key(name), token, outcome).await)
    }

    async fn fill(&self, name: &str, token: Token, text: &str) -> Settled {
        self.settle(name, token, Outcome::Fill(entry(text, LONG))).await
    }

    async fn invalidate(&self, name: &str) -> bool {
        answered(self.store.invalidate(Target::Key(key(name))).await)
    }

    async fn invalidate_tag(&self, name: &str) {
        answered(self.store.invalidate(Target::Tag(key(name))).await);
    }
}
