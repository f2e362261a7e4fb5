//! `/api/users/{id}/avatar`: another service's picture, or a drawn one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use mainstay_testkit::Service;
use mainstay_testkit::http::{Request, Response};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::{created, get as read, path_of, service};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\nnearly";

/// A service of pictures that answers as it is told, and counts.
pub(super) struct Pictures {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Pictures {
    pub(super) async fn start(
        answer: impl Fn() -> axum::response::Response + Clone + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default());
        let count = Arc::clone(&asked);
        let routes = Router::new().route(
            "/of/{id}",
            get(async move || {
                count.fetch_add(1, Ordering::Relaxed);
                answer()
            }),
        );
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { address, asked, serving }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/of/", self.address)
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Pictures {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn picture(service: &Service, user: &str) -> Response {
    let answer = read(service, &format!("{user}/avatar")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.header("content-security-policy").unwrap().contains("sandbox"));
    answer
}

#[tokio::test]
async fn without_another_service_every_picture_is_drawn() {
    let service = service().start().await;
    let ada = path_of(&created(&service, "ada@example.org", "Ada <b> Lovelace").await);
    let drawn = picture(&service, &ada).await;
    assert_eq!(drawn.header("avatar-source"), Some("drawn"));
    assert_eq!(drawn.header("content-type"), Some("image/svg+xml"));
    assert!(drawn.text().contains(">AL</text>"), "{}", drawn.text());
    let nobody = read(&service, "/api/users/01900000-0000-7000-8000-000000000000/avatar").await;
    assert_eq!(nobody.status, 404);
}

#[tokio::test]
async fn the_picture_of_another_service_is_handed_on_and_one_is_drawn_when_it_fails() {
    let up = Arc::new(AtomicUsize::new(1));
    let is_up = Arc::clone(&up);
    let mut pictures = Pictures::start(move || match is_up.load(Ordering::Relaxed) {
        1 => ([("content-type", "image/png")], PNG).into_response(),
        2 => ([("content-type", "image/svg+xml")], "<svg onload=alert(1)>").into_response(),
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    })
    .await;
    let service = service().env("AVATAR_URL", pictures.url()).start().await;
    let ada = path_of(&created(&service, "ada@example.org", "Ada").await);
    let remote = picture(&service, &ada).await;
    assert_eq!(
        (remote.header("avatar-source"), remote.header("content-type")),
        (Some("remote"), Some("image/png"))
    );
    assert_eq!(remote.body, PNG);

    up.store(2, Ordering::Relaxed);
    assert_eq!(
        picture(&service, &ada).await.header("avatar-source"),
        Some("drawn"),
        "no scripts from elsewhere"
    );

    up.store(3, Ordering::Relaxed);
    for _ in 0..30 {
        assert_eq!(picture(&service, &ada).await.header("avatar-source"), Some("drawn"));
    }
    let info = read(&service, "/distributed/info").await.json();
    let breaker = &info["breakers"][0];
    assert_eq!(
        (breaker["name"].as_str(), breaker["state"].as_str()),
        (Some("avatar"), Some("open")),
        "{info}"
    );
    assert!(breaker["lastOpening"].is_string(), "{info}");
    let asked = pictures.asked();
    assert!(asked < 30, "the breaker spared it: {asked}");

    // Up again, and an operator does not want to wait.
    up.store(1, Ordering::Relaxed);
    let reset = Request::post(service.addr(), "/distributed/breakers/avatar")
        .json(&json!({"reset": true}))
        .send()
        .await;
    assert_eq!(reset.status, 200, "{}", reset.text());
    assert_eq!(picture(&service, &ada).await.header("avatar-source"), Some("remote"));

    pictures.serving.abort();
    let _ended = (&mut pictures.serving).await;
    assert_eq!(picture(&service, &ada).await.header("avatar-source"), Some("drawn"));
}
