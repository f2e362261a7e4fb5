//! Results that are kept, and writes that take them away.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use futures_util::FutureExt;
use mainstay_core::cache::{Cache, Memory, Options, Policy, Ttl};
use mainstay_core::metrics::Metrics;
use mainstay_core::time::Clock;
use mainstay_sql::cached::CachedQueries;
use mainstay_sql::{Database, Error, Row};
use mainstay_testkit::faulty::cache::FaultyStore;
use mainstay_testkit::faulty::{Fault, Faults};

use crate::support::{Store, bounded, insert, notes, on_each_database};

on_each_database!(
    a_result_is_read_once_until_a_write_commits,
    a_write_that_is_rolled_back_takes_nothing_away,
    a_read_that_is_overtaken_by_a_write_is_not_kept,
    a_writer_that_leaves_while_it_commits_invalidates_all_the_same,
    while_the_cache_is_away_reads_and_writes_go_on_and_nothing_old_comes_back,
    all_who_wait_get_the_same_error_and_none_is_kept,
    that_there_is_no_row_is_kept_until_one_is_written,
    a_tag_that_cannot_be_one_is_refused_before_anything_is_written,
);

const ALL: &str = "SELECT body FROM notes ORDER BY body LIMIT 100";

struct Fixture {
    queries: CachedQueries,
    db: Database,
    faults: Faults,
    reads: Arc<AtomicUsize>,
}

async fn fixture(store: &Store) -> Fixture {
    let db = notes(store, |options| options).await;
    let (options, faults) = (Options::default(), Faults::none());
    let memory = Arc::new(Memory::new(&options, Clock::system()));
    let kept = Arc::new(FaultyStore::new(memory, faults.clone()));
    let cache = Cache::new(kept, options, &Metrics::new(), Clock::system());
    let queries = CachedQueries::new(db.clone(), cache);
    Fixture { queries, db, faults, reads: Arc::default() }
}

fn policy() -> Policy {
    Ttl::hours(1).tag("notes")
}

impl Fixture {
    async fn all(&self) -> Vec<String> {
        let reads = Arc::clone(&self.reads);
        let decode = move |row: &Row| {
            reads.fetch_add(1, Ordering::SeqCst);
            row.get::<String>("body")
        };
        self.queries.query("notes.all", ALL).fetch_all(policy(), decode).await.unwrap().to_vec()
    }

    /// How often a row was decoded.
    fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    async fn write(&self, body: &str) -> Result<(), Error> {
        let mut tx = self.queries.begin(["notes"]).await?;
        tx.query("INSERT INTO notes (body) VALUES (?)").bind(body).execute().await?;
        tx.commit().await
    }

