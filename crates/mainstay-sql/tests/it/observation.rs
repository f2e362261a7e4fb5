use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_sql::{Error, Observer};

use crate::support::{Store, count, insert, notes, on_each_database};

on_each_database!(
    the_observer_hears_of_every_statement_by_label_and_outcome,
    a_slow_query_is_logged_with_its_text_cut_and_without_its_values,
);

#[derive(Default)]
struct Seen(Mutex<Vec<(&'static str, bool)>>);

impl Observer for Seen {
    fn on_query(&self, label: &'static str, _: Duration, outcome: Result<(), &Error>) {
        self.0.lock().unwrap().push((label, outcome.is_ok()));
    }
}

async fn the_observer_hears_of_every_statement_by_label_and_outcome(store: Store) {
    let seen = Arc::new(Seen::default());
    let db = notes(&store, |o| o.observer(seen.clone())).await;
    insert(&db, "a").await.unwrap();
    insert(&db, "a").await.unwrap_err();
    count(&db).await;
    db.query("SELECT id FROM notes").label("notes.ids").fetch_all().await.unwrap();
    let tx = db.begin().await.unwrap();
    tx.commit().await.unwrap();
    let expected = [
        ("INSERT", true),
        ("INSERT", false),
        ("SELECT", true),
        ("notes.ids", true),
        ("BEGIN", true),
        ("COMMIT", true),
    ];
    assert_eq!(*seen.0.lock().unwrap(), expected);
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn a_slow_query_is_logged_with_its_text_cut_and_without_its_values(store: Store) {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let quick = notes(&store, |o| o.slow_query(Duration::from_secs(3600))).await;
    insert(&quick, "hunter2").await.unwrap();
    let slow = notes(&store, |o| o.slow_query(Duration::ZERO)).await;
    insert(&slow, "hunter2 again").await.unwrap();
    let long: &'static str = Box::leak(format!("SELECT 1 AS one -- {}", "é".repeat(5000)).into_boxed_str());
    slow.query(long).fetch_one().await.unwrap();

    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<_> = text.lines().filter(|line| line.contains("slow query")).collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(
        lines[0].contains("mainstay_sql") && lines[0].contains("INSERT INTO notes (body) VALUES (?)"),
        "{text}"
    );
    assert!(lines[1].len() < 1000, "{} bytes", lines[1].len());
    assert!(!text.contains("hunter2"), "{text}");
}
