//! Deleted users are kept for a while, then removed for good.

use mainstay_testkit::{Service, eventually_async};
use serde_json::Value;
use tempfile::TempDir;

use crate::{PATIENCE, created, delete, get, metric, path_of, service};

/// In an environment that answers metrics.
async fn start(dir: &TempDir, after: &str) -> Service {
    let purging = service().env("USERS_PURGE_AFTER", after).env("USERS_PURGE_INTERVAL", "20ms");
    purging.dir(dir.path()).start().await
}

async fn purged(service: &Service) -> u64 {
    metric(service, "users_purged_total").await
}

async fn deleted(service: &Service, number: usize) -> Value {
    let user = created(service, &format!("user{number}@example.org"), "User").await;
    delete(service, &path_of(&user)).await;
    user
}

#[tokio::test]
async fn who_was_deleted_long_ago_is_removed_and_keeps_a_trail() {
    let dir = TempDir::new().unwrap();
    let service = start(&dir, "0").await;
    let kept = created(&service, "kept@example.org", "Kept").await;
    let gone = deleted(&service, 0).await;
    eventually_async("the user is removed", PATIENCE, async || purged(&service).await == 1).await;
    let audit = format!("{}/audit", path_of(&gone));
    eventually_async("the trail is complete", PATIENCE, async || {
        let trail = get(&service, &audit).await;
        trail.status == 200 && trail.json()["items"].as_array().unwrap().len() == 2
    })
    .await;
    assert_eq!(get(&service, &path_of(&gone)).await.status, 404);
    assert_eq!(get(&service, &path_of(&kept)).await.json(), kept);
    assert_eq!(purged(&service).await, 1);
}

#[tokio::test]
async fn who_was_deleted_just_now_is_kept_until_the_time_has_come() {
    let dir = TempDir::new().unwrap();
    let service = start(&dir, "30d").await;
    deleted(&service, 0).await;
    // The purge looks for them all the time, and finds none.
    let rounds = r#"db_query_duration_seconds_count{outcome="ok",statement="users.due"}"#;
    let before = metric(&service, rounds).await;
    eventually_async("some rounds later", PATIENCE, async || metric(&service, rounds).await > before + 2)
        .await;
    assert_eq!(purged(&service).await, 0);
    drop(service);
    // At start at once, whatever the interval.
    let later = service_with_long_interval(&dir).await;
    eventually_async("the user is removed", PATIENCE, async || purged(&later).await == 1).await;
}

async fn service_with_long_interval(dir: &TempDir) -> Service {
    service().env("USERS_PURGE_AFTER", "0").env("USERS_PURGE_INTERVAL", "1d").dir(dir.path()).start().await
}

#[tokio::test]
async fn a_purge_that_makes_no_sense_is_refused_by_name() {
    let exit =
        service().env("USERS_PURGE_AFTER", "soon").env("USERS_PURGE_INTERVAL", "0").run(PATIENCE).await;
    assert_eq!(exit.status.code(), Some(1), "{}", exit.output);
    for part in ["USERS_PURGE_AFTER", "soon", "USERS_PURGE_INTERVAL"] {
        assert!(exit.output.contains(part), "no {part} in {}", exit.output);
    }
}
