use mainstay_core::breaker::{Mode, State};

use super::{assert_problem, endpoints, endpoints_with};

#[tokio::test]
async fn a_breaker_is_shown_forced_and_given_back() {
    let mut breakers = None;
    let endpoints = endpoints_with(true, |state| {
        state.breakers.named("billing").try_acquire().unwrap().failure();
        breakers = Some(state.breakers.clone());
    })
    .await;
    let billing = breakers.unwrap().named("billing");
    let info = endpoints.get("/distributed/info").await.json();
    let shown = &info["breakers"][0];
    assert_eq!((shown["name"].as_str(), shown["state"].as_str()), (Some("billing"), Some("closed")));
    assert_eq!((shown["calls"].as_u64(), shown["failures"].as_u64()), (Some(1), Some(1)));

    let path = "/distributed/breakers/billing";
    let forced = endpoints.send("POST", path, Some(r#"{"mode":"forced_open"}"#)).await;
    assert_eq!(forced.status, 200, "{}", forced.text());
    assert_eq!(
        (forced.json()["state"].as_str(), forced.json()["mode"].as_str()),
        (Some("open"), Some("forced_open"))
    );
    assert!(billing.try_acquire().is_err());
    let info = endpoints.get("/distributed/info").await.json();
    assert!(info["breakers"][0]["lastOpening"].is_string(), "{info}");

    let back = endpoints.send("POST", path, Some(r#"{"mode":"automatic"}"#)).await;
    assert_eq!((back.status, billing.mode(), billing.state()), (200, Mode::Automatic, State::Closed));
}

#[tokio::test]
async fn resetting_closes_a_breaker_and_empties_its_window() {
    let mut breakers = None;
    let endpoints = endpoints_with(true, |state| breakers = Some(state.breakers.clone())).await;
    let billing = breakers.unwrap().named("billing");
    for _ in 0..20 {
        billing.try_acquire().unwrap().failure();
    }
    assert_eq!(billing.state(), State::Open);
    let reset = endpoints.send("POST", "/distributed/breakers/billing", Some(r#"{"reset":true}"#)).await;
    assert_eq!((reset.status, reset.json()["calls"].as_u64()), (200, Some(0)));
    assert_eq!(billing.state(), State::Closed);
}

#[tokio::test]
async fn a_request_that_says_nothing_to_do_is_refused() {
    let endpoints = endpoints_with(true, |state| drop(state.breakers.named("billing"))).await;
    for nothing in ["{}", r#"{"mode":null,"reset":false}"#] {
        let refused = endpoints.send("POST", "/distributed/breakers/billing", Some(nothing)).await;
        assert_eq!(refused.status, 422, "{nothing}: {}", refused.text());
        assert!(refused.text().contains("mode"), "{}", refused.text());
    }
}

#[tokio::test]
async fn an_unknown_breaker_and_an_unknown_mode_are_named() {
    let endpoints = endpoints_with(true, |state| drop(state.breakers.named("billing"))).await;
    let absent = endpoints.send("POST", "/distributed/breakers/biling", Some("{}")).await;
    assert_problem(&absent, 404, "not-found", None);
    assert!(absent.text().contains("billing"), "it says which there are: {}", absent.text());
    let wrong = endpoints.send("POST", "/distributed/breakers/billing", Some(r#"{"mode":"half"}"#)).await;
    assert_problem(&wrong, 422, "validation", Some("mode"));
}

#[tokio::test]
async fn nobody_forces_a_breaker_without_a_permission() {
    let endpoints = endpoints(false).await;
    let refused = endpoints.send("POST", "/distributed/breakers/billing", Some("{}")).await;
    assert_eq!(refused.status, 401);
}
