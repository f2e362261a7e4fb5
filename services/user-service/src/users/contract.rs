//! The promises of [`UserRepository`], to be kept on every database.

use std::sync::Arc;

use jiff::Timestamp;
use mainstay::sql::Database;
use tokio::task::JoinSet;

use super::*;
use crate::ground::{events, in_memory, sqlite, vault};

pub(super) fn someone(email: &str) -> User {
    let name = "Some One".to_owned();
    NewUser { email: email.to_owned(), name, phone: Some("+41441234567".to_owned()), role: Role::User }
        .into_user()
}

fn once(key: &str, fingerprint: &str) -> Once {
    Once { scope: "POST /api/users".to_owned(), key: key.to_owned(), fingerprint: fingerprint.to_owned() }
}

/// Every case on one empty, migrated database. Cases use their own addresses and leave their rows behind.
async fn repository_contract(db: Database) {
    let users: Arc<dyn UserRepository> = Arc::new(SqlUserRepository::new(db.clone(), events(&db), vault()));
    assert!(users.is_empty().await.unwrap());
    a_user_comes_back_as_it_was_created(&*users).await;
    an_address_belongs_to_one_user_whatever_its_case(&*users).await;
    a_change_is_applied_once_and_only_to_the_expected_version(&*users).await;
    a_deleted_user_is_gone_and_its_address_free(&*users).await;
    of_concurrent_changes_to_one_version_one_wins(users.clone()).await;
    a_repeated_creation_has_one_effect(users.clone()).await;
    a_failed_creation_does_not_use_up_its_key(&*users).await;
    pages_neither_skip_nor_repeat_while_users_come_and_go(&*users).await;
    a_row_that_cannot_be_read_is_an_error_and_not_a_panic(&*users, &db).await;
    a_purge_takes_what_was_deleted_before_a_time_and_nothing_else(&*users).await;
    assert!(!users.is_empty().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_repository_keeps_its_contract_on_sqlite() {
    let (db, _directory) = sqlite().await;
    repository_contract(db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_repository_keeps_its_contract_in_memory() {
    repository_contract(in_memory().await).await;
}

#[cfg(all(feature = "postgres", feature = "mysql"))]
#[tokio::test(flavor = "multi_thread")]
async fn the_repository_keeps_its_contract_on_postgresql() {
    repository_contract(crate::ground::on_server(mainstay_testkit::sql::Kind::Postgres).await).await;
}

#[cfg(all(feature = "postgres", feature = "mysql"))]
#[tokio::test(flavor = "multi_thread")]
async fn the_repository_keeps_its_contract_on_mariadb() {
    repository_contract(crate::ground::on_server(mainstay_testkit::sql::Kind::MariaDb).await).await;
}

async fn a_user_comes_back_as_it_was_created(users: &dyn UserRepository) {
    let created = users.create(someone("Back@example.com"), None).await.unwrap();
    assert!(!created.replayed);
    assert_eq!(users.get(&created.user.id).await.unwrap().unwrap(), created.user);
    assert_eq!(users.get("no-such-id").await.unwrap(), None);
}

async fn an_address_belongs_to_one_user_whatever_its_case(users: &dyn UserRepository) {
    let first = users.create(someone("Taken@example.com"), None).await.unwrap().user;
    let again = users.create(someone("tAKEN@example.com"), None).await;
    assert!(matches!(again, Err(Error::EmailTaken)), "{again:?}");
    let other = users.create(someone("other@example.com"), None).await.unwrap().user;
    let patch = UserPatch { email: Some("TAKEN@example.com".to_owned()), ..UserPatch::default() };
    assert!(matches!(users.update(&other.id, &patch, None).await, Err(Error::EmailTaken)));
    assert_eq!(users.get(&other.id).await.unwrap().unwrap(), other);
    assert_eq!(users.update(&first.id, &patch, None).await.unwrap().after.email, "TAKEN@example.com");
}

async fn a_change_is_applied_once_and_only_to_the_expected_version(users: &dyn UserRepository) {
    let before = users.create(someone("change@example.com"), None).await.unwrap().user;
    let patch = UserPatch {
        name: Some("New Name".to_owned()),
        phone: Some(None),
        role: Some(Role::Admin),
        ..UserPatch::default()
    };
    let change = users.update(&before.id, &patch, Some(1)).await.unwrap();
    assert_eq!((&change.before, change.fields()), (&before, vec!["name", "phone", "role"]));
    let after = change.after;
    assert_eq!((after.name.as_str(), after.phone.as_deref(), after.role), ("New Name", None, Role::Admin));
    assert_eq!((after.version, after.created_at, &after.email), (2, before.created_at, &before.email));
    assert!(after.updated_at >= before.updated_at);
    assert_eq!(users.get(&before.id).await.unwrap().unwrap(), after);

    let stale = users.update(&before.id, &patch, Some(1)).await;
    assert!(matches!(stale, Err(Error::Stale { current: 2 })), "{stale:?}");
    let nothing = users.update(&before.id, &patch, Some(2)).await.unwrap();
    assert_eq!((nothing.fields(), nothing.after), (vec![], after));
    assert!(matches!(users.update("nobody", &patch, None).await, Err(Error::NotFound)));
}

async fn a_deleted_user_is_gone_and_its_address_free(users: &dyn UserRepository) {
    let user = users.create(someone("gone@example.com"), None).await.unwrap().user;
    assert!(matches!(users.delete(&user.id, Some(7)).await, Err(Error::Stale { current: 1 })));
    let deleted = users.delete(&user.id, Some(1)).await.unwrap();
    assert_eq!((deleted.version, deleted.updated_at >= user.updated_at), (2, true));
    assert!(users.is_known(&user.id).await.unwrap());
    assert_eq!(users.get(&user.id).await.unwrap(), None);
    assert!(matches!(users.delete(&user.id, None).await, Err(Error::NotFound)));
    assert!(matches!(users.update(&user.id, &UserPatch::default(), None).await, Err(Error::NotFound)));
    for _ in 0..2 {
        let next = users.create(someone("gone@example.com"), None).await.unwrap().user;
        users.delete(&next.id, None).await.unwrap();
    }
}

async fn of_concurrent_changes_to_one_version_one_wins(users: Arc<dyn UserRepository>) {
    let user = users.create(someone("race@example.com"), None).await.unwrap().user;
    let mut racers = JoinSet::new();
    for racer in 0..10 {
        let (users, id) = (users.clone(), user.id.clone());
        let patch = UserPatch { name: Some(format!("Racer {racer}")), ..UserPatch::default() };
        racers.spawn(async move { users.update(&id, &patch, Some(1)).await });
    }
    let results = racers.join_all().await;
    let winners: Vec<_> = results.iter().flatten().collect();
    assert_eq!(winners.len(), 1, "{results:?}");
    assert_eq!(users.get(&user.id).await.unwrap().as_ref(), Some(&winners[0].after));
    assert!(results.iter().all(|r| matches!(r, Ok(_) | Err(Error::Stale { .. }))), "{results:?}");
}

async fn a_repeated_creation_has_one_effect(users: Arc<dyn UserRepository>) {
    let mut requests = JoinSet::new();
    for _ in 0..10 {
        let users = users.clone();
        requests
            .spawn(async move { users.create(someone("once@example.com"), Some(&once("k1", "once"))).await });
    }
    let created: Vec<_> = requests.join_all().await.into_iter().map(Result::unwrap).collect();
    assert_eq!(created.iter().filter(|one| !one.replayed).count(), 1);
    assert!(created.iter().all(|one| one.user == created[0].user));

    let patch = UserPatch { name: Some("Later".to_owned()), ..UserPatch::default() };
    users.update(&created[0].user.id, &patch, None).await.unwrap();
    let late = users.create(someone("once@example.com"), Some(&once("k1", "once"))).await.unwrap();
    assert_eq!(
        late,
        Created { user: created[0].user.clone(), replayed: true },
        "the first answer, not the latest"
    );
    let reused = users.create(someone("else@example.com"), Some(&once("k1", "else"))).await;
    assert!(matches!(reused, Err(Error::KeyReused)), "{reused:?}");
}

async fn a_failed_creation_does_not_use_up_its_key(users: &dyn UserRepository) {
    users.create(someone("first@example.com"), None).await.unwrap();
    let failed = users.create(someone("first@example.com"), Some(&once("k2", "first"))).await;
    assert!(matches!(failed, Err(Error::EmailTaken)), "{failed:?}");
    let mended = users.create(someone("second@example.com"), Some(&once("k2", "second"))).await.unwrap();
    assert!(!mended.replayed);
}

async fn pages_neither_skip_nor_repeat_while_users_come_and_go(users: &dyn UserRepository) {
    let mut expected = Vec::new();
    let mut page = users.list(100, None).await.unwrap();
    let there_before = page.items.len();
    for n in 0..7 {
        expected.push(users.create(someone(&format!("page{n}@example.com")), None).await.unwrap().user);
    }
    page = users.list(there_before, None).await.unwrap();
    let mut seen = Vec::new();
    for turn in 0.. {
        let Some(cursor) = page.next else { break };
        page = users.list(2, Some(cursor)).await.unwrap();
        assert!(page.items.len() <= 2);
        seen.extend(page.items.clone());
        if turn == 0 {
            // The one the cursor stands on, and one still to come.
            users.delete(&expected[1].id, None).await.unwrap();
            users.delete(&expected.remove(3).id, None).await.unwrap();
            expected.push(users.create(someone("late@example.com"), None).await.unwrap().user);
        }
    }
    assert_eq!(seen, expected);
    let all = users.list(100, None).await.unwrap();
    let exactly = users.list(all.items.len(), None).await.unwrap();
    assert_eq!((exactly.items, exactly.next), (all.items, None), "a full last page is still the last");
}

async fn a_row_that_cannot_be_read_is_an_error_and_not_a_panic(users: &dyn UserRepository, db: &Database) {
    let user = users.create(someone("odd@example.com"), None).await.unwrap().user;
    db.query("UPDATE users SET created_at = ? WHERE id = ?")
        .bind(i64::MAX)
        .bind(&user.id)
        .execute()
        .await
        .unwrap();
    assert!(matches!(users.get(&user.id).await, Err(Error::Store(mainstay::sql::Error::Decode { .. }))));
    db.query("UPDATE users SET created_at = 0, role = 'king' WHERE id = ?")
        .bind(&user.id)
        .execute()
        .await
        .unwrap();
    assert!(matches!(users.get(&user.id).await, Err(Error::Store(mainstay::sql::Error::Decode { .. }))));
    db.query("UPDATE users SET role = 'user' WHERE id = ?").bind(&user.id).execute().await.unwrap();
    assert_eq!(users.get(&user.id).await.unwrap().unwrap().created_at, Timestamp::UNIX_EPOCH);
}

async fn a_purge_takes_what_was_deleted_before_a_time_and_nothing_else(users: &dyn UserRepository) {
    // What the other cases left.
    users.purge(Timestamp::MAX, usize::MAX).await.unwrap();
    let mut deleted = Vec::new();
    for n in 0..5 {
        let user = users.create(someone(&format!("purge{n}@example.com")), None).await.unwrap().user;
        deleted.push(users.delete(&user.id, None).await.unwrap());
    }
    let kept = users.create(someone("purge0@example.com"), None).await.unwrap().user;
    let ids = |users: &[User]| users.iter().map(|user| user.id.clone()).collect::<Vec<_>>();

    assert!(users.purge(deleted[0].updated_at, 10).await.unwrap().is_empty(), "deleted then, not before");
    assert_eq!(users.purge(Timestamp::MAX, 3).await.unwrap(), ids(&deleted[..3]), "the limit holds");
    assert!(!users.is_known(&deleted[0].id).await.unwrap());
    assert!(users.is_known(&deleted[3].id).await.unwrap());
    assert_eq!(users.purge(Timestamp::MAX, 3).await.unwrap(), ids(&deleted[3..]));
    assert!(users.purge(Timestamp::MAX, 3).await.unwrap().is_empty());
    assert_eq!(users.get(&kept.id).await.unwrap(), Some(kept));
}
