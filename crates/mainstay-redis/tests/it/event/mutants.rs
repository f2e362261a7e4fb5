//! Scripts with one bug each, and what is asked of events on a server beyond the contract. Every bug is convicted.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use mainstay_core::event::store::{Fetch, Opening, Start, Store};
use mainstay_redis::Redis;
use mainstay_redis::event::{Options, RedisEvents, Sources};
use mainstay_testkit::conformance::event::{Backend, suite};
use mainstay_testkit::conformance::{Elapse, Suite};
use mainstay_testkit::redis::RedisServer;

use super::{connect, done, event, fetch, handled, numbers, publish, queue, want};

const CAPACITY: usize = 6;
const LONG: Duration = Duration::from_secs(30);

struct Bug {
    name: &'static str,
    verb: fn(&mut Sources) -> &mut &'static str,
    sound: &'static str,
    broken: &'static str,
}

macro_rules! bugs {
    ($($verb:ident: $name:literal, $sound:literal => $broken:literal;)*) => {
        [$(Bug { name: $name, verb: |sources| &mut sources.$verb, sound: $sound, broken: $broken }),*]
    };
}

const BUGS: [Bug; 26] = bugs! {
    publish: "no ids are remembered", "redis.call('HSET', young, unpack(fresh, first, last))" => "";
    publish: "one generation of ids", "{young, old}" => "{young}";
    publish: "what a full queue refuses is there all the same", "      return 0\n" => "";
    publish: "what a full queue refuses is never taken again", "  local new, more = {}, {}" => "  local new, more = {}, {}\n  fresh[1], fresh[2] = ARGV[from + 1], ''";
    publish: "nobody is woken", "  ring()\nend\nreturn answer" => "end\nreturn answer";
    publish: "what is full for one is full for none", "    left[queue] = (left[queue] or 0) + count\n" => "";
    open: "a queue begins with what is old", "if from == '$' or" => "if from == '$' then from = '0-0' elseif";
    open: "a queue keeps the order it was asked for last", "and 1 or 0" => "and 1 or 1";
    take: "an event is done when it is delivered", "redis.call('ZADD', pending, unpack(ends))" => "redis.call('XACK', STREAM, queue, unpack(ends))";
    take: "an attempt is not counted", "'^%d+')) + 1" => "'^%d+')) + 0";
    take: "what lapsed stays where it is", "ipairs({pending, delayed}) do\n  local found" => "ipairs({delayed}) do\n  local found";
    take: "order ends with a delivery", "redis.call('HSET', of(queue, 'o'), subject, id)" => "";
    take: "what was destroyed begins at the end", "read.err then\n    mend(queue)" => "read.err then\n    redis.call('XGROUP', 'CREATE', STREAM, queue, '$')";
    settle: "a receipt is not looked at", "standing[id] ~= receipt" => "not standing[id]";
    settle: "a retry comes at once", "NOW + tonumber(after)" => "NOW";
    settle: "what is delayed can be settled", "redis.call('HSET', of(queue, 'h'), id, string.match(receipt, '^%d+:'))" => "";
    settle: "a dead letter stays pending", "      end\n      ended[#ended + 1] = id" => "      else ended[#ended + 1] = id end";
    extend: "a sign of life is not heard", "redis.call('ZADD', of(queue, 'p'), whole(NOW + tonumber(ARGV[4])), id)" => "";
    redrive: "a dead letter is redriven twice", "redis.call('HDEL', of(queue, 'xi'), event)" => "redis.call('XADD', of(queue, 'x'), letter == '' and '' or '*', unpack(found[2])) redis.call('HSET', of(queue, 'xi'), event, redis.call('XREVRANGE', of(queue, 'x'), '+', '-', 'COUNT', 1)[1][1])";
    redrive: "a dead letter is redriven for all", ", 'q', queue}" => "}";
    redrive: "a redriven event stays when it is done", "redis.call('SADD', of(queue, 'c'), redis.call(unpack(words)))" => "redis.call(unpack(words))";
    settle: "a dead letter is kept twice", "  redis.call('XDEL', letters, redis.call('HGET', index, event) or '0-0')\n" => "";
    rewind: "what waits for its turn keeps its turn", "  redis.call('ZREMRANGEBYLEX', turns, '(' .. begin, '+')" => "  for _, text in ipairs(redis.call('ZRANGE', turns, 0, -1)) do\n    local id = plain(text)\n    local entry = redis.call('XRANGE', STREAM, id, id)[1]\n    redis.call('HSET', of(queue, 'o'), field(entry[2], 'subject'), id)\n    redis.call('HSET', of(queue, 'os'), id, field(entry[2], 'subject'))\n  end";
    rewind: "what is queued again is not counted", "redis.call('HINCRBY', STEM .. 'n', queue, count(queue, pattern, from, cursor))" => "";
    tidy: "what a rewound queue has yet to read is removed", "ipairs({after(meta[3]), summary[2] or nil})" => "ipairs({summary[2] or after(meta[3])})";
    tidy: "what a slow group has not finished is removed", "if not is_after(floor, id) or (" => "if (";
};

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
    store: RedisEvents,
    server: Arc<RedisServer>,
    namespace: String,
}

