//! Scripts with one bug each, and what is asked of locks on a server beyond the contract. Every bug is convicted.

use std::cell::Cell;
use std::sync::Arc;

use mainstay_core::lock::{Acquired, Claim, Fence, Release, Renewed, Store, Token};
use mainstay_redis::Redis;
use mainstay_redis::lock::{RedisLocks, Sources};
use mainstay_testkit::conformance::lock::{Backend, suite};
use mainstay_testkit::conformance::{Elapse, Suite};
use mainstay_testkit::redis::RedisServer;

use super::contract::steadily;
use super::{SECOND, claim, connect, granted, millis, name};

struct Bug {
    name: &'static str,
    verb: fn(&mut Sources) -> &mut &'static str,
    sound: &'static str,
    broken: &'static str,
}

fn acquire(sources: &mut Sources) -> &mut &'static str {
    &mut sources.acquire
}

fn renew(sources: &mut Sources) -> &mut &'static str {
    &mut sources.renew
}

fn release(sources: &mut Sources) -> &mut &'static str {
    &mut sources.release
}

const fn bug(
    name: &'static str,
    verb: fn(&mut Sources) -> &mut &'static str,
    sound: &'static str,
    broken: &'static str,
) -> Bug {
    Bug { name, verb, sound, broken }
}

const BUGS: [Bug; 17] = [
    bug("a counter for a fence", acquire, "+ 1, now, floor + 1", "+ 1, floor + 1"),
    bug("a fence as before", acquire, "tonumber(last or 0) + 1", "tonumber(last or 0)"),
    bug("a fence as a float", acquire, "whole(fence)", "tostring(fence)"),
    bug("no floor", acquire, ", floor + 1)", ")"),
    bug("no bound of the floor", acquire, "math.min(tonumber(ARGV[4]), now + DAY)", "tonumber(ARGV[4])"),
    bug("asking again is another's question", acquire, "holder[ATTEMPT] == attempt", "false"),
    bug("asking again keeps the old ttl", acquire, "holder[TTL], holder[TILL] = ttl, now + ttl", ""),
    bug("a new holder's permits count alone", acquire, "math.min(least, holder[PERMITS])", "least"),
    bug("one more than the permits", acquire, "#holders >= least", "#holders > least"),
    bug("what has expired holds", acquire, "if holder[TILL] > now then", "if true then"),
    bug(
        "a calendar set back is believed",
        acquire,
        "if holder[TILL] > now + holder[TTL] then",
        "if false then",
    ),
    bug("a calendar set back is noticed only", acquire, "if stepped then", "if false then"),
    bug(
        "the key ends with the last that came",
        acquire,
        "till = math.max(till, holder[TILL])",
        "till = holder[TILL]",
    ),
    bug(
        "a renewal makes a holder",
        renew,
        "return 0",
        "write(KEYS[1], {{1, tonumber(ARGV[3]), now + ARGV[3], 0, tonumber(ARGV[2]), ARGV[1], ''}}) return 1",
    ),
    bug("a renewal without its fence", renew, " and holder[FENCE] == tonumber(ARGV[2])", ""),
    bug("anyone releases", release, "holder[ATTEMPT] == ARGV[1]", "true"),
    bug("no tombstone", release, "if KEYS[2] then", "if false then"),
];

impl Bug {
    fn sources(&self) -> Sources {
        let mut sources = Sources::default();
        let text = (self.verb)(&mut sources);
        let broken = text.replacen(self.sound, self.broken, 1);
        assert_ne!(broken, *text, "{}: the script has changed", self.name);
        *text = broken.leak();
        sources
    }
}

/// A store and its server.
struct Place {
    store: RedisLocks,
    server: Arc<RedisServer>,
    namespace: String,
}

impl Place {
    fn key(&self, suffix: &str) -> String {
        format!("ms:{{{}:lock:k}}:{suffix}", self.namespace)
    }
}

