//! `/api/users`.

use std::collections::BTreeSet;

use mainstay_testkit::http::Request;
use serde_json::json;

use crate::{create, created, empty_service, fields, get};

#[tokio::test]
async fn a_user_is_created_read_changed_listed_and_deleted() {
    let service = empty_service().await;
    let response =
        create(&service, json!({"email": "Ada@Example.org", "name": "Ada", "phone": "+4915112345678"})).await;
    assert_eq!(response.status, 201, "{}", response.text());
    let user = response.json();
    let path = format!("/api/users/{}", user["id"].as_str().unwrap());
    assert_eq!(response.header("location"), Some(path.as_str()));
    assert_eq!(response.header("etag"), Some("\"1\""));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!((&user["name"], &user["role"], &user["version"]), (&json!("Ada"), &json!("user"), &json!(1)));
    assert!(user["createdAt"].as_str().unwrap().ends_with('Z'), "{user}");

    let read = get(&service, &path).await;
    assert_eq!((read.status, read.json()), (200, user.clone()));
    assert_eq!(read.header("cache-control"), Some("private, no-cache"));

    let changed = Request::patch(service.addr(), &path)
        .bearer(&crate::admin())
        .json(&json!({"name": "Ada Lovelace", "phone": null}))
        .send()
        .await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(changed.header("etag"), Some("\"2\""));
    let body = changed.json();
    assert_eq!(
        (&body["name"], &body["version"], body.get("phone")),
        (&json!("Ada Lovelace"), &json!(2), None)
    );
    assert_eq!(body["email"], user["email"], "what a patch does not name stays");

    let list = get(&service, "/api/users").await.json();
    assert_eq!(list, json!({"items": [body]}));

    assert_eq!(Request::delete(service.addr(), &path).bearer(&crate::admin()).send().await.status, 204);
    for gone in [
        get(&service, &path).await,
        Request::delete(service.addr(), &path).bearer(&crate::admin()).send().await,
    ] {
        assert_eq!(
            (gone.status, gone.json()["type"].clone()),
            (404, json!("urn:mainstay:problem:not-found"))
        );
    }
    assert_eq!(get(&service, "/api/users").await.json(), json!({"items": []}));
}

#[tokio::test]
async fn every_field_at_fault_is_named_at_once() {
    let service = empty_service().await;
    let response =
        create(&service, json!({"email": "no at sign", "name": "", "phone": "123", "role": "emperor"})).await;
    assert_eq!(response.status, 422);
    assert_eq!(fields(&response), ["email", "name", "phone", "role"]);
    let response = create(&service, json!({"email": 5, "name": null, "role": "king", "admin": true})).await;
    assert_eq!((response.status, fields(&response).join(" ")), (422, "email name role admin".to_owned()));
    let response = create(&service, json!({})).await;
    assert_eq!(response.status, 422);
    assert_eq!(fields(&response), ["email", "name"]);
}

