//! A disk that lost the end of the write-ahead log.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mainstay_core::event::Envelope;
use mainstay_core::event::store::{Opening, Published, Store, Transactional};
use mainstay_sql::Database;
use mainstay_testkit::{Rng, Seed};
use tempfile::TempDir;

use super::{database, event, events, fetch, handled, number, opened, queue, retained};

const PUBLISHES: u64 = 40;

fn rounds() -> usize {
    40 * std::env::var("MAINSTAY_ROUNDS").map_or(1, |times| times.parse::<usize>().expect("a number"))
}

/// How long the log was after a publish, and how many events and notes there were by then.
#[derive(Clone, Copy, Default)]
struct Log {
    length: usize,
    events: usize,
    notes: i64,
}

/// What was accepted, in the order of its commits.
struct Accepted {
    events: Vec<Arc<Envelope>>,
    logs: Vec<Log>,
}

/// Publishes one to three at a time, every other time in a transaction with notes.
async fn fill(db: &Database, store: &dyn Store, log: &Path, rng: &mut Rng) -> Accepted {
    let mut accepted = Accepted { events: Vec::new(), logs: Vec::new() };
    let mut notes = 0;
    for turn in 0..PUBLISHES {
        let first = accepted.events.len() as u64;
        let events: Vec<_> = (first..=first + rng.below(3)).map(about).collect();
        let published = if turn % 2 == 0 {
            store.publish(&events).await
        } else {
            let mut tx = db.begin().await.unwrap();
            for event in &events {
                let note =
                    tx.query("INSERT INTO notes (id) VALUES (?)").bind(i64::try_from(number(event)).unwrap());
                note.execute().await.unwrap();
                notes += 1;
            }
            let published = tx.record(&events).await;
            tx.commit().await.unwrap();
            published
        };
        assert_eq!(published, Ok(Published::Accepted));
        accepted.events.extend(events);
        let length = usize::try_from(fs::metadata(log).unwrap().len()).unwrap();
        accepted.logs.push(Log { length, events: accepted.events.len(), notes });
    }
    accepted
}

/// An event whose subject is another than that of the one before.
fn about(number: u64) -> Arc<Envelope> {
    let mut event = Envelope::clone(&event(number));
    event.subject = Some(format!("user/{}", number % 3));
    Arc::new(event)
}

#[tokio::test]
async fn a_log_cut_at_any_byte_leaves_what_was_accepted_before_it_whole_and_nothing_else() {
    let mut rng = Seed::from_env("MAINSTAY_SEED").rng();
    let directory = TempDir::new().unwrap();
    let db = database(&directory).await;
    let store = events(&db);
    let (plain, ordered) = (opened(&store, "plain").await, queue("ordered"));
    let mut opening = Opening::NOW;
    opening.ordered = true;
    store.open(&ordered, opening).await.unwrap();
    for sql in ["PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA wal_autocheckpoint = 0"] {
        db.query(sql).execute().await.unwrap();
    }
    let path = directory.path().join("events.db");
    let accepted = fill(&db, &store, &directory.path().join("events.db-wal"), &mut rng).await;
    let (file, log) = (fs::read(&path).unwrap(), fs::read(directory.path().join("events.db-wal")).unwrap());
    assert_eq!(accepted.logs.last().unwrap().length, log.len(), "all of it is in the log");

    let mut cuts = vec![0, 1, 31, 32, 33, log.len() - 1, log.len()];
    cuts.extend((0..rounds()).map(|_| usize::try_from(rng.below(log.len() as u64)).unwrap()));
    for cut in cuts {
        let copy = TempDir::new().unwrap();
        let mut cut_log = log.clone();
        cut_log.truncate(cut);
        // A disk may also have made the file longer and not have written the rest.
        let is_torn = rng.chance(0.5);
        if is_torn {
            cut_log.extend(log[cut..].iter().map(|byte| !byte));
        }
        fs::write(copy.path().join("events.db"), &file).unwrap();
        fs::write(copy.path().join("events.db-wal"), cut_log).unwrap();
        let kept = accepted.logs.iter().rfind(|log| log.length <= cut).copied().unwrap_or_default();
        let db = database(&copy).await;
        let store = events(&db);
        let expected: Vec<_> = (0..kept.events as u64).collect();
        assert_eq!(retained(&store).await, expected, "cut at {cut}, torn: {is_torn}");
        for stats in store.stats().await.unwrap() {
            assert_eq!(
                (stats.queued, stats.unfinished()),
                (kept.events, kept.events),
                "{} cut at {cut}",
                stats.queue
            );
        }
        let row = db.query("SELECT COUNT(*) AS n FROM notes").fetch_one().await.unwrap();
        assert_eq!(row.get::<i64>("n").unwrap(), kept.notes, "cut at {cut}: the events and their notes");
        // What was lost is published again, and what is there is known.
        assert_eq!(store.publish(&accepted.events).await, Ok(Published::Accepted));
        assert_eq!(store.publish(&[about(accepted.events.len() as u64)]).await, Ok(Published::Accepted));
        let all: Vec<_> = (0..=accepted.events.len() as u64).collect();
        assert_eq!(retained(&store).await, all);
        let sql = "SELECT COUNT(*) AS n, COUNT(DISTINCT queue || '/' || position) AS once FROM mainstay_event_deliveries";
        let row = db.query(sql).fetch_one().await.unwrap();
        let counts = ["n", "once"].map(|column| row.get::<i64>(column).unwrap());
        assert_eq!(counts, [2 * all.len() as i64; 2], "once in each queue");
        let fetched = fetch(&store, &plain, Duration::ZERO).await;
        let fetched: Vec<_> = fetched.iter().map(|delivery| number(&delivery.event)).collect();
        assert_eq!(fetched, all[..all.len().min(100)], "cut at {cut}");
        assert_eq!(handled(&store, &ordered, Duration::ZERO).await, [0, 1, 2]);
        assert_eq!(handled(&store, &ordered, Duration::ZERO).await, [3, 4, 5]);
    }
}
