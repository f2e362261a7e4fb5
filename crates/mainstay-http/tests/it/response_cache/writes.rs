use axum::extract::Path;
use axum::response::IntoResponse;
use axum::routing::get;
use mainstay_http::Problem;
use tokio::sync::Semaphore;

use super::*;

/// `/users` and `/users/{id}` with the number of writes as their answer; `POST /users/refused` is one.
fn users(it: &Fixture, rule: fn(ResponseCacheRule) -> ResponseCacheRule) -> Router {
    let calls = Arc::clone(&it.calls);
    let read = {
        let calls = Arc::clone(&calls);
        async move || calls.load(Ordering::SeqCst).to_string()
    };
    let write = move |id: Option<Path<String>>| {
        let calls = Arc::clone(&calls);
        async move {
            calls.fetch_add(1, Ordering::SeqCst);
            match id.as_ref().map_or("", |id| id.as_str()) {
                "refused" => Problem::conflict("no").into_response(),
                "broken" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
                "panics" => panic!("on purpose"),
                _ => StatusCode::CREATED.into_response(),
            }
        }
    };
    let list = minute().tag("users");
    let one = minute().tag_by(|target| target.param("id").map(|id| format!("user:{id}")));
    Router::new()
        .route("/users", get(read.clone()).post(write.clone()).layer(it.layer(rule(list))))
        .route(
            "/users/{id}",
            get(read).put(write.clone()).delete(write).layer(it.layer(rule(one.tag("users")))),
        )
        .route("/users/{id}/name", get(async || "name").layer(it.layer(rule(minute()))))
}

async fn said(routes: &Router, uri: &str) -> String {
    get_with(routes, uri, &[]).await.said().to_owned()
}

#[tokio::test]
async fn a_write_takes_away_its_path_and_its_tags_before_it_is_answered() {
    for (method, uri) in [("POST", "/users"), ("PUT", "/users/1"), ("DELETE", "/users/2")] {
        let it = fixture();
        let routes = users(&it, ResponseCacheRule::invalidated_by_writes);
        for uri in ["/users?page=1", "/users?page=2", "/users/1", "/users/1/name"] {
            get_with(&routes, uri, &[]).await;
            assert_eq!(said(&routes, uri).await, HIT, "{uri}");
        }
        assert_eq!(ask(&routes, method, uri, &[]).await.status, StatusCode::CREATED);
        for uri in ["/users?page=1", "/users?page=2", "/users/1"] {
            assert_eq!(said(&routes, uri).await, STORED, "{method} {uri}");
        }
        assert_eq!(said(&routes, "/users/1/name").await, HIT);
    }
}

#[tokio::test]
async fn a_write_takes_away_its_path_however_its_bytes_are_spelled() {
    for (read, written) in [
        ("/users/%31", "/users/1"),
        ("/users/1", "/users/%31"),
        ("/users/a%2fb", "/users/a%2Fb"),
        ("/users/%7Ea%25b%", "/users/~a%25b%"),
    ] {
        let it = fixture();
        let route = get(async || "a").put(async || "put");
        let routes =
            Router::new().route("/users/{id}", route.layer(it.layer(minute().invalidated_by_writes())));
        get_with(&routes, read, &[]).await;
        assert_eq!(said(&routes, read).await, HIT);
        ask(&routes, "PUT", written, &[]).await;
        assert_eq!(said(&routes, read).await, STORED, "{read} {written}");
    }
}

#[tokio::test]
async fn a_write_of_one_path_leaves_others_that_share_no_tag() {
    let it = fixture();
    let routes = it.routes(minute().invalidated_by_writes(), |_, response| response);
    let routes = routes.fallback(async || StatusCode::NO_CONTENT);
    let writable = Router::new()
        .route("/b", get(async || "b").put(async || "put"))
        .route_layer(it.layer(minute().invalidated_by_writes()))
        .merge(routes);
    get_a(&writable).await;
    get_with(&writable, "/b?x=1", &[]).await;
    ask(&writable, "PUT", "/b", &[]).await;
    assert_eq!(
        (said(&writable, "/b?x=1").await.as_str(), said(&writable, "/a").await.as_str()),
        (STORED, HIT)
    );
}

#[tokio::test]
async fn a_write_that_was_refused_takes_nothing_away_and_one_that_failed_does() {
    for (id, expected, status) in [("refused", HIT, 409), ("broken", STORED, 500)] {
        let it = fixture();
        let routes = users(&it, ResponseCacheRule::invalidated_by_writes);
        get_with(&routes, "/users", &[]).await;
        assert_eq!(ask(&routes, "PUT", &format!("/users/{id}"), &[]).await.status, status);
        assert_eq!(said(&routes, "/users").await, expected);
    }
}

#[tokio::test]
async fn without_the_rule_a_write_takes_nothing_away() {
    let it = fixture();
    let routes = users(&it, |rule| rule);
    get_with(&routes, "/users", &[]).await;
    ask(&routes, "POST", "/users", &[]).await;
    assert_eq!(said(&routes, "/users").await, HIT);
}

#[tokio::test]
async fn a_tag_that_cannot_be_one_keeps_nothing_and_spoils_no_write() {
    let it = fixture();
    let rule = minute().tag("").tag("things").invalidated_by_writes();
    let routes = Router::new()
        .route("/a", get(async || "a").put(async || "put").layer(it.layer(rule)))
        .route("/b", get(async || "b").layer(it.layer(minute().tag("things"))));
    for _ in 0..2 {
        assert_eq!(said(&routes, "/a").await, MISS);
        get_with(&routes, "/b", &[]).await;
    }
    ask(&routes, "PUT", "/a", &[]).await;
    assert_eq!(said(&routes, "/b").await, STORED);
}

async fn eventually_made_anew(routes: &Router, uri: &str) {
    let anew = async {
        while said(routes, uri).await == HIT {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(60 * SECOND, anew).await.expect("it is taken away");
}

#[tokio::test]
async fn a_writer_that_leaves_or_panics_takes_away_what_it_may_have_changed() {
    let it = fixture();
    let (called, forever) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let notify = Arc::clone(&called);
    let write = async move || {
        notify.add_permits(1);
        drop(forever.acquire().await);
    };
    let rule = minute().tag("users").invalidated_by_writes();
    let routes = Router::new().route("/hangs", get(async || "a").put(write).layer(it.layer(rule)));
    let routes = routes.merge(users(&it, ResponseCacheRule::invalidated_by_writes));
    get_with(&routes, "/users", &[]).await;
    assert_eq!(said(&routes, "/users").await, HIT);
    tokio::select! {
        _ = ask(&routes, "PUT", "/hangs", &[]) => panic!("it never ends"),
        _ = called.acquire() => {}
    }
    eventually_made_anew(&routes, "/users").await;
    let panicking = routes.clone();
    assert!(tokio::spawn(async move { ask(&panicking, "PUT", "/users/panics", &[]).await }).await.is_err());
    eventually_made_anew(&routes, "/users").await;
}
