//! What a stranger gets from the service as it runs on the internet, and what nobody gets.

use mainstay_testkit::Service;
use mainstay_testkit::http::{Request, Response};
use serde_json::json;

use crate::{admin, get, production, token_of};

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
