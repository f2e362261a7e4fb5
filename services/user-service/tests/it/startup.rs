//! What the service says and refuses when it starts.

use std::fs;

use mainstay_testkit::http::Request;
use mainstay_testkit::{Service, eventually_async};
use tempfile::TempDir;

use crate::{PATIENCE, created, empty_service, get, on_file, service};

#[tokio::test]
async fn it_starts_in_an_empty_directory_with_users_and_says_where_to_look() {
    let service = on_file().start().await;
    let users = get(&service, "/api/users").await.json();
    assert!(!users["items"].as_array().unwrap().is_empty(), "development starts with a few users");
    for part in
        ["embedded", "data/user-service.db", "/docs/", "/distributed/health", "/metrics", &service.url()]
    {
        // A line of it may be read before the next is.
        eventually_async(part, PATIENCE, async || service.output_so_far().contains(part)).await;
    }
    assert!(service.dir().join("data/user-service.db").exists());
}

#[tokio::test]
async fn every_url_of_the_banner_answers_also_when_endpoints_are_switched_off() {
    let off = service().env("METRICS_ENABLED", "false").env("HEALTH_CHECK_ENABLED", "false");
    let service = off.start().await;
    let url = service.url();
    let paths = || -> Vec<String> {
        let output = service.output_so_far();
        let urls = output.split_whitespace().filter_map(|word| word.strip_prefix(&url));
        urls.filter(|path| !path.is_empty()).map(str::to_owned).collect()
    };
    eventually_async("the banner is out", PATIENCE, async || paths().len() == 3).await;
    for path in paths() {
        assert_eq!(get(&service, &path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn data_outlives_a_restart_and_is_seeded_once() {
    let dir = TempDir::new().unwrap();
    let first = service().dir(dir.path()).start().await;
    let before = created(&first, "kept@example.org", "Kept").await;
    let count = get(&first, "/api/users").await.json()["items"].as_array().unwrap().len();
    drop(first);
    let second = service().dir(dir.path()).start().await;
    assert_eq!(get(&second, &format!("/api/users/{}", before["id"].as_str().unwrap())).await.json(), before);
    assert_eq!(get(&second, "/api/users").await.json()["items"].as_array().unwrap().len(), count);
}

#[tokio::test]
async fn an_occupied_port_is_a_clear_error_and_exit_1() {
    let first = empty_service().await;
    let port = first.addr().port().to_string();
    let exit = service().env("PORT", &port).run(PATIENCE).await;
    assert_eq!(exit.status.code(), Some(1), "{}", exit.output);
    assert!(exit.output.contains(&port) && exit.output.contains("set PORT"), "{}", exit.output);
}

#[tokio::test]
async fn all_configuration_problems_are_listed_at_once_and_exit_1() {
    for command in ["serve", "config"] {
        let exit = service()
            .arg(command)
            .env("PORT", "eighty")
            .env("DB_POOL_MAX", "-3")
            .env("LOG_LEVEL", "loud")
            .run(PATIENCE)
            .await;
        assert_eq!(exit.status.code(), Some(1), "{}", exit.output);
        for part in ["PORT", "eighty", "DB_POOL_MAX", "-3", "LOG_LEVEL", "loud"] {
            assert!(exit.output.contains(part), "{command} does not say {part}:\n{}", exit.output);
        }
    }
}

#[tokio::test]
async fn config_prints_values_with_origins_and_never_a_secret() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("mainstay.toml"), "[rate_limit]\nmax_requests = 7\n").unwrap();
    let exit = service()
        .dir(dir.path())
        .arg("config")
        .arg("--set")
        .arg("health.timeout=2s")
        .env("REDIS_PASSWORD", "canary-hunter2")
        // An empty variable counts as unset, so that the file decides.
        .env("RATE_LIMIT_MAX_REQUESTS", "")
        .run(PATIENCE)
        .await;
    assert!(exit.status.success(), "{}", exit.output);
    let line = |path: &str| {
        let found = exit.output.lines().find(|line| line.starts_with(path));
        found.unwrap_or_else(|| panic!("no {path} in\n{}", exit.output)).to_owned()
    };
    assert!(line("rate_limit.max_requests = 7").contains("mainstay.toml"));
    assert!(line("health.timeout").contains("command line"));
    assert!(line("server.port").contains("env PORT"));
    assert!(line("redis.password").contains("***"));
    assert!(!exit.output.contains("canary-hunter2"));
}

#[tokio::test]
async fn config_check_is_silent_when_all_is_well() {
    let exit = service().arg("config").arg("--check").run(PATIENCE).await;
    assert!(exit.status.success() && exit.output.is_empty(), "{}", exit.output);
    let exit = service().arg("config").arg("--check").env("PORT", "99999").run(PATIENCE).await;
    assert_eq!(exit.status.code(), Some(1));
    assert!(exit.output.contains("PORT") && exit.output.contains("99999"), "{}", exit.output);
}

#[tokio::test]
async fn production_names_every_secret_that_is_missing_before_it_touches_the_database() {
    let command = Service::command(env!("CARGO_BIN_EXE_user-service")).env("APP_ENV", "production");
    let dir = TempDir::new().unwrap();
    for command in [command.clone(), command.arg("config").arg("--check")] {
        let exit = command.dir(dir.path()).run(PATIENCE).await;
        assert_eq!(exit.status.code(), Some(1), "{}", exit.output);
        assert!(exit.output.contains("2 problems"), "{}", exit.output);
        for setting in ["JWT_SECRET", "ENCRYPTION_KEY"] {
            assert!(exit.output.contains(&format!("  - {setting}: missing")), "{}", exit.output);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_written_is_a_clear_error_and_exit_1() {
    // Root ignores permissions; nobody can create a file in /proc.
    let exit = service().env("DATABASE_URL", "sqlite:///proc/mainstay/x.db").run(PATIENCE).await;
    assert_eq!(exit.status.code(), Some(1), "{}", exit.output);
    assert!(exit.output.contains("/proc/mainstay"), "{}", exit.output);
}

#[tokio::test]
async fn a_corrupt_database_is_a_clear_error_and_left_as_it_is() {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("data")).unwrap();
    let file = dir.path().join("data/user-service.db");
    let garbage = "this is not a database ".repeat(500);
    fs::write(&file, &garbage).unwrap();
    let exit = on_file().dir(dir.path()).run(PATIENCE).await;
    assert_eq!(exit.status.code(), Some(1), "{}", exit.output);
    assert!(exit.output.contains("user-service.db") && exit.output.contains("backup"), "{}", exit.output);
    assert_eq!(fs::read_to_string(&file).unwrap(), garbage);
}

#[tokio::test]
async fn two_instances_share_one_database() {
    let dir = TempDir::new().unwrap();
    // Started together, so that both want to migrate and to seed.
    let (first, second) = tokio::join!(service().dir(dir.path()).start(), service().dir(dir.path()).start());
    let seeded = get(&first, "/api/users").await.json();
    assert_eq!(seeded, get(&second, "/api/users").await.json());
    let write = |service: &Service, who: &'static str| {
        let addr = service.addr();
        tokio::spawn(async move {
            for number in 0..50 {
                let body = serde_json::json!({"email": format!("{who}{number}@example.org"), "name": who});
                let response =
                    Request::post(addr, "/api/users").bearer(&crate::admin()).json(&body).send().await;
                assert_eq!(response.status, 201, "{}", response.text());
            }
        })
    };
    let (one, two) = (write(&first, "one"), write(&second, "two"));
    one.await.unwrap();
    two.await.unwrap();
    let all = get(&second, "/api/users?limit=100").await.json()["items"].as_array().unwrap().len();
    assert_eq!(all, 100.min(100 + seeded["items"].as_array().unwrap().len()));
}

#[tokio::test]
async fn migrate_prepares_the_database_once() {
    let dir = TempDir::new().unwrap();
    let migrate = || on_file().dir(dir.path()).arg("migrate").run(PATIENCE);
    let (first, second) = (migrate().await, migrate().await);
    assert!(first.status.success() && second.status.success(), "{}{}", first.output, second.output);
    assert_ne!(first.output, second.output, "the second run had nothing to do and should say so");
    assert!(dir.path().join("data/user-service.db").exists());
}

#[tokio::test]
async fn openapi_describes_every_route_without_starting() {
    let exit = service().arg("openapi").run(PATIENCE).await;
    let document: serde_json::Value = serde_json::from_str(&exit.output).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    for path in [
        "/api/users",
        "/api/users/{id}",
        "/api/users/{id}/audit",
        "/distributed/health",
        "/distributed/config",
    ] {
        assert!(document["paths"][path].is_object(), "{path} is missing");
    }
    assert_eq!(document["info"]["title"], "user-service");
}

#[tokio::test]
async fn an_unknown_command_is_named_and_exit_2() {
    let exit = service().arg("dance").run(PATIENCE).await;
    assert_eq!(exit.status.code(), Some(2));
    assert!(exit.output.contains("'dance'") && exit.output.contains("--help"), "{}", exit.output);
}
