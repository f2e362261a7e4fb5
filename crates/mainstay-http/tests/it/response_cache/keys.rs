use super::*;

/// Whether two targets have one answer.
async fn are_one(rule: ResponseCacheRule, a: &str, b: &str) -> bool {
    let it = fixture();
    let routes = it.saying(rule, &[]);
    let (a, b) = (get_with(&routes, a, &[]).await, get_with(&routes, b, &[]).await);
    a.body == b.body
}

#[tokio::test]
async fn queries_are_told_apart_but_for_the_order_of_different_names() {
    let cases = [
        ("/a?x=1&y=2", "/a?y=2&x=1", true),
        ("/a?x=1&y=2&x=3", "/a?y=2&x=1&x=3", true),
        ("/a", "/a?", true),
        ("/a?x=1&&y=2", "/a?&y=2&x=1", true),
        ("/a?x=1&x=2", "/a?x=2&x=1", false),
        ("/a?x=1&%78=2", "/a?%78=2&x=1", false),
        ("/a?x=1", "/a?x=2", false),
        ("/a?x=1", "/a?x=1&x=1", false),
        ("/a?x", "/a?x=", false),
        ("/a?x=1", "/a?X=1", false),
        ("/at/b", "/at/B", false),
        ("/at/b?c=1", "/at/b%3Fc=1", false),
    ];
    for (a, b, one) in cases {
        assert_eq!(are_one(minute(), a, b).await, one, "{a} {b}");
    }
}

#[tokio::test]
async fn parameters_that_the_rule_does_not_name_make_no_difference_however_they_are_spelled() {
    let named = || minute().query_parameters(["page", "q"]);
    assert!(are_one(named(), "/a?page=1&utm=1", "/a?utm=2&page=1").await);
    assert!(!are_one(named(), "/a?page=1", "/a?page=2").await);
    assert!(!are_one(named(), "/a?page=1", "/a?p%61ge=2&page=1").await, "a handler reads two pages");
    assert!(are_one(minute().query_parameters(Vec::<String>::new()), "/a?x=1", "/a").await);
}

#[tokio::test]
async fn what_is_too_long_for_a_key_passes_by() {
    let it = fixture();
    let routes = it.saying(minute(), &[]);
    for uri in [format!("/a?{}", "x".repeat(2049)), format!("/at/{}", "x".repeat(2000))] {
        for _ in 0..2 {
            assert_eq!(get_with(&routes, &uri, &[]).await.said(), BYPASS);
        }
    }
    assert!(
        are_one(minute(), &format!("/at/{}", "x".repeat(1900)), &format!("/at/{}", "x".repeat(1900))).await
    );
}

#[tokio::test]
async fn nested_routers_are_told_apart() {
    let it = fixture();
    let routes = it.saying(minute(), &[]);
    let nested = Router::new().nest("/x", routes.clone()).nest("/y", routes);
    let (x, y) = (get_with(&nested, "/x/a", &[]).await, get_with(&nested, "/y/a", &[]).await);
    assert_ne!(x.body, y.body);
    assert_eq!(get_with(&nested, "/y/a", &[]).await.said(), HIT);
}

#[tokio::test]
async fn headers_that_the_rule_names_make_a_difference() {
    let it = fixture();
    let routes = it.saying(minute().vary_by(http::header::HOST).vary_by(http::header::ACCEPT), &[]);
    let requests: [&[(&str, &str)]; 5] = [
        &[],
        &[("accept", "")],
        &[("accept", "a"), ("accept", "b")],
        &[("accept", "a, b")],
        &[("host", "a")],
    ];
    for (call, headers) in (1..).zip(requests) {
        assert_eq!(get_with(&routes, "/a", headers).await.body, call.to_string(), "{headers:?}");
    }
    for (call, headers) in (1..).zip(requests) {
        assert_eq!(get_with(&routes, "/a", headers).await.body, call.to_string(), "{headers:?}");
    }
    assert_eq!(get_with(&routes, "/a", &[("user-agent", "x")]).await.body, "1");
}

#[tokio::test]
async fn each_language_has_the_answer_that_varies_by_it() {
    let it = fixture();
    let routes = it.routes(minute(), |request, mut response| {
        add(response.headers_mut(), &[("vary", "Accept-Language")]);
        let language = request.headers().get("accept-language");
        let language = language.map_or("none", |language| language.to_str().unwrap()).to_owned();
        *response.body_mut() = Body::from(language);
        response
    });
    for round in 0..3 {
        for language in ["de", "en", "fr"] {
            let answer = get_with(&routes, "/a", &[("accept-language", language), ("accept", "x")]).await;
            assert_eq!((answer.body.as_str(), answer.said() == HIT), (language, round > 0));
        }
        assert_eq!(get_a(&routes).await.body, "none");
    }
    assert_eq!(it.calls(), 4);
    let head = ask(&routes, "HEAD", "/a", &[("accept-language", "fr")]).await;
    assert_eq!((head.said(), head.header("content-length")), (HIT, Some("2")));
}

#[tokio::test]
async fn an_answer_that_begins_to_vary_by_more_is_not_given_to_the_wrong_client() {
    let it = fixture();
    let calls = Arc::clone(&it.calls);
    let routes = it.routes(minute(), move |request, mut response| {
        let vary = if calls.load(Ordering::SeqCst) == 1 { "accept" } else { "accept, accept-language" };
        add(response.headers_mut(), &[("vary", vary)]);
        let said = |name| request.headers().get(name).map_or("", |value| value.to_str().unwrap());
        *response.body_mut() = Body::from(format!("{} {}", said("accept"), said("accept-language")));
        response
    });
    for _ in 0..2 {
        for accept in ["a", "b"] {
            for language in ["de", "en"] {
                let headers = [("accept", accept), ("accept-language", language)];
                let answer = get_with(&routes, "/a", &headers).await;
                // Of the first answer it was not known that it depends on the language.
                let right = accept == "a" || answer.body == format!("{accept} {language}");
                assert!(right, "{accept} {language}: {}", answer.body);
            }
        }
    }
}
