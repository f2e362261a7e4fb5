//! How much one client may ask.

use mainstay_testkit::Service;
use mainstay_testkit::http::{Request, Response};
use serde_json::json;

use crate::{create, get, service};

async fn limited(max: &str) -> Service {
    service().env("APP_ENV", "test").env("RATE_LIMIT_MAX_REQUESTS", max).start().await
}

/// The number after `r=` of `RateLimit`.
fn remaining(response: &Response) -> u64 {
    let field = response.header("ratelimit").unwrap_or_else(|| panic!("{:?}", response.headers));
    let value = field.split(';').find_map(|part| part.strip_prefix("r="));
    value.unwrap_or_else(|| panic!("{field}")).parse().unwrap()
}

#[tokio::test]
async fn a_client_is_told_what_is_left_and_then_to_wait() {
    let service = limited("5").await;
    for left in (0..5).rev() {
        let response = get(&service, "/api/users").await;
        assert_eq!((response.status, remaining(&response)), (200, left));
        let policy = response.header("ratelimit-policy").unwrap();
        assert!(policy.contains("q=5") && policy.contains("w=900"), "{policy}");
    }
    let refused = get(&service, "/api/users").await;
    assert_eq!((refused.status, remaining(&refused)), (429, 0));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    // The window, until it has moved past the first request, and a little more, different for each client.
    assert!((1..=1200).contains(&wait), "{wait}");
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    let problem = refused.json();
    assert!(problem["type"].as_str().unwrap().starts_with("urn:mainstay:problem:"), "{problem}");
    assert!(problem["requestId"].is_string());
}

#[tokio::test]
async fn every_route_of_the_api_counts_and_no_other() {
    let service = limited("4").await;
    let user = create(&service, json!({"email": "ada@example.org", "name": "Ada"})).await.json();
    let path = crate::path_of(&user);
    assert_eq!(get(&service, &path).await.status, 200);
    assert_eq!(get(&service, &format!("{path}/audit")).await.status, 200);
    assert_eq!(create(&service, json!({})).await.status, 422, "a refused request was a request");
    assert_eq!(get(&service, &path).await.status, 429);
    assert_eq!(create(&service, json!({"email": "b@example.org", "name": "B"})).await.status, 429);
    for _ in 0..20 {
        for open in ["/distributed/live", "/distributed/ready", "/health", "/openapi.json"] {
            let response = get(&service, open).await;
            assert_eq!((response.status, response.header("ratelimit")), (200, None), "{open}");
        }
    }
}

async fn forwarded(service: &Service, client: &str) -> Response {
    Request::get(service.addr(), "/api/users")
        .bearer(&crate::admin())
        .header("x-forwarded-for", client)
        .send()
        .await
}

#[tokio::test]
async fn a_client_cannot_be_another_by_saying_so() {
    let service = limited("2").await;
    for (client, status) in [("192.0.2.1", 200), ("192.0.2.2", 200), ("192.0.2.3", 429)] {
        assert_eq!(forwarded(&service, client).await.status, status, "{client}");
    }
}

#[tokio::test]
async fn a_trusted_proxy_says_who_the_client_is() {
    let proxied = service()
        .env("APP_ENV", "test")
        .env("RATE_LIMIT_MAX_REQUESTS", "1")
        .env("TRUSTED_PROXIES", "127.0.0.0/8");
    let service = proxied.start().await;
    for (client, status) in [("192.0.2.1", 200), ("192.0.2.2", 200), ("192.0.2.1", 429)] {
        assert_eq!(forwarded(&service, client).await.status, status, "{client}");
    }
    assert_eq!(forwarded(&service, "198.51.100.9, 192.0.2.2").await.status, 429, "the nearest counts");
}
