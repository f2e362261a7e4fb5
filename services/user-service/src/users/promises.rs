//! The promises of [`UserService`].

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use mainstay::cache::{self, Cache};
use mainstay::event::{Event, Events};
use mainstay::http::Problem;
use mainstay::metrics::Metrics;
use mainstay::sql::Database;
use mainstay::time::Clock;
use mainstay_testkit::faulty::cache::FaultyStore;
use mainstay_testkit::faulty::{Fault, Faults};
use mainstay_testkit::{TestClock, eventually_async};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::contract::someone;
use super::*;
use crate::ground::{self, sqlite};

/// A service on what is at hand in a process, and what it leans on.
struct Ground {
    service: UserService,
    events: Events,
    db: Database,
    _directory: TempDir,
}

async fn ground() -> Ground {
    ground_with(Arc::new(cache::Memory::new(&cache::Options::default(), Clock::system()))).await
}

async fn ground_with(cache: Arc<dyn cache::Store>) -> Ground {
    let (db, directory) = sqlite().await;
    let (metrics, clock) = (Metrics::new(), Clock::system());
    let cache = Cache::new(cache, cache::Options::default(), &metrics, clock.clone());
    let events = crate::ground::events(&db);
    let repository = Arc::new(SqlUserRepository::new(db.clone(), events.clone(), ground::vault()));
    let service = UserService::new(repository, cache, ground::vault(), Arc::new(ground::NothingFollows));
    Ground { service, events, db, _directory: directory }
}

async fn service() -> (UserService, TempDir) {
    let Ground { service, _directory, .. } = ground().await;
    (service, _directory)
}

fn input(email: &str) -> NewUserInput {
    NewUserInput { email: Some(email.into()), name: Some("Ada".into()), ..NewUserInput::default() }
}

