use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mainstay_auth::session::{
    Bounds, Digest, MemorySessions, NewSession, Rotation, Session, SessionStore, Sessions,
};
use mainstay_core::metrics::Metrics;
use mainstay_core::store::StoreError;
use mainstay_core::time::Clock;
use mainstay_sql::session::SqlSessions;
use mainstay_sql::{Database, Migrations, Options};
use mainstay_testkit::conformance::session::{Backend, suite};
use mainstay_testkit::{Rng, Seed};
use tempfile::TempDir;

use crate::support::{Store, on_each_database, options};

mod bugs;

async fn migrated(options: Options) -> Database {
    let db = Database::connect(options).await.unwrap();
    db.migrate(&Migrations::new([]).with_sessions()).await.unwrap();
    db
}

on_each_database!(
    sessions_keep_the_contract,
    sessions_decide_as_those_in_memory,
    a_database_that_is_gone_is_unavailable,
);

/// Each case has a database of its own; several share a server.
async fn sessions_keep_the_contract(one: Store) {
    let others = Mutex::new(Vec::new());
    suite()
        .run_at_once(async || {
            let other = one.another();
            let store = SqlSessions::new(migrated(other.options().pool_max(4)).await);
            others.lock().unwrap().push(other);
            Backend { store: Arc::new(store) }
        })
        .await;
}

#[tokio::test]
async fn the_version_of_the_sessions_is_not_one_of_the_events() {
    let directory = TempDir::new().unwrap();
    let db = Database::connect(options(&directory)).await.unwrap();
    let applied = db.migrate(&Migrations::new([]).with_events().with_sessions()).await.unwrap();
    assert_eq!(applied.versions.last(), Some(&1_000_000_101));
}

#[tokio::test]
async fn sessions_outlive_their_process() {
    let directory = TempDir::new().unwrap();
    let sessions = async || {
        let store = SqlSessions::new(migrated(options(&directory)).await);
        Sessions::new(Arc::new(store), Default::default(), &Metrics::new(), Clock::system())
    };
    let opened = sessions().await.open("ada", "Firefox").await.unwrap();
    let refreshed = sessions().await.refresh(opened.refresh.expose()).await.unwrap();
    assert_eq!(refreshed.session, opened.session_id);
}

#[tokio::test]
async fn nothing_in_the_table_refreshes_a_session() {
    let directory = TempDir::new().unwrap();
    let db = migrated(options(&directory)).await;
    let store = Arc::new(SqlSessions::new(db.clone()));
    let sessions = Sessions::new(store, Default::default(), &Metrics::new(), Clock::system());
    let opened = sessions.open("ada", "Firefox").await.unwrap();
    sessions.refresh(opened.refresh.expose()).await.unwrap();
    let row = db.query("SELECT * FROM auth_sessions").fetch_one().await.unwrap();
    let kept = format!("{row:?}");
    for column in ["id", "family", "token", "previous"] {
        let value: String = row.get(column).unwrap();
        assert!(!opened.refresh.expose().contains(&value), "{column}");
        assert!(sessions.refresh(&value).await.is_err(), "{column}");
    }
    assert!(!kept.contains(opened.refresh.expose().as_str()));
}

async fn a_database_that_is_gone_is_unavailable(store: Store) {
    let db = migrated(store.options()).await;
    let store = SqlSessions::new(db.clone());
    db.close().await;
    let now = Timestamp::now();
    let bounds = Bounds { now, idle_since: now };
    assert!(matches!(store.list("ada", bounds).await, Err(StoreError::Unavailable { .. })));
    assert!(matches!(store.revoke("x", None).await, Err(StoreError::Unavailable { .. })));
    assert!(matches!(store.revoke_all("ada", None).await, Err(StoreError::Unavailable { .. })));
}