#[tokio::test]
async fn malformed_bodies_are_refused_with_the_place() {
    let service = empty_service().await;
    let post = |body: &'static str| {
        Request::post(service.addr(), "/api/users")
            .bearer(&crate::admin())
            .header("content-type", "application/json")
            .body(body)
            .send()
    };
    for body in ["{", "{\"email\": }", "", "nonsense"] {
        let response = post(body).await;
        assert_eq!(response.status, 400, "{body}");
        assert_eq!(response.header("content-type"), Some("application/problem+json"));
        assert!(response.json()["requestId"].is_string());
    }
    let wrong_type = post(r#"{"email": 7, "name": "Ada"}"#).await;
    assert_eq!((wrong_type.status, fields(&wrong_type)), (422, vec!["email".to_owned()]));
    let unknown = post(r#"{"email": "a@b.c", "name": "Ada", "admin": true}"#).await;
    assert_eq!((unknown.status, fields(&unknown)), (422, vec!["admin".to_owned()]));
    let big = Request::post(service.addr(), "/api/users")
        .bearer(&crate::admin())
        .header("content-type", "application/json")
        .body(format!(r#"{{"email":"a@b.c","name":"{}"}}"#, "x".repeat(2 << 20)))
        .send()
        .await;
    assert_eq!(big.status, 413);
}

#[tokio::test]
async fn an_email_belongs_to_one_user_until_that_user_is_deleted() {
    let service = empty_service().await;
    let first = created(&service, "ada@example.org", "Ada").await;
    let second = create(&service, json!({"email": "ADA@example.ORG", "name": "Other"})).await;
    assert_eq!((second.status, second.json()["type"].clone()), (409, json!("urn:mainstay:problem:conflict")));
    let other = created(&service, "grace@example.org", "Grace").await;
    let path = format!("/api/users/{}", other["id"].as_str().unwrap());
    let moved = Request::patch(service.addr(), &path)
        .bearer(&crate::admin())
        .json(&json!({"email": "ada@example.org"}))
        .send()
        .await;
    assert_eq!(moved.status, 409);
    let path = format!("/api/users/{}", first["id"].as_str().unwrap());
    assert_eq!(Request::delete(service.addr(), &path).bearer(&crate::admin()).send().await.status, 204);
    created(&service, "ada@example.org", "Ada again").await;
}

#[tokio::test]
async fn a_known_version_is_not_sent_again() {
    let service = empty_service().await;
    let user = created(&service, "ada@example.org", "Ada").await;
    let path = format!("/api/users/{}", user["id"].as_str().unwrap());
    let ask = |tag: &'static str| {
        Request::get(service.addr(), &path).bearer(&crate::admin()).header("if-none-match", tag).send()
    };
    let known = ask("\"1\"").await;
    assert_eq!((known.status, known.body.len(), known.header("etag")), (304, 0, Some("\"1\"")));
    assert_eq!(ask("\"0\"").await.status, 200);
    let list = get(&service, "/api/users").await;
    let tag = list.header("etag").unwrap().to_owned();
    let again = Request::get(service.addr(), "/api/users")
        .bearer(&crate::admin())
        .header("if-none-match", &tag)
        .send()
        .await;
    assert_eq!(again.status, 304);
    created(&service, "grace@example.org", "Grace").await;
    let changed = Request::get(service.addr(), "/api/users")
        .bearer(&crate::admin())
        .header("if-none-match", &tag)
        .send()
        .await;
    assert_eq!(changed.status, 200);
}

#[tokio::test]
async fn a_full_page_that_gains_a_next_one_is_sent_again() {
    let service = empty_service().await;
    created(&service, "a@example.com", "A").await;
    let only = get(&service, "/api/users?limit=1").await;
    assert!(only.json()["nextCursor"].is_null());
    created(&service, "b@example.com", "B").await;
    let tag = only.header("etag").unwrap();
    let first = Request::get(service.addr(), "/api/users?limit=1")
        .bearer(&crate::admin())
        .header("if-none-match", tag)
        .send()
        .await;
    assert_eq!(first.status, 200);
    assert!(first.json()["nextCursor"].is_string());
}

#[tokio::test]
async fn a_stale_version_cannot_overwrite_or_delete() {
    let service = empty_service().await;
    let user = created(&service, "ada@example.org", "Ada").await;
    let path = format!("/api/users/{}", user["id"].as_str().unwrap());
    let patch = |tag: &'static str, name: &'static str| {
        Request::patch(service.addr(), &path)
            .bearer(&crate::admin())
            .header("if-match", tag)
            .json(&json!({"name": name}))
            .send()
    };
    assert_eq!(patch("\"1\"", "First").await.status, 200);
    let stale = patch("\"1\"", "Second").await;
    assert_eq!(
        (stale.status, stale.json()["type"].clone()),
        (412, json!("urn:mainstay:problem:precondition-failed"))
    );
    assert_eq!(get(&service, &path).await.json()["name"], "First");
    let delete = |tag: &'static str| {
        Request::delete(service.addr(), &path).bearer(&crate::admin()).header("if-match", tag).send()
    };
    assert_eq!(delete("\"1\"").await.status, 412);
    assert_eq!(delete("\"2\"").await.status, 204);
}

#[tokio::test]
async fn of_racing_changes_to_one_version_exactly_one_wins() {
    let service = empty_service().await;
    let user = created(&service, "ada@example.org", "Ada").await;
    let path = format!("/api/users/{}", user["id"].as_str().unwrap());
    let racers = (0..16).map(|racer| {
        Request::patch(service.addr(), &path)
            .bearer(&crate::admin())
            .header("if-match", "\"1\"")
            .json(&json!({"name": format!("Racer {racer}")}))
            .send()
    });
    let racers: Vec<_> = racers.map(tokio::spawn).collect();
    let mut statuses = Vec::new();
    for racer in racers {
        statuses.push(racer.await.unwrap().status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [&[200][..], &[412; 15]].concat());
    assert_eq!(get(&service, &path).await.json()["version"], 2);
}

#[tokio::test]
async fn pages_hold_every_user_once() {
    let service = empty_service().await;
    let mut expected = BTreeSet::new();
    for number in 0..25 {
        let user = created(&service, &format!("user{number}@example.org"), "User").await;
        expected.insert(user["id"].as_str().unwrap().to_owned());
    }
    let (mut seen, mut sizes, mut cursor) = (Vec::new(), Vec::new(), None::<String>);
    loop {
        let path = cursor.map_or("/api/users?limit=10".to_owned(), |cursor| {
            format!("/api/users?limit=10&cursor={cursor}")
        });
        let page = get(&service, &path).await.json();
        let items = page["items"].as_array().unwrap();
        sizes.push(items.len());
        seen.extend(items.iter().map(|user| user["id"].as_str().unwrap().to_owned()));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(sizes, [10, 10, 5]);
    assert_eq!(seen.len(), 25);
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), expected);
}

#[tokio::test]
async fn a_page_asked_for_wrongly_is_refused_by_name() {
    let service = empty_service().await;
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=ten", "limit"),
        ("limit=-1", "limit"),
        ("cursor=%00", "cursor"),
        ("cursor=..%2f", "cursor"),
        ("cursor=", "cursor"),
    ] {
        let response = get(&service, &format!("/api/users?{query}")).await;
        assert_eq!((response.status, fields(&response)), (422, vec![field.to_owned()]), "{query}");
    }
}

