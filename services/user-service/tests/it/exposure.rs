//! What a stranger gets from the service as it runs on the internet, and what nobody gets.

use std::collections::BTreeSet;

use mainstay_testkit::http::{Request, Response};
use mainstay_testkit::redis::RedisServer;
use mainstay_testkit::sql::{Kind, SqlServer};
use mainstay_testkit::{Service, ServiceCommand, Signal};
use serde_json::json;

use crate::{PATIENCE, admin, get, production, token_of};

/// The id of a user who is not there, and as good a name as any.
const SOMEBODY: &str = "01a2084b-b97c-70d8-9a20-1821cc549a6f";

/// Every operation of the API description, with something in place of each parameter.
async fn operations(service: &Service) -> Vec<(String, String)> {
    let document = get(service, "/openapi.json").await.json();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let filled: Vec<_> =
            path.split('/').map(|part| if part.starts_with('{') { SOMEBODY } else { part }).collect();
        for method in item.as_object().unwrap().keys() {
            operations.push((method.to_uppercase(), filled.join("/")));
        }
    }
    operations
}

async fn asked(service: &Service, method: &str, path: &str, token: Option<&str>) -> Response {
    let request = Request::new(method, service.addr(), path);
    let request = if method == "GET" { request } else { request.json(&json!({})) };
    match token {
        Some(token) => request.bearer(token).send().await,
        None => request.send().await,
    }
}

#[tokio::test]
async fn without_a_token_nothing_answers_in_production_but_what_is_for_everybody() {
    const OPEN: [&str; 7] = [
        "/distributed/live",
        "/distributed/ready",
        "/distributed/health",
        "/api/auth/register",
        "/api/auth/login",
        "/api/auth/refresh",
        "/.well-known/jwks.json",
    ];
    let service = production().start().await;
    let operations = operations(&service).await;
    assert!(operations.len() > 30, "{}", operations.len());
    for (method, path) in &operations {
        let answer = asked(&service, method, path, None).await;
        if OPEN.contains(&path.as_str()) {
            assert_ne!(answer.status, 401, "{method} {path}");
        } else {
            assert_eq!(answer.status, 401, "{method} {path}: {}", answer.text());
            assert_eq!(answer.json()["type"], "urn:mainstay:problem:unauthorized", "{method} {path}");
        }
    }
    // What the description leaves out.
    assert_eq!(get(&service, "/metrics").await.status, 401);
    assert_eq!(get(&service, "/openapi.json").await.status, 200);
    assert_eq!(get(&service, "/docs/").await.status, 200);
    for path in ["/", "/api", "/distributed", "/.env", "/admin", "/debug", "/actuator/env"] {
        assert_eq!(get(&service, path).await.status, 404, "{path}");
    }
    for path in ["/health", "/distributed/health"] {
        let health = get(&service, path).await.json();
        assert_eq!(health.as_object().unwrap().len(), 1, "the status and nothing else: {health}");
        assert!(health["status"].is_string());
    }
}

#[tokio::test]
async fn without_a_token_no_other_method_of_a_route_answers_either() {
    let service = production().start().await;
    let mut operations = operations(&service).await;
    operations.push(("GET".to_owned(), "/metrics".to_owned()));
    let described: BTreeSet<_> = operations.iter().cloned().collect();
    let paths: BTreeSet<_> = operations.into_iter().map(|(_, path)| path).collect();
    for path in &paths {
        for method in ["HEAD", "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE"] {
            if described.contains(&(method.to_owned(), path.clone())) {
                continue;
            }
            let answer = Request::new(method, service.addr(), path).send().await;
            if method == "HEAD" && ["live", "ready", "health"].iter().any(|open| path.ends_with(open)) {
                assert_eq!(answer.status, 200, "{path}");
            } else {
                assert!([401, 405].contains(&answer.status), "{method} {path}: {}", answer.status);
            }
        }
    }
}

#[tokio::test]
async fn a_user_without_a_role_gets_no_further_than_to_what_is_their_own() {
    let service = production().start().await;
    let token = token_of("somebody", &["user"]);
    for (method, path) in operations(&service).await {
        let own =
            path.starts_with("/api/auth/") || ["/distributed/live", "/distributed/ready"].contains(&&*path);
        if own || path == "/distributed/health" || path == "/.well-known/jwks.json" {
            continue;
        }
        let answer = asked(&service, &method, &path, Some(&token)).await;
        assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text());
    }
    assert_eq!(get(&service, "/metrics").await.status, 401);
}

#[tokio::test]
async fn an_administrator_sees_the_chassis_from_anywhere_and_its_secrets_nowhere() {
    let service = production().start().await;
    for path in ["/distributed/config", "/distributed/info", "/metrics", "/distributed/health"] {
        let answer = Request::get(service.addr(), path).bearer(&admin()).send().await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(
            !answer.text().contains(crate::SECRET) && !answer.text().contains(crate::ENCRYPTION_KEY),
            "{path}"
        );
    }
}

/// A value for every setting that is secret, by what may be seen of it if something leaks.
struct Canaries {
    variables: Vec<(&'static str, String)>,
    marks: Vec<String>,
}

impl Canaries {
    const NUMBERS: [&str; 6] = ["8c1dXw", "k29Qzv", "Tb73Lm", "0yHs5R", "nE4jPq", "W6uGfa"];

