use std::time::Duration;

use mainstay_sql::idempotency::{self, Claim, IdempotencyKeys, StoredResponse};
use mainstay_sql::{Database, Migrations};
use tokio::task::JoinSet;

use crate::support::{NOTES, Store, count, on_each_database};

on_each_database!(
    a_repeated_request_gets_the_stored_answer_and_has_no_second_effect,
    of_twenty_equal_requests_at_once_one_has_the_effect_and_all_get_one_answer,
    a_crash_before_the_commit_leaves_neither_the_key_nor_the_effect,
    an_old_key_is_fresh_again_and_can_be_purged,
    an_invalid_key_is_refused_before_the_table_is_touched,
);

const SCOPE: &str = "POST /notes";

async fn database(store: &Store) -> Database {
    let db = store.connect().await;
    db.migrate(&Migrations::new([NOTES, idempotency::migration(2)])).await.unwrap();
    db
}

fn response(body: &[u8]) -> StoredResponse {
    let headers = vec![("location".to_owned(), "/notes/1".to_owned())];
    StoredResponse { status: 201, headers, body: body.to_vec() }
}

/// The whole request: claim, effect, answer, commit.
async fn request(db: &Database, keys: &IdempotencyKeys, key: &str, body: &str) -> Claim {
    let mut tx = db.begin().await.unwrap();
    let claim = keys.claim(&mut tx, SCOPE, key, body).await.unwrap();
    if claim == Claim::Fresh {
        tx.query("INSERT INTO notes (body) VALUES (?)")
            .bind(format!("{key} {body}"))
            .execute()
            .await
            .unwrap();
        keys.complete(&mut tx, SCOPE, key, &response(body.as_bytes())).await.unwrap();
        tx.commit().await.unwrap();
    }
    claim
}

async fn a_repeated_request_gets_the_stored_answer_and_has_no_second_effect(store: Store) {
    let db = database(&store).await;
    let keys = IdempotencyKeys::new();
    assert_eq!(request(&db, &keys, "k", "one").await, Claim::Fresh);
    assert_eq!(request(&db, &keys, "k", "one").await, Claim::Replay(response(b"one")));
    assert_eq!(request(&db, &keys, "k", "two").await, Claim::Mismatch);
    assert_eq!(request(&db, &keys, "other", "two").await, Claim::Fresh);
    assert_eq!(count(&db).await, 2);
}

async fn of_twenty_equal_requests_at_once_one_has_the_effect_and_all_get_one_answer(store: Store) {
    let db = database(&store).await;
    let mut requests = JoinSet::new();
    for _ in 0..20 {
        let db = db.clone();
        requests.spawn(async move { request(&db, &IdempotencyKeys::new(), "k", "one").await });
    }
    let claims = requests.join_all().await;
    assert_eq!(claims.iter().filter(|claim| **claim == Claim::Fresh).count(), 1);
    assert_eq!(claims.iter().filter(|claim| **claim == Claim::Replay(response(b"one"))).count(), 19);
    assert_eq!(count(&db).await, 1);
}

async fn a_crash_before_the_commit_leaves_neither_the_key_nor_the_effect(store: Store) {
    let db = database(&store).await;
    let keys = IdempotencyKeys::new();
    let mut tx = db.begin().await.unwrap();
    assert_eq!(keys.claim(&mut tx, SCOPE, "k", "one").await.unwrap(), Claim::Fresh);
    drop(tx);
    assert_eq!(request(&db, &keys, "k", "one").await, Claim::Fresh);
}

async fn an_old_key_is_fresh_again_and_can_be_purged(store: Store) {
    let db = database(&store).await;
    let keys = IdempotencyKeys::new();
    for key in ["old", "older", "new"] {
        assert_eq!(request(&db, &keys, key, "one").await, Claim::Fresh);
    }
    let day: i64 = 24 * 3600 * 1_000_000;
    db.query("UPDATE idempotency_keys SET created_at = created_at - ? WHERE idempotency_key <> 'new'")
        .bind(day)
        .execute()
        .await
        .unwrap();
    let mut tx = db.begin().await.unwrap();
    assert_eq!(keys.claim(&mut tx, SCOPE, "old", "two").await.unwrap(), Claim::Fresh);
    tx.rollback().await.unwrap();
    let longer = keys.clone().retention(Duration::from_hours(25));
    assert_eq!(longer.purge(&db).await.unwrap(), 0);
    assert_eq!(keys.purge(&db).await.unwrap(), 2);
    assert_eq!(request(&db, &keys, "new", "one").await, Claim::Replay(response(b"one")));
}

async fn an_invalid_key_is_refused_before_the_table_is_touched(store: Store) {
    let db = database(&store).await;
    let mut tx = db.begin().await.unwrap();
    let error = IdempotencyKeys::new().claim(&mut tx, SCOPE, "white space", "one").await.unwrap_err();
    assert!(error.to_string().contains("1 to 128 visible ASCII"), "{error}");
}
