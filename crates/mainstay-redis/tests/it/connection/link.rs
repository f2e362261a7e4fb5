use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use mainstay_core::deadline::Deadline;
use mainstay_core::metrics::Format;
use mainstay_core::secret::Secret;
use mainstay_redis::{Answer, CallError, Class, Command, Invalidation, Lane, Redis, Script, Witness};
use mainstay_testkit::eventually_async;
use mainstay_testkit::redis::{Proxy, RedisServer};
use tokio::time::Instant;

use super::*;

#[tokio::test]
async fn an_answer_that_was_cut_off_leaves_the_outcome_unknown_and_the_command_done_at_most_once() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address()).await;
    let redis = connected(options(proxy.address())).await;
    let direct = connected(options(server.address())).await;
    let (mut done, mut unknown) = (0, 0);
    for _ in 0..20 {
        answers_within(&redis, SOON).await;
        proxy.cut_after_request(1);
        // The request that is cut off can also be one that the connection sends by itself.
        let answer = redis.call(incr("ms:n")).await;
        let now = count(&direct, "ms:n").await.unwrap();
        match answer {
            Ok(answer) => assert_eq!((answer.int().unwrap(), now), (done + 1, done + 1)),
            Err(CallError::NotSent { .. }) => assert_eq!(now, done),
            Err(CallError::Unknown { .. }) => {
                assert!(now == done || now == done + 1, "{now} after {done}");
                unknown += i64::from(now == done + 1);
            }
            Err(other) => panic!("{other}"),
        }
        done = now;
        proxy.pass();
    }
    assert!(unknown > 0, "at least once the command itself was cut off");
}

#[tokio::test]
async fn answers_are_right_however_the_bytes_arrive() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address()).await;
    let redis = connected(options(proxy.address())).await;
    let nested = Script::new("return {1, {redis.call('GET', KEYS[1]), false}, 'end'}");
    for bytes in 1..=9 {
        proxy.split_every(bytes);
        let value = format!("\r\n$-1\r\n{}", "x".repeat(bytes * 7));
        redis.call(set("ms:v", &value)).await.unwrap();
        let (value, calls) = (Bytes::from(value), (0..8).map(|n| redis.call(get(&format!("ms:none{n}")))));
        assert!(join_all(calls).await.into_iter().all(|answer| answer == Ok(Answer::Nil)));
        let expected = Answer::List(vec![
            Answer::Int(1),
            Answer::List(vec![Answer::Bytes(value), Answer::Nil]),
            Answer::Bytes("end".into()),
        ]);
        assert_eq!(redis.call(nested.call(Class::Read, &["ms:v"])).await, Ok(expected));
    }
}

/// Keeps what it heard, and whether the witness held then.
#[derive(Default)]
struct Listener {
    witness: OnceLock<(Redis, Witness)>,
    heard: Mutex<Vec<(Option<Vec<Bytes>>, bool)>>,
}

impl Invalidation for Listener {
    fn invalidated(&self, keys: Option<&[Bytes]>) {
        let Some((redis, witness)) = self.witness.get() else { return };
        let holds = witness.holds(redis.clock().now());
        self.heard.lock().expect("no listener panics").push((keys.map(<[Bytes]>::to_vec), holds));
    }
}

#[tokio::test]
async fn what_was_read_is_told_when_it_changes_and_not_trusted_when_the_connection_is_lost() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address()).await;
    let redis = connected(options(proxy.address())).await;
    let listener = Arc::new(Listener::default());
    redis.on_invalidation(Arc::clone(&listener) as _);
    let witness = redis.witness("ms:k").unwrap();
    assert!(listener.witness.set((redis.clone(), witness.clone())).is_ok());
    let heard = async |news: (Option<Vec<Bytes>>, bool)| {
        let heard = async || listener.heard.lock().unwrap().contains(&news);
        eventually_async("the news is heard", SOON, heard).await;
    };

    assert_eq!(redis.call(get("ms:k").lane(Lane::Tracked)).await, Ok(Answer::Nil));
    server.command(&["SET", "ms:k", "new"]).await;
    heard((Some(vec!["ms:k".into()]), true)).await;
    proxy.cut();
    // By the time the listener hears, the witness holds no more.
    heard((None, false)).await;
    assert!(!witness.holds(redis.clock().now()));
    redis.ready(SOON).await.unwrap();
    assert!(!witness.holds(redis.clock().now()), "the next connection is another one");
    assert!(redis.witness("ms:k").unwrap().holds(redis.clock().now()));
    assert!(listener.heard.lock().unwrap().iter().all(|(keys, held)| keys.is_some() || !held));
}

