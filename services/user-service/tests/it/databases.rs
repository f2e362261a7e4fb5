//! The service on a database server: the same answers as on a file, and clear ones while the server is away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mainstay::sql::{Database, Options};
use mainstay_testkit::http::{Request, Response};
use mainstay_testkit::sql::{Kind, SqlServer};
use mainstay_testkit::{Service, ServiceCommand, eventually_async};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::accounts::{PASSWORD, registered};
use crate::{PATIENCE, admin, create, created, delete, get, patch, path_of, service};

fn on(url: &str) -> ServiceCommand {
    service().env("APP_ENV", "test").env("DATABASE_URL", url)
}

async fn put_up(service: &Service) -> Response {
    let email = format!("{}@example.org", uuid::Uuid::now_v7());
    create(service, json!({"email": email, "name": "Ada"})).await
}

async fn works(kind: Kind) {
    let server = SqlServer::shared(kind);
    let url = server.url(&server.database());
    let first = on(&url).start().await;
    let user = created(&first, "ada@example.org", "Ada").await;
    let path = path_of(&user);
    assert_eq!(create(&first, json!({"email": "ADA@example.org", "name": "Ada"})).await.status, 409);
    assert_eq!(patch(&first, &path, json!({"name": "Grace"})).await.status, 200);
    assert_eq!(get(&first, "/api/users").await.json()["items"].as_array().unwrap().len(), 1);
    // Told to another part of the service by events, which the database carries.
    eventually_async("both changes are audited", PATIENCE, async || {
        get(&first, &format!("{path}/audit")).await.json()["items"]
            .as_array()
            .is_some_and(|all| all.len() == 2)
    })
    .await;
    drop(first);
    let second = on(&url).start().await;
    assert_eq!(get(&second, &path).await.json()["name"], "Grace");
    delete(&second, &path).await;
    assert_eq!(get(&second, &path).await.status, 404);
}

#[tokio::test]
async fn the_service_works_on_postgresql() {
    works(Kind::Postgres).await;
}

#[tokio::test]
async fn the_service_works_on_mariadb() {
    works(Kind::MariaDb).await;
}

/// What a client asks while the server is away: it is told so, in time, and nothing about how it is made.
async fn outage(kind: Kind) {
    let mut server = SqlServer::start(kind);
    let url = server.url(&server.database());
    let service = on(&url).start().await;
    let user = created(&service, "ada@example.org", "Ada").await;
    let path = path_of(&user);
    server.kill();
    for _ in 0..3 {
        let refused = put_up(&service).await;
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert!(refused.header("retry-after").is_some(), "{}", refused.text());
        assert!(!refused.text().contains("127.0.0.1"), "{}", refused.text());
    }
    server.restart();
    eventually_async("it writes again", PATIENCE, async || put_up(&service).await.status == 201).await;
    assert_eq!(get(&service, &path).await.json(), user);
    eventually_async("it is ready again", PATIENCE, async || {
        get(&service, "/distributed/ready").await.status == 200
    })
    .await;
}

#[tokio::test]
async fn while_postgresql_is_down_clients_get_503_and_afterwards_it_works_without_a_restart() {
    outage(Kind::Postgres).await;
}

#[tokio::test]
async fn while_mariadb_is_down_clients_get_503_and_afterwards_it_works_without_a_restart() {
    outage(Kind::MariaDb).await;
}

/// Longer than anybody waits for a connection and an answer, on a loaded machine; a request that hangs takes longer.
const HANG: Duration = Duration::from_secs(20);
/// Clients that create users and read them again.
const CLIENTS: usize = 4;
/// Answers that each phase of a test sees at least.
const SOME: usize = 20;

/// Clients that never stop, while the server goes and comes.
#[derive(Default)]
struct Load {
    ended: AtomicBool,
    served: AtomicUsize,
    refused: AtomicUsize,
}

impl Load {
    /// An answer in time: one of these, or that the service is away for a moment.
    async fn ask(&self, request: Request, right: &[u16]) -> Option<Response> {
        let answer = request.deadline(HANG).try_send().await.expect("every request is answered in time");
        if answer.status == 503 {
            assert!(answer.header("retry-after").is_some(), "{}", answer.text());
            assert!(!answer.text().contains("127.0.0.1"), "{}", answer.text());
            self.refused.fetch_add(1, Ordering::SeqCst);
            return None;
        }
        assert!(right.contains(&answer.status), "{} {}", answer.status, answer.text());
        self.served.fetch_add(1, Ordering::SeqCst);
        Some(answer)
    }

