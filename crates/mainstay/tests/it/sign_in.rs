//! Keys from the configuration: who issues, who believes whom, and what does not go together.

use mainstay::StartError;
use mainstay::auth::role::Roles;
use mainstay::auth::token::{Issuer, NewClaims};
use mainstay::axum::routing::get;
use mainstay::http::{Caller, Routes, Rule};
use mainstay_testkit::http::Request;

use crate::support::{Running, builder, free_addr, ready};

/// Keys of the tests of tokens.
const EC: &str = include_str!("../../../mainstay-auth/tests/it/keys/p256.pem");
const EC_PUBLIC: &str = include_str!("../../../mainstay-auth/tests/it/keys/p256.pub.pem");
const ED: &str = include_str!("../../../mainstay-auth/tests/it/keys/ed25519.pem");
const ED_PUBLIC: &str = include_str!("../../../mainstay-auth/tests/it/keys/ed25519.pub.pem");
const SECRET: &str = "kCi4bFCTOmfhKzNxyCCXeG0F3XWzTq1jMRqwEJ2dFfY";

fn roles() -> Roles {
    Roles::builder().role("admin", ["reports:read"]).build().unwrap()
}

fn routes() -> Routes {
    Routes::new().route(
        Rule::Permission("reports:read"),
        "/reports",
        get(async |caller: Caller| caller.subject().to_owned()),
    )
}

/// An app that serves [`routes`], with these variables.
async fn serving(variables: &[(&str, &str)], issues: bool) -> Running {
    let addr = free_addr();
    let port = addr.port().to_string();
    let builder = builder(&[variables, &[("PORT", &port)]].concat()).roles(roles());
    let app = if issues { builder.sign_in() } else { builder }.start().await.unwrap();
    let serving = app.clone();
    let served = tokio::spawn(async move { serving.serve(routes()).await });
    ready(addr).await;
    Running { app, addr, served }
}

fn token_of(running: &Running) -> String {
    let issuer = running.app.container().resolve::<Issuer>().unwrap();
    let claims = NewClaims { subject: "ada".to_owned(), roles: vec!["admin".to_owned()], session: None };
    issuer.issue(&claims).unwrap().token.expose().clone()
}

async fn reports(running: &Running, token: &str) -> (u16, String) {
    let answer = Request::get(running.addr, "/reports").bearer(token).send().await;
    (answer.status, answer.text())
}

#[tokio::test]
async fn a_service_believes_the_issuer_whose_published_keys_it_was_told_of() {
    let issuer = serving(&[("JWT_PRIVATE_KEY", EC)], true).await;
    let url = format!("http://{}/.well-known/jwks.json", issuer.addr);
    let other =
        serving(&[("JWT_JWKS_URL", &url), ("JWT_ISSUER", "probe"), ("JWT_AUDIENCE", "probe")], false).await;
    let token = token_of(&issuer);
    assert_eq!(reports(&other, &token).await, (200, "ada".to_owned()));
    let stranger = serving(&[("JWT_PRIVATE_KEY", ED)], true).await;
    assert_eq!(reports(&other, &token_of(&stranger)).await.0, 401);
    issuer.stop().await.unwrap();
    assert_eq!(reports(&other, &token).await.0, 200, "keys that are known stay in use");
    other.stop().await.unwrap();
    stranger.stop().await.unwrap();
}

#[tokio::test]
async fn tokens_of_the_key_before_are_good_until_it_is_retired_for_good() {
    let before = serving(&[("JWT_SECRET", SECRET)], true).await;
    let token = token_of(&before);
    let next = "another-4bFCTOmfhKzNxyCCXeG0F3XWzTq1jMRqwEJ2";
    let between = serving(&[("JWT_SECRET", next), ("JWT_RETIRED_SECRET", SECRET)], true).await;
    let after = serving(&[("JWT_SECRET", next)], true).await;
    assert_eq!(reports(&between, &token).await.0, 200);
    assert_eq!(reports(&after, &token).await.0, 401);
    assert_eq!(reports(&after, &token_of(&between)).await.0, 200);
    let (old, new) = (
        serving(&[("JWT_PRIVATE_KEY", EC)], true).await,
        [("JWT_PRIVATE_KEY", ED), ("JWT_RETIRED_PUBLIC_KEY", EC_PUBLIC)],
    );
    let new = serving(&new, true).await;
    assert_eq!(reports(&new, &token_of(&old)).await.0, 200);
    let set = Request::get(new.addr, "/.well-known/jwks.json").send().await.json();
    assert_eq!(set["keys"].as_array().unwrap().len(), 2, "others learn both");
    assert!(!set.to_string().contains("\"d\""), "and no private half");
}

#[tokio::test]
async fn a_secret_is_not_published() {
    let app = serving(&[("JWT_SECRET", SECRET)], true).await;
    let set = Request::get(app.addr, "/.well-known/jwks.json").send().await;
    assert_eq!(set.status, 404, "{}", set.text());
}

#[tokio::test]
async fn keys_that_do_not_go_together_are_named_and_not_shown() {
    let url = ("JWT_JWKS_URL", "https://id.example.com/keys");
    for (variables, issues, named) in [
        (vec![("JWT_PUBLIC_KEY", EC_PUBLIC)], true, "JWT_PUBLIC_KEY"),
        (vec![("JWT_PRIVATE_KEY", EC), ("JWT_PUBLIC_KEY", ED_PUBLIC)], true, "JWT_PUBLIC_KEY"),
        (vec![("JWT_PRIVATE_KEY", EC_PUBLIC)], true, "JWT_PRIVATE_KEY"),
        (vec![("JWT_PRIVATE_KEY", EC), ("JWT_ALGORITHM", "EdDSA")], true, "JWT_PRIVATE_KEY"),
        (vec![("JWT_SECRET", SECRET), ("JWT_RETIRED_SECRET", SECRET)], true, "JWT_RETIRED_SECRET"),
        (vec![("JWT_PRIVATE_KEY", EC), url], true, "JWT_JWKS_URL"),
        (vec![url], true, "JWT_JWKS_URL"),
        (
            vec![("JWT_JWKS_URL", "http://id.example.com/keys"), ("APP_ENV", "production")],
            false,
            "JWT_JWKS_URL",
        ),
        (vec![("APP_ENV", "production")], true, "JWT_SECRET"),
        (
            vec![("APP_ENV", "production"), ("JWT_SECRET", "your-256-bit-secret-your-256-bit-secret")],
            true,
            "JWT_SECRET",
        ),
        (
            vec![
                ("APP_ENV", "production"),
                ("JWT_SECRET", SECRET),
                ("JWT_RETIRED_SECRET", "your-256-bit-secret-your-256-bit-secret"),
            ],
            true,
            "JWT_RETIRED_SECRET",
        ),
    ] {
        let builder = builder(&[&variables[..], &[("PORT", "0")]].concat());
        let builder = if issues { builder.sign_in() } else { builder };
        let Err(error) = builder.start().await else { panic!("{named} is accepted: {variables:?}") };
        assert!(matches!(error, StartError::Config(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(&format!("- {named}")), "{named}: {text}");
        for (name, value) in variables {
            assert!(!name.ends_with("KEY") && !name.ends_with("SECRET") || !text.contains(value), "{text}");
        }
    }
}