    fn new(postgres: &str, redis: &RedisServer) -> Self {
        let mark = |number: usize| format!("canary{}wq7ZtB1rKs93hVdXnYc52mLfGp", Self::NUMBERS[number]);
        let key = |number: usize| {
            let bytes: Vec<u8> = mark(number).bytes().map(|byte| byte.wrapping_mul(37)).take(32).collect();
            bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
        };
        let with_password = postgres.replacen("://app@", &format!("://app:{}@", mark(0)), 1);
        assert_ne!(with_password, postgres);
        let read = with_password.replacen(&mark(0), &mark(1), 1);
        let (private, first, second) = (Self::private_key(), key(2), key(3));
        let body = private.lines().nth(1).unwrap().to_owned();
        let variables = vec![
            ("DATABASE_URL", with_password),
            ("DATABASE_READ_URL", read),
            ("REDIS_URL", format!("redis://:{}@{}", mark(4), redis.address())),
            ("JWT_PRIVATE_KEY", private.clone()),
            ("ENCRYPTION_KEYS", format!("new:{first},old:{second}")),
            ("ADMIN_EMAIL", "root@example.org".to_owned()),
            ("ADMIN_PASSWORD", mark(5)),
        ];
        Self { variables, marks: vec![mark(0), mark(1), first, second, body, mark(4), mark(5)] }
    }

    fn private_key() -> String {
        include_str!("../../../../crates/mainstay-auth/tests/it/keys/p256.pem").to_owned()
    }

    fn production(&self) -> ServiceCommand {
        let command = Service::command(env!("CARGO_BIN_EXE_user-service"));
        let command = command.env("APP_ENV", "production").env("HOST", "127.0.0.1");
        let command = command.env("LOG_LEVEL", "trace").env("DEBUG", "*").env("PASSWORD_MEMORY", "8");
        self.variables.iter().fold(command, |command, (name, value)| command.env(name, value))
    }

    fn not_in(&self, where_to: &str, text: &str) {
        for mark in &self.marks {
            assert!(!text.contains(mark), "{mark} is in {where_to}:\n{text}");
        }
    }
}

#[tokio::test]
async fn no_secret_is_told_to_anybody_whatever_goes_wrong() {
    let mut database = SqlServer::start(Kind::Postgres);
    let mark = format!("canary{}wq7ZtB1rKs93hVdXnYc52mLfGp", Canaries::NUMBERS[4]);
    let mut redis = RedisServer::builder().password(&mark).start().await;
    let canaries = Canaries::new(&database.url(&database.database()), &redis);
    let mut service = canaries.production().start().await;
    let signed_in = Request::post(service.addr(), "/api/auth/login")
        .json(&json!({"email": "root@example.org", "password": canaries.marks[6]}))
        .send()
        .await;
    assert_eq!(signed_in.status, 200, "{}", signed_in.text());
    let token = signed_in.json()["accessToken"].as_str().unwrap().to_owned();
    let operations = operations(&service).await;
    for down in [false, true] {
        if down {
            redis.kill();
            database.kill();
        }
        let paths = operations.iter().filter(|(method, path)| method == "GET" && path != "/api/users/events");
        for path in paths.map(|(_, path)| path.as_str()).chain(["/metrics", "/health"]) {
            let answer = Request::get(service.addr(), path).bearer(&token).send().await;
            canaries.not_in(path, &answer.text());
        }
        let body = json!({"email": "ada@example.org", "name": "Ada", "phone": "+41449876543"});
        let written = Request::post(service.addr(), "/api/users").bearer(&token).json(&body).send().await;
        assert_eq!(written.status == 201, !down);
        canaries.not_in("an answer", &written.text());
    }
    service.signal(Signal::Term);
    let exit = service.wait_exit(PATIENCE).await;
    assert!(exit.output.len() > 10_000, "it told much else");
    canaries.not_in("the log", &exit.output);
    // Starts that fail, each by the fault of another setting, and what the terminal is shown.
    let broken =
        [("DATABASE_URL", "postgres://app@127.0.0.1:1/x"), ("REDIS_URL", "redis://:x@127.0.0.1:port")];
    let broken = [&broken[..], &[("JWT_PRIVATE_KEY", "-----BEGIN"), ("ENCRYPTION_KEYS", "new:00")]].concat();
    for (name, value) in broken {
        let exit = canaries.production().env(name, value).run(PATIENCE).await;
        assert!(!exit.status.success(), "{name}");
        canaries.not_in(name, &exit.output);
    }
    let config = canaries.production().arg("config").run(PATIENCE).await;
    assert!(config.status.success() && config.output.contains("JWT_PRIVATE_KEY"), "{}", config.output);
    canaries.not_in("config", &config.output);
    // The settings that those above leave no room for.
    let others = [("JWT_SECRET", &canaries.marks[0]), ("JWT_RETIRED_SECRET", &canaries.marks[1])];
    let others = [&others[..], &[("ENCRYPTION_KEY", &canaries.marks[2])]].concat();
    let command =
        others.iter().fold(canaries.production(), |command, (name, value)| command.env(name, value));
    let config = command.clone().arg("config").run(PATIENCE).await;
    let refused = command.run(PATIENCE).await;
    assert!(!refused.status.success(), "{}", refused.output);
    canaries.not_in("config", &config.output);
    canaries.not_in("a refusal", &refused.output);
}
