use std::future::pending;

use axum::routing::get;
use futures_util::future::join_all;
use mainstay_http::Problem;
use tokio::sync::Semaphore;

use super::*;

/// A route whose handler says that it was called and waits until it may go on.
struct Gated {
    routes: Router,
    called: Arc<Semaphore>,
    go: Arc<Semaphore>,
}

fn gated(
    it: &Fixture,
    rule: ResponseCacheRule,
    answer: impl Fn(usize) -> Response + Clone + Send + Sync + 'static,
) -> Gated {
    let (called, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (calls, notify, wait) = (Arc::clone(&it.calls), Arc::clone(&called), Arc::clone(&go));
    let handler = move || {
        let (call, notify, wait) = (calls.fetch_add(1, Ordering::SeqCst) + 1, notify.clone(), wait.clone());
        let answer = answer.clone();
        async move {
            notify.add_permits(1);
            wait.acquire().await.unwrap().forget();
            answer(call)
        }
    };
    Gated { routes: Router::new().route("/a", get(handler).layer(it.layer(rule))), called, go }
}

impl Gated {
    async fn called(&self) {
        tokio::time::timeout(60 * SECOND, self.called.acquire()).await.expect("not called").unwrap().forget();
    }
}

fn text(call: usize) -> Response {
    Response::new(Body::from(call.to_string()))
}

#[tokio::test]
async fn concurrent_requests_call_the_handler_once() {
    let it = fixture();
    let gated = gated(&it, minute(), text);
    let all = join_all((0..64).map(|_| get_a(&gated.routes)));
    let go = async {
        gated.called().await;
        gated.go.add_permits(64);
    };
    let (answers, ()) = tokio::join!(all, go);
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.body == "1"), "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| answer.said() == STORED).count(), 1);
    assert_eq!(it.calls(), 1);
}

#[tokio::test]
async fn nobody_gets_an_answer_that_is_for_another_also_if_they_waited_for_it() {
    let it = fixture();
    let gated = gated(&it, minute(), |call| {
        let mut response = text(call);
        add(response.headers_mut(), &[("cache-control", "private")]);
        response
    });
    gated.go.add_permits(64);
    let answers = join_all((0..64).map(|_| get_a(&gated.routes))).await;
    let bodies: std::collections::HashSet<_> = answers.iter().map(|answer| &answer.body).collect();
    assert_eq!((bodies.len(), it.calls()), (64, 64));
}

#[tokio::test]
async fn what_is_not_to_be_kept_is_not_queued_for() {
    let it = fixture();
    let gated = gated(&it, minute(), |call| {
        let mut response = text(call);
        add(response.headers_mut(), &[("cache-control", "no-store")]);
        response
    });
    gated.go.add_permits(1);
    get_a(&gated.routes).await;
    // Known now: all of them are in their handler at the same time.
    let all = join_all((0..8).map(|_| get_a(&gated.routes)));
    let go = async {
        for _ in 0..9 {
            gated.called().await;
        }
        gated.go.add_permits(8);
    };
    tokio::join!(all, go);
}

#[tokio::test]
async fn a_failure_goes_to_all_who_waited_for_it_and_is_not_kept() {
    let it = fixture();
    let gated = gated(&it, minute(), |call| {
        let problem = Problem::unavailable(7).detail(format!("call {call}"));
        axum::response::IntoResponse::into_response(problem)
    });
    let all = join_all((0..16).map(|_| get_a(&gated.routes)));
    let go = async {
        gated.called().await;
        gated.go.add_permits(17);
    };
    let (answers, ()) = tokio::join!(all, go);
    for answer in &answers {
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, Some("7")), "{answer:?}");
        assert!(answer.body.contains("call 1"), "{answer:?}");
    }
    assert_eq!(it.calls(), 1);
    assert!(get_a(&gated.routes).await.body.contains("call 2"));
}

#[tokio::test]
async fn a_failure_that_may_speak_of_one_client_goes_to_no_other() {
    let it = fixture();
    let gated = gated(&it, minute(), |call| {
        let mut response = text(call);
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    });
    gated.go.add_permits(8);
    let all = join_all((0..8).map(|_| get_with(&gated.routes, "/a", &[("cookie", "id=1")])));
    let bodies: std::collections::HashSet<_> = all.await.into_iter().map(|answer| answer.body).collect();
    assert_eq!(bodies.len(), 8);
}

