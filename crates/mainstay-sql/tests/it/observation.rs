use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_sql::{Error, Observer};

use crate::support::{count, insert, notes};

#[derive(Default)]
struct Seen(Mutex<Vec<(&'static str, bool)>>);

impl Observer for Seen {
    fn on_query(&self, label: &'static str, _: Duration, outcome: Result<(), &Error>) {
        self.0.lock().unwrap().push((label, outcome.is_ok()));
    }
}

#[tokio::test]
async fn the_observer_hears_of_every_statement_by_label_and_outcome() {
    let seen = Arc::new(Seen::default());
    let (db, _directory) = notes(|o| o.observer(seen.clone())).await;
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
