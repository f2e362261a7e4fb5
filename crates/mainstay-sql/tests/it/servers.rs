//! What only a database server does: it is killed, it stands still, it is somebody else's, it refuses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use mainstay_auth::session::{Bounds, Digest, NewSession, Session, SessionStore};
use mainstay_core::deadline::Deadline;
use mainstay_core::store::StoreError;
use mainstay_sql::session::SqlSessions;
use mainstay_sql::{Database, Dialect, Error, Migration, MigrationError, Migrations, Options, Value};
use mainstay_testkit::sql::{Kind, SqlServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::{NOTES, bounded, count, eventually, insert, on_each_server};

on_each_server!(
    under_load_a_killed_server_is_said_in_time_and_a_restarted_one_is_used_again,
    a_server_that_stands_still_costs_no_more_than_the_deadline,
    an_answer_that_nobody_waited_for_is_not_taken_for_that_of_the_next_statement,
    a_statement_that_was_given_up_ends_at_the_server,
    of_two_that_wait_for_each_other_one_is_told_to_try_again,
    what_keeps_a_connection_from_opening_is_said_with_the_remedy,
    a_connection_that_must_be_encrypted_is_not_made_in_the_clear,
    a_statement_may_have_a_null_first_and_a_number_later,
    sums_are_integers_and_averages_are_real,
    a_type_that_is_not_portable_is_named,
    idle_connections_are_closed_without_traffic,
    a_migration_that_was_given_up_frees_the_lock_and_is_done_again_or_said_to_be_half_done,
    reads_go_to_the_server_that_follows_unless_they_may_not_be_behind,
    a_server_to_read_from_that_is_down_takes_nothing_with_it_but_the_reads,
    a_server_that_takes_no_writes_any_more_is_said_and_looked_for_anew,
    a_commit_whose_answer_is_lost_is_unavailable_and_has_happened,
    the_end_of_a_session_whose_answer_is_lost_is_not_said_to_have_changed_nothing,
    the_least_number_of_connections_is_open_again_after_an_outage,
    a_ping_tells_when_the_server_to_write_to_is_down_although_the_other_answers,
);

async fn notes(server: &SqlServer, change: impl FnOnce(Options) -> Options) -> (Database, String) {
    let name = server.database();
    let db = Database::connect(change(Options::from_url(&server.url(&name)).unwrap())).await.unwrap();
    db.migrate(&Migrations::new([NOTES])).await.unwrap();
    (db, name)
}

async fn under_load_a_killed_server_is_said_in_time_and_a_restarted_one_is_used_again(kind: Kind) {
    let mut server = SqlServer::start(kind);
    let (db, _) = notes(&server, |o| o.pool_max(4).acquire_timeout(Duration::from_secs(2))).await;
    let (stop, written, refused) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut clients = JoinSet::new();
    for client in 0..8 {
        let (db, stop) = (db.clone(), Arc::clone(&stop));
        let (written, refused) = (Arc::clone(&written), Arc::clone(&refused));
        clients.spawn(async move {
            let mut sure = 0_i64;
            for n in 0.. {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let asked = Instant::now();
                match insert(&db, &format!("{client} {n}")).await {
                    Ok(_) => {
                        sure += 1;
                        written.fetch_add(1, Ordering::SeqCst);
                    }
                    Err(error) => {
                        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
                        refused.fetch_add(1, Ordering::SeqCst);
                    }
                }
                assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            sure
        });
    }
    let grows = async |counter: &AtomicU64| {
        let before = counter.load(Ordering::SeqCst);
        eventually(|| counter.load(Ordering::SeqCst) > before + 50).await;
    };
    for _ in 0..2 {
        grows(&written).await;
        server.kill();
        grows(&refused).await;
        server.restart();
        grows(&written).await;
    }
    stop.store(true, Ordering::SeqCst);
    let sure: i64 = bounded(clients.join_all()).await.into_iter().sum();
    assert!(count(&db).await >= sure, "what was acknowledged is there");
    eventually(|| db.stats()[0].in_use == 0).await;
}

async fn a_server_that_stands_still_costs_no_more_than_the_deadline(kind: Kind) {
    let mut server = SqlServer::start(kind);
    let (db, _) = notes(&server, |o| o.pool_max(2).statement_timeout(Duration::from_secs(3))).await;
    insert(&db, "before").await.unwrap();
    server.pause();
    for _ in 0..3 {
        let asked = Instant::now();
        let patience = Deadline::after(Duration::from_millis(300));
        let error = patience.scope(insert(&db, "meanwhile")).await.unwrap_err();
        assert!(error.is_transient(), "{error:?}");
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    }
    server.resume();
    bounded(async { while insert(&db, "after").await.is_err() {} }).await;
    eventually(|| db.stats()[0].in_use == 0).await;
}

/// One that was idle is asked whether it is still there, and whoever asks may give up before it answers.
async fn an_answer_that_nobody_waited_for_is_not_taken_for_that_of_the_next_statement(kind: Kind) {
    let mut server = SqlServer::start(kind);
    let (db, _) = notes(&server, |o| o.pool_max(1).idle_timeout(Duration::from_secs(60))).await;
    insert(&db, "taken").await.unwrap();
    // From then on it is asked.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    server.pause();
    let patience = Deadline::after(Duration::from_millis(300));
    assert!(patience.scope(insert(&db, "meanwhile")).await.is_err());
    server.resume();
    for n in 0..3 {
        let mut tx = bounded(db.begin()).await.unwrap();
        let error = tx.query("INSERT INTO notes (body) VALUES ('taken')").execute().await.unwrap_err();
        assert!(matches!(error, Error::Conflict { .. }), "{n}: {error:?}");
    }
    insert(&db, "after").await.unwrap();
    assert_eq!(count(&db).await, 2);
}

async fn a_statement_that_was_given_up_ends_at_the_server(kind: Kind) {
    let server = SqlServer::shared(kind);
    let (db, name) = notes(&server, |o| o.statement_timeout(Duration::from_secs(3600))).await;
    let (sleep, running) = match kind {
        Kind::Postgres => (
            "SELECT pg_sleep(3600) IS NULL AS slept",
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_sleep(36%' \
             AND pid <> pg_backend_pid()",
        ),
        Kind::MariaDb => (
            "SELECT SLEEP(3600) AS slept",
            "SELECT count(*) FROM information_schema.processlist WHERE db = database() AND info LIKE '%SLEEP(36%' \
             AND id <> connection_id()",
        ),
    };
    let mut tx = db.begin().await.unwrap();
    tx.query("INSERT INTO notes (body) VALUES ('locked')").execute().await.unwrap();
    let sleeping = tokio::spawn(async move { tx.query(sleep).fetch_one().await.map(|_| ()) });
    eventually(|| server.ask(&name, running) == "1").await;
    sleeping.abort();
    let _ = sleeping.await;
    let given_up = Instant::now();
    eventually(|| server.ask(&name, running) == "0").await;
    // After five seconds MariaDB sees by itself that the connection is closed.
    assert!(given_up.elapsed() < Duration::from_secs(4), "{:?}", given_up.elapsed());
    // And with it the locks of its transaction.
    bounded(insert(&db, "locked")).await.unwrap();
}

async fn of_two_that_wait_for_each_other_one_is_told_to_try_again(kind: Kind) {
    let server = SqlServer::shared(kind);
    let (db, _) = notes(&server, |o| o).await;
    insert(&db, "a").await.unwrap();
    insert(&db, "b").await.unwrap();
    let touch = "UPDATE notes SET body = body WHERE body = ?";
    let (mut one, mut other) = (db.begin().await.unwrap(), db.begin().await.unwrap());
    one.query(touch).bind("a").execute().await.unwrap();
    other.query(touch).bind("b").execute().await.unwrap();
    let both =
        async { tokio::join!(one.query(touch).bind("b").execute(), other.query(touch).bind("a").execute()) };
    let (one, other) = bounded(both).await;
    let error = one.err().or(other.err()).expect("one of them is ended");
    assert!(matches!(error, Error::Busy { .. }) && error.is_transient(), "{error:?}");
}

async fn what_keeps_a_connection_from_opening_is_said_with_the_remedy(kind: Kind) {
    let server = SqlServer::shared(kind);
    let refused = async |options: Options| bounded(Database::connect(options)).await.unwrap_err().to_string();
    let text = refused(Options::from_url(&server.url("nowhere")).unwrap()).await;
    assert!(text.contains("nowhere") && text.contains("correct DB_NAME"), "{text}");
    let nobody = mainstay_testkit::Port::reserve();
    let text = refused(Options::from_url(&server.url("x")).unwrap().port(nobody.number())).await;
    assert!(text.contains(&nobody.number().to_string()) && text.contains("refused"), "{text}");
    let own = server.database();
    let user = match kind {
        Kind::Postgres => "stranger",
        Kind::MariaDb => "root",
    };
    let secret = Options::from_url(&server.url(&own)).unwrap().user(user).password("hunter2".into());
    let text = refused(secret).await;
    assert!(text.contains("DB_USER") || text.contains("does not exist"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

/// The server has no certificate.
async fn a_connection_that_must_be_encrypted_is_not_made_in_the_clear(kind: Kind) {
    let server = SqlServer::shared(kind);
    let url = server.url(&server.database());
    for must in ["require", "verify-ca", "verify-full"] {
        let options = Options::from_url(&format!("{url}?sslmode={must}")).unwrap();
        let error = bounded(Database::connect(options.password("hunter2".into()))).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Unavailable { .. }) && text.contains("TLS"), "{must}: {text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    for may in ["prefer", "disable"] {
        let options = Options::from_url(&format!("{url}?sslmode={may}")).unwrap();
        bounded(Database::connect(options)).await.unwrap().ping().await.unwrap();
    }
}

async fn a_statement_may_have_a_null_first_and_a_number_later(kind: Kind) {
    let server = SqlServer::shared(kind);
    let (db, _) = notes(&server, |o| o.pool_max(1)).await;
    db.query("CREATE TABLE few (small INTEGER, large BIGINT, body VARCHAR(9))").execute().await.unwrap();
    let insert = "INSERT INTO few (small, large, body) VALUES (?, ?, ?)";
    for (small, large, body) in [
        (None, None, None),
        (Some(1), Some(i64::MAX), Some("a")),
        (None, Some(2), None),
        (Some(3), None, Some("b")),
    ] {
        let statement = db.query(insert).bind(small).bind(large).bind(body);
        assert_eq!(statement.execute().await.unwrap(), 1, "{small:?} {large:?} {body:?}");
        let row = db
            .query("SELECT small, large FROM few WHERE large = ? OR (large IS NULL AND ? = 1)")
            .bind(large.unwrap_or(-1))
            .bind(i64::from(large.is_none()))
            .fetch_all()
            .await
            .unwrap();
        assert!(row.iter().any(|row| row.get::<Option<i64>>("small").unwrap() == small.map(i64::from)));
    }
}

async fn sums_are_integers_and_averages_are_real(kind: Kind) {
    let server = SqlServer::shared(kind);
    let (db, _) = notes(&server, |o| o).await;
    for body in ["a", "b", "c"] {
        insert(&db, body).await.unwrap();
    }
    let row = db
        .query("SELECT sum(id) AS total, avg(id) AS mean, 1.5 AS half FROM notes")
        .fetch_one()
        .await
        .unwrap();
    assert_eq!(row.get::<i64>("total").unwrap(), 6);
    assert!((row.get::<f64>("mean").unwrap() - 2.0).abs() < 1e-9);
    assert!((row.get::<f64>("half").unwrap() - 1.5).abs() < 1e-9);
}

async fn a_type_that_is_not_portable_is_named(kind: Kind) {
    let server = SqlServer::shared(kind);
    let (db, _) = notes(&server, |o| o).await;
    let error = db.query("SELECT CURRENT_TIMESTAMP AS now").fetch_one().await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Decode { .. }) && text.contains("CAST("), "{text}");
    assert!(text.contains("column `now`") && text.contains("not a portable type"), "{text}");
    let dialect = if kind == Kind::Postgres { Dialect::Postgres } else { Dialect::Mysql };
    assert_eq!(db.dialect(), dialect);
    assert!(db.query("SELECT ? AS v").bind(Value::Null).fetch_one().await.is_ok());
}

async fn idle_connections_are_closed_without_traffic(kind: Kind) {
    let server = SqlServer::shared(kind);
    let (db, _) = notes(&server, |o| o.pool_min(1).idle_timeout(Duration::from_millis(50))).await;
    let transactions = [db.begin().await.unwrap(), db.begin().await.unwrap(), db.begin().await.unwrap()];
    for tx in transactions {
        tx.rollback().await.unwrap();
    }
    // Not asked for anything meanwhile.
    bounded(async {
        while db.stats()[0].size > 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(db.stats()[0].size, 1);
}

/// Two servers of which none follows the other, so that it shows who was asked.
async fn reads_go_to_the_server_that_follows_unless_they_may_not_be_behind(kind: Kind) {
    let server = SqlServer::shared(kind);
    let (primary, replica) = (server.database(), server.database());
    let behind = Database::connect(Options::from_url(&server.url(&replica)).unwrap()).await.unwrap();
    behind.migrate(&Migrations::new([NOTES])).await.unwrap();
    let (url, read) = (server.url(&primary), server.url(&replica));
    let db = Database::connect(Options::from_url(&url).unwrap().read_from(&read).unwrap()).await.unwrap();
    db.migrate(&Migrations::new([NOTES])).await.unwrap();
    insert(&db, "new").await.unwrap();
    assert_eq!(count(&db).await, 0);
    assert_eq!(count(&db.primary()).await, 1);
    let mut tx = db.begin().await.unwrap();
    let row = tx.query("SELECT count(*) AS total FROM notes").fetch_one().await.unwrap();
    assert_eq!(row.get::<i64>("total").unwrap(), 1);
    assert_eq!(db.stats().iter().map(|pool| pool.name).collect::<Vec<_>>(), ["primary", "replica"]);
    assert_eq!(db.primary().stats().len(), 1);
    assert!(Options::from_url(&url).unwrap().read_from("sqlite://x.db").is_err());
}

/// Two servers of which none follows the other: one to write to, one to read from.
async fn pair(write: &SqlServer, read: &SqlServer) -> Options {
    let behind = read.database();
    let db = Database::connect(Options::from_url(&read.url(&behind)).unwrap()).await.unwrap();
    db.migrate(&Migrations::new([NOTES])).await.unwrap();
    let options = Options::from_url(&write.url(&write.database())).unwrap();
    options.read_from(&read.url(&behind)).unwrap().acquire_timeout(Duration::from_secs(5))
}

async fn a_server_to_read_from_that_is_down_takes_nothing_with_it_but_the_reads(kind: Kind) {
    let (primary, mut replica) = (SqlServer::shared(kind), SqlServer::start(kind));
    let options = pair(&primary, &replica).await;
    let read = async |db: &Database| db.query("SELECT body FROM notes").fetch_all().await;
    // First at the start, then while it runs.
    replica.kill();
    let db = bounded(Database::connect(options)).await.unwrap();
    db.migrate(&Migrations::new([NOTES])).await.unwrap();
    for n in 1..=2 {
        insert(&db, &format!("{n}")).await.unwrap();
        assert_eq!(count(&db.primary()).await, n);
        for error in [read(&db).await.unwrap_err(), db.ping().await.unwrap_err()] {
            assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
            assert!(error.to_string().contains(&replica.port().to_string()), "{error}");
        }
        replica.restart();
        bounded(async { while read(&db).await.is_err() {} }).await;
        db.ping().await.unwrap();
        replica.kill();
    }
}

async fn a_ping_tells_when_the_server_to_write_to_is_down_although_the_other_answers(kind: Kind) {
    let (mut primary, replica) = (SqlServer::start(kind), SqlServer::shared(kind));
    let db = Database::connect(pair(&primary, &replica).await).await.unwrap();
    db.ping().await.unwrap();
    primary.kill();
    let error = db.ping().await.unwrap_err();
    assert!(error.to_string().contains(&primary.port().to_string()), "{error}");
    db.query("SELECT body FROM notes").fetch_all().await.unwrap();
}

/// As after a failover: the name of the server leads to another by now, and the old connections do not.
async fn a_server_that_takes_no_writes_any_more_is_said_and_looked_for_anew(kind: Kind) {
    let server = SqlServer::start(kind);
    let home = server.database();
    let (user, read_only) = match kind {
        Kind::Postgres => {
            ("app", ["ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"])
        }
        Kind::MariaDb => {
            // Whoever administers it may write all the same.
            server
                .ask(&home, "CREATE USER clerk; GRANT ALTER, CREATE, INSERT, SELECT, UPDATE ON *.* TO clerk");
            ("clerk", ["SET GLOBAL read_only = 1", "SELECT 1"])
        }
    };
    let (db, _) = notes(&server, |o| o.user(user).pool_max(2)).await;
    let transactions = [db.begin().await.unwrap(), db.begin().await.unwrap()];
    for tx in transactions {
        tx.rollback().await.unwrap();
    }
    for statement in read_only {
        server.ask(&home, statement);
    }
    // The server's processes hear of it one after the other.
    let mut answers = Vec::new();
    bounded(async {
        while !matches!(answers.last(), Some(Err(_))) {
            answers.push(insert(&db, &answers.len().to_string()).await);
        }
    })
    .await;
    let error = answers.pop().unwrap().unwrap_err();
    assert!(matches!(error, Error::ReadOnly { .. }) && error.to_string().contains("primary"), "{error:?}");
    assert_eq!(db.stats()[0].size, 0);
}

/// A way to a server that can be told to swallow the next answer, and to hang up then; and to lead to another server.
struct Wire {
    port: u16,
    there: Arc<AtomicU16>,
    swallow: Arc<AtomicBool>,
    _tasks: JoinSet<()>,
}

impl Wire {
    async fn to(server: &SqlServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (there, swallow) = (Arc::new(AtomicU16::new(server.port())), Arc::new(AtomicBool::new(false)));
        let (mut tasks, flag, to) = (JoinSet::new(), Arc::clone(&swallow), Arc::clone(&there));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(("127.0.0.1", to.load(Ordering::SeqCst))).await.unwrap();
                connections.spawn(pass(client, server, Arc::clone(&flag)));
            }
        });
        Self { port, there, swallow, _tasks: tasks }
    }

    /// From the next connection on.
    fn lead_to(&self, server: &SqlServer) {
        self.there.store(server.port(), Ordering::SeqCst);
    }

    fn swallow(&self) {
        self.swallow.store(true, Ordering::SeqCst);
    }
}

async fn pass(client: TcpStream, server: TcpStream, swallow: Arc<AtomicBool>) {
    let ((mut asks, mut hears), (mut answers, mut does)) = (client.into_split(), server.into_split());
    let forth = async { drop(tokio::io::copy(&mut asks, &mut does).await) };
    let back = async {
        let mut answer = [0; 4096];
        while let Ok(length @ 1..) = answers.read(&mut answer).await {
            if swallow.swap(false, Ordering::SeqCst) || hears.write_all(&answer[..length]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! { () = forth => {}, () = back => {} }
}

async fn a_commit_whose_answer_is_lost_is_unavailable_and_has_happened(kind: Kind) {
    let server = SqlServer::shared(kind);
    let wire = Wire::to(&server).await;
    let (db, _) = notes(&server, |o| o.port(wire.port)).await;
    let mut tx = db.begin().await.unwrap();
    tx.query("INSERT INTO notes (body) VALUES ('a')").execute().await.unwrap();
    wire.swallow();
    let error = bounded(tx.commit()).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert_eq!(count(&db).await, 1);
}

async fn the_end_of_a_session_whose_answer_is_lost_is_not_said_to_have_changed_nothing(kind: Kind) {
    let server = SqlServer::shared(kind);
    let wire = Wire::to(&server).await;
    let options = Options::from_url(&server.url(&server.database())).unwrap();
    let db = Database::connect(options.port(wire.port).pool_max(1)).await.unwrap();
    db.migrate(&Migrations::new([]).with_sessions()).await.unwrap();
    let sessions = SqlSessions::new(db.clone());
    let now = Timestamp::now();
    let (id, subject) = ("one".to_owned(), "ada".to_owned());
    let expires = now + Duration::from_secs(3600);
    let session = Session { id, subject, about: String::new(), opened: now, used: now, expires };
    let new = NewSession { family: Digest::of(b"family"), token: Digest::of(b"token"), session };
    sessions.open(&new, 9).await.unwrap();
    // Prepares the statement, so that its next answer is that it was done.
    assert_eq!(sessions.revoke("another", None).await, Ok(false));
    wire.swallow();
    let answer = bounded(sessions.revoke("one", None)).await;
    let left = sessions.list("ada", Bounds { now, idle_since: now }).await.unwrap().len();
    match answer {
        Err(StoreError::Unavailable { .. }) => assert_eq!(left, 1),
        Err(StoreError::Unknown { .. }) => {}
        other => panic!("{other:?}"),
    }
}

async fn the_least_number_of_connections_is_open_again_after_an_outage(kind: Kind) {
    let mut server = SqlServer::start(kind);
    let (db, _) = notes(&server, |o| o.pool_min(2).idle_timeout(Duration::from_millis(100))).await;
    let kept = async || {
        // Not asked for anything meanwhile.
        let kept = || (db.stats()[0].size, db.stats()[0].idle) == (2, 2);
        eventually(kept).await;
    };
    kept().await;
    server.kill();
    insert(&db, "lost").await.unwrap_err();
    assert_eq!(db.stats()[0].idle, 0);
    server.restart();
    kept().await;
    insert(&db, "kept").await.unwrap();
}

#[tokio::test]
async fn a_value_too_large_for_mariadb_is_refused_and_harms_nobody_else() {
    let server = SqlServer::start(Kind::MariaDb);
    let name = server.database();
    server.ask(&name, "SET GLOBAL max_allowed_packet = 1048576");
    let db = Database::connect(Options::from_url(&server.url(&name)).unwrap().pool_max(1)).await.unwrap();
    db.query("CREATE TABLE files (body LONGBLOB)").execute().await.unwrap();
    for size in [1 << 21, 1 << 22] {
        let statement = db.query("INSERT INTO files (body) VALUES (?)").bind(vec![b'x'; size]);
        let error = bounded(statement.execute()).await.unwrap_err();
        let text = error.to_string();
        assert!(!error.is_transient() && text.contains("max_allowed_packet"), "{error:?}");
        db.query("INSERT INTO files (body) VALUES ('small')").execute().await.unwrap();
    }
}

/// Several servers may answer to one name, and number their connections alike.
#[tokio::test]
async fn of_two_mariadb_servers_behind_one_name_the_other_is_not_told_to_end_a_statement() {
    let (server, other) = (SqlServer::start(Kind::MariaDb), SqlServer::start(Kind::MariaDb));
    let name = server.database();
    let number = async |db: &Database| {
        let row = db.query("SELECT connection_id() AS number").fetch_one().await.unwrap();
        row.get::<i64>("number").unwrap()
    };
    let at = async |url: &str, port: u16| {
        Database::connect(Options::from_url(url).unwrap().port(port).pool_max(1)).await.unwrap()
    };
    other.ask("mysql", &format!("CREATE DATABASE {name}"));
    // The other has had fewer connections.
    for _ in 0..30 {
        server.ask(&name, "SELECT 1");
    }
    let wire = Wire::to(&server).await;
    let db = at(&server.url(&name), wire.port).await;
    let ours = number(&db).await;
    let innocent = loop {
        let db = at(&other.url("mysql"), other.port()).await;
        match number(&db).await {
            theirs if theirs == ours => break db,
            theirs => assert!(theirs < ours, "{theirs} of {ours}"),
        }
    };
    wire.lead_to(&other);
    let sleeping = Deadline::after(Duration::from_millis(300)).scope(db.query("SELECT SLEEP(9)").fetch_one());
    assert!(matches!(sleeping.await, Err(Error::Timeout { .. })));
    eventually(|| db.stats()[0].in_use == 0).await;
    assert_eq!(number(&innocent).await, ours, "its connection goes on");
}

async fn a_migration_that_was_given_up_frees_the_lock_and_is_done_again_or_said_to_be_half_done(kind: Kind) {
    let server = SqlServer::shared(kind);
    let name = server.database();
    let connect = async || Database::connect(Options::from_url(&server.url(&name)).unwrap()).await.unwrap();
    let (script, running) = match kind {
        Kind::Postgres => (
            "CREATE TABLE half (id BIGINT); SELECT pg_sleep(3600)",
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' \
             AND pid <> pg_backend_pid()",
        ),
        Kind::MariaDb => (
            "CREATE TABLE half (id BIGINT); DO SLEEP(3600)",
            "SELECT count(*) FROM information_schema.processlist WHERE db = database() AND info LIKE '%SLEEP(36%' \
             AND id <> connection_id()",
        ),
    };
    let (one, other) = (connect().await, connect().await);
    let migrating = tokio::spawn(async move {
        one.migrate(&Migrations::new([Migration::sql(1, "half", script)])).await.map(|_| ())
    });
    eventually(|| server.ask(&name, running) == "1").await;
    migrating.abort();
    let _ = migrating.await;
    let whole = Migrations::new([Migration::sql(1, "half", "CREATE TABLE half (id BIGINT)")]);
    let next = bounded(other.migrate(&whole)).await;
    if kind == Kind::Postgres {
        assert_eq!(next.unwrap().versions, [1]);
    } else {
        let error = next.unwrap_err();
        assert!(matches!(error, Error::Migration(MigrationError::Dirty { version: 1, .. })), "{error:?}");
    }
}

#[tokio::test]
async fn transactions_of_postgresql_read_what_is_committed_whatever_its_database_says() {
    let server = SqlServer::shared(Kind::Postgres);
    let name = server.database();
    server.ask(&name, &format!("ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'"));
    let db = Database::connect(Options::from_url(&server.url(&name)).unwrap()).await.unwrap();
    db.migrate(&Migrations::new([NOTES])).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    for total in 0..2 {
        let row = tx.query("SELECT count(*) AS total FROM notes").fetch_one().await.unwrap();
        assert_eq!(row.get::<i64>("total").unwrap(), total);
        insert(&db, &total.to_string()).await.unwrap();
    }
}