#[tokio::test]
async fn a_failure_that_varies_goes_to_those_who_asked_the_same() {
    for (vary, calls) in [("accept-language", 1 + 4), ("*", 8)] {
        let it = fixture();
        let routes = it.routes(minute(), move |request, mut response| {
            let language = request.headers()["accept-language"].to_str().unwrap().to_owned();
            *response.body_mut() = Body::from(language);
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            add(response.headers_mut(), &[("vary", vary)]);
            response
        });
        let languages = ["de", "de", "de", "de", "en", "en", "en", "en"];
        let headers = languages.map(|language| [("accept-language", language)]);
        let answers = join_all(headers.iter().map(|headers| get_with(&routes, "/a", headers))).await;
        for (answer, language) in answers.iter().zip(languages) {
            assert_eq!((answer.status.as_u16(), answer.body.as_str()), (500, language), "{vary}");
        }
        assert_eq!(it.calls(), calls, "{vary}");
    }
}

#[tokio::test]
async fn an_answer_that_was_being_made_when_its_tag_was_invalidated_is_not_kept() {
    let it = fixture();
    let gated = gated(&it, minute().tag("things"), text);
    let overtaken = tokio::spawn({
        let routes = gated.routes.clone();
        async move { get_a(&routes).await }
    });
    gated.called().await;
    it.cache.invalidate_tag("things").await.unwrap();
    // Who asks now does not wait for what was begun before.
    let after = tokio::spawn({
        let routes = gated.routes.clone();
        async move { get_a(&routes).await }
    });
    gated.called().await;
    gated.go.add_permits(2);
    assert_eq!((overtaken.await.unwrap().body.as_str(), after.await.unwrap().body.as_str()), ("1", "2"));
    assert_eq!(get_a(&gated.routes).await.body, "2");
}

#[tokio::test]
async fn a_client_that_leaves_does_not_end_what_others_wait_for() {
    let it = fixture();
    let gated = gated(&it, minute(), text);
    tokio::select! {
        _ = get_a(&gated.routes) => panic!("the handler waits"),
        () = gated.called() => {}
    }
    let (answer, ()) = tokio::join!(get_a(&gated.routes), async { gated.go.add_permits(1) });
    assert_eq!((answer.body.as_str(), it.calls()), ("1", 1));
}

#[tokio::test]
async fn a_handler_that_panics_or_hangs_is_an_error_of_its_own_request_only() {
    for (hangs, hard_timeout, status) in [(false, 60 * SECOND, 500), (true, SECOND / 20, 503)] {
        let it = fixture();
        let calls = Arc::clone(&it.calls);
        let handler = get(async move || match calls.fetch_add(1, Ordering::SeqCst) {
            0 if hangs => pending().await,
            0 => panic!("on purpose"),
            _ => "fine",
        });
        let rule = ResponseCacheRule::new(Ttl::minutes(1).hard_timeout(hard_timeout));
        let routes = Router::new().route("/a", handler.layer(it.layer(rule)));
        assert_eq!(get_a(&routes).await.status, status);
        // The first may still have waited for the one that hangs.
        for _ in 0..2 {
            assert_eq!(get_a(&routes).await.body, "fine");
        }
        assert_eq!(get_a(&routes).await.said(), HIT);
        assert_eq!((it.memory.usage().leases, it.metric("cache_loads_in_flight")), (0, 0.0));
    }
}

#[tokio::test]
async fn a_stale_answer_is_given_at_once_while_the_next_is_made() {
    let it = fixture();
    let at_once =
        ResponseCacheRule::new(Ttl::minutes(1).stale_for(Ttl::minutes(1)).soft_timeout(Duration::ZERO));
    let gated = gated(&it, at_once, text);
    gated.go.add_permits(1);
    get_a(&gated.routes).await;
    gated.called().await;
    it.clock.suspend(90 * SECOND);
    let stale = get_a(&gated.routes).await;
    assert_eq!((stale.body.as_str(), stale.header("age")), ("1", Some("90")));
    gated.called().await;
    gated.go.add_permits(1);
    let made = async {
        while get_a(&gated.routes).await.body != "2" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(60 * SECOND, made).await.expect("the next answer is made");
}
