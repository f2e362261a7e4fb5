//! The OWASP API Security Top 10 of 2023, one test for each row.

use axum::response::IntoResponse;
use mainstay_testkit::http::Request;
use serde_json::json;

use super::accounts::{PASSWORD, asked, login, registered, signed_in};
use super::avatar::Pictures;
use super::{PATIENCE, admin, created, empty_service, fields, get, path_of, production, service, token_of};

#[tokio::test]
async fn api1_an_object_is_given_to_its_owner_and_to_who_may_see_all() {
    let service = empty_service().await;
    let (ada, eve) =
        (registered(&service, "ada@example.org").await, registered(&service, "eve@example.org").await);
    let (token, _) = signed_in(&service, "eve@example.org").await;
    for path in [path_of(&ada), format!("{}/audit", path_of(&ada)), format!("{}/avatar", path_of(&ada))] {
        assert_eq!(asked(&service, &path, &token).await.status, 403, "{path}");
        assert_eq!(asked(&service, &path, &admin()).await.status, 200, "{path}");
    }
    assert_eq!(asked(&service, "/api/users/events", &token).await.status, 403);
    // A session too is an object with an id.
    let (own, _) = signed_in(&service, "ada@example.org").await;
    let list = asked(&service, "/api/auth/sessions", &own).await.json();
    let session = format!("/api/auth/sessions/{}", list["items"][0]["id"].as_str().unwrap());
    for stranger in [&token, &admin()] {
        let ended = Request::delete(service.addr(), &session).bearer(stranger).send().await;
        assert_eq!(ended.status, 404);
    }
    assert_eq!(asked(&service, "/api/auth/me", &own).await.status, 200);
    // Of users who do not exist one learns no more than of those who do.
    let unknown = "/api/users/01900000-0000-7000-8000-000000000000";
    assert_eq!(asked(&service, unknown, &token).await.status, 403);
    assert_eq!(asked(&service, &path_of(&eve), &token).await.status, 200);
}

#[tokio::test]
async fn api2_who_cannot_prove_who_he_is_is_nobody() {
    let service = empty_service().await;
    registered(&service, "ada@example.org").await;
    let (token, _) = signed_in(&service, "ada@example.org").await;
    let claims = token.split('.').nth(1).unwrap();
    // {"alg":"none"} and no signature.
    let unsigned = format!("eyJhbGciOiJub25lIn0.{claims}.");
    for stranger in ["", "x", "Bearer", &unsigned] {
        assert_eq!(asked(&service, "/api/auth/me", stranger).await.status, 401, "{stranger}");
    }
    let basic =
        Request::get(service.addr(), "/api/auth/me").header("authorization", format!("Basic {token}"));
    assert_eq!(basic.send().await.status, 401);
    let anonymous = Request::get(service.addr(), format!("/api/auth/me?access_token={token}")).send().await;
    assert_eq!(anonymous.status, 401, "a token in a path gets into logs");
    for _ in 0..10 {
        login(&service, "ada@example.org", "a guess of many").await;
    }
    assert_eq!(login(&service, "ada@example.org", PASSWORD).await.status, 429);
}

#[tokio::test]
async fn api3_what_is_not_for_clients_is_neither_shown_nor_taken() {
    let service = empty_service().await;
    let ada = registered(&service, "ada@example.org").await;
    let (token, _) = signed_in(&service, "ada@example.org").await;
    for shown in [&ada, &asked(&service, &path_of(&ada), &admin()).await.json()] {
        let mut names: Vec<_> = shown.as_object().unwrap().keys().cloned().collect();
        names.sort();
        assert_eq!(names, ["createdAt", "email", "id", "name", "role", "updatedAt", "version"]);
    }
    let smuggled =
        json!({"id": "x", "version": 9, "password": "$argon2id$", "phone_index": "x", "deleted_at": 0});
    let patch = Request::patch(service.addr(), path_of(&ada)).bearer(&token).json(&smuggled).send().await;
    assert_eq!(patch.status, 422);
    let mut refused = fields(&patch);
    refused.sort();
    assert_eq!(refused, ["deleted_at", "id", "password", "phone_index", "version"]);
}

