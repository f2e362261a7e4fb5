//! Extractors: each refusal says which field, and what was wrong with it.

use axum::Router;
use axum::routing::{get, post};
use mainstay_http::{FenceHeader, Json, Path, Query};
use mainstay_testkit::http::{Request, Response};
use serde::Deserialize;
use serde_json::json;

use crate::TestHost;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    name: String,
    #[serde(default)]
    tags: Vec<u8>,
}

#[derive(Deserialize)]
struct Page {
    limit: Option<u8>,
}

async fn server() -> TestHost {
    let routes = Router::new()
        .route("/body", post(async |Json(body): Json<Body>| format!("{} {}", body.name, body.tags.len())))
        .route(
            "/maybe",
            post(async |body: Option<Json<Body>>| body.map_or("none".to_owned(), |Json(body)| body.name)),
        )
        .route("/page", get(async |Query(page): Query<Page>| format!("{:?}", page.limit)))
        .route("/fenced", post(async |fence: FenceHeader| format!("{} {}", fence.name(), fence.fence())))
        .route(
            "/maybe-fenced",
            post(async |fence: Option<FenceHeader>| {
                fence.map_or("none".to_owned(), |fence| fence.fence().to_string())
            }),
        )
        .route("/item/{id}", get(async |Path(id): Path<u32>| id.to_string()));
    TestHost::start(routes).await
}

async fn post_json(server: &TestHost, body: &str) -> Response {
    Request::post(server.addr(), "/body").header("content-type", "application/json").body(body).send().await
}

#[tokio::test]
async fn a_good_body_is_read_whatever_the_content_types_parameters() {
    let server = server().await;
    for content_type in
        ["application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"]
    {
        let response = Request::post(server.addr(), "/body")
            .header("content-type", content_type)
            .body(r#"{"name":"a","tags":[1,2]}"#)
            .send()
            .await;
        assert_eq!((response.status, response.text().as_str()), (200, "a 2"), "{content_type}");
    }
}

#[tokio::test]
async fn malformed_json_is_400_with_line_and_column() {
    let server = server().await;
    for body in [r#"{"name": }"#, "", "{", r#"{"name":"a"} trailing"#, "\u{0}"] {
        let response = post_json(&server, body).await;
        assert_eq!(response.status, 400, "{body:?}");
        assert!(response.json()["detail"].as_str().unwrap().contains("line 1 column"), "{}", response.text());
    }
}

#[tokio::test]
async fn a_body_that_is_not_utf8_is_refused() {
    let server = server().await;
    let body: &[u8] = b"{\"name\":\"\xff\"}";
    let response = Request::post(server.addr(), "/body")
        .header("content-type", "application/json")
        .body(body)
        .send()
        .await;
    assert_eq!(response.status, 400);
}

#[tokio::test]
async fn a_field_of_the_wrong_type_is_422_and_named() {
    let server = server().await;
    for (body, field) in [
        (r#"{"name":1}"#, "name"),
        (r#"{"name":"a","tags":[1,300]}"#, "tags[1]"),
        (r#"{"name":"a","age":1}"#, "age"),
        (r#"{}"#, ""),
        ("[]", ""),
        ("7", ""),
    ] {
        let response = post_json(&server, body).await;
        assert_eq!(response.status, 422, "{body}");
        assert_eq!(response.json()["errors"][0]["field"], field, "{body}: {}", response.text());
    }
}

#[tokio::test]
async fn a_body_that_may_be_absent_is_held_to_the_same_rules_when_it_is_there() {
    let server = server().await;
    let send = |content_type: Option<&'static str>, body: &'static str| {
        let request = Request::post(server.addr(), "/maybe").body(body);
        content_type.map_or(request.clone(), |value| request.header("content-type", value)).send()
    };
    let json = Some("application/json");
    for content_type in [None, json, Some("text/plain")] {
        assert_eq!(send(content_type, "").await.text(), "none", "{content_type:?}");
    }
    assert_eq!(send(json, r#"{"name":"a"}"#).await.text(), "a");
    assert_eq!(send(None, r#"{"name":"a"}"#).await.status, 415);
    assert_eq!(send(json, " ").await.status, 400);
    assert_eq!(send(json, "null").await.status, 422);
}

#[tokio::test]
async fn another_content_type_is_415() {
    let server = server().await;
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"] {
        let response = Request::post(server.addr(), "/body")
            .header("content-type", content_type)
            .body("{}")
            .send()
            .await;
        assert_eq!(response.status, 415, "{content_type}");
    }
}

#[tokio::test]
async fn a_query_parameter_of_the_wrong_type_is_422_and_named() {
    let server = server().await;
    assert_eq!(Request::get(server.addr(), "/page?limit=7").send().await.text(), "Some(7)");
    assert_eq!(Request::get(server.addr(), "/page").send().await.text(), "None");
    for query in ["limit=x", "limit=-1", "limit=1000", "limit=%ff"] {
        let response = Request::get(server.addr(), format!("/page?{query}")).send().await;
        assert_eq!(
            (response.status, response.json()["errors"][0]["field"].clone()),
            (422, json!("limit")),
            "{query}"
        );
    }
}

#[tokio::test]
async fn a_path_parameter_that_fits_nothing_is_404() {
    let server = server().await;
    assert_eq!(Request::get(server.addr(), "/item/7").send().await.text(), "7");
    for id in ["x", "-1", "..%2f7", "%ff", "%00", "99999999999"] {
        assert_eq!(Request::get(server.addr(), format!("/item/{id}")).send().await.status, 404, "{id}");
    }
}

#[tokio::test]
async fn what_serde_repeats_of_the_input_is_cut_short() {
    let server = server().await;
    let response = post_json(&server, &format!(r#"{{"{}":1}}"#, "k".repeat(5000))).await;
    assert_eq!(response.status, 422);
    assert!(response.json()["errors"][0]["message"].as_str().unwrap().chars().count() <= 201);
}

#[tokio::test]
async fn a_fence_is_read_as_the_holder_of_the_lock_wrote_it() {
    let server = server().await;
    let sent = FenceHeader::new("report:2026/01 é", 7.into()).unwrap().value();
    for (path, expected) in [("/fenced", "report:2026/01 é 7"), ("/maybe-fenced", "7")] {
        let request = Request::post(server.addr(), path).header("mainstay-fence", sent.to_str().unwrap());
        let response = request.send().await;
        assert_eq!((response.status, response.text().as_str()), (200, expected));
    }
}

#[tokio::test]
async fn a_fence_that_is_missing_repeated_or_malformed_is_400_and_named() {
    let server = server().await;
    let malformed: &[&[&str]] = &[&["a"], &["a;t=x"], &["a/b;t=1"], &["a;t=1", "a;t=2"], &["é;t=1"]];
    for path in ["/fenced", "/maybe-fenced"] {
        for values in malformed {
            let request = Request::post(server.addr(), path);
            let request =
                values.iter().fold(request, |request, value| request.header("mainstay-fence", *value));
            let response = request.send().await;
            assert_eq!(response.status, 400, "{path} {values:?}");
            assert!(response.text().contains("Mainstay-Fence"), "{}", response.text());
        }
    }
    assert_eq!(Request::post(server.addr(), "/fenced").send().await.status, 400);
    assert_eq!(Request::post(server.addr(), "/maybe-fenced").send().await.text(), "none");
}
