//! Statements with one bug each, and what is asked of events in a database beyond the contract. Every bug is convicted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use mainstay_core::event::Queue;
use mainstay_core::event::store::{Fetch, Standing, Start, Store, Verdict};
use mainstay_core::time::Clock;
use mainstay_sql::event::{self, Options, SqlEvents};
use mainstay_sql::{Database, Migrations};
use mainstay_testkit::conformance::event::{Backend, suite};
use mainstay_testkit::conformance::{Elapse, Suite};

use super::{PATIENCE, fetch, handled, number, opened, publish};

const CAPACITY: usize = 6;
/// Many times what a case takes with sound statements.
const LONG: Duration = Duration::from_secs(10);

/// As many as keep a small machine busy, and none from being on time.
const AT_ONCE: usize = 6;

struct Bug {
    name: &'static str,
    sound: &'static str,
    broken: &'static str,
    /// How the case begins that convicts it.
    case: &'static str,
}

macro_rules! bugs {
    ($($name:literal, $sound:literal => $broken:literal, $case:literal;)*) => {
        [$(Bug { name: $name, sound: $sound, broken: $broken, case: $case }),*]
    };
}

/// Against the contract of event stores.
const OF_THE_CONTRACT: [Bug; 22] = bugs! {
    "a full queue accepts", "SET unfinished = unfinished + ?" => "SET unfinished = unfinished + 0 * ?", "a full queue refuses the whole publish";
    "a queue keeps no order", "d.state = 0 ORDER BY d.place, d.ticket" => "d.state = 0 ORDER BY d.place DESC, d.ticket", "a queue delivers new events in the order of publication";
    "a queue takes from another", "WHERE d.queue = ? AND d.state = 0 ORDER" => "WHERE d.queue >= ? AND d.state = 0 ORDER", "an event goes to every open queue";
    "what somebody has is delivered again", "d.state IN (1, 2) AND d.due <= ?" => "d.state IN (1, 2) AND d.due <> ?", "consumers of a queue share";
    "what lapsed stays where it is", "d.state IN (1, 2) AND d.due <= ?" => "d.state = 2 AND d.due <= ?", "an event whose receipt lapsed is delivered again";
    "an attempt is not counted", "SET state = ?, due = ?, attempt = ?" => "SET state = ?, due = ?, attempt = MIN(1, ?)", "an event whose receipt lapsed is delivered again";
    "what is to be retried stays where it is", "d.state IN (1, 2) AND d.due <= ?" => "d.state = 1 AND d.due <= ?", "a retry is delivered at its time";
    "the second of a subject goes with the first", "(o.state <> 0 OR o.place < d.place OR (o.place = d.place AND o.ticket < d.ticket))" => "o.state <> 0", "an ordered queue delivers the next event of a subject when the one before is done";
    "the second of a subject goes when the first has gone", "o.ticket <> d.ticket AND" => "o.ticket <> d.ticket AND o.state = 0 AND", "an ordered queue delivers the next event of a subject when the one before is done";
    "a sign of life is not heard", "SET due = ?" => "SET due = due + 0 * ?", "an extended receipt stands longer";
    "a dead letter is redriven twice", "DELETE FROM mainstay_event_dead WHERE ticket = ?" => "DELETE FROM mainstay_event_dead WHERE ticket = -?", "a redriven dead letter is delivered once more";
    "a dead letter of another queue is redriven", "WHERE d.queue = ? AND e.id = ?" => "WHERE d.queue >= ? AND e.id = ?", "a redriven dead letter is delivered once more";
    "a rewound queue gets what it does not take", "(e.kind = ? OR substr(e.kind, 1, length(?)) = ?)" => "(e.kind = ? OR substr(e.kind, 1, length(?)) = ? OR 1)", "a rewound queue delivers again what was done";
    "history begins with what it is to begin behind", "topic = ? AND position > ?" => "topic = ? AND position >= ?", "history goes on behind an event";
    "an id is not known", "ON CONFLICT (id) DO NOTHING" => "ON CONFLICT (id) DO UPDATE SET kind = excluded.kind", "publishing again under the same id";
    "what is known needs room", "FROM mainstay_events WHERE id = ?;" => "FROM mainstay_events WHERE id = ? AND 0;", "a full queue refuses the whole publish";
    "the attempt of a receipt is not looked at", "DELETE FROM mainstay_event_deliveries WHERE ticket = ? AND queue = ? AND state = ? AND attempt = ?" => "DELETE FROM mainstay_event_deliveries WHERE ticket = ? AND queue = ? AND state = ? AND attempt <> -?", "a receipt does not stand any more once its event was delivered again";
    "the attempt of a receipt is not looked at in a retry", "SET state = ?, due = ? WHERE ticket = ? AND queue = ? AND state = ? AND attempt = ?" => "SET state = ?, due = ? WHERE ticket = ? AND queue = ? AND state = ? AND attempt <> -?", "a receipt does not stand any more once its event was delivered again";
    "a receipt stands for what was given back", "DELETE FROM mainstay_event_deliveries WHERE ticket = ? AND queue = ? AND state = ? AND attempt = ?" => "DELETE FROM mainstay_event_deliveries WHERE ticket = ? AND queue = ? AND state >= ? AND attempt = ?", "a receipt that was settled does not stand";
    "what was given back is given back again", "SET state = ?, due = ? WHERE ticket = ? AND queue = ? AND state = ? AND attempt = ?" => "SET state = ?, due = ? WHERE ticket = ? AND queue = ? AND state >= ? AND attempt = ?", "a receipt that was settled does not stand";
    "what is done or dead stays in the queue", "DELETE FROM mainstay_event_deliveries WHERE ticket = ? AND queue = ? AND state = ? AND attempt = ?" => "DELETE FROM mainstay_event_deliveries WHERE ticket = -? AND queue = ? AND state = ? AND attempt = ?", "a verdict in one queue does not touch another";
    "a retry comes at once", "SET state = ?, due = ? WHERE" => "SET state = ?, due = 0 * ? WHERE", "a retry is delivered at its time";
};

