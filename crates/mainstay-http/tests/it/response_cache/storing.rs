use axum::routing::get;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use mainstay_http::Problem;

use super::*;

/// Asks twice; whether the second answer was the first again.
async fn is_kept(rule: ResponseCacheRule, headers: &'static [(&'static str, &'static str)]) -> bool {
    let it = fixture();
    let routes = it.saying(rule, headers);
    let (first, second) = (get_a(&routes).await, get_a(&routes).await);
    let kept = first.body == second.body;
    assert_eq!((first.said(), second.said()), if kept { (STORED, HIT) } else { (MISS, MISS) }, "{headers:?}");
    assert_eq!(it.calls(), if kept { 1 } else { 2 });
    kept
}

#[tokio::test]
async fn what_an_answer_forbids_is_not_kept() {
    let cases: [(&[(&str, &str)], bool); 22] = [
        (&[], true),
        (&[("cache-control", "public, max-age=5")], true),
        (&[("cache-control", "max-age=5, must-revalidate")], true),
        (&[("cache-control", "x-unknown=\"no-store, private\"")], true),
        (&[("cache-control", "max-age=0, s-maxage=5")], true),
        (&[("cache-control", "max-age=5"), ("age", "3")], true),
        (&[("expires", "Thu, 01 Jan 2026 01:00:30 GMT")], true),
        (&[("expires", "0"), ("cache-control", "max-age=5")], true),
        (&[("vary", "accept, accept-language")], true),
        (&[("cache-control", "no-store")], false),
        (&[("cache-control", "max-age=5"), ("cache-control", "No-Store")], false),
        (&[("cache-control", "no-cache")], false),
        (&[("cache-control", "no-cache=\"x-own\"")], false),
        (&[("cache-control", "private, max-age=5")], false),
        (&[("cache-control", "max-age=0")], false),
        (&[("cache-control", "max-age=5, s-maxage=0")], false),
        (&[("cache-control", "max-age=soon")], false),
        (&[("cache-control", "max-age=5"), ("age", "5")], false),
        (&[("expires", "Thu, 01 Jan 2026 00:59:59 GMT")], false),
        (&[("expires", "0")], false),
        (&[("vary", "accept, *")], false),
        (&[("set-cookie", "id=1"), ("cache-control", "public")], false),
    ];
    for (headers, kept) in cases {
        assert_eq!(is_kept(minute(), headers).await, kept, "{headers:?}");
    }
}

#[tokio::test]
async fn an_answer_is_given_for_no_longer_than_it_and_the_rule_say() {
    let cases: [(&[(&str, &str)], u64); 6] = [
        (&[], 60),
        (&[("cache-control", "max-age=10")], 10),
        (&[("cache-control", "max-age=10, s-maxage=20")], 20),
        (&[("cache-control", "max-age=10"), ("age", "4")], 6),
        (&[("cache-control", "max-age=99999999999999999999")], 60),
        (&[("date", "Thu, 01 Jan 2026 00:00:00 GMT"), ("expires", "Thu, 01 Jan 2026 00:00:30 GMT")], 30),
    ];
    for (headers, seconds) in cases {
        let it = fixture();
        let routes = it.saying(minute(), headers);
        get_a(&routes).await;
        it.clock.suspend(Duration::from_secs(seconds) - SECOND / 10);
        assert_eq!(get_a(&routes).await.said(), HIT, "{headers:?}");
        it.clock.suspend(SECOND / 5);
        assert_eq!(get_a(&routes).await.said(), STORED, "{headers:?}");
    }
}

#[tokio::test]
async fn chance_never_makes_a_life_longer_than_the_answer_says() {
    for _ in 0..50 {
        let it = fixture();
        let routes = it
            .saying(ResponseCacheRule::new(Ttl::minutes(1).jitter(0.5)), &[("cache-control", "max-age=10")]);
        get_a(&routes).await;
        it.clock.suspend(10 * SECOND);
        assert_eq!(get_a(&routes).await.said(), STORED);
    }
}

#[tokio::test]
async fn only_statuses_that_the_rule_names_are_kept() {
    for (status, kept) in
        [(200, true), (301, true), (404, true), (203, false), (410, false), (206, false), (500, false)]
    {
        let it = fixture();
        let rule = [301, 404, 206, 500].into_iter().fold(minute(), |rule, status| {
            rule.and_status(StatusCode::from_u16(status).unwrap(), Ttl::seconds(5))
        });
        let routes = it.routes(rule, move |_, mut response| {
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response
        });
        let (first, second) = (get_a(&routes).await, get_a(&routes).await);
        assert_eq!((first.status.as_u16(), second.status.as_u16()), (status, status));
        assert_eq!(first.body == second.body, kept, "{status}");
        it.clock.suspend(6 * SECOND);
        assert_eq!(get_a(&routes).await.body == "1", status == 200, "{status} is kept for its own time");
    }
}

#[tokio::test]
async fn a_problem_is_kept_only_where_the_rule_names_its_status() {
    for (rule, said) in [(minute(), MISS), (minute().and_status(StatusCode::NOT_FOUND, Ttl::seconds(5)), HIT)]
    {
        let it = fixture();
        let nobody = get(async || Problem::not_found("No user has this id."));
        let routes = Router::new().route("/a", nobody.layer(it.layer(rule)));
        get_a(&routes).await;
        let again = get_a(&routes).await;
        assert_eq!((again.status, again.said()), (StatusCode::NOT_FOUND, said));
        assert_eq!(again.header("content-type"), Some("application/problem+json"));
    }
}