    async fn eventually_all(&self, expected: &[&str]) {
        bounded(async {
            while self.all().await != expected {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

async fn a_result_is_read_once_until_a_write_commits(store: Store) {
    let it = fixture(&store).await;
    insert(&it.db, "a").await.unwrap();
    for _ in 0..3 {
        assert_eq!(it.all().await, ["a"]);
    }
    assert_eq!(it.reads(), 1);
    it.write("b").await.unwrap();
    assert_eq!(it.all().await, ["a", "b"]);
}

async fn a_write_that_is_rolled_back_takes_nothing_away(store: Store) {
    let it = fixture(&store).await;
    insert(&it.db, "a").await.unwrap();
    assert_eq!(it.all().await, ["a"]);
    assert!(matches!(it.write("a").await, Err(Error::Conflict { .. })));
    let mut tx = it.queries.begin(["notes"]).await.unwrap();
    tx.query("DELETE FROM notes").execute().await.unwrap();
    drop(tx);
    assert_eq!((it.all().await, it.reads()), (vec!["a".to_owned()], 1));
}

async fn a_read_that_is_overtaken_by_a_write_is_not_kept(store: Store) {
    let it = fixture(&store).await;
    insert(&it.db, "old").await.unwrap();
    let ((began, has_begun), (go, may_go)) = (mpsc::channel(), mpsc::channel::<()>());
    let may_go = Arc::new(Mutex::new(may_go));
    let decode = move |row: &Row| {
        began.send(()).unwrap();
        let _written = tokio::task::block_in_place(|| may_go.lock().unwrap().recv());
        row.get::<String>("body")
    };
    let queries = it.queries.clone();
    let slow = async move { queries.query("notes.all", ALL).fetch_all(policy(), decode).await.unwrap() };
    let slow = tokio::spawn(slow);
    tokio::task::spawn_blocking(move || has_begun.recv_timeout(Duration::from_secs(60)).unwrap())
        .await
        .unwrap();
    it.write("new").await.unwrap();
    // Who asks after the commit waits for no read from before it.
    assert_eq!(bounded(it.all()).await, ["new", "old"]);
    drop(go);
    assert_eq!(*bounded(slow).await.unwrap(), ["old"], "who asked before gets what was true then");
    assert_eq!((it.all().await, it.reads()), (vec!["new".to_owned(), "old".to_owned()], 2));
}

async fn a_writer_that_leaves_while_it_commits_invalidates_all_the_same(store: Store) {
    let it = fixture(&store).await;
    insert(&it.db, "a").await.unwrap();
    assert_eq!(it.all().await, ["a"]);
    let mut tx = it.queries.begin(Vec::<String>::new()).await.unwrap();
    tx.invalidates("notes").unwrap();
    tx.query("INSERT INTO notes (body) VALUES ('b')").execute().await.unwrap();
    it.faults.delay(Duration::from_millis(300)); // before it takes effect
    // The commit is through when its invalidation reaches the store.
    let asked = it.faults.calls();
    tokio::select! {
        _ = tx.commit() => panic!("the invalidation has no answer"),
        () = crate::support::eventually(|| it.faults.calls() > asked) => {}
    }
    it.faults.mend();
    it.eventually_all(&["a", "b"]).await;
}

#[tokio::test]
async fn what_is_read_while_an_abandoned_commit_goes_on_is_not_kept() {
    let store = Store::sqlite();
    let it = fixture(&store).await;
    insert(&it.db, "a").await.unwrap();
    assert_eq!(it.all().await, ["a"]);
    // So much to write that others read meanwhile what was before.
    let mut tx = it.queries.begin(["notes"]).await.unwrap();
    let much = "INSERT INTO much WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 64) \
                SELECT zeroblob(1000000) FROM n";
    for sql in ["PRAGMA cache_spill = OFF", "CREATE TABLE much (data BLOB)", much] {
        tx.query(sql).execute().await.unwrap();
    }
    tx.query("INSERT INTO notes (body) VALUES ('b')").execute().await.unwrap();
    let mut commit = Box::pin(tx.commit());
    assert!((&mut commit).now_or_never().is_none());
    drop(commit);
    it.eventually_all(&["a", "b"]).await;
}

async fn while_the_cache_is_away_reads_and_writes_go_on_and_nothing_old_comes_back(store: Store) {
    let it = fixture(&store).await;
    insert(&it.db, "a").await.unwrap();
    assert_eq!(it.all().await, ["a"]);
    it.faults.always(Fault::Unavailable);
    it.write("b").await.unwrap();
    assert_eq!(it.all().await, ["a", "b"]);
    it.faults.mend();
    it.eventually_all(&["a", "b"]).await;
    let reads = it.reads();
    it.eventually_all(&["a", "b"]).await;
    assert!(it.reads() <= reads + 2, "it is kept again");
}

async fn all_who_wait_get_the_same_error_and_none_is_kept(store: Store) {
    let it = fixture(&store).await;
    insert(&it.db, "a").await.unwrap();
    let number = |row: &Row| row.get::<i64>("body");
    let ask = || it.queries.query("notes.numbers", ALL).fetch_all(policy(), number);
    let (a, b) = tokio::join!(ask(), ask());
    let (a, b) = (a.unwrap_err(), b.unwrap_err());
    assert!(matches!(*a, Error::Decode { .. }) && Arc::ptr_eq(&a, &b), "{a:?}");
    let panics = |_: &Row| -> Result<String, Error> { panic!("on purpose") };
    let error = it.queries.query("notes.panics", ALL).fetch_all(policy(), panics).await.unwrap_err();
    assert!(matches!(*error, Error::Query { .. }), "{error:?}");
    let hang = store.endless();
    let soon = policy().hard_timeout(Duration::from_millis(50));
    let error = it.queries.query("notes.endless", hang).fetch_all(soon, number).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert_eq!(it.all().await, ["a"]);
}

async fn that_there_is_no_row_is_kept_until_one_is_written(store: Store) {
    let it = fixture(&store).await;
    let find = |body: &'static str| {
        let sql = "SELECT body FROM notes WHERE body = ?";
        let found = it.queries.query("notes.find", sql).bind(body);
        found.fetch_optional(policy(), |row| row.get::<String>("body"))
    };
    assert_eq!(find("a").await.unwrap(), None);
    insert(&it.db, "a").await.unwrap();
    assert_eq!(find("a").await.unwrap(), None, "a write past the cache takes nothing away");
    it.write("b").await.unwrap();
    assert_eq!(find("a").await.unwrap().as_deref(), Some("a"));
    assert_eq!(find("b").await.unwrap().as_deref(), Some("b"));
}

async fn a_tag_that_cannot_be_one_is_refused_before_anything_is_written(store: Store) {
    let it = fixture(&store).await;
    let too_long = "x".repeat(3000);
    for tag in ["", too_long.as_str()] {
        assert!(matches!(it.queries.begin([tag]).await, Err(Error::Query { .. })));
    }
    let mut tx = it.queries.begin(["notes"]).await.unwrap();
    assert!(matches!(tx.invalidates(""), Err(Error::Query { .. })));
    tx.commit().await.unwrap();
}