impl Place {
    fn key(&self, suffix: &str) -> String {
        format!("ms:{{{}:event:user}}:{suffix}", self.namespace)
    }
}

/// What the contract cannot ask, because it does not know what a server keeps.
fn beyond() -> Suite<Place> {
    Suite::new("events on a server")
        .case("an id is known in its second window", async |place: Place| {
            let queue = queue("a");
            place.store.open(&queue, Opening::NOW).await.unwrap();
            let events = publish(&place.store, [1]).await;
            place.server.command(&["DEL", &place.key("ig")]).await;
            publish(&place.store, [2]).await;
            place.store.publish(&events).await.unwrap();
            assert_eq!(handled(&place.store, &queue).await, [1, 2]);
        })
        .case("a group that was destroyed goes on where it was", async |place: Place| {
            let queue = queue("a");
            place.store.open(&queue, Opening::NOW).await.unwrap();
            publish(&place.store, [1]).await;
            place.server.command(&["XGROUP", "DESTROY", &place.key("s"), &queue.to_string()]).await;
            publish(&place.store, [2]).await;
            assert_eq!(handled(&place.store, &queue).await, [1, 2]);
        })
        .case("who waits is woken", async |place: Place| {
            let queue = queue("a");
            place.store.open(&queue, Opening::NOW).await.unwrap();
            let begun = tokio::time::Instant::now();
            let waiting = place.store.fetch(&queue, want(Duration::from_secs(10)));
            let publish = async {
                // Once the mark of those who wait is there.
                while place.server.command(&["EXISTS", &place.key("w")]).await != "1" {
                    tokio::task::yield_now().await;
                }
                place.store.publish(&[event(1)]).await.unwrap();
            };
            let (got, ()) = tokio::join!(waiting, publish);
            assert_eq!(numbers(&got.unwrap()), [1]);
            assert!(begun.elapsed() < Duration::from_millis(1_500), "it looked by itself");
        })
        .case("what a slow group has not finished is not removed", async |place: Place| {
            let queue = queue("a");
            place.store.open(&queue, Opening::NOW).await.unwrap();
            publish(&place.store, 0..4).await;
            let taken =
                place.store.fetch(&queue, Fetch { credits: 2, ..want(Duration::ZERO) }).await.unwrap();
            place.store.tidy().await.unwrap();
            done(&place.store, &queue, &taken).await;
            assert_eq!(numbers(&fetch(&place.store, &queue).await), [2, 3]);
        })
        .case("what a rewound queue has yet to read is not removed", async |place: Place| {
            let queue = queue("a");
            place.store.open(&queue, Opening::NOW).await.unwrap();
            publish(&place.store, 0..3).await;
            let taken = fetch(&place.store, &queue).await;
            done(&place.store, &queue, &taken[..2]).await;
            place.store.rewind(&queue, Start::Oldest).await.unwrap();
            place.store.tidy().await.unwrap();
            assert_eq!(numbers(&fetch(&place.store, &queue).await), [0, 1]);
        })
}

async fn failures(redis: &Redis, server: &Arc<RedisServer>, trial: usize, sources: Sources) -> Vec<String> {
    let next = Cell::new(0);
    let make = |options| {
        next.set(next.get() + 1);
        let namespace = format!("{trial}-{}", next.get());
        (RedisEvents::with_sources(redis.clone(), &namespace, options, sources), namespace)
    };
    let contract = suite();
    let contract = contract.failures_at_once(async || {
        let mut options = Options::default();
        options.max_queue = CAPACITY;
        let elapse = Elapse::of(tokio::time::sleep);
        Backend { store: Arc::new(make(options).0), capacity: CAPACITY, retained: 1_000, elapse }
    });
    let beyond = beyond();
    let beyond = beyond.failures_at_once(async || {
        let mut options = Options::default();
        options.retention = Duration::ZERO;
        options.max_retained = 0;
        let (store, namespace) = make(options);
        Place { store, server: Arc::clone(server), namespace }
    });
    let (mut failures, more) = tokio::join!(contract, beyond);
    failures.extend(more);
    failures
}

#[tokio::test]
async fn sound_scripts_pass_and_every_seeded_bug_is_convicted() {
    let server = Arc::new(RedisServer::start().await);
    let redis = connect(&server.url()).await;
    let sound = failures(&redis, &server, 0, Sources::default()).await;
    assert!(sound.is_empty(), "broken:\n{}", sound.join("\n"));
    let trials = BUGS.iter().zip(1..).map(async |(bug, trial)| {
        // The sound scripts need a third of it: who waits for longer waits for what does not come.
        let judged = tokio::time::timeout(LONG, failures(&redis, &server, trial, bug.sources())).await;
        (bug.name, judged.unwrap_or_else(|_| vec!["it does not end".to_owned()]))
    });
    for (name, failures) in futures_util::future::join_all(trials).await {
        assert!(!failures.is_empty(), "{name} got away");
        println!("{name}: {}", failures.concat().lines().next().unwrap_or_default());
    }
}
