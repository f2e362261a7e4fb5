//! The service on a database server: the same answers as on a file, and clear ones while the server is away.

use mainstay_testkit::http::Response;
use mainstay_testkit::sql::{Kind, SqlServer};
use mainstay_testkit::{Service, ServiceCommand, eventually_async};
use serde_json::json;

use crate::{PATIENCE, create, created, delete, get, patch, path_of, service};

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
