//! The promises of [`AuditTrail`], to be kept on every database, and those of the service above it.

use std::sync::Arc;

use jiff::Timestamp;
use mainstay::sql::Database;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::*;
use crate::ground::{events, in_memory, sqlite, vault};
use crate::users::{Error, NewUser, Role, SqlUserRepository, UserRepository, event};

/// An entry whose id sorts as `id` does.
fn entry(id: u128, event: &str, version: i64) -> AuditEntry {
    let at = Timestamp::from_microsecond(1_700_000_000_123_456 + version).unwrap();
    AuditEntry { id: Uuid::from_u128(id), event: event.to_owned(), at, version, details: Details::default() }
}

/// Every case on one empty, migrated database. Cases use their own users and leave their rows behind.
async fn trail_contract(db: Database) {
    let trail: Arc<dyn AuditTrail> = Arc::new(SqlAuditTrail::new(db.clone()));
    an_entry_comes_back_as_it_was_recorded(&*trail).await;
    an_event_is_recorded_once_however_often_it_is_delivered(trail.clone()).await;
    entries_are_in_the_order_of_versions_whatever_order_they_came_in(&*trail).await;
    pages_neither_skip_nor_repeat(&*trail).await;
    a_row_that_cannot_be_read_is_an_error_and_not_a_panic(&*trail, &db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_keeps_its_contract_on_sqlite() {
    let (db, _directory) = sqlite().await;
    trail_contract(db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_keeps_its_contract_in_memory() {
    trail_contract(in_memory().await).await;
}

#[cfg(all(feature = "postgres", feature = "mysql"))]
#[tokio::test(flavor = "multi_thread")]
async fn the_trail_keeps_its_contract_on_postgresql() {
    trail_contract(crate::ground::on_server(mainstay_testkit::sql::Kind::Postgres).await).await;
}

#[cfg(all(feature = "postgres", feature = "mysql"))]
#[tokio::test(flavor = "multi_thread")]
async fn the_trail_keeps_its_contract_on_mariadb() {
    trail_contract(crate::ground::on_server(mainstay_testkit::sql::Kind::MariaDb).await).await;
}

async fn an_entry_comes_back_as_it_was_recorded(trail: &dyn AuditTrail) {
    let mut updated = entry(100, event::UPDATED, 2);
    updated.details.changed = vec!["name".to_owned(), "phone".to_owned()];
    assert!(trail.record("back", &updated).await.unwrap());
    let page = trail.list("back", 10, None).await.unwrap();
    assert_eq!(page, AuditPage { items: vec![updated], next: None });
    assert!(trail.list("nobody", 10, None).await.unwrap().items.is_empty());
}

async fn an_event_is_recorded_once_however_often_it_is_delivered(trail: Arc<dyn AuditTrail>) {
    let mut deliveries = JoinSet::new();
    for _ in 0..10 {
        let trail = trail.clone();
        deliveries.spawn(async move { trail.record("once", &entry(200, event::CREATED, 1)).await.unwrap() });
    }
    let new = deliveries.join_all().await;
    assert_eq!(new.iter().filter(|new| **new).count(), 1);
    assert_eq!(trail.list("once", 10, None).await.unwrap().items.len(), 1);
}

async fn entries_are_in_the_order_of_versions_whatever_order_they_came_in(trail: &dyn AuditTrail) {
    for (id, version) in [(309, 2), (305, 10), (301, 3), (308, 1), (302, 3)] {
        trail.record("order", &entry(id, event::UPDATED, version)).await.unwrap();
    }
    let page = trail.list("order", 10, None).await.unwrap();
    let ids: Vec<_> = page.items.iter().map(|entry| entry.id.as_u128()).collect();
    assert_eq!(ids, [308, 309, 301, 302, 305]);
}

async fn pages_neither_skip_nor_repeat(trail: &dyn AuditTrail) {
    for n in 0..7_i64 {
        // Two entries to a version, so that a page ends between them.
        trail.record("pages", &entry(400 + u128::try_from(n).unwrap(), event::UPDATED, n / 2)).await.unwrap();
    }
    let (mut seen, mut place) = (Vec::new(), None);
    loop {
        let page = trail.list("pages", 3, place).await.unwrap();
        seen.extend(page.items.into_iter().map(|entry| entry.id.as_u128()));
        place = page.next;
        if place.is_none() {
            break;
        }
    }
    assert_eq!(seen, [400, 401, 402, 403, 404, 405, 406]);
    assert_eq!(trail.list("pages", 7, None).await.unwrap().next, None, "a full last page is still the last");
}

async fn a_row_that_cannot_be_read_is_an_error_and_not_a_panic(trail: &dyn AuditTrail, db: &Database) {
    trail.record("odd", &entry(500, event::CREATED, 1)).await.unwrap();
    let unreadable = |result: Result<AuditPage, Error>| {
        matches!(result, Err(Error::Store(mainstay::sql::Error::Decode { .. })))
    };
    let change = |sql| db.query(sql).execute();
    change("UPDATE user_audit SET details = '[' WHERE user_id = 'odd'").await.unwrap();
    assert!(unreadable(trail.list("odd", 1, None).await));
    change("UPDATE user_audit SET details = '{\"later\":1}' WHERE user_id = 'odd'").await.unwrap();
    assert!(trail.list("odd", 1, None).await.is_ok(), "a later version may tell more");
    change("UPDATE user_audit SET occurred_at = 9223372036854775807 WHERE user_id = 'odd'").await.unwrap();
    assert!(unreadable(trail.list("odd", 1, None).await));
}

#[tokio::test]
async fn a_trail_can_be_asked_for_when_there_is_or_was_a_user() {
    let (db, _directory) = sqlite().await;
    let users = Arc::new(SqlUserRepository::new(db.clone(), events(&db), vault()));
    let audit = Audit::new(Arc::new(SqlAuditTrail::new(db)), users.clone());
    assert!(matches!(audit.of("nobody", None, None).await, Err(Error::NotFound)));
    let new = NewUser { email: "ada@example.com".into(), name: "Ada".into(), phone: None, role: Role::User };
    let user = users.create(new.into_user(), None).await.unwrap().user;
    assert!(audit.of(&user.id, None, None).await.unwrap().items.is_empty(), "its event is on the way");
    users.delete(&user.id, None).await.unwrap();
    assert!(audit.of(&user.id, None, None).await.is_ok(), "deleted, and its event on the way");
    assert!(audit.record(&user.id, &entry(1, event::CREATED, 1)).await.unwrap());
    assert_eq!(users.purge(Timestamp::MAX, 10).await.unwrap(), std::slice::from_ref(&user.id));
    assert_eq!(audit.of(&user.id, None, None).await.unwrap().items.len(), 1, "purged");
}

#[tokio::test]
async fn everything_wrong_with_a_page_is_said_at_once() {
    let (db, _directory) = sqlite().await;
    let users = Arc::new(SqlUserRepository::new(db.clone(), events(&db), vault()));
    let audit = Audit::new(Arc::new(SqlAuditTrail::new(db)), users);
    let Err(Error::Invalid(problems)) = audit.of("x", Some("0"), Some("c1_x")).await else { panic!() };
    assert_eq!(problems.iter().map(|p| &*p.field).collect::<Vec<_>>(), ["limit", "cursor"]);
}

#[test]
fn the_json_is_flat_and_camel_case_with_rfc_3339_times() {
    let mut updated = entry(0, event::UPDATED, 2);
    updated.at = Timestamp::UNIX_EPOCH;
    updated.details.changed = vec!["name".to_owned()];
    let expected = r#"{"id":"00000000-0000-0000-0000-000000000000","event":"user.updated","at":"1970-01-01T00:00:00Z","version":2,"changed":["name"]}"#;
    assert_eq!(serde_json::to_string(&updated).unwrap(), expected);
    updated.details = Details::default();
    assert!(!serde_json::to_string(&updated).unwrap().contains("changed"));
}