#[tokio::test]
async fn api4_what_one_request_or_client_can_use_is_bounded() {
    let service = service().env("RATE_LIMIT_MAX_REQUESTS", "20").env("APP_ENV", "test").start().await;
    let large = format!(r#"{{"email":"{}"}}"#, "x".repeat(2 << 20));
    let refused = Request::post(service.addr(), "/api/users").bearer(&admin()).body(large);
    assert_eq!(refused.header("content-type", "application/json").send().await.status, 413);
    assert_eq!(get(&service, "/api/users?limit=1000").await.status, 422);
    let headers =
        Request::get(service.addr(), "/api/users").bearer(&admin()).header("x", "y".repeat(64 << 10));
    assert!(headers.try_send().await.map_or(true, |answer| answer.status == 431));
    let mut statuses = Vec::new();
    for _ in 0..25 {
        statuses.push(get(&service, "/api/users").await.status);
    }
    assert!(statuses.contains(&200) && statuses.last() == Some(&429), "{statuses:?}");
}

#[tokio::test]
async fn api5_what_is_for_administrators_is_done_by_nobody_else() {
    let service = production().start().await;
    let user = token_of("somebody", &["user"]);
    let nobody = token_of("somebody", &["superuser"]);
    for (method, path) in [
        ("GET", "/api/users"),
        ("POST", "/api/users"),
        ("DELETE", "/api/users/01900000-0000-7000-8000-000000000000"),
        ("GET", "/api/users/events"),
        ("GET", "/distributed/config"),
        ("GET", "/distributed/metrics"),
        ("GET", "/distributed/cache/x"),
        ("POST", "/distributed/cache/x"),
        ("POST", "/distributed/lock/x"),
        ("POST", "/distributed/events/user.created"),
        ("POST", "/distributed/breakers/avatar"),
    ] {
        for token in [&user, &nobody] {
            let body = json!({"email": "x@example.org", "name": "X"});
            let answer = Request::new(method, service.addr(), path).bearer(token).json(&body).send().await;
            assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn api6_a_flow_that_is_worth_abusing_is_limited_by_itself() {
    let service = empty_service().await;
    let register = async |number: u32| {
        let body = json!({"email": format!("a{number}@example.org"), "name": "A", "password": PASSWORD});
        Request::post(service.addr(), "/api/auth/register").json(&body).send().await.status
    };
    for number in 0..100 {
        assert_eq!(register(number).await, 201, "{number}");
    }
    assert_eq!(register(100).await, 429);
}

#[tokio::test]
async fn api7_another_service_cannot_send_this_one_to_its_neighbours() {
    let metadata = "http://169.254.169.254/latest/meta-data/";
    let pictures =
        Pictures::start(move || axum::response::Redirect::temporary(metadata).into_response()).await;
    let service = service().env("AVATAR_URL", pictures.url()).start().await;
    let ada = path_of(&created(&service, "ada@example.org", "Ada").await);
    let drawn = get(&service, &format!("{ada}/avatar")).await;
    assert_eq!((drawn.status, drawn.header("avatar-source")), (200, Some("drawn")));
    assert!(pictures.asked() > 0);
}

#[tokio::test]
async fn api8_it_is_safe_as_it_comes_and_refuses_to_start_otherwise() {
    let service = production().start().await;
    let answer = get(&service, "/api/users").await;
    for (name, value) in [("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer")] {
        assert_eq!(answer.header(name), Some(value));
    }
    let foreign =
        Request::get(service.addr(), "/api/users").bearer(&admin()).header("origin", "https://evil.example");
    assert_eq!(foreign.send().await.header("access-control-allow-origin"), None);
    let missing = Request::get(service.addr(), "/api/users/%00").bearer(&admin()).send().await;
    assert!(
        !missing.text().contains(".rs") && !missing.text().to_lowercase().contains("sqlite"),
        "{}",
        missing.text()
    );
    for (name, value) in [
        ("JWT_SECRET", "short"),
        ("JWT_SECRET", "change-me-change-me-change-me-change-me"),
        ("JWT_SECRET", &"a".repeat(64)),
        ("JWT_SECRET", ""),
        ("ENCRYPTION_KEY", ""),
        ("ENCRYPTION_KEY", &"00".repeat(32)),
    ] {
        let exit = production().env(name, value).run(PATIENCE).await;
        assert!(!exit.status.success(), "{name}={value} was accepted");
        assert!(exit.output.contains(name), "{name}={value}: {}", exit.output);
        assert!(value.len() < 10 || !exit.output.contains(value), "the value is not told");
    }
}

#[tokio::test]
async fn api9_every_route_is_in_the_description_with_who_may_ask() {
    let service = empty_service().await;
    let document = get(&service, "/openapi.json").await.json();
    let open = ["/api/auth/register", "/api/auth/login", "/api/auth/refresh"];
    let open = [&open[..], &["/distributed/live", "/distributed/ready", "/distributed/health"]].concat();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 20, "{}", paths.len());
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().unwrap() {
            let guarded = operation["security"].as_array().is_some_and(|list| !list.is_empty());
            assert_eq!(guarded, !open.contains(&path.as_str()), "{method} {path}");
        }
    }
    assert_eq!(get(&service, "/api/v0/users").await.status, 404);
}

#[tokio::test]
async fn api10_what_another_service_answers_is_not_believed() {
    let html = || ([("content-type", "text/html")], "<script>alert(1)</script>").into_response();
    let huge = || ([("content-type", "image/png")], vec![0_u8; 8 << 20]).into_response();
    for pictures in [Pictures::start(html).await, Pictures::start(huge).await] {
        let service = service().env("AVATAR_URL", pictures.url()).start().await;
        let ada = path_of(&created(&service, "ada@example.org", "Ada").await);
        let drawn = get(&service, &format!("{ada}/avatar")).await;
        assert_eq!((drawn.status, drawn.header("avatar-source")), (200, Some("drawn")));
        assert!(!drawn.text().contains("script"));
    }
}