#[tokio::test]
async fn a_witness_ends_three_seconds_after_the_wire_fell_silent_at_the_latest() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address()).await;
    let redis = connected(options(proxy.address())).await;
    proxy.blackhole();
    let witness = redis.witness("ms:k").unwrap();
    let silent = redis.clock().now();
    let holds = async || !witness.holds(redis.clock().now());
    eventually_async("the witness ends", SOON, holds).await;
    let held = redis.clock().now().saturating_since(silent);
    assert!(held < Duration::from_millis(3_100), "{held:?}");
}

#[tokio::test]
async fn a_server_that_comes_back_is_used_within_a_second() {
    let mut server = RedisServer::start().await;
    let redis = connected(options(server.address())).await;
    let mut epochs = redis.epochs();
    let before = *epochs.borrow_and_update();
    server.kill();
    let fails = async || matches!(redis.call(get("ms:k")).await, Err(CallError::NotSent { .. }));
    eventually_async("calls fail as not sent", SOON, fails).await;
    assert!(server_is_gone(&redis), "and the guard is open");
    server.restart().await;
    answers_within(&redis, Duration::from_secs(1)).await;
    assert!(*epochs.borrow_and_update() > before);
}

#[tokio::test]
async fn a_server_that_was_restarted_is_not_left_a_second_time() {
    let mut server = RedisServer::start().await;
    let metrics = Metrics::new();
    let redis = Redis::open(options(server.address()), &metrics, Clock::system());
    redis.ready(SOON).await.unwrap();
    redis.audit().await;
    server.kill();
    let lost = || metrics.render(Format::Prometheus).contains("redis_connects_total{result=\"lost\"} 4\n");
    eventually_async("every connection was lost", SOON, async || lost()).await;
    server.restart_empty().await;
    redis.ready(SOON).await.unwrap();
    redis.audit().await;
    assert!(lost(), "{}", metrics.render(Format::Prometheus));
}

#[tokio::test]
async fn a_server_whose_data_have_another_history_is_left() {
    let server = RedisServer::builder().arg("enable-debug-command", "yes").start().await;
    let redis = connected(options(server.address())).await;
    redis.audit().await;
    let witness = redis.witness("ms:k").unwrap();
    server.command(&["DEBUG", "CHANGE-REPL-ID"]).await;
    redis.audit().await;
    assert!(!witness.holds(redis.clock().now()));
    redis.ready(SOON).await.unwrap();
}

#[tokio::test]
async fn commands_that_were_sent_together_share_the_deadline_of_one_over_all_attempts() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address()).await;
    let mut patient = options(proxy.address());
    patient.command_timeout = Duration::from_secs(1);
    let redis = connected(patient).await;
    proxy.delay(Duration::from_millis(350));
    let unknown = Script::new("return 'a script that the server does not know'");
    let begun = Instant::now();
    let answers = redis.call_all(vec![unknown.call(Class::Once, &["ms:k"])]).await;
    // The server says after 700 ms that it does not know it.
    assert!(matches!(answers[0], Err(CallError::Unknown { .. })), "{answers:?}");
    assert!(begun.elapsed() < Duration::from_millis(1_300), "{:?}", begun.elapsed());
}

fn server_is_gone(redis: &Redis) -> bool {
    super::server(redis).guard_open
}

#[tokio::test]
async fn a_replica_is_refused_with_the_reason() {
    let master = RedisServer::start().await;
    let replica = RedisServer::builder().replica_of(&master).start().await;
    let redis = open(options(replica.address()));
    refused(&redis, "replica").await;
    assert!(matches!(redis.call(get("ms:k")).await, Err(CallError::NotSent { .. })));
}

