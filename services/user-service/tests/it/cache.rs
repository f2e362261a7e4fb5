//! Reading one user through the cache: faster, and never an old version on the instance that wrote.

use mainstay_testkit::Service;
use mainstay_testkit::http::Request;
use serde_json::json;
use tempfile::TempDir;

use crate::{created, delete, get, metric, patch, path_of, service};

const READS: &str = r#"db_query_duration_seconds_count{outcome="ok",statement="users.get"}"#;

/// Metrics answer a developer only; the users who are there at first do not matter.
async fn start() -> Service {
    service().start().await
}

#[tokio::test]
async fn a_user_is_read_from_the_database_once() {
    let service = start().await;
    let user = created(&service, "ada@example.org", "Ada").await;
    let before = metric(&service, READS).await;
    for _ in 0..10 {
        assert_eq!(get(&service, &path_of(&user)).await.json(), user);
    }
    assert_eq!(metric(&service, READS).await, before + 1);
    patch(&service, &path_of(&user), json!({"name": "Lovelace"})).await;
    for _ in 0..10 {
        assert_eq!(get(&service, &path_of(&user)).await.json()["name"], "Lovelace");
    }
    assert_eq!(metric(&service, READS).await, before + 2);
}

#[tokio::test]
async fn whoever_wrote_reads_what_was_written_however_many_read_meanwhile() {
    let service = start().await;
    let user = created(&service, "ada@example.org", "Ada").await;
    let (addr, path) = (service.addr(), path_of(&user));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let path = path.clone();
            tokio::spawn(async move {
                let mut last = 0;
                // No reader sees a version older than one it has seen.
                loop {
                    let response = Request::get(addr, &path).bearer(&crate::admin()).send().await;
                    if response.status == 404 {
                        break last;
                    }
                    let version = response.json()["version"].as_u64().unwrap();
                    assert!(version >= last, "{version} after {last}");
                    last = version;
                }
            })
        })
        .collect();
    for number in 0..50 {
        let written = patch(&service, &path, json!({"name": format!("Ada {number}")})).await.json();
        assert_eq!(get(&service, &path).await.json(), written);
    }
    delete(&service, &path).await;
    assert_eq!(get(&service, &path).await.status, 404);
    for reader in readers {
        assert!(reader.await.unwrap() <= 51);
    }
}

#[tokio::test]
async fn a_version_written_by_another_instance_decides_at_once() {
    let dir = TempDir::new().unwrap();
    let start = || service().env("APP_ENV", "test").dir(dir.path()).start();
    let (one, two) = (start().await, start().await);
    let user = created(&one, "ada@example.org", "Ada").await;
    let path = path_of(&user);
    let change = |service: &Service, tag: &'static str, name: &'static str| {
        Request::patch(service.addr(), &path)
            .bearer(&crate::admin())
            .header("if-match", tag)
            .json(&json!({"name": name}))
            .send()
    };
    for service in [&one, &two] {
        assert_eq!(get(service, &path).await.header("etag"), Some("\"1\""), "both have it in their cache");
    }
    assert_eq!(change(&two, "\"1\"", "By two").await.status, 200);
    assert_eq!(get(&two, &path).await.header("etag"), Some("\"2\""), "in the cache of two again");
    // Each instance has a cache of its own here: `one` may still answer version 1, but does not decide by it.
    assert_eq!(change(&one, "\"2\"", "By one").await.status, 200);
    assert_eq!(change(&two, "\"2\"", "Too late").await.status, 412);
    // Who was refused reads what is there, and not the version it was refused for.
    let read = get(&two, &path).await;
    assert_eq!((read.header("etag"), read.json()["name"].clone()), (Some("\"3\""), json!("By one")));
}

#[tokio::test]
async fn a_user_nobody_knows_is_404_also_from_the_cache() {
    let service = start().await;
    let before = metric(&service, READS).await;
    for _ in 0..10 {
        let nobody = get(&service, "/api/users/00000000-0000-0000-0000-000000000000").await;
        assert_eq!(nobody.status, 404);
    }
    assert_eq!(metric(&service, READS).await, before + 1);
}
