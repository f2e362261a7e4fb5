//! `/api/users/{id}/audit`.

use std::path::Path;

use mainstay_testkit::http::Request;
use mainstay_testkit::{Service, Signal, eventually_async};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{PATIENCE, create, created, delete, empty_service, fields, get, metric, patch, path_of, service};

/// The trail once it has so many entries; they arrive shortly after the change was answered.
async fn trail(service: &Service, user: &Value, entries: usize) -> Vec<Value> {
    let path = format!("{}/audit?limit=100", path_of(user));
    let mut items = Vec::new();
    eventually_async("the trail is complete", PATIENCE, async || {
        let response = get(service, &path).await;
        assert_eq!(response.status, 200, "{}", response.text());
        items = response.json()["items"].as_array().unwrap().clone();
        items.len() >= entries
    })
    .await;
    assert_eq!(items.len(), entries, "{items:?}");
    items
}

/// What each entry says, without ids and times.
fn said(items: &[Value]) -> Vec<Value> {
    items.iter().map(|item| json!([item["event"], item["version"], item["changed"]])).collect()
}

#[tokio::test]
async fn a_users_life_is_in_the_trail_oldest_first_and_without_personal_data() {
    let service = empty_service().await;
    let user = created(&service, "ada@example.org", "Ada").await;
    let path = path_of(&user);
    let change = json!({"name": "Lovelace", "phone": "+41441234567"});
    let changed = patch(&service, &path, change.clone()).await.json();
    assert_eq!(patch(&service, &path, change).await.json()["version"], 2, "the same again changes nothing");
    patch(&service, &path, json!({"role": "admin"})).await;
    delete(&service, &path).await;

    let items = trail(&service, &user, 4).await;
    let expected = [
        json!(["user.created", 1, null]),
        json!(["user.updated", 2, ["name", "phone"]]),
        json!(["user.updated", 3, ["role"]]),
        json!(["user.deleted", 4, null]),
    ];
    assert_eq!(said(&items), expected);
    assert_eq!((&items[0]["at"], &items[1]["at"]), (&user["createdAt"], &changed["updatedAt"]));
    assert!(items.iter().all(|item| item["id"].is_string()), "{items:?}");

    let response = get(&service, &format!("{path}/audit")).await;
    assert_eq!(response.header("cache-control"), Some("no-store"));
    for personal in ["ada@", "Ada", "Lovelace", "4144"] {
        assert!(!response.text().contains(personal), "{}", response.text());
    }
}

#[tokio::test]
async fn what_was_refused_leaves_no_trace() {
    let service = empty_service().await;
    let user = created(&service, "ada@example.org", "Ada").await;
    created(&service, "grace@example.org", "Grace").await;
    let path = path_of(&user);
    assert_eq!(patch(&service, &path, json!({"email": "grace@example.org"})).await.status, 409);
    assert_eq!(patch(&service, &path, json!({"role": "queen"})).await.status, 422);
    let stale = Request::delete(service.addr(), &path)
        .bearer(&crate::admin())
        .header("if-match", "\"7\"")
        .send()
        .await;
    assert_eq!(stale.status, 412);
    patch(&service, &path, json!({"name": "Lovelace"})).await;
    let items = trail(&service, &user, 2).await;
    assert_eq!(said(&items), [json!(["user.created", 1, null]), json!(["user.updated", 2, ["name"]])]);
}

#[tokio::test]
async fn a_repeated_creation_is_told_once() {
    let service = service().start().await;
    let told = async || metric(&service, r#"events_published_total{type="user.created"}"#).await;
    let before = told().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let response = Request::post(service.addr(), "/api/users")
            .bearer(&crate::admin())
            .header("idempotency-key", "key-1")
            .json(&json!({"email": "mary@example.org", "name": "Mary"}))
            .send()
            .await;
        ids.push(response.json());
    }
    assert_eq!(told().await, before + 1);
    trail(&service, &ids[2], 1).await;
}

#[tokio::test]
async fn racing_changes_are_told_in_the_order_of_versions() {
    let service = empty_service().await;
    let user = created(&service, "ada@example.org", "Ada").await;
    let racers = (0..32).map(|racer| {
        let body = json!({"name": format!("Racer {racer}")});
        Request::patch(service.addr(), path_of(&user)).bearer(&crate::admin()).json(&body).send()
    });
    let racers: Vec<_> = racers.map(tokio::spawn).collect();
    for racer in racers {
        assert_eq!(racer.await.unwrap().status, 200);
    }
    let items = trail(&service, &user, 33).await;
    let versions: Vec<_> = items.iter().map(|item| item["version"].as_u64().unwrap()).collect();
    assert_eq!(versions, (1..=33).collect::<Vec<_>>());
    let times: Vec<_> = items.iter().map(|item| item["at"].as_str().unwrap().parse().unwrap()).collect();
    assert!(times.is_sorted_by_key(|time: &jiff::Timestamp| *time), "{times:?}");
}

