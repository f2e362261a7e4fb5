//! `/distributed/cache/{key}`

use mainstay_core::cache::Ttl;
use mainstay_testkit::TestClock;

use super::*;

const PATH: &str = "/distributed/cache/user:1";

#[tokio::test]
async fn a_value_is_kept_read_and_deleted() {
    let endpoints = endpoints(true).await;
    assert_problem(&endpoints.get(PATH).await, 404, "not-found", None);
    let set = endpoints.send("POST", PATH, Some(r#"{"value":{"name":"Ada"},"ttl":60000}"#)).await;
    assert_eq!((set.status, set.json()), (201, json!({"key": "user:1", "ttl": 60_000})));
    let got = endpoints.get(PATH).await;
    assert_eq!((got.status, got.json()), (200, json!({"key": "user:1", "value": {"name": "Ada"}})));
    let deleted = endpoints.send("DELETE", PATH, None).await;
    assert_eq!((deleted.status, deleted.json()), (200, json!({"key": "user:1", "deleted": true})));
    let again = endpoints.send("DELETE", PATH, None).await;
    assert_eq!((again.status, again.json()["deleted"].clone()), (200, json!(false)));
    assert_eq!(endpoints.get(PATH).await.status, 404);
}

#[tokio::test]
async fn without_a_ttl_a_value_stays_for_an_hour() {
    let time = TestClock::new();
    let cache = Cache::in_memory(Default::default(), &Metrics::new(), time.clock());
    let endpoints = endpoints_with(true, |state| state.cache = cache).await;
    let set = endpoints.send("POST", PATH, Some(r#"{"value":1}"#)).await;
    assert_eq!((set.status, set.json()["ttl"].clone()), (201, json!(3_600_000)));
    time.suspend(Duration::from_secs(3000)); // a ttl varies by a tenth
    assert_eq!(endpoints.get(PATH).await.status, 200);
    time.suspend(Duration::from_secs(1000));
    assert_eq!(endpoints.get(PATH).await.status, 404);
}

#[tokio::test]
async fn null_is_a_value() {
    let endpoints = endpoints(true).await;
    assert_eq!(endpoints.send("POST", PATH, Some(r#"{"value":null}"#)).await.status, 201);
    let got = endpoints.get(PATH).await;
    assert_eq!((got.status, got.json()), (200, json!({"key": "user:1", "value": null})));
}

#[tokio::test]
async fn a_value_of_the_service_is_shown_as_json() {
    let cache = Cache::in_memory(Default::default(), &Metrics::new(), Clock::system());
    cache.set("user:1", &("Ada", 36), Ttl::hours(1)).await.unwrap();
    let endpoints = endpoints_with(true, |state| state.cache = cache).await;
    assert_eq!(endpoints.get(PATH).await.json()["value"], json!(["Ada", 36]));
}

#[tokio::test]
async fn every_name_is_a_key_of_its_own() {
    let endpoints = endpoints(true).await;
    for (written, name) in NASTY {
        let path = format!("/distributed/cache/{written}");
        let set = endpoints.send("POST", &path, Some(&json!({ "value": name }).to_string())).await;
        assert_eq!((set.status, set.json()["key"].clone()), (201, json!(name)), "{written}");
        assert_eq!(set.header("set-cookie"), None);
    }
    for (written, name) in NASTY {
        let got = endpoints.get(&format!("/distributed/cache/{written}")).await;
        assert_eq!(got.json(), json!({"key": name, "value": name}), "{written}");
    }
    for other in ["%7B%7D", "a", "..%2f"] {
        assert_eq!(endpoints.get(&format!("/distributed/cache/{other}")).await.status, 404, "{other}");
    }
}

#[tokio::test]
async fn a_ttl_that_is_no_time_is_422_and_named() {
    let endpoints = endpoints(true).await;
    for ttl in
        ["0", "-1", "1.5", "1e3", "\"60000\"", "true", "[]", "1000000000000000000", "18446744073709551616"]
    {
        let response = endpoints.send("POST", PATH, Some(&format!(r#"{{"value":1,"ttl":{ttl}}}"#))).await;
        assert_problem(&response, 422, "validation", Some("ttl"));
    }
    for no_json in ["NaN", "1e400", "0x10", "1_000"] {
        let response = endpoints.send("POST", PATH, Some(&format!(r#"{{"value":1,"ttl":{no_json}}}"#))).await;
        assert_problem(&response, 400, "bad-request", None);
    }
    assert_eq!(endpoints.get(PATH).await.status, 404, "nothing was kept");
}

#[tokio::test]
async fn a_body_without_a_value_is_422_and_says_so() {
    let endpoints = endpoints(true).await;
    for (body, field) in [("{}", "value"), (r#"{"ttl":1000}"#, "value"), (r#"{"value":1,"tll":1}"#, "tll")] {
        assert_problem(&endpoints.send("POST", PATH, Some(body)).await, 422, "validation", Some(field));
    }
    let deep = format!(r#"{{"value":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    for no_json in ["", "{", &deep] {
        assert_problem(&endpoints.send("POST", PATH, Some(no_json)).await, 400, "bad-request", None);
    }
    assert_eq!(endpoints.send("POST", PATH, None).await.status, 415);
}

#[tokio::test]
async fn a_value_over_the_size_cap_is_413() {
    let mut options = mainstay_core::cache::Options::default();
    options.max_value_bytes = 1000;
    let cache = Cache::in_memory(options, &Metrics::new(), Clock::system());
    let endpoints = endpoints_with(true, |state| state.cache = cache).await;
    for size in [1000, 2 << 20] {
        let body = json!({ "value": "x".repeat(size) }).to_string();
        assert_problem(&endpoints.send("POST", PATH, Some(&body)).await, 413, "payload-too-large", None);
    }
    assert_eq!(endpoints.get(PATH).await.status, 404);
}