#[tokio::test]
async fn a_primary_that_becomes_a_replica_is_left_with_its_first_refusal() {
    let server = RedisServer::start().await;
    let redis = connected(options(server.address())).await;
    let witness = redis.witness("ms:k").unwrap();
    server.command(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let write = redis.call(set("ms:k", "v").lane(Lane::Tracked)).await;
    assert!(matches!(write, Err(CallError::NotSent { .. })), "{write:?}");
    assert!(!witness.holds(redis.clock().now()));
    refused(&redis, "replica").await;
    server.command(&["REPLICAOF", "NO", "ONE"]).await;
    redis.ready(SOON).await.unwrap();
    redis.call(set("ms:k", "v")).await.unwrap();
}

#[tokio::test]
async fn a_primary_that_becomes_a_replica_is_noticed_without_any_call() {
    let server = RedisServer::start().await;
    let redis = connected(options(server.address())).await;
    server.command(&["REPLICAOF", "127.0.0.1", "1"]).await;
    refused(&redis, "replica").await;
    eventually_async("no witness", SOON, async || redis.witness("ms:k").is_none()).await;
}

#[tokio::test]
async fn a_server_that_reads_its_data_is_not_used_until_it_has() {
    let server = RedisServer::builder()
        .arg("enable-debug-command", "yes")
        .arg("loading-process-events-interval-bytes", "1024")
        .start()
        .await;
    server.command(&["DEBUG", "POPULATE", "2000", "ms:key", "100"]).await;
    server.command(&["CONFIG", "SET", "key-load-delay", "500"]).await;
    let redis = connected(options(server.address())).await;
    let loaded = async {
        server.command(&["DEBUG", "RELOAD"]).await;
    };
    let told = async {
        let told = async || matches!(redis.call(get("ms:key:1")).await, Err(CallError::NotSent { .. }));
        eventually_async("a call is refused", SOON, told).await;
        refused(&redis, "reading its data").await;
    };
    tokio::join!(loaded, told);
    redis.ready(SOON).await.unwrap();
    answers_within(&redis, SOON).await;
}

#[tokio::test]
async fn a_wrong_password_is_told_and_no_password_is_ever_shown() {
    let server = RedisServer::builder().password("right-secret").start().await;
    let mut wrong = options(server.address());
    wrong.password = Some(Secret::new("wrong-secret".into()));
    let redis = open(wrong);
    refused(&redis, "user and password").await;
    assert!(!format!("{:?} {redis:?}", redis.status()).contains("secret"));

    let mut right = options(server.address());
    right.password = Some(Secret::new("right-secret".into()));
    connected(right).await;
}

#[tokio::test]
async fn a_user_without_a_password_is_that_user_and_not_the_default_one() {
    let server = RedisServer::builder().acl("app", "on nopass ~ms:* &ms:* +@all").start().await;
    let mut options = options(server.address());
    options.username = Some("app".into());
    let who = connected(options.clone()).await.call(Command::new(Class::Read, "ACL").arg("WHOAMI")).await;
    assert_eq!(who, Ok(Answer::Bytes("app".into())));
    options.username = Some("nobody".into());
    refused(&open(options), "user and password").await;
}

#[tokio::test]
async fn a_database_is_selected_and_one_that_is_not_there_is_told() {
    let server = RedisServer::start().await;
    let mut third = options(server.address());
    third.database = 3;
    connected(third.clone()).await.call(set("ms:k", "v")).await.unwrap();
    assert!(server.command(&["INFO", "keyspace"]).await.contains("db3:keys=1"));
    third.database = 99;
    refused(&open(third), "database").await;
}

#[tokio::test]
async fn commands_that_were_given_up_keep_their_place_until_the_server_has_read_them() {
    let server = RedisServer::start().await;
    let mut narrow = options(server.address());
    (narrow.connections, narrow.max_in_flight, narrow.max_retries) = (1, 4, 0);
    let redis = connected(narrow).await;
    server.pause();
    let answers = join_all((0..10).map(|_| redis.call(get("ms:k")))).await;
    let unknown = answers.iter().filter(|answer| matches!(answer, Err(CallError::Unknown { .. }))).count();
    let not_sent = answers.iter().filter(|answer| matches!(answer, Err(CallError::NotSent { .. }))).count();
    assert_eq!((unknown, not_sent), (4, 6));
    assert!(matches!(redis.call(get("ms:k")).await, Err(CallError::NotSent { .. })), "nobody waits any more");
    server.resume();
    answers_within(&redis, SOON).await;
    eventually_async("all places are free", SOON, async || super::server(&redis).in_flight == 0).await;
}

#[tokio::test]
async fn dropping_calls_leaks_no_place() {
    let server = RedisServer::start().await;
    let redis = connected(options(server.address())).await;
    server.pause();
    for _ in 0..200 {
        let call = redis.call(set("ms:k", "v"));
        assert!(tokio::time::timeout(Duration::from_micros(1), call).await.is_err());
    }
    server.resume();
    eventually_async("all places are free", SOON, async || super::server(&redis).in_flight == 0).await;
}

#[tokio::test]
async fn the_connections_end_with_their_last_handle_or_when_they_are_stopped() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address()).await;
    let closed = async || proxy.connections() == 0;
    let redis = connected(options(proxy.address())).await;
    redis.stop(SOON).await.unwrap();
    assert!(matches!(redis.call(get("ms:k")).await, Err(CallError::NotSent { .. })));
    assert!(redis.witness("ms:k").is_none());
    eventually_async("stopped", SOON, closed).await;

    let redis = connected(options(proxy.address())).await;
    let pending = redis.call(get("ms:k"));
    drop(redis);
    drop(pending);
    eventually_async("dropped", SOON, closed).await;
}