#[tokio::test]
async fn the_service_reports_a_bad_key_together_with_bad_fields() {
    let (service, _directory) = service().await;
    let Err(Error::Invalid(problems)) = service.create(input("nobody"), "s", Some("a b")).await else {
        panic!()
    };
    assert_eq!(problems.iter().map(|p| &*p.field).collect::<Vec<_>>(), ["email", "Idempotency-Key"]);
    let Err(Error::Invalid(problems)) = service.list(Some("0"), Some("x")).await else { panic!() };
    assert_eq!(problems.iter().map(|p| &*p.field).collect::<Vec<_>>(), ["limit", "cursor"]);
    for limit in ["101", "-1", "", "ten", "99999999999999999999"] {
        assert!(matches!(service.list(Some(limit), None).await, Err(Error::Invalid(_))), "{limit}");
    }
    assert!(service.list(None, None).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn the_service_knows_a_repeated_request_by_its_meaning_and_keeps_callers_apart() {
    let (service, _directory) = service().await;
    let first = service.create(input("ada@EXAMPLE.com"), "ada", Some("k")).await.unwrap();
    let again = service.create(input("ada@example.com"), "ada", Some("k")).await.unwrap();
    assert!(again.replayed && again.user == first.user);
    assert!(matches!(service.create(input("b@example.com"), "ada", Some("k")).await, Err(Error::KeyReused)));
    assert!(!service.create(input("b@example.com"), "bob", Some("k")).await.unwrap().replayed);
}

#[tokio::test]
async fn the_seed_comes_once_and_not_again_after_everybody_was_deleted() {
    let (service, _directory) = service().await;
    let (one, two) = tokio::join!(service.seed(), service.seed());
    assert_eq!(one.unwrap() + two.unwrap(), 3);
    let users = service.list(None, None).await.unwrap().items;
    assert_eq!(users.len(), 3);
    for user in users {
        service.delete(&user.id, None).await.unwrap();
    }
    assert_eq!(service.seed().await.unwrap(), 0);
}

#[tokio::test]
async fn the_seed_would_pass_the_checks_of_a_request() {
    let (service, _directory) = service().await;
    service.seed().await.unwrap();
    for user in service.list(None, None).await.unwrap().items {
        let input = NewUserInput {
            email: Some(user.email.clone().into()),
            name: Some(user.name.into()),
            phone: user.phone.map(Into::into),
            role: Some(user.role.as_str().into()),
            ..NewUserInput::default()
        };
        assert_eq!(input.check().unwrap().email, user.email);
    }
}

/// What is published from now on, as it is handled.
async fn published(events: &Events) -> Arc<Mutex<Vec<(String, Value)>>> {
    let heard = Arc::<Mutex<Vec<_>>>::default();
    for kind in [event::CREATED, event::UPDATED, event::DELETED] {
        let heard = heard.clone();
        let hear = move |event: Event<Value>| {
            heard.lock().unwrap().push((event.kind.to_string(), event.data));
            async {}
        };
        events.on(kind).group("test").concurrency(1).handle(hear).await.unwrap();
    }
    heard
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_write_whose_caller_goes_away_is_finished_and_announced() {
    let Ground { service, events, _directory, .. } = ground().await;
    let heard = published(&events).await;
    let user = service.create(input("ada@example.com"), "s", None).await.unwrap().user;
    service.get(&user.id).await.unwrap();
    let patch = UserPatchInput { name: Some("Lovelace".into()), ..UserPatchInput::default() };
    let mut update = Box::pin(service.update(&user.id, patch, None));
    tokio::select! {
        biased;
        _ = &mut update => panic!("a write does not end at once"),
        () = std::future::ready(()) => {}
    }
    drop(update);
    service.stop().await.unwrap();
    eventually_async("both are heard", LONG, async || heard.lock().unwrap().len() == 2).await;
    let heard = heard.lock().unwrap().clone();
    let expected = json!({"id": user.id, "version": 2, "changed": ["name"]});
    assert!(heard.contains(&(event::UPDATED.to_owned(), expected)), "{heard:?}");
    assert_eq!(service.get(&user.id).await.unwrap().name, "Lovelace");
}

#[tokio::test]
async fn what_cannot_be_announced_does_not_happen() {
    let Ground { service, events, _directory, .. } = ground().await;
    let known = service.create(input("grace@example.com"), "s", None).await.unwrap().user;
    events.stop(LONG).await.unwrap();
    let refused = service.create(input("ada@example.com"), "s", None).await;
    assert!(matches!(refused, Err(Error::Announce(_))), "{refused:?}");
    assert_eq!(Problem::from(refused.unwrap_err()).status(), 503);
    assert!(matches!(service.delete(&known.id, None).await, Err(Error::Announce(_))));
    assert_eq!(service.list(None, None).await.unwrap().items, [known]);
}

#[tokio::test]
async fn a_database_that_is_gone_is_said_and_whom_the_cache_knows_is_served() {
    let Ground { service, db, _directory, .. } = ground().await;
    let known = service.create(input("ada@example.com"), "s", None).await.unwrap().user;
    let other = service.create(input("grace@example.com"), "s", None).await.unwrap().user;
    service.get(&known.id).await.unwrap();
    db.close().await;
    assert_eq!(service.get(&known.id).await.unwrap(), known);
    let error = service.get(&other.id).await.unwrap_err();
    assert!(matches!(error, Error::Read(_)), "{error:?}");
    assert_eq!(Problem::from(error).status(), 503, "as when the database is read without a cache");
    assert!(
        matches!(service.current(&known.id).await, Err(Error::Store(_))),
        "who decides asks the database"
    );
}

#[tokio::test]
async fn a_cache_that_is_down_breaks_nothing_and_is_not_behind_when_it_is_back() {
    let (clock, faults) = (TestClock::new(), Faults::none());
    let memory = cache::Memory::new(&cache::Options::default(), clock.clock());
    let store = FaultyStore::new(Arc::new(memory), faults.clone());
    let Ground { service, _directory, .. } = ground_with(Arc::new(store)).await;
    let user = service.create(input("ada@example.com"), "s", None).await.unwrap().user;
    service.get(&user.id).await.unwrap();

    faults.always(Fault::Unavailable);
    let patch = UserPatchInput { name: Some("Lovelace".into()), ..UserPatchInput::default() };
    let changed = service.update(&user.id, patch, None).await.unwrap();
    assert_eq!(service.get(&user.id).await.unwrap(), changed, "read from the database");
    assert_eq!(service.current(&user.id).await.unwrap(), changed);

    faults.mend();
    assert_eq!(service.get(&user.id).await.unwrap(), changed, "what it knew before is not read");
}

#[test]
fn the_json_is_camel_case_with_rfc_3339_times_and_survives_a_round_trip() {
    let mut user = someone("json@example.com");
    user.id = "0192f3a1-b2c3-7d4e-8f90-a1b2c3d4e5f6".to_owned();
    user.created_at = Timestamp::UNIX_EPOCH;
    user.updated_at = Timestamp::UNIX_EPOCH;
    let json = serde_json::to_string(&user).unwrap();
    let expected = r#"{"id":"0192f3a1-b2c3-7d4e-8f90-a1b2c3d4e5f6","email":"json@example.com","name":"Some One","phone":"+41441234567","role":"user","createdAt":"1970-01-01T00:00:00Z","updatedAt":"1970-01-01T00:00:00Z","version":1}"#;
    assert_eq!(json, expected);
    assert_eq!(serde_json::from_str::<User>(&json).unwrap(), user);
    user.phone = None;
    assert!(!serde_json::to_string(&user).unwrap().contains("phone"));
}
