use axum::routing::get;
use mainstay_testkit::faulty::Fault;

use super::*;

#[tokio::test]
async fn while_the_store_is_away_the_handler_answers() {
    for fault in [Fault::Unavailable, Fault::LostRequest, Fault::LostReply] {
        let it = fixture();
        let routes = it.saying(minute(), &[]);
        get_a(&routes).await;
        it.faults.always(fault);
        for call in 2..6 {
            let answer = get_a(&routes).await;
            assert_eq!((answer.status.as_u16(), answer.body), (200, call.to_string()), "{fault:?}");
        }
        assert_eq!(ask(&routes, "HEAD", "/a", &[]).await.status, 200);
        it.faults.mend();
        assert_eq!(get_a(&routes).await.body, "1", "{fault:?}: it is used again");
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_no_answer_for_who_wants_no_other() {
    let it = fixture();
    let routes = it.saying(minute(), &[]);
    it.faults.always(Fault::Unavailable);
    assert_eq!(get_with(&routes, "/a", &[("cache-control", "only-if-cached")]).await.status, 504);
}

#[tokio::test]
async fn a_store_that_hangs_delays_an_answer_by_its_deadline_only() {
    let it = fixture();
    let routes = it.saying(minute(), &[]);
    it.faults.always(Fault::Hang);
    let answer = tokio::time::timeout(10 * SECOND, get_a(&routes)).await.expect("it has a deadline");
    assert_eq!((answer.status.as_u16(), it.calls()), (200, 1));
}

#[tokio::test]
async fn a_write_while_the_store_is_away_is_answered_and_nothing_old_comes_back_for_long() {
    let it = fixture();
    let rule = minute().tag("things").invalidated_by_writes();
    let calls = Arc::clone(&it.calls);
    let read = async move || calls.fetch_add(1, Ordering::SeqCst).to_string();
    let routes = Router::new().route("/a", get(read).put(async || "put").layer(it.layer(rule)));
    get_a(&routes).await;
    assert_eq!(get_a(&routes).await.body, "0");
    it.faults.always(Fault::Unavailable);
    assert_eq!(ask(&routes, "PUT", "/a", &[]).await.status, 200);
    it.faults.mend();
    let anew = async {
        while get_a(&routes).await.body == "0" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(60 * SECOND, anew).await.expect("it is taken away");
}

#[tokio::test]
async fn a_cache_that_was_stopped_leaves_the_handler_to_answer() {
    let it = fixture();
    let routes = it.saying(minute(), &[]);
    it.cache.stop(SECOND).await.unwrap();
    assert_eq!(get_a(&routes).await.status, 200);
}