    /// Answers which users were acknowledged.
    async fn users(&self, addr: SocketAddr) -> Vec<Value> {
        let mut acknowledged = Vec::new();
        while !self.ended.load(Ordering::SeqCst) {
            let body = json!({"email": format!("{}@example.org", uuid::Uuid::now_v7()), "name": "Ada"});
            let request = Request::post(addr, "/api/users").bearer(&admin()).json(&body);
            acknowledged.extend(self.ask(request, &[201]).await.map(|answer| answer.json()));
            if let Some(user) = acknowledged.last() {
                let read = self.ask(Request::get(addr, path_of(user)).bearer(&admin()), &[200]).await;
                assert!(read.is_none_or(|read| read.json() == *user));
            }
            self.ask(Request::get(addr, "/api/users?limit=5").bearer(&admin()), &[200]).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        acknowledged
    }

    /// Signs in and refreshes. Who cannot know whether a session went on begins another, as often as one may.
    async fn sessions(&self, addr: SocketAddr) {
        let credentials = json!({"email": "grace@example.org", "password": PASSWORD});
        let mut token = None;
        while !self.ended.load(Ordering::SeqCst) {
            let request = match &token {
                None => Request::post(addr, "/api/auth/login").json(&credentials),
                Some(token) => Request::post(addr, "/api/auth/refresh").json(&json!({"refreshToken": token})),
            };
            let answer = self.ask(request, &[200, 401, 409, 429]).await;
            let answer = answer.filter(|answer| answer.status == 200);
            token = answer.map(|answer| answer.json()["refreshToken"].as_str().unwrap().to_owned());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn grows(&self, what: &str, counter: &AtomicUsize) {
        let before = counter.load(Ordering::SeqCst);
        eventually_async(what, PATIENCE, async || counter.load(Ordering::SeqCst) >= before + SOME).await;
    }
}

/// The server is killed and comes back, twice, while clients never stop.
async fn outage_under_load(kind: Kind) {
    let mut server = SqlServer::start(kind);
    let url = server.url(&server.database());
    let service = on(&url).env("DB_POOL_MAX", "4").env("DB_POOL_ACQUIRE", "2s").env("LOG_LEVEL", "error");
    let service = service.start().await;
    registered(&service, "grace@example.org").await;
    let (load, mut clients) = (Arc::new(Load::default()), JoinSet::new());
    for client in 0..=CLIENTS {
        let (load, addr) = (Arc::clone(&load), service.addr());
        clients.spawn(async move {
            if client == 0 {
                load.sessions(addr).await;
                return Vec::new();
            }
            load.users(addr).await
        });
    }
    for _ in 0..2 {
        load.grows("it serves", &load.served).await;
        server.kill();
        load.grows("it says that it cannot", &load.refused).await;
        server.restart();
    }
    load.grows("it serves again", &load.served).await;
    load.ended.store(true, Ordering::SeqCst);
    for user in clients.join_all().await.into_iter().flatten() {
        assert_eq!(get(&service, &path_of(&user)).await.json(), user, "what was acknowledged is there");
    }
    eventually_async("it is ready", PATIENCE, async || {
        get(&service, "/distributed/ready").await.status == 200
    })
    .await;
}

#[tokio::test]
async fn postgresql_is_killed_under_load_and_every_answer_is_right_or_a_clear_503() {
    outage_under_load(Kind::Postgres).await;
}

#[tokio::test]
async fn mariadb_is_killed_under_load_and_every_answer_is_right_or_a_clear_503() {
    outage_under_load(Kind::MariaDb).await;
}

/// It stands still: connections open, and nobody answers.
async fn frozen(kind: Kind) {
    let mut server = SqlServer::start(kind);
    let service = on(&server.url(&server.database()));
    let service = service.env("REQUEST_TIMEOUT", "1s").env("DB_POOL_ACQUIRE", "500ms").start().await;
    let user = created(&service, "ada@example.org", "Ada").await;
    server.pause();
    for _ in 0..3 {
        let list = Request::get(service.addr(), "/api/users").bearer(&admin());
        let list = list.deadline(HANG).send().await;
        assert_eq!((list.status, put_up(&service).await.status), (503, 503), "{}", list.text());
    }
    server.resume();
    eventually_async("it writes again", PATIENCE, async || put_up(&service).await.status == 201).await;
    assert_eq!(get(&service, &path_of(&user)).await.json(), user);
}

#[tokio::test]
async fn while_postgresql_stands_still_clients_get_503_in_time() {
    frozen(Kind::Postgres).await;
}

#[tokio::test]
async fn while_mariadb_stands_still_clients_get_503_in_time() {
    frozen(Kind::MariaDb).await;
}

/// The server of `DATABASE_READ_URL` is down at the start: what may not be behind needs it no more than later.
async fn without_the_replica(kind: Kind) {
    let (server, mut replica) = (SqlServer::shared(kind), SqlServer::start(kind));
    let read_url = replica.url(&replica.database());
    replica.kill();
    let url = server.url(&server.database());
    let service = on(&url).env("DATABASE_READ_URL", &read_url).start().await;
    assert!(service.output_so_far().contains("the server to read from does not answer"));
    let user = created(&service, "ada@example.org", "Ada").await;
    assert_eq!(get(&service, &path_of(&user)).await.json(), user);
    registered(&service, "grace@example.org").await;
    let login = json!({"email": "grace@example.org", "password": PASSWORD});
    let login = Request::post(service.addr(), "/api/auth/login").json(&login).send().await;
    assert_eq!(login.status, 200, "{}", login.text());
    let list = get(&service, "/api/users").await;
    assert_eq!(list.status, 503, "{}", list.text());
    assert!(list.header("retry-after").is_some(), "{}", list.text());
    assert_eq!(get(&service, "/distributed/ready").await.status, 200);
    let check = on(&url).env("DATABASE_READ_URL", &read_url).arg("migrate").arg("check").run(PATIENCE).await;
    assert!(check.status.success(), "{}", check.output);
}

#[tokio::test]
async fn without_the_postgresql_to_read_from_only_reads_that_may_be_behind_fail() {
    without_the_replica(Kind::Postgres).await;
}

#[tokio::test]
async fn without_the_mariadb_to_read_from_only_reads_that_may_be_behind_fail() {
    without_the_replica(Kind::MariaDb).await;
}

/// As its former primary after a failover does.
#[tokio::test]
async fn while_postgresql_takes_no_writes_clients_get_503_and_reads_go_on() {
    let server = SqlServer::start(Kind::Postgres);
    let database = server.database();
    let service = on(&server.url(&database)).start().await;
    registered(&service, "ada@example.org").await;
    let says = async |read_only: &str, status: u16| {
        server.ask(&database, &format!("ALTER SYSTEM SET default_transaction_read_only = {read_only}"));
        server.ask(&database, "SELECT pg_reload_conf()");
        eventually_async(read_only, PATIENCE, async || put_up(&service).await.status == status).await;
    };
    says("on", 503).await;
    let refused = put_up(&service).await;
    assert!(refused.header("retry-after").is_some() && !refused.text().contains("read-only"));
    let login = json!({"email": "ada@example.org", "password": PASSWORD});
    let refused = Request::post(service.addr(), "/api/auth/login").json(&login).send().await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(get(&service, "/api/users").await.status, 200);
    says("off", 201).await;
}

/// Somebody keeps rows locked, and who waits for them has all connections.
async fn exhausted(kind: Kind) {
    let server = SqlServer::shared(kind);
    let url = server.url(&server.database());
    let service = on(&url).env("DB_POOL_MAX", "2").env("DB_POOL_ACQUIRE", "500ms");
    let service = service.env("DB_POOL_MIN", "1").env("DB_POOL_IDLE", "7s").start().await;
    let ada = path_of(&created(&service, "ada@example.org", "Ada").await);
    let grace = path_of(&created(&service, "grace@example.org", "Grace").await);
    let somebody = Database::connect(Options::from_url(&url).unwrap()).await.unwrap();
    let mut lock = somebody.begin().await.unwrap();
    lock.query("UPDATE users SET version = version").execute().await.unwrap();

    let (one, other) = (
        patch(&service, &ada, json!({"name": "Ada L"})),
        patch(&service, &grace, json!({"name": "Grace H"})),
    );
    let list =
        async || Request::get(service.addr(), "/api/users").bearer(&admin()).deadline(HANG).send().await;
    let meanwhile = async {
        eventually_async("all connections are in use", PATIENCE, async || list().await.status == 503).await;
        for _ in 0..3 {
            let refused = list().await;
            assert_eq!(refused.status, 503, "{}", refused.text());
            assert!(refused.header("retry-after").is_some(), "{}", refused.text());
            assert!(!refused.text().contains("DB_POOL_MAX"), "{}", refused.text());
            assert_eq!(put_up(&service).await.status, 503);
        }
        assert_eq!(get(&service, "/distributed/live").await.status, 200);
        let metrics = Request::get(service.addr(), "/metrics").bearer(&admin()).send().await;
        for (state, connections) in [("in_use", 2), ("max", 2), ("min", 1), ("idle", 0)] {
            let series = format!("db_pool_connections{{pool=\"primary\",state=\"{state}\"}}");
            assert!(metrics.text().contains(&format!("{series} {connections}\n")), "{}", metrics.text());
        }
        for (limit, seconds) in [("acquire", "0.5"), ("idle", "7")] {
            let series = format!("db_pool_timeout_seconds{{limit=\"{limit}\",pool=\"primary\"}}");
            assert!(metrics.text().contains(&format!("{series} {seconds}\n")), "{}", metrics.text());
        }
        lock.rollback().await.unwrap();
    };
    let (one, other, ()) = tokio::join!(one, other, meanwhile);
    assert_eq!((one.status, other.status), (200, 200), "{} {}", one.text(), other.text());
    assert_eq!(list().await.status, 200);
}

#[tokio::test]
async fn with_no_connection_left_to_postgresql_clients_get_503_in_time() {
    exhausted(Kind::Postgres).await;
}

#[tokio::test]
async fn with_no_connection_left_to_mariadb_clients_get_503_in_time() {
    exhausted(Kind::MariaDb).await;
}

/// Instances that start together: each serves, and the schema was made once.
async fn together(kind: Kind) {
    let server = SqlServer::shared(kind);
    let database = server.database();
    let url = server.url(&database);
    let (a, b, c) = tokio::join!(on(&url).start(), on(&url).start(), on(&url).start());
    created(&a, "ada@example.org", "Ada").await;
    for other in [b, c] {
        assert_eq!(get(&other, "/api/users").await.json()["items"].as_array().unwrap().len(), 1);
    }
    let applied = server.ask(&database, "SELECT count(*), count(DISTINCT version) FROM _sqlx_migrations");
    let (all, distinct) = applied.split_once('\t').unwrap();
    assert_eq!(all, distinct);
    let check = on(&url).arg("migrate").arg("check").run(PATIENCE).await;
    assert!(check.status.success() && check.output.contains("up to date"), "{}", check.output);
    let fresh = server.url(&server.database());
    let check = on(&fresh).arg("migrate").arg("check").run(PATIENCE).await;
    assert!(!check.status.success() && check.output.contains("1 users: pending"), "{}", check.output);
    let status = on(&fresh).arg("migrate").arg("status").run(PATIENCE).await;
    assert!(status.status.success() && status.output.contains("1 users: pending"), "{}", status.output);
}

#[tokio::test]
async fn of_instances_that_start_together_on_postgresql_one_migrates() {
    together(Kind::Postgres).await;
}

#[tokio::test]
async fn of_instances_that_start_together_on_mariadb_one_migrates() {
    together(Kind::MariaDb).await;
}

#[tokio::test]
async fn a_server_is_named_by_single_settings_as_well_and_one_that_is_not_there_is_said() {
    let server = SqlServer::shared(Kind::Postgres);
    let single = |database: &str| {
        let command =
            service().env("APP_ENV", "test").env("DB_DIALECT", "postgres").env("DB_HOST", "127.0.0.1");
        command.env("DB_PORT", server.port().to_string()).env("DB_NAME", database).env("DB_USER", "app")
    };
    let service = single(&server.database()).start().await;
    created(&service, "ada@example.org", "Ada").await;
    let exit = single("nowhere").run(PATIENCE).await;
    assert_eq!(exit.status.code(), Some(1), "{}", exit.output);
    assert!(
        exit.output.contains("database \"nowhere\" does not exist; create it, or correct DB_NAME"),
        "{}",
        exit.output
    );
}