#[tokio::test]
async fn pages_hold_every_entry_once() {
    let service = empty_service().await;
    let user = created(&service, "ada@example.org", "Ada").await;
    for number in 0..6 {
        patch(&service, &path_of(&user), json!({"name": format!("Ada {number}")})).await;
    }
    let all = trail(&service, &user, 7).await;
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(&service, &format!("{}/audit?limit=3{cursor}", path_of(&user))).await.json();
        seen.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, all);
}

#[tokio::test]
async fn a_trail_asked_for_wrongly_is_refused_by_name() {
    let service = empty_service().await;
    let user = created(&service, "ada@example.org", "Ada").await;
    for (query, field) in
        [("limit=0", "limit"), ("limit=101", "limit"), ("cursor=", "cursor"), ("cursor=c1_1", "cursor")]
    {
        let response = get(&service, &format!("{}/audit?{query}", path_of(&user))).await;
        assert_eq!((response.status, fields(&response)), (422, vec![field.to_owned()]), "{query}");
    }
    for id in ["7", "..%2f..", "%00", "%ff", "00000000-0000-0000-0000-000000000000"] {
        assert_eq!(get(&service, &format!("/api/users/{id}/audit")).await.status, 404, "{id}");
    }
}

#[tokio::test]
async fn the_first_users_have_a_trail_too() {
    let service = service().start().await;
    for user in get(&service, "/api/users").await.json()["items"].as_array().unwrap() {
        let items = trail(&service, user, 1).await;
        assert_eq!(items[0]["event"], "user.created");
    }
}

async fn start_in(dir: &Path) -> Service {
    // A killed instance is not waited for.
    service().env("APP_ENV", "test").env("EVENTS_VISIBILITY", "2s").dir(dir).start().await
}

#[tokio::test]
async fn a_clean_stop_leaves_no_gap() {
    let dir = TempDir::new().unwrap();
    let mut first = start_in(dir.path()).await;
    let mut requests = Vec::new();
    for number in 0..50 {
        let body = json!({"email": format!("user{number}@example.org"), "name": "User"});
        requests.push(tokio::spawn(
            Request::post(first.addr(), "/api/users").bearer(&crate::admin()).json(&body).send(),
        ));
    }
    let mut users = Vec::new();
    for request in requests {
        let response = request.await.unwrap();
        assert_eq!(response.status, 201);
        users.push(response.json());
    }
    // At once: some of the events are on their way.
    first.signal(Signal::Term);
    let exit = first.wait_exit(PATIENCE).await;
    assert!(exit.status.success(), "{}", exit.output);
    let second = start_in(dir.path()).await;
    for user in users {
        assert_eq!(trail(&second, &user, 1).await[0]["event"], "user.created");
    }
}

#[tokio::test]
async fn instances_on_one_database_write_one_trail() {
    let dir = TempDir::new().unwrap();
    let (one, two) = (start_in(dir.path()).await, start_in(dir.path()).await);
    let user = created(&one, "ada@example.org", "Ada").await;
    for (number, service) in [&two, &one, &two].into_iter().enumerate() {
        patch(service, &path_of(&user), json!({"name": format!("Ada {number}")})).await;
    }
    for service in [&one, &two] {
        let versions: Vec<_> =
            trail(service, &user, 4).await.iter().map(|item| item["version"].clone()).collect();
        assert_eq!(versions, [1, 2, 3, 4]);
    }
    assert_eq!(create(&two, json!({"email": "ADA@example.org", "name": "Other"})).await.status, 409);
}

/// What was answered is in the database with its event, and the next instance finds both.
#[tokio::test]
async fn a_killed_instance_leaves_no_gap() {
    let dir = TempDir::new().unwrap();
    let mut users = Vec::new();
    for life in 0..5 {
        let mut service = start_in(dir.path()).await;
        for number in 0..10 {
            users.push(created(&service, &format!("user{life}.{number}@example.org"), "User").await);
        }
        service.signal(Signal::Kill);
        service.wait_exit(PATIENCE).await;
    }
    let last = start_in(dir.path()).await;
    for user in users {
        assert_eq!(trail(&last, &user, 1).await[0]["event"], "user.created");
    }
}