/// Against what a database keeps beyond it.
const BEYOND_THE_CONTRACT: [Bug; 8] = bugs! {
    "dead letters grow without bound", "ORDER BY ticket DESC LIMIT 1 OFFSET ?" => "ORDER BY ticket DESC LIMIT 1 OFFSET 1000 + ?", "the oldest dead letter makes room";
    "a full graveyard drops the youngest", "queue = ? AND ticket <=" => "queue = ? AND ticket >", "the oldest dead letter makes room";
    "retiring leaves what was to be delivered", "DELETE FROM mainstay_event_deliveries WHERE queue = ?" => "DELETE FROM mainstay_event_deliveries WHERE queue = -?", "nothing of a retired queue is left";
    "retiring leaves dead letters", "DELETE FROM mainstay_event_dead WHERE queue = ?;" => "DELETE FROM mainstay_event_dead WHERE queue = -?;", "nothing of a retired queue is left";
    "rewinding doubles what is there", "d.position = e.position AND d.queue = ?" => "d.position = -1 AND d.queue = ?", "rewinding leaves what is there as it is";
    "what a slow group has not finished is removed", "FROM mainstay_event_deliveries d WHERE d.position = e.position) AND" => "FROM mainstay_event_deliveries d WHERE d.position = -1) AND", "what a slow group has not finished";
    "a receipt of another queue stands", "DELETE FROM mainstay_event_deliveries WHERE ticket = ? AND queue = ? AND state = ? AND attempt = ?" => "DELETE FROM mainstay_event_deliveries WHERE ticket = ? AND queue <> -? AND state = ? AND attempt = ?", "a receipt of one queue is nothing to another";
    "a receipt of another queue stands for a retry", "SET state = ?, due = ? WHERE ticket = ? AND queue = ?" => "SET state = ?, due = ? WHERE ticket = ? AND queue<> -?", "a receipt of one queue is nothing to another";
};

/// The one statement that a bug is in, as it was and as it is.
type Broken = Arc<Mutex<HashMap<&'static str, &'static str>>>;

impl Bug {
    fn into(&'static self, db: &Database, broken: &Broken) -> Database {
        let broken = Arc::clone(broken);
        db.altered(move |sql| {
            // So that what is sought can say where it ends.
            let ended = format!("{sql};");
            if !ended.contains(self.sound) {
                return sql;
            }
            let mut broken = broken.lock().unwrap();
            broken.entry(sql).or_insert_with(|| ended.replace(self.sound, self.broken).leak())
        })
    }
}

/// A store that keeps as little as it may, and its tables.
struct Place {
    store: SqlEvents,
    db: Database,
}

impl Place {
    async fn rows(&self, sql: &'static str) -> i64 {
        self.db.query(sql).fetch_one().await.unwrap().get("n").unwrap()
    }

    async fn die(&self, queue: &Queue) {
        for delivery in fetch(&self.store, queue, Duration::ZERO).await {
            let dead = Verdict::Dead { cause: number(&delivery.event).to_string() };
            self.store.settle(queue, delivery.receipt, dead).await.unwrap();
        }
    }
}

