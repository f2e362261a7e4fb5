use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use mainstay_core::health::{Check, Error, Status};
use proptest::prelude::*;
use tokio::runtime::Handle;

use super::{SECOND, check_of, each_second, forever, health, until};

/// A check whose result a test can switch.
fn switch(name: &str) -> (Check, Arc<AtomicBool>) {
    let up = Arc::new(AtomicBool::new(true));
    let state = Arc::clone(&up);
    let check = Check::new(name, move || {
        let up = state.load(Ordering::SeqCst);
        async move { if up { Ok(()) } else { Err("connection refused") } }
    });
    (check, up)
}

#[tokio::test(start_paused = true)]
async fn the_first_result_decides_the_state_at_once() {
    let health = health(each_second());
    health.register(Check::new("db", || async { Err::<(), _>("refused") }).critical()).unwrap();
    assert_eq!(check_of(&health, "db").message.as_deref(), Some("unknown: no result yet"));
    assert_eq!(health.report().status, Status::Degraded);
    let _tasks = health.start(&forever());
    tokio::time::sleep(SECOND / 10).await;
    assert_eq!(health.report().status, Status::Unhealthy);
    assert_eq!(check_of(&health, "db").consecutive_failures, 1);
}

#[tokio::test(start_paused = true)]
async fn three_failures_make_it_unhealthy_and_two_passes_heal_it() {
    let health = health(each_second());
    let (check, up) = switch("db");
    health.register(check.critical()).unwrap();
    let _tasks = health.start(&forever());
    tokio::time::sleep(SECOND / 2).await;
    let mut seen = Vec::new();
    for (now_up, runs) in [(false, 4), (true, 3)] {
        up.store(now_up, Ordering::SeqCst);
        for _ in 0..runs {
            tokio::time::sleep(SECOND).await;
            seen.push(health.report().status);
        }
    }
    use Status::{Healthy as H, Unhealthy as U};
    assert_eq!(seen, [H, H, U, U, U, H, H]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_sequence_of_results_gives_the_state_of_a_naive_model(results in prop::collection::vec(any::<bool>(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let states = runtime.block_on(async {
            let health = health(each_second());
            let (script, run) = (results.clone(), AtomicUsize::new(0));
            let probe = move || {
                let result = script.get(run.fetch_add(1, Ordering::SeqCst)).copied().unwrap_or(true);
                async move { if result { Ok(()) } else { Err("down") } }
            };
            health.register(Check::new("scripted", probe).critical()).unwrap();
            let _tasks = health.start(&forever());
            tokio::time::sleep(SECOND / 2).await;
            let mut states = Vec::new();
            for _ in &results {
                states.push(health.report().status == Status::Healthy);
                tokio::time::sleep(SECOND).await;
            }
            states
        });
        let mut healthy = results[0];
        for (run, state) in states.into_iter().enumerate() {
            let last = |n: usize| run + 1 >= n && results[run + 1 - n..=run].iter().all(|pass| *pass != healthy);
            if (healthy && last(3)) || (!healthy && last(2)) {
                healthy = !healthy;
            }
            prop_assert_eq!(state, healthy, "after run {} of {:?}", run, results);
        }
    }
}

/// Counts how many runs exist at once.
#[derive(Default)]
struct Crowd {
    now: AtomicUsize,
    most: AtomicUsize,
    runs: AtomicUsize,
}

struct Member(Arc<Crowd>);

impl Crowd {
    fn enter(self: &Arc<Self>) -> Member {
        self.runs.fetch_add(1, Ordering::SeqCst);
        self.most.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        Member(Arc::clone(self))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

fn hanging(crowd: &Arc<Crowd>) -> Check {
    let crowd = Arc::clone(crowd);
    Check::new("hung", move || {
        let member = crowd.enter();
        async move {
            let _member = member;
            std::future::pending::<Result<(), &str>>().await
        }
    })
    .timeout(3 * SECOND)
}

#[tokio::test(start_paused = true)]
async fn a_hung_probe_is_dropped_at_its_timeout_and_never_stacks() {
    let (health, crowd) = (health(each_second()), Arc::new(Crowd::default()));
    health.register(hanging(&crowd)).unwrap();
    let tasks = health.start(&forever());
    tokio::time::sleep(40 * SECOND + SECOND / 2).await;
    assert_eq!(crowd.runs.load(Ordering::SeqCst), 11, "one run in each 3 s timeout + 1 s interval");
    assert_eq!(crowd.most.load(Ordering::SeqCst), 1);
    let check = check_of(&health, "hung");
    assert_eq!(check.message.as_deref(), Some("no answer within 3000 ms"));
    assert_eq!((check.response_time, check.consecutive_failures), (3000, 10));
    tasks.stop(SECOND).await.unwrap();
    assert_eq!(crowd.now.load(Ordering::SeqCst), 0, "the run in flight was dropped");
}

#[tokio::test(start_paused = true)]
async fn starting_twice_does_not_make_runs_overlap() {
    let (health, crowd) = (health(each_second()), Arc::new(Crowd::default()));
    health.register(hanging(&crowd)).unwrap();
    let first = health.start(&forever());
    let _second = health.start(&forever());
    tokio::time::sleep(10 * SECOND).await;
    drop(first);
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(crowd.most.load(Ordering::SeqCst), 1);
    assert!(crowd.runs.load(Ordering::SeqCst) >= 4, "the second owner took over");
}

#[tokio::test]
async fn a_blocking_probe_that_hangs_holds_one_thread_until_it_returns() {
    let health = health(each_second());
    let (crowd, (release, released)) = (Arc::new(Crowd::default()), mpsc::channel::<()>());
    let (inside, released) = (Arc::clone(&crowd), Mutex::new(released));
    let check = Check::blocking("disk", move || {
        let _member = inside.enter();
        released.lock().unwrap().recv().map_err(|_| "the test is over")
    });
    health.register(check.timeout(Duration::from_millis(20)).interval(Duration::from_millis(1))).unwrap();
    let tasks = health.start(&forever());
    until("many runs were refused", || {
        let check = check_of(&health, "disk");
        let refused = check.message.as_deref() == Some("previous run still hangs");
        refused && check.consecutive_failures > 20
    })
    .await;
    assert_eq!((crowd.runs.load(Ordering::SeqCst), crowd.most.load(Ordering::SeqCst)), (1, 1));

    release.send(()).unwrap();
    until("a second run started", || crowd.runs.load(Ordering::SeqCst) == 2).await;
    drop(release);
    tasks.stop(SECOND).await.unwrap();
    until("the thread ended", || crowd.now.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failed_run_and_not_the_end_of_its_task() {
    let health = health(each_second());
    let run = AtomicU32::new(0);
    let probe = move || {
        let run = run.fetch_add(1, Ordering::SeqCst);
        // The first while the future is made, the second while it runs.
        assert!(run != 0, "on purpose");
        async move {
            assert!(run != 1, "on purpose");
            Ok::<_, String>(())
        }
    };
    health.register(Check::new("fragile", probe)).unwrap();
    let _tasks = health.start(&forever());
    for failures in 1..=2 {
        tokio::time::sleep(SECOND - SECOND / 10).await;
        let check = check_of(&health, "fragile");
        assert_eq!(
            (check.consecutive_failures, check.message.as_deref()),
            (failures, Some("probe panicked"))
        );
    }
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(check_of(&health, "fragile").status, Status::Healthy);
}

#[tokio::test]
async fn a_panic_of_a_blocking_probe_frees_it_for_the_next_run() {
    let health = health(each_second());
    let first = AtomicBool::new(true);
    let check = Check::blocking("fragile", move || {
        assert!(!first.swap(false, Ordering::SeqCst), "on purpose");
        Ok::<_, String>(())
    });
    health.register(check.interval(Duration::from_millis(1))).unwrap();
    let _tasks = health.start(&forever());
    until("it recovered", || check_of(&health, "fragile").status == Status::Healthy).await;
}

#[tokio::test(start_paused = true)]
async fn checks_come_and_go_at_run_time() {
    let health = health(each_second());
    health.register(switch("db").0).unwrap();
    let _tasks = health.start(&forever());
    tokio::time::sleep(SECOND).await;
    let before = Handle::current().metrics().num_alive_tasks();
    let crowd = Arc::new(Crowd::default());
    health.register(hanging(&crowd)).unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!(crowd.runs.load(Ordering::SeqCst), 1);
    assert_eq!(Handle::current().metrics().num_alive_tasks(), before + 1, "one task for each check");

    assert!(health.deregister("hung"));
    assert!(!health.deregister("hung"));
    until("its task ended", || Handle::current().metrics().num_alive_tasks() == before).await;
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!((crowd.runs.load(Ordering::SeqCst), Arc::strong_count(&crowd)), (1, 1));
    assert_eq!(health.report().checks.len(), 1);
    health.register(hanging(&crowd)).expect("the name is free again");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_owner_leaves_no_task() {
    let before = Handle::current().metrics().num_alive_tasks();
    let (health, crowd) = (health(each_second()), Arc::new(Crowd::default()));
    health.register(hanging(&crowd)).unwrap();
    health.register(switch("db").0).unwrap();
    let tasks = health.start(&forever());
    until("the probe runs", || crowd.runs.load(Ordering::SeqCst) == 1).await;
    drop(tasks);
    until("all tasks ended", || Handle::current().metrics().num_alive_tasks() == before).await;
    assert_eq!(crowd.now.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn cancelling_the_parent_ends_the_probes() {
    let (parent, health) = (forever(), health(each_second()));
    health.register(switch("db").0).unwrap();
    let before = Handle::current().metrics().num_alive_tasks();
    let _tasks = health.start(&parent);
    tokio::time::sleep(SECOND).await;
    parent.cancel();
    until("all tasks ended", || Handle::current().metrics().num_alive_tasks() == before).await;
}

#[tokio::test(start_paused = true)]
async fn new_options_take_effect_on_the_pause_in_progress() {
    let mut options = each_second();
    options.interval = 3600 * SECOND;
    let health = health(options);
    let crowd = Arc::new(Crowd::default());
    health.register(hanging(&crowd).timeout(SECOND / 10)).unwrap();
    let _tasks = health.start(&forever());
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(crowd.runs.load(Ordering::SeqCst), 1);
    health.update_options(each_second());
    tokio::time::sleep(SECOND / 20).await;
    assert_eq!(crowd.runs.load(Ordering::SeqCst), 2, "the new interval has long passed");
}

#[test]
fn names_that_do_not_fit_a_report_are_refused() {
    let health = health(each_second());
    for name in ["", "Database", "a b", "é", "a\n", &"x".repeat(65)] {
        let refused = health.register(switch(name).0);
        assert_eq!(refused, Err(Error::InvalidName { name: name.into() }));
    }
    health.register(switch("redis-1.cache_a").0).unwrap();
    let again = health.register(switch("redis-1.cache_a").0);
    assert_eq!(again, Err(Error::Duplicate { name: "redis-1.cache_a".into() }));
}
