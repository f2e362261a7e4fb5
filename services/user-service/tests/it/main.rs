//! Tests of the reference service as its users meet it: the real binary, its own directory, real
//! sockets and signals. `users`, `avatar`, `stream`, `audit`, `cache`, `limits` and `instances` are the REST contract; `startup`,
//! `shutdown`, `databases`, `operations`, `event_bus`, `outages`, `rolling` and `purge` are what whoever runs it relies on. A new test goes beside the promise it belongs to.
#![allow(missing_docs, clippy::unwrap_used)]

mod accounts;
mod audit;
mod avatar;
mod cache;
#[cfg(all(feature = "postgres", feature = "mysql"))]
mod databases;
mod event_bus;
mod exposure;
mod instances;
mod limits;
mod operations;
mod outages;
mod owasp;
mod purge;
mod rolling;
mod shutdown;
mod startup;
mod stream;
mod users;

use std::sync::LazyLock;
use std::time::Duration;

use mainstay::auth::token::{IssueOptions, Issuer, Key, Keys, NewClaims};
use mainstay::config::JwtAlgorithm;
use mainstay::secret::Secret;
use mainstay::time::Clock;
use mainstay_testkit::http::{Request, Response};
use mainstay_testkit::sql::Kind;
use mainstay_testkit::{Service, ServiceCommand};
use serde_json::{Value, json};

/// Longer than anything takes on a loaded machine; nothing waits this long when it works.
const PATIENCE: Duration = Duration::from_secs(60);

/// The service with an environment of its own. `APP_ENV=test` starts without the seeded users. A test asks more
/// than one client may. `TEST_DATABASE` says on what all tests are run; unset, each has a file.
fn service() -> ServiceCommand {
    let service = Service::command(env!("CARGO_BIN_EXE_user-service"));
    let service = match std::env::var("TEST_DATABASE").as_deref() {
        Err(_) => service,
        Ok("postgres") => service.database(Kind::Postgres),
        Ok("mariadb") => service.database(Kind::MariaDb),
        Ok(other) => panic!("TEST_DATABASE is postgres or mariadb, not {other}"),
    };
    service
        .env("RATE_LIMIT_MAX_REQUESTS", "1000000")
        .env("JWT_SECRET", SECRET)
        // Passwords of tests need not withstand anybody.
        .env("PASSWORD_MEMORY", "8")
        .env("PASSWORD_ITERATIONS", "1")
}

/// On a file, whatever `TEST_DATABASE` says: of what is true of files only.
fn on_file() -> ServiceCommand {
    service().env("DATABASE_URL", "sqlite://data/user-service.db")
}

/// As one runs it for others to use, on this machine.
fn production() -> ServiceCommand {
    service().env("APP_ENV", "production").env("HOST", "127.0.0.1").env("ENCRYPTION_KEY", ENCRYPTION_KEY)
}

/// What tests sign their tokens with, as the service does.
const SECRET: &str = "kCi4bFCTOmfhKzNxyCCXeG0F3XWzTq1jMRqwEJ2dFfY";
const ENCRYPTION_KEY: &str = "tK3XqvLQm0m1yYHlVbN7mQXb1JXqU2cT8cD4sFhR5zY=";

/// A token of somebody in these roles.
fn token_of(subject: &str, roles: &[&str]) -> String {
    token_for(subject, roles, Duration::from_secs(3600))
}

fn token_for(subject: &str, roles: &[&str], lifetime: Duration) -> String {
    let key = Key::secret(JwtAlgorithm::HS256, &Secret::new(SECRET.to_owned())).unwrap();
    let (issuer, audience) = ("user-service".to_owned(), "user-service".to_owned());
    let options = IssueOptions { issuer, audience, lifetime };
    let issuer = Issuer::new(&Keys::signing(key).unwrap(), options, Clock::system()).unwrap();
    let roles = roles.iter().map(|role| (*role).to_owned()).collect();
    let claims = NewClaims { subject: subject.to_owned(), roles, session: None };
    issuer.issue(&claims).unwrap().token.expose().clone()
}

/// The token of an administrator, whom no user need be.
fn admin() -> String {
    static TOKEN: LazyLock<String> = LazyLock::new(|| token_of("administrator", &["admin"]));
    TOKEN.clone()
}

async fn empty_service() -> Service {
    service().env("APP_ENV", "test").start().await
}

async fn create(service: &Service, body: Value) -> Response {
    Request::post(service.addr(), "/api/users").bearer(&admin()).json(&body).send().await
}

/// Creates a user that must be accepted, and returns it.
async fn created(service: &Service, email: &str, name: &str) -> Value {
    let response = create(service, json!({"email": email, "name": name})).await;
    assert_eq!(response.status, 201, "{}", response.text());
    response.json()
}

async fn get(service: &Service, path: &str) -> Response {
    let request = Request::get(service.addr(), path);
    // The endpoints of the chassis are asked as a stranger asks them.
    let request = if path.starts_with("/api/") { request.bearer(&admin()) } else { request };
    request.send().await
}

async fn patch(service: &Service, path: &str, body: Value) -> Response {
    Request::patch(service.addr(), path).bearer(&admin()).json(&body).send().await
}

async fn delete(service: &Service, path: &str) {
    assert_eq!(Request::delete(service.addr(), path).bearer(&admin()).send().await.status, 204);
}

fn path_of(user: &Value) -> String {
    format!("/api/users/{}", user["id"].as_str().unwrap())
}

/// The value of a series; 0 while it is not there.
async fn metric(service: &Service, series: &str) -> u64 {
    let text = Request::get(service.addr(), "/metrics").bearer(&admin()).send().await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse().unwrap())
}

/// The fields at fault, in order.
fn fields(response: &Response) -> Vec<String> {
    let body = response.json();
    let errors = body["errors"].as_array().unwrap_or_else(|| panic!("no errors in {body}"));
    errors.iter().map(|error| error["field"].as_str().unwrap_or_default().to_owned()).collect()
}