/// What the contract cannot ask, because it does not know what a database keeps.
fn beyond() -> Suite<Place> {
    Suite::new("events in a database")
        .case("nothing of a retired queue is left in any table", async |place: Place| {
            let queue = opened(&place.store, "a").await;
            publish(&place.store, [1]).await;
            place.die(&queue).await;
            publish(&place.store, [2]).await;
            place.store.retire(&queue).await.unwrap();
            let left = "SELECT (SELECT COUNT(*) FROM mainstay_event_queues) + \
                        (SELECT COUNT(*) FROM mainstay_event_deliveries) + \
                        (SELECT COUNT(*) FROM mainstay_event_dead) AS n";
            assert_eq!(place.rows(left).await, 0);
        })
        .case("the oldest dead letter makes room for a new one", async |place: Place| {
            let queue = opened(&place.store, "a").await;
            publish(&place.store, 1..4).await;
            place.die(&queue).await;
            let dead = place.store.dead_letters(&queue, 10).await.unwrap();
            assert_eq!(dead.iter().map(|dead| &*dead.cause).collect::<Vec<_>>(), ["2", "3"]);
            assert_eq!(place.store.stats().await.unwrap()[0].dead_dropped, 1);
        })
        .case("a receipt of one queue is nothing to another", async |place: Place| {
            let [a, b] = [opened(&place.store, "a").await, opened(&place.store, "b").await];
            publish(&place.store, [1]).await;
            let taken = fetch(&place.store, &a, PATIENCE).await;
            for verdict in [Verdict::Done, Verdict::Retry { after: Duration::ZERO }] {
                assert_eq!(place.store.settle(&b, taken[0].receipt, verdict).await, Ok(Standing::Gone));
            }
            super::done(&place.store, &a, taken[0].receipt).await;
        })
        .case("rewinding leaves what is there as it is", async |place: Place| {
            let queue = opened(&place.store, "a").await;
            publish(&place.store, [1, 2]).await;
            place.store.rewind(&queue, Start::Oldest).await.unwrap();
            assert_eq!(handled(&place.store, &queue, Duration::ZERO).await, [1, 2]);
        })
        .case("what a slow group has not finished is not removed", async |place: Place| {
            let queue = opened(&place.store, "a").await;
            publish(&place.store, 0..4).await;
            let want = Fetch { consumer: "test", credits: 2, visibility: PATIENCE, wait: Duration::ZERO };
            for taken in place.store.fetch(&queue, want).await.unwrap() {
                super::done(&place.store, &queue, taken.receipt).await;
            }
            place.store.tidy().await.unwrap();
            assert_eq!(place.rows("SELECT COUNT(*) AS n FROM mainstay_events").await, 2);
            assert_eq!(handled(&place.store, &queue, Duration::ZERO).await, [2, 3]);
        })
}

async fn store(options: Options, alter: &dyn Fn(&Database) -> Database) -> (SqlEvents, Database) {
    let db = Database::connect(mainstay_sql::Options::sqlite_in_memory()).await.unwrap();
    db.migrate(&Migrations::new([event::migration(1)])).await.unwrap();
    let db = alter(&db);
    (SqlEvents::new(&db, options, Clock::system()), db)
}

async fn backend(alter: &dyn Fn(&Database) -> Database) -> Backend {
    let mut options = Options::default();
    options.max_queue = CAPACITY;
    let store = Arc::new(store(options, alter).await.0);
    Backend { store, capacity: CAPACITY, retained: 1_000, elapse: Elapse::of(tokio::time::sleep) }
}

async fn place(alter: &dyn Fn(&Database) -> Database) -> Place {
    let mut options = Options::default();
    (options.max_dead, options.max_retained, options.retention) = (2, 0, Duration::ZERO);
    let (store, db) = store(options, alter).await;
    Place { store, db }
}

/// Each bug breaks the case it names, which the sound statements keep.
async fn convict<B: 'static>(
    bugs: &'static [Bug],
    suite: fn() -> Suite<B>,
    fresh: impl AsyncFn(&dyn Fn(&Database) -> Database) -> B,
) {
    let trials = bugs.iter().map(async |bug| {
        let case = suite().only(bug.case);
        // A machine that stands still for a moment makes a short receipt lapse: what fails has to fail again.
        let mut sound = Vec::new();
        for _ in 0..3 {
            sound = case.failures(async || fresh(&Database::clone).await).await;
            if sound.is_empty() {
                break;
            }
        }
        assert!(sound.is_empty(), "broken without {}:\n{}", bug.name, sound.join("\n"));
        let broken = Broken::default();
        let judged = case.failures(async || fresh(&|db| bug.into(db, &broken)).await);
        // Whoever waits for longer waits for what does not come.
        let judged = tokio::time::timeout(LONG, judged).await;
        assert_eq!(broken.lock().unwrap().len(), 1, "{}: the statements have changed", bug.name);
        assert!(
            judged.is_err() || judged.is_ok_and(|failures| !failures.is_empty()),
            "{} got away",
            bug.name
        );
    });
    stream::iter(trials).buffer_unordered(AT_ONCE).for_each(async |()| {}).await;
}

#[tokio::test]
async fn every_bug_seeded_against_the_contract_is_convicted_by_the_case_for_it() {
    convict(&OF_THE_CONTRACT, suite, backend).await;
}

#[tokio::test]
async fn every_bug_seeded_against_what_a_database_keeps_is_convicted_by_the_case_for_it() {
    convict(&BEYOND_THE_CONTRACT, beyond, place).await;
}