#[tokio::test]
async fn an_id_that_is_none_is_404_however_it_is_written() {
    let service = empty_service().await;
    for id in [
        "7",
        "..%2f..%2fetc%2fpasswd",
        "%00",
        "%ff",
        "'; DROP TABLE users; --",
        "00000000-0000-0000-0000-000000000000",
    ] {
        let path = format!("/api/users/{}", id.replace(' ', "%20"));
        assert_eq!(get(&service, &path).await.status, 404, "{id}");
    }
}

#[tokio::test]
async fn a_repeated_post_with_the_same_idempotency_key_creates_once() {
    let service = empty_service().await;
    let post = |key: &'static str, name: &'static str| {
        Request::post(service.addr(), "/api/users")
            .bearer(&crate::admin())
            .header("idempotency-key", key)
            .json(&json!({"email": "ada@example.org", "name": name}))
            .send()
    };
    let first = post("key-1", "Ada").await;
    let again = post("key-1", "Ada").await;
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!((again.json(), again.header("location")), (first.json(), first.header("location")));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    let other = post("key-1", "Somebody else").await;
    assert_eq!(
        (other.status, other.json()["type"].clone()),
        (422, json!("urn:mainstay:problem:idempotency-key-reused"))
    );
    assert_eq!(post("key-2", "Ada").await.status, 409, "another key is another request");
    assert_eq!(post(" ", "Ada").await.status, 422, "a blank key is refused");
    assert_eq!(get(&service, "/api/users").await.json()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn racing_posts_with_one_idempotency_key_create_one_user() {
    let service = empty_service().await;
    let racers = (0..16).map(|_| {
        Request::post(service.addr(), "/api/users")
            .bearer(&crate::admin())
            .header("idempotency-key", "race")
            .json(&json!({"email": "ada@example.org", "name": "Ada"}))
            .send()
    });
    let racers: Vec<_> = racers.map(tokio::spawn).collect();
    let mut ids = BTreeSet::new();
    for racer in racers {
        let response = racer.await.unwrap();
        assert_eq!(response.status, 201, "{}", response.text());
        ids.insert(response.json()["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids.len(), 1);
}