/// One store after the other does what it is told at random; what they say is compared.
async fn sessions_decide_as_those_in_memory(store: Store) {
    let seed = Seed::from_env("MAINSTAY_SEED");
    let rounds = 400 * std::env::var("MAINSTAY_ROUNDS").map_or(1, |times| times.parse().expect("a number"));
    let mut rng = seed.rng();
    let memory = MemorySessions::new();
    let sql = SqlSessions::new(migrated(store.options()).await);
    let mut now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
    let mut opened = 0;
    for _ in 0..rounds {
        now += SignedDuration::from_secs(i64::try_from(rng.below(8)).unwrap());
        let bounds = Bounds { now, idle_since: now - Duration::from_secs(60) };
        match rng.below(10) {
            0 | 1 => {
                let new = new_session(opened, &mut rng, now);
                opened += 1;
                let most = 4;
                assert_eq!(memory.open(&new, most).await, sql.open(&new, most).await);
            }
            2 => {
                let (id, owner) = (any_id(&mut rng, opened), rng.chance(0.5).then(|| subject(&mut rng)));
                let owner = owner.as_deref();
                assert_eq!(memory.revoke(&id, owner).await, sql.revoke(&id, owner).await);
            }
            3 if rng.chance(0.3) => {
                let (subject, but) = (subject(&mut rng), rng.chance(0.5).then(|| any_id(&mut rng, opened)));
                let sorted = |ended: Result<Vec<String>, StoreError>| {
                    let mut ended = ended.unwrap();
                    ended.sort();
                    ended
                };
                let but = but.as_deref();
                let (one, other) =
                    (memory.revoke_all(&subject, but).await, sql.revoke_all(&subject, but).await);
                assert_eq!(sorted(one), sorted(other));
            }
            4 => assert_eq!(memory.purge(bounds).await, sql.purge(bounds).await),
            5 => {
                let subject = subject(&mut rng);
                assert_eq!(memory.list(&subject, bounds).await, sql.list(&subject, bounds).await);
            }
            _ => {
                let rotation = Rotation {
                    family: Digest::of(any_id(&mut rng, opened).as_bytes()),
                    presented: token(&mut rng),
                    next: token(&mut rng),
                    bounds,
                    grace_since: now - Duration::from_secs(10),
                };
                assert_eq!(memory.rotate(&rotation).await, sql.rotate(&rotation).await);
            }
        }
    }
}

fn new_session(number: u64, rng: &mut Rng, now: Timestamp) -> NewSession {
    let (id, subject) = (number.to_string(), subject(rng));
    let expires = now + Duration::from_secs(100);
    let session = Session { id, subject, about: String::new(), opened: now, used: now, expires };
    NewSession { family: Digest::of(session.id.as_bytes()), token: token(rng), session }
}

/// One of the last few that were opened.
fn any_id(rng: &mut Rng, opened: u64) -> String {
    opened.saturating_sub(1 + rng.below(6)).to_string()
}

fn subject(rng: &mut Rng) -> String {
    (*rng.pick(&["ada", "bob"])).to_owned()
}

/// One of few, so that they come back.
fn token(rng: &mut Rng) -> Digest {
    Digest::of(&[u8::try_from(rng.below(3)).unwrap()])
}

/// As MariaDB makes one unless it is told otherwise.
#[cfg(feature = "mysql")]
#[tokio::test]
async fn sessions_are_of_anybody_although_the_database_is_for_latin_text() {
    use mainstay_testkit::sql::{Kind, SqlServer};

    let server = SqlServer::shared(Kind::MariaDb);
    let name = server.database();
    server.ask(&name, &format!("ALTER DATABASE {name} CHARACTER SET latin1 COLLATE latin1_swedish_ci"));
    let store = SqlSessions::new(migrated(Options::from_url(&server.url(&name)).unwrap()).await);
    let now = Timestamp::now();
    let (id, about) = ("one".to_owned(), "\u{65e5}\u{672c}\u{1f600}".to_owned());
    let expires = now + SignedDuration::from_hours(1);
    let session = Session { id, subject: "ada".to_owned(), about, opened: now, used: now, expires };
    let new = NewSession { family: Digest::of(b"family"), token: Digest::of(b"token"), session };
    store.open(&new, 9).await.unwrap();
    let listed = store.list("ada", Bounds { now, idle_since: now }).await.unwrap();
    assert_eq!(listed[0].about, new.session.about);
}