#[tokio::test]
async fn a_body_above_the_bound_is_passed_on_as_it_comes() {
    let it = fixture();
    let endless = get(async || {
        let chunks = stream::iter([const { Ok::<_, std::io::Error>(Bytes::from_static(b"12345678")) }; 3]);
        Body::from_stream(chunks.chain(stream::pending()))
    });
    let routes = Router::new().route("/a", endless.layer(it.layer(minute().max_body(16))));
    let response = routes.oneshot(Request::get("/a").body(Body::empty()).unwrap()).await.unwrap();
    let mut body = response.into_body().into_data_stream();
    let mut read = Vec::new();
    while read.len() < 24 {
        read.extend(body.next().await.unwrap().unwrap());
    }
    assert_eq!(read, b"12345678".repeat(3));
}

#[tokio::test]
async fn the_bound_itself_is_kept_and_a_byte_more_is_not() {
    for (size, said) in [(16, HIT), (17, MISS)] {
        for chunked in [false, true] {
            let it = fixture();
            let handler = get(async move || {
                let bytes = Bytes::from(vec![b'x'; size]);
                let halves = [bytes.slice(..7), bytes.slice(7..)];
                let stream = stream::iter(halves.map(Ok::<_, std::io::Error>));
                if chunked { Body::from_stream(stream) } else { Body::from(bytes) }
            });
            let routes = Router::new().route("/a", handler.layer(it.layer(minute().max_body(16))));
            get_a(&routes).await;
            let again = get_a(&routes).await;
            assert_eq!((again.said(), again.body.len()), (said, size), "{chunked}");
        }
    }
}

#[tokio::test]
async fn a_stream_of_events_is_not_waited_for() {
    for kind in ["text/event-stream", "Text/Event-Stream; charset=utf-8"] {
        let it = fixture();
        let events = get(async move || {
            let first = stream::iter([Ok::<_, std::io::Error>("data: 1\n\n")]);
            ([("content-type", kind)], Body::from_stream(first.chain(stream::pending())))
        });
        let soon = ResponseCacheRule::new(Ttl::minutes(1).hard_timeout(SECOND));
        let routes = Router::new().route("/a", events.layer(it.layer(soon)));
        let response = routes.oneshot(Request::get("/a").body(Body::empty()).unwrap()).await.unwrap();
        let first = response.into_body().into_data_stream().next().await.unwrap().unwrap();
        assert_eq!(first, "data: 1\n\n", "{kind}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_broken_for_its_client_and_not_kept() {
    let it = fixture();
    let calls = Arc::clone(&it.calls);
    let broken = get(async move || {
        let rest = if calls.fetch_add(1, Ordering::SeqCst) == 0 {
            Err(std::io::Error::other("cut"))
        } else {
            Ok("b")
        };
        Body::from_stream(stream::iter([Ok("a"), rest]))
    });
    let routes = Router::new().route("/a", broken.layer(it.layer(minute().max_body(16))));
    let ask = || routes.clone().oneshot(Request::get("/a").body(Body::empty()).unwrap());
    assert!(ask().await.unwrap().into_body().collect().await.is_err());
    assert_eq!(get_a(&routes).await.body, "ab");
}

#[tokio::test]
async fn bytes_that_are_no_text_come_back_as_they_were() {
    let it = fixture();
    let handler = get(async || {
        ([("x-latin", http::HeaderValue::from_bytes(b"caf\xe9").unwrap())], vec![0, 159, 146, 150])
    });
    let routes = Router::new().route("/a", handler.layer(it.layer(minute())));
    let ask = async || {
        let request = Request::get("/a").body(Body::empty()).unwrap();
        let (parts, body) = routes.clone().oneshot(request).await.unwrap().into_parts();
        (
            parts.headers["x-latin"].clone(),
            parts.headers["cache-status"].clone(),
            body.collect().await.unwrap().to_bytes(),
        )
    };
    let _made = ask().await;
    // Another process reads the bytes of the store, not what this one remembers of them.
    let (latin, said, body) = ask().await;
    assert_eq!(
        (latin.as_bytes(), said.to_str().unwrap(), &body[..]),
        (&b"caf\xe9"[..], HIT, &[0, 159, 146, 150][..])
    );
}

#[tokio::test]
async fn what_belongs_to_one_connection_is_not_kept() {
    let it = fixture();
    let routes =
        it.saying(minute(), &[("connection", "x-hop"), ("x-hop", "1"), ("keep-alive", "5"), ("x-end", "1")]);
    get_a(&routes).await;
    let again = get_a(&routes).await;
    assert_eq!(
        ["connection", "x-hop", "keep-alive", "x-end"].map(|name| again.header(name)),
        [None, None, None, Some("1")]
    );
}

#[tokio::test]
async fn that_answers_are_not_to_be_kept_is_forgotten_after_a_while() {
    let it = fixture();
    let calls = Arc::clone(&it.calls);
    let routes = it.routes(minute(), move |_, mut response| {
        if calls.load(Ordering::SeqCst) == 1 {
            add(response.headers_mut(), &[("cache-control", "no-store")]);
        }
        response
    });
    assert_eq!([get_a(&routes).await.said(), get_a(&routes).await.said()], [MISS, MISS]);
    it.clock.suspend(31 * SECOND);
    assert_eq!([get_a(&routes).await.said(), get_a(&routes).await.said()], [STORED, HIT]);
}
