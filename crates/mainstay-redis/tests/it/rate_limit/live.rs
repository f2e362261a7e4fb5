//! Many processes and one limit, by the server's own clock.
//!
//! `MAINSTAY_ROUNDS` multiplies the time: 10 are 20 s for each.

use std::time::Duration;

use mainstay_core::rate_limit::{Mode, Quota, Store};
use mainstay_core::time::Clock;
use mainstay_redis::rate_limit::RedisLimits;
use mainstay_testkit::redis::RedisServer;
use mainstay_testkit::worker::{Parent, Worker};

use super::connect;
use super::lane::debit;

const PROCESSES: usize = 4;
const TASKS: usize = 4;
const LIMIT: u32 = 50;
const WINDOW: Duration = Duration::from_millis(200);
const QUOTA: Quota = Quota::new(LIMIT, WINDOW);
const DEADLINE: Duration = Duration::from_secs(60);

fn time() -> Duration {
    let rounds: u32 = std::env::var("MAINSTAY_ROUNDS").map_or(1, |rounds| rounds.parse().expect("a number"));
    Duration::from_secs(2) * rounds
}

/// When a charge was certainly not made yet and certainly made, on the machine's clock since its start.
type Admission = (u64, u64);

/// Asks as fast as it can, and says what was admitted.
#[tokio::test]
#[ignore = "a worker of the tests below"]
async fn worker() {
    let Some(mut parent) = Parent::here() else { return };
    let redis = connect(&std::env::var("REDIS").unwrap()).await;
    let limits = RedisLimits::new(redis, "live");
    parent.say("ready");
    parent.order().await;
    let (clock, begin) = (Clock::system(), Clock::system().now());
    let hammer = async || {
        let mut admitted: Vec<Admission> = Vec::new();
        while clock.now().saturating_since(begin) < time() {
            let asked = clock.now().as_micros();
            let answer = limits.decide(&[debit("k", QUOTA, 1)], Mode::Take).await;
            if answer.unwrap().admitted() {
                admitted.push((asked, clock.now().as_micros()));
            }
        }
        admitted
    };
    for admitted in futures_util::future::join_all((0..TASKS).map(|_| hammer())).await {
        for (asked, answered) in admitted {
            parent.say(&format!("{asked} {answered}"));
        }
    }
}

/// Everything that the processes were admitted, while `meanwhile` runs.
async fn hammer(server: &RedisServer, meanwhile: impl AsyncFnOnce()) -> Vec<Admission> {
    let mut workers: Vec<_> = (0..PROCESSES)
        .map(|_| Worker::spawn("rate_limit::live::worker", &[("REDIS", &server.url())]))
        .collect();
    for worker in &mut workers {
        assert_eq!(worker.line(DEADLINE).await.as_deref(), Some("ready"));
    }
    for worker in &mut workers {
        worker.tell("go").await;
    }
    meanwhile().await;
    let mut admissions = Vec::new();
    for mut worker in workers {
        while let Some(line) = worker.line(DEADLINE + time()).await {
            let (asked, answered) = line.split_once(' ').unwrap();
            admissions.push((asked.parse().unwrap(), answered.parse().unwrap()));
        }
        worker.wait(DEADLINE).await;
    }
    admissions
}

/// The most that certainly lies within one window.
fn most_within_a_window(mut admissions: Vec<Admission>) -> usize {
    admissions.sort_unstable();
    let window = u64::try_from(WINDOW.as_micros()).unwrap();
    let within = |index: usize| {
        let (begin, _) = admissions[index];
        let later = admissions[index..].iter().take_while(|(asked, _)| asked - begin < window);
        later.filter(|(_, answered)| answered - begin < window).count()
    };
    (0..admissions.len()).map(within).max().unwrap_or(0)
}

#[tokio::test]
async fn four_processes_get_one_limit_between_them_and_can_use_it() {
    let server = RedisServer::start().await;
    let admissions = hammer(&server, async || {}).await;
    let span = admissions.iter().map(|(_, answered)| answered).max().unwrap()
        - admissions.iter().map(|(asked, _)| asked).min().unwrap();
    let most = most_within_a_window(admissions.clone());
    assert!(most <= LIMIT as usize, "{most} of {LIMIT} in a window");
    // Counted over whole windows but the last, which the test can end at its beginning.
    let usable = span as f64 / WINDOW.as_micros() as f64 * 10.0 / 11.0 * f64::from(LIMIT) * 0.98;
    let got = admissions.len() as f64;
    println!("{got} admitted of {usable:.0} usable, at most {most} in a window");
    assert!(got + f64::from(LIMIT) >= usable, "{got} of {usable:.0}");
}

#[tokio::test]
async fn a_server_whose_calendar_steps_back_reopens_nothing() {
    let server = RedisServer::builder().clock_shim().start().await;
    let admissions = hammer(&server, async || {
        tokio::time::sleep(time() / 2).await;
        server.step_clock(-60.0);
    })
    .await;
    let most = most_within_a_window(admissions.clone());
    assert!(most <= LIMIT as usize, "{most} of {LIMIT} in a window");
    assert!(admissions.len() > LIMIT as usize, "some windows came and went before the step");
}