#[tokio::test]
async fn no_task_outlives_stop_whether_there_are_servers_or_not() {
    let server = RedisServer::start().await;
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    for url in [
        format!("redis://{}", server.address()),
        format!("redis://{nowhere}"),
        format!("redis+sentinel://{nowhere},{}/m", server.address()),
        format!("redis+cluster://{nowhere},{}", server.address()),
    ] {
        let before = tasks();
        let redis = open(Options::parse(&url).unwrap());
        let _gone = redis.ready(Duration::from_millis(200)).await;
        assert!(tasks() > before);
        redis.stop(SOON).await.unwrap();
        eventually_async("all have ended", SOON, async || tasks() == before).await;
    }
}

#[tokio::test]
async fn a_server_error_is_passed_on_with_its_code() {
    let server = RedisServer::start().await;
    let redis = connected(options(server.address())).await;
    redis.call(set("ms:text", "v")).await.unwrap();
    let wrong = redis.call(Command::new(Class::Idem, "LPUSH").key("ms:text").arg("x")).await;
    assert!(matches!(wrong, Err(CallError::Rejected { code, .. }) if &*code == "WRONGTYPE"));
    let unchanged = redis.call(incr("ms:text")).await;
    assert!(matches!(unchanged, Err(CallError::Rejected { code, .. }) if &*code == "ERR"));
}

#[tokio::test]
async fn renewals_are_answered_while_the_runtime_is_blocked() {
    let server = RedisServer::start().await;
    let redis = connected(options(server.address())).await;
    // This runtime has one thread, and waits here until another thread has its answer.
    let renewal = redis.call(incr("ms:n").lane(Lane::Keeper));
    let thread = std::thread::spawn(move || on_another_runtime(renewal));
    assert_eq!(thread.join().expect("no panic"), Ok(Answer::Int(1)));
}

fn on_another_runtime<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

#[tokio::test]
async fn a_call_ends_with_the_deadline_of_its_caller_which_says_nothing_of_the_server() {
    let server = RedisServer::start().await;
    let mut patient = options(server.address());
    patient.command_timeout = Duration::from_secs(3_600);
    let redis = connected(patient).await;
    answers_within(&redis, SOON).await;
    server.pause();
    for _ in 0..10 {
        let call = Deadline::after(Duration::from_millis(20)).scope(redis.call(get("ms:k")));
        let answer = tokio::time::timeout(SOON, call).await.expect("the caller's deadline ends it");
        assert!(matches!(answer, Err(CallError::Unknown { .. })), "{answer:?}");
        let all = Deadline::after(Duration::from_millis(20)).scope(redis.call_all(vec![get("ms:k")]));
        let answers = tokio::time::timeout(SOON, all).await.expect("here as well");
        assert!(matches!(answers[0], Err(CallError::Unknown { .. })), "{answers:?}");
    }
    assert!(!server_is_gone(&redis));
    server.resume();
    answers_within(&redis, SOON).await;
}

#[tokio::test]
async fn a_deadline_may_be_as_long_as_can_be_said() {
    let server = RedisServer::start().await;
    let mut patient = options(server.address());
    (patient.command_timeout, patient.connect_timeout) = (Duration::MAX, Duration::MAX);
    patient.retry_delay = Duration::MAX;
    let redis = connected(patient).await;
    assert_eq!(redis.call(incr("ms:n")).await, Ok(Answer::Int(1)));
}