/// What the contract cannot ask, because it does not know what a server keeps.
fn beyond() -> Suite<Place> {
    Suite::new("locks on a server")
        .case("fences grow though the server has lost its state", async |place: Place| {
            let mut last = Fence::default();
            for _ in 0..3 {
                let fence = granted(&place.store, "k", claim(Token::random(), SECOND)).await;
                assert!(fence > last, "{fence} after {last}");
                last = fence;
                place.server.command(&["DEL", &place.key("l"), &place.key("f")]).await;
            }
        })
        .case("a holder does not outlast its ttl because the calendar was set back", async |place: Place| {
            // As it would look: granted an hour from now.
            let hour = 3_600_000_000;
            let (attempt, ttl) = (Token::random(), millis(300));
            let fence = granted(&place.store, "k", claim(attempt, ttl)).await;
            let now = fence.get();
            let lie = format!(
                "redis.call('SET', KEYS[1], struct.pack('<I4ddddc32s', 1, 300000, {}, {}, {now}, '{attempt}', 'x'))",
                now + hour + 300_000,
                now + hour
            );
            place.server.command(&["EVAL", &lie, "1", &place.key("l")]).await;
            let another = claim(Token::random(), ttl);
            let held = place.store.acquire(name("k"), another).await;
            assert!(matches!(held, Ok(Acquired::Held { retry_in, .. }) if retry_in <= ttl), "{held:?}");
            tokio::time::sleep(ttl + millis(50)).await;
            granted(&place.store, "k", another).await;
        })
        .case("nothing stays for ever", async |place: Place| {
            let (one, two) = (Token::random(), Token::random());
            granted(&place.store, "k", Claim { permits: 2, ..claim(one, millis(300)) }).await;
            let fence = granted(&place.store, "k", Claim { permits: 2, ..claim(two, SECOND) }).await;
            assert_eq!(place.store.renew(name("k"), two, fence, SECOND).await, Ok(Renewed::Renewed));
            let release = place.store.release(name("k"), one, SECOND).await;
            assert_eq!(release, Ok(Release::Released));
            for suffix in ["l".to_owned(), "f".to_owned(), format!("x:{one}")] {
                let left: i64 = place.server.command(&["PTTL", &place.key(&suffix)]).await.parse().unwrap();
                assert!((1..=7 * 24 * 3_600_000).contains(&left), "{suffix}: {left}");
            }
        })
}

async fn failures(redis: &Redis, server: &Arc<RedisServer>, trial: usize, sources: Sources) -> Vec<String> {
    let next = Cell::new(0);
    let make = || {
        next.set(next.get() + 1);
        let namespace = format!("{trial}-{}", next.get());
        (RedisLocks::with_sources(redis.clone(), &namespace, "test", sources), namespace)
    };
    let contract = suite();
    let contract = contract.failures_at_once(async || {
        let elapse = Elapse::of(tokio::time::sleep);
        Backend { store: Arc::new(make().0), elapse }
    });
    let beyond = beyond();
    let beyond = beyond.failures_at_once(async || {
        let (store, namespace) = make();
        Place { store, server: Arc::clone(server), namespace }
    });
    let (mut failures, more) = tokio::join!(contract, beyond);
    failures.extend(more);
    failures
}

#[tokio::test]
async fn sound_scripts_pass_and_every_seeded_bug_is_convicted() {
    let server = Arc::new(RedisServer::start().await);
    let redis = connect(server.address()).await;
    let rerun = Cell::new(1_000);
    let sound = async || {
        rerun.set(rerun.get() + 1);
        failures(&redis, &server, rerun.get(), Sources::default()).await
    };
    steadily(sound).await;
    let trials = BUGS
        .iter()
        .zip(1..)
        .map(async |(bug, trial)| (bug.name, failures(&redis, &server, trial, bug.sources()).await));
    for (name, failures) in futures_util::future::join_all(trials).await {
        assert!(!failures.is_empty(), "{name} got away");
        println!("{name}: {}", failures.concat().lines().next().unwrap_or_default());
    }
}
