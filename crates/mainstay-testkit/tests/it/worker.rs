//! Promises of `worker`.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use mainstay_testkit::eventually_async;
use mainstay_testkit::worker::{Parent, Worker};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(30);

/// A worker that answers each order by the order and its process id, until it is told to end.
#[tokio::test]
#[ignore = "a worker of the tests below"]
async fn echo() {
    let Some(mut parent) = Parent::here() else { return };
    println!("noise");
    let prefix = std::env::var("PREFIX").unwrap();
    let mut children = Vec::new();
    parent.say("ready");
    loop {
        match parent.order().await.as_str() {
            "end" => return,
            "fail" => panic!("as ordered"),
            "spawn" => {
                let mut child = Worker::spawn("worker::echo", &[("PREFIX", "grandchild ")]);
                assert_eq!(child.line(DEADLINE).await.as_deref(), Some("ready"));
                child.tell("pid").await;
                parent.say(&child.line(DEADLINE).await.unwrap());
                children.push(child);
            }
            "pid" => parent.say(&std::process::id().to_string()),
            order => {
                print!("no line end");
                parent.say(&format!("{prefix}{order}"));
            }
        }
    }
}

async fn start(prefix: &str) -> Worker {
    let mut worker = Worker::spawn("worker::echo", &[("PREFIX", prefix)]);
    assert_eq!(worker.line(DEADLINE).await.as_deref(), Some("ready"));
    worker
}

async fn ask(worker: &mut Worker, order: &str) -> String {
    worker.tell(order).await;
    worker.line(DEADLINE).await.unwrap()
}

#[tokio::test]
async fn several_workers_are_processes_that_talk_in_lines_among_noise() {
    let mut workers = Vec::new();
    for number in 0..4 {
        workers.push(start(&format!("{number}: ")).await);
    }
    let mut pids = Vec::new();
    for (number, worker) in workers.iter_mut().enumerate() {
        assert_eq!(ask(worker, "one").await, format!("{number}: one"));
        assert_eq!(ask(worker, "two").await, format!("{number}: two"));
        pids.push(ask(worker, "pid").await);
    }
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 4);
    for worker in &mut workers {
        worker.tell("end").await;
        assert_eq!(worker.line(DEADLINE).await, None);
        assert!(worker.wait(DEADLINE).await.status.success());
    }
}

#[tokio::test]
async fn a_failed_worker_shows_in_its_exit_and_its_output() {
    let mut worker = start("").await;
    worker.tell("fail").await;
    let exit = worker.wait(DEADLINE).await;
    assert!(!exit.status.success() && exit.output.contains("as ordered"), "{}", exit.output);
}

#[tokio::test]
async fn a_paused_worker_is_silent_and_a_killed_one_gone() {
    let mut worker = start("").await;
    worker.pause();
    worker.tell("order").await;
    assert!(timeout(Duration::from_millis(50), worker.line(DEADLINE)).await.is_err());
    worker.resume();
    assert_eq!(worker.line(DEADLINE).await.as_deref(), Some("order"));
    worker.pause();
    worker.kill();
    assert_eq!(worker.wait(DEADLINE).await.status.signal(), Some(9));
}

#[tokio::test]
async fn a_worker_ends_with_its_parent_dropped_or_killed() {
    let mut worker = start("").await;
    let pid = ask(&mut worker, "pid").await;
    drop(worker);
    eventually_async("it is gone", DEADLINE, async || !runs(&pid)).await;

    let mut worker = start("").await;
    let grandchild = ask(&mut worker, "spawn").await;
    assert!(runs(&grandchild));
    worker.kill();
    eventually_async("it is gone, too", DEADLINE, async || !runs(&grandchild)).await;
}

#[tokio::test]
#[should_panic(expected = "there is no ignored test named `worker::no_such_test` in this binary")]
async fn a_wrong_name_is_told() {
    Worker::spawn("worker::no_such_test", &[]).line(DEADLINE).await;
}

/// Whether a process is there, and not merely waiting to be waited for.
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
}
