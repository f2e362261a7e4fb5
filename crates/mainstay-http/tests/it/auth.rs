//! Rules of routes: who is let in, what the others hear, and what a handler learns of its caller.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::handler::HandlerWithoutStateExt as _;
use axum::routing::{get, post};
use mainstay_auth::role::Roles;
use mainstay_auth::{Authenticate, Principal, Refused};
use mainstay_http::{Caller, Routes, Rule};
use mainstay_testkit::http::{Request, Response};

use crate::TestHost;

/// Whose token is their name: `ada` administers, `linus` does not.
struct Names;

#[async_trait]
impl Authenticate for Names {
    async fn authenticate(&self, token: &str) -> Result<Principal, Refused> {
        let roles = Roles::builder().role("admin", ["reports:read"]).role("user", []).build().unwrap();
        let known = |role: &str| {
            let principal = Principal::new(token).with_roles([role.to_owned()]);
            Ok(principal.with_permissions(roles.permissions([role])))
        };
        match token {
            "ada" => known("admin"),
            "linus" => known("user"),
            "later" => Err(Refused::Unavailable),
            _ => Err(Refused::Invalid),
        }
    }
}

async fn serving(routes: Routes) -> TestHost {
    let names: Arc<dyn Authenticate> = Arc::new(Names);
    TestHost::start(routes.into_router(Some(&names)).into()).await
}

async fn server() -> TestHost {
    let own = async |caller: Caller| caller.must_own("linus", "reports:read").map(|()| "linus's");
    serving(
        Routes::new()
            .route(Rule::Public, "/open", get(async |caller: Option<Caller>| format!("{}", caller.is_none())))
            .route(Rule::Authenticated, "/me", get(async |caller: Caller| caller.subject().to_owned()))
            .route(Rule::Role("admin"), "/admin", get(async || "admin").post(async || "changed"))
            .route(Rule::Permission("reports:read"), "/reports", get(async || "reports"))
            .route(Rule::Authenticated, "/own", get(own)),
    )
    .await
}

async fn asked(server: &TestHost, path: &str, token: Option<&str>) -> Response {
    let request = Request::get(server.addr(), path);
    match token {
        Some(token) => request.bearer(token).send().await,
        None => request.send().await,
    }
}

#[tokio::test]
async fn each_rule_lets_in_whom_it_names_and_nobody_else() {
    let server = server().await;
    for (path, nobody, linus, ada) in [
        ("/open", 200, 200, 200),
        ("/me", 401, 200, 200),
        ("/admin", 401, 403, 200),
        ("/reports", 401, 403, 200),
        ("/own", 401, 200, 200),
        ("/nowhere", 404, 404, 404),
    ] {
        assert_eq!(asked(&server, path, None).await.status, nobody, "{path}");
        assert_eq!(asked(&server, path, Some("linus")).await.status, linus, "{path}");
        assert_eq!(asked(&server, path, Some("ada")).await.status, ada, "{path}");
        let unknown = if nobody == 200 { 200 } else { nobody };
        assert_eq!(asked(&server, path, Some("mallory")).await.status, unknown, "{path}");
    }
    assert_eq!(asked(&server, "/me", Some("linus")).await.text(), "linus");
    assert_eq!(asked(&server, "/open", Some("linus")).await.text(), "true", "no token is looked at there");
}

#[tokio::test]
async fn a_rule_is_about_every_method_of_its_route() {
    let server = server().await;
    for method in ["GET", "HEAD", "POST"] {
        let answer = Request::new(method, server.addr(), "/admin").send().await;
        assert_eq!(answer.status, 401, "{method}");
        let answer = Request::new(method, server.addr(), "/admin").bearer("linus").send().await;
        assert_eq!(answer.status, 403, "{method}");
    }
    for method in ["PUT", "DELETE", "PATCH", "TRACE", "BREW"] {
        let answer = Request::new(method, server.addr(), "/admin").bearer("ada").send().await;
        assert_eq!(answer.status, 405, "{method}: nothing is there for anybody");
    }
}

#[tokio::test]
async fn what_is_wrong_is_told_as_little_as_it_may() {
    let server = server().await;
    let none = asked(&server, "/me", None).await;
    let bad = asked(&server, "/me", Some("mallory")).await;
    assert_eq!(none.header("www-authenticate"), Some("Bearer"));
    let told = |answer: &Response| {
        let mut problem = answer.json();
        problem.as_object_mut().unwrap().remove("requestId");
        problem
    };
    assert_eq!(told(&none), told(&bad));
    let later = asked(&server, "/me", Some("later")).await;
    assert_eq!((later.status, later.header("retry-after")), (503, Some("1")), "not the caller's fault");
    let twice = Request::get(server.addr(), "/me").bearer("ada").bearer("linus").send().await;
    assert_eq!(twice.status, 401, "of two tokens none is believed");
}

#[tokio::test]
async fn without_anybody_who_recognises_callers_only_public_routes_answer() {
    let routes = Routes::new().route(Rule::Public, "/open", get(async || "open")).route(
        Rule::Authenticated,
        "/me",
        get(async || "me"),
    );
    let server = TestHost::start(routes.into_router(None).into()).await;
    assert_eq!(asked(&server, "/open", None).await.status, 200);
    assert_eq!(asked(&server, "/me", Some("ada")).await.status, 401);
}

/// A fallback belongs to no route, so no rule would stand before it.
#[tokio::test]
async fn a_whole_router_is_under_its_rule_with_all_it_brings() {
    let inner = Router::new().route("/deep", get(async || "deep"));
    let brought = Router::new()
        .route("/a", get(async || "a").fallback(async || "any method"))
        .route_service("/service", (async || "service").into_service())
        .nest("/nested", inner)
        .nest_service("/files", (async || "file").into_service())
        .fallback(async || "whatever the path");
    let server = serving(Routes::new().all(Rule::Role("admin"), brought)).await;
    for path in ["/a", "/service", "/nested/deep", "/files/secret", "/nested/nowhere", "/nowhere"] {
        let answer = asked(&server, path, None).await;
        assert!(matches!(answer.status, 401 | 404), "{path}: {} {}", answer.status, answer.text());
    }
    assert_eq!(asked(&server, "/nested/deep", Some("ada")).await.text(), "deep");
    assert_eq!(asked(&server, "/files/x", Some("ada")).await.text(), "file");
    let posted = Request::post(server.addr(), "/a").send().await;
    assert_eq!(posted.status, 401);
}

#[tokio::test]
async fn methods_of_one_path_may_have_rules_of_their_own() {
    let routes = Routes::new()
        .route(Rule::Public, "/notes", get(async || "read"))
        .merge(Routes::new().route(Rule::Permission("reports:read"), "/notes", post(async || "written")));
    let server = serving(routes).await;
    assert_eq!(asked(&server, "/notes", None).await.status, 200);
    assert_eq!(Request::post(server.addr(), "/notes").send().await.status, 401);
    assert_eq!(Request::post(server.addr(), "/notes").bearer("ada").send().await.text(), "written");
}

/// A body of someone who is not let in is not even read.
#[tokio::test]
async fn a_rule_stands_before_everything_that_a_handler_takes() {
    let handler = post(async |mainstay_http::Json(body): mainstay_http::Json<Vec<u8>>| format!("{body:?}"));
    let server = serving(Routes::new().route(Rule::Authenticated, "/bytes", handler)).await;
    let bad = Request::post(server.addr(), "/bytes").header("content-type", "application/json").body("no");
    assert_eq!(bad.send().await.status, 401);
}
