//! `/distributed/lock/{key}`

use mainstay_testkit::TestClock;

use super::*;

const PATH: &str = "/distributed/lock/job";
/// Go away at once where another holds it.
const TRY: Option<&str> = Some(r#"{"retryAttempts":0}"#);

fn token_of(held: &Response) -> String {
    held.json()["token"].as_str().unwrap().to_owned()
}

async fn release(endpoints: &Endpoints, token: &str) -> Response {
    endpoints.send("DELETE", PATH, Some(&json!({ "token": token }).to_string())).await
}

#[tokio::test]
async fn a_lock_is_held_until_its_token_releases_it() {
    let endpoints = endpoints(true).await;
    let held = endpoints.send("POST", PATH, None).await;
    assert_eq!(
        (held.status, held.json()["key"].clone(), held.json()["ttl"].clone()),
        (200, json!("job"), json!(30_000))
    );
    let (token, fence) = (token_of(&held), held.json()["fence"].as_u64().unwrap());
    assert!(token.len() == 32 && fence < 1 << 53, "{token} {fence}");

    let contended = endpoints.send("POST", PATH, TRY).await;
    assert_problem(&contended, 409, "lock-held", None);
    let wait: u64 = contended.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");

    let released = release(&endpoints, &token).await;
    assert_eq!((released.status, released.json()), (200, json!({"key": "job", "released": true})));
    let next = endpoints.send("POST", PATH, TRY).await;
    assert_eq!(next.status, 200);
    assert!(next.json()["fence"].as_u64().unwrap() > fence);
}

#[tokio::test]
async fn what_does_not_hold_the_lock_does_not_release_it() {
    let endpoints = endpoints(true).await;
    let token = token_of(&endpoints.send("POST", PATH, None).await);
    let other = token_of(&endpoints.send("POST", "/distributed/lock/other", None).await);
    for body in [
        None,
        Some(String::new()),
        Some("{}".to_owned()),
        Some(json!({"token": null}).to_string()),
        Some(json!({"token": ""}).to_string()),
        Some(json!({"token": "x"}).to_string()),
        Some(json!({"token": "0".repeat(32)}).to_string()),
        Some(json!({"token": "0".repeat(100_000)}).to_string()),
        Some(json!({ "token": other }).to_string()),
        Some(json!({ "token": format!("{token} ") }).to_string()),
    ] {
        let refused = endpoints.send("DELETE", PATH, body.as_deref()).await;
        assert_problem(&refused, 409, "lock-not-held", None);
    }
    assert_problem(&endpoints.send("POST", PATH, TRY).await, 409, "lock-held", None);
    assert_eq!(release(&endpoints, &token).await.status, 200);
    assert_problem(&release(&endpoints, &token).await, 409, "lock-not-held", None);
}

#[tokio::test]
async fn a_token_whose_time_is_over_releases_nothing() {
    let time = TestClock::new();
    let locks = Locks::in_memory(Default::default(), &Metrics::new(), time.clock());
    let endpoints = endpoints_with(true, |state| state.locks = locks).await;
    let first = endpoints.send("POST", PATH, Some(r#"{"ttl":1000}"#)).await;
    time.suspend(Duration::from_secs(1));
    assert_problem(&release(&endpoints, &token_of(&first)).await, 409, "lock-not-held", None);
    let second = endpoints.send("POST", PATH, TRY).await;
    assert_eq!(second.status, 200);
    assert_problem(&release(&endpoints, &token_of(&first)).await, 409, "lock-not-held", None);
    assert_eq!(release(&endpoints, &token_of(&second)).await.status, 200);
}

#[tokio::test]
async fn who_tries_again_gets_the_lock_when_it_is_released() {
    let endpoints = endpoints(true).await;
    let first = token_of(&endpoints.send("POST", PATH, None).await);
    let patient = Some(r#"{"retryAttempts":10,"retryDelay":50}"#);
    let (second, released) = tokio::join!(endpoints.send("POST", PATH, patient), release(&endpoints, &first));
    assert_eq!((second.status, released.status), (200, 200));
}

#[tokio::test]
async fn a_token_may_come_in_the_query_where_bodies_are_dropped() {
    let endpoints = endpoints(true).await;
    let token = token_of(&endpoints.send("POST", PATH, None).await);
    let released = endpoints.send("DELETE", &format!("{PATH}?token={token}"), None).await;
    assert_eq!((released.status, released.json()), (200, json!({"key": "job", "released": true})));
}

#[tokio::test]
async fn an_option_out_of_bounds_is_422_and_named() {
    let endpoints = endpoints(true).await;
    for (field, values) in [
        ("ttl", &["0", "-1", "1.5", "\"1s\"", "1000000000000000000", "18446744073709551616"][..]),
        ("retryAttempts", &["-1", "11", "0.5", "4294967296", "\"3\"", "1000000000000000000"][..]),
        ("retryDelay", &["0", "-1", "10001", "0.1", "1000000000000000000", "{}"][..]),
        ("retries", &["1"][..]),
    ] {
        for value in values {
            let body = format!(r#"{{"{field}":{value}}}"#);
            let response = endpoints.send("POST", PATH, Some(&body)).await;
            assert_problem(&response, 422, "validation", Some(field));
        }
    }
    let both = endpoints.send("POST", PATH, Some(r#"{"retryAttempts":99,"retryDelay":0}"#)).await;
    assert_eq!(both.json()["errors"].as_array().unwrap().len(), 2);
    for no_json in [r#"{"ttl":NaN}"#, r#"{"ttl":1e400}"#, "{", "ttl=1"] {
        assert_problem(&endpoints.send("POST", PATH, Some(no_json)).await, 400, "bad-request", None);
    }
    assert_problem(
        &endpoints.send("DELETE", PATH, Some(r#"{"token":7}"#)).await,
        422,
        "validation",
        Some("token"),
    );
    assert_eq!(endpoints.send("POST", PATH, TRY).await.status, 200, "nothing was held");
}

#[tokio::test]
async fn every_name_is_a_lock_of_its_own() {
    let endpoints = endpoints(true).await;
    let mut names: Vec<_> = NASTY.to_vec();
    names.dedup_by_key(|(_, name)| *name);
    for (written, name) in names {
        let held = endpoints.send("POST", &format!("/distributed/lock/{written}"), TRY).await;
        assert_eq!((held.status, held.json()["key"].clone()), (200, json!(name)), "{written}");
    }
}
