//! A log of who held what when, judged afterwards: several processes, short leases, a store that fails, and
//! holders that stay longer than they may.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_core::lock::{Fence, Guard, Locks, Memory};
use mainstay_core::metrics::Metrics;
use mainstay_core::time::{Clock, Moment};
use mainstay_testkit::faulty::lock::Faulty;
use mainstay_testkit::faulty::{Fault, Faults};
use mainstay_testkit::{Rng, Seed, TestClock};

use super::on_paused_time;

const HISTORIES: u64 = 40;
const PROCESSES: usize = 3;
const TASKS: usize = 12;
const TURNS: usize = 6;
const KEYS: [(&str, u32); 3] = [("a", 1), ("b", 1), ("s", 3)];

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// One hold, from its grant to the last moment that it passed its check.
#[derive(Debug)]
struct Interval {
    key: &'static str,
    fence: Fence,
    /// How many were granted before.
    turn: usize,
    begin: Moment,
    end: Moment,
}

#[derive(Default)]
struct World {
    log: Mutex<Vec<Interval>>,
    turns: AtomicUsize,
    /// Guards that are alive; a monitor asks them all whether they hold.
    guards: Mutex<Vec<(&'static str, Arc<Guard>)>>,
    /// The highest fence each resource has taken.
    resources: Mutex<HashMap<&'static str, Fence>>,
}

impl World {
    /// At no moment do more guards than permits pass their check.
    fn look(&self) {
        for (key, permits) in KEYS {
            let guards = self.guards.lock().unwrap();
            let valid = guards.iter().filter(|(held, guard)| *held == key && guard.check().is_ok()).count();
            assert!(valid <= permits as usize, "{valid} hold {key}");
        }
    }

    /// A resource that refuses lower fences never has to refuse one who passes the check.
    fn write(&self, key: &'static str, guard: &Guard) {
        let mut resources = self.resources.lock().unwrap();
        let highest = resources.entry(key).or_default();
        let accepted = guard.fence() >= *highest;
        *highest = guard.fence().max(*highest);
        assert!(accepted || guard.check().is_err(), "{key}: {} refused after {highest}", guard.fence());
    }
}

async fn turn(world: &World, locks: &Locks, clock: &Clock, rng: &mut Rng) {
    let (key, permits) = *rng.pick(&KEYS);
    let ttl = millis(50 + rng.below(200));
    let request = locks.semaphore(key, permits).ttl(ttl).max_hold(2 * ttl);
    let request = match rng.below(3) {
        0 => request.retry(3, millis(20)),
        1 => request.wait(millis(rng.below(100))),
        _ => request.wait(millis(2_000)),
    };
    let Ok(guard) = request.acquire().await else { return };
    let begin = clock.now();
    let turn = world.turns.fetch_add(1, Ordering::SeqCst);
    let guard = Arc::new(guard);
    world.guards.lock().unwrap().push((key, Arc::clone(&guard)));
    let fence = guard.fence();
    let mut end = begin;
    for _ in 0..rng.below(6) {
        tokio::time::sleep(millis(rng.below(150))).await;
        if permits == 1 {
            world.write(key, &guard);
        }
        if guard.check().is_ok() {
            end = clock.now();
        }
    }
    world.guards.lock().unwrap().retain(|(_, alive)| !Arc::ptr_eq(alive, &guard));
    world.log.lock().unwrap().push(Interval { key, fence, turn, begin, end });
    drop(guard);
}

async fn history(seed: Seed) -> Vec<Interval> {
    let mut rng = seed.rng();
    let time = TestClock::new();
    let memory = Arc::new(Memory::new(time.clock()));
    let world = Arc::new(World::default());
    let mut options = on_paused_time();
    options.op_timeout = millis(30);
    let processes: Vec<_> = (0..PROCESSES)
        .map(|_| {
            let faults = Faults::none();
            let store = Arc::new(Faulty::new(Arc::clone(&memory) as _, faults.clone()));
            (faults, Locks::new(store, options.clone(), &Metrics::new(), time.clock()))
        })
        .collect();
    let tasks: Vec<_> = (0..TASKS)
        .map(|n| {
            let (world, locks, clock) =
                (Arc::clone(&world), processes[n % PROCESSES].1.clone(), time.clock());
            let mut rng = Seed::new(rng.next_u64()).rng();
            tokio::spawn(async move {
                for _ in 0..TURNS {
                    turn(&world, &locks, &clock, &mut rng).await;
                }
            })
        })
        .collect();
    // The weather: every process is now and then cut off, slow, or on a bad line.
    while tasks.iter().any(|task| !task.is_finished()) {
        world.look();
        let (faults, _) = rng.pick(&processes);
        match rng.below(40) {
            0 => faults.always(*rng.pick(&[Fault::Unavailable, Fault::Hang, Fault::LostReply])),
            1 => faults.random(Seed::new(rng.next_u64()), 0.3),
            2 => faults.delay(millis(rng.below(25))),
            3..8 => faults.mend(),
            _ => {}
        }
        tokio::time::sleep(millis(1 + rng.below(10))).await;
    }
    for task in tasks {
        task.await.unwrap();
    }
    std::mem::take(&mut world.log.lock().unwrap())
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_holders_exclude_each_other_and_fences_tell_their_order() {
    let mut rng = Seed::from_env("MAINSTAY_SEED").rng();
    let mut holds = 0;
    for _ in 0..HISTORIES {
        let seed = Seed::new(rng.next_u64());
        let mut log = history(seed).await;
        holds += log.len();
        log.sort_by_key(|hold| (hold.key, hold.fence));
        for pair in log.windows(2).filter(|pair| pair[0].key == pair[1].key) {
            assert_ne!(pair[0].fence, pair[1].fence, "{seed:?}: {pair:?}");
            if pair[0].key != "s" {
                assert!(pair[0].turn < pair[1].turn, "{seed:?}: fences against the order: {pair:?}");
                assert!(pair[0].end <= pair[1].begin, "{seed:?}: held together: {pair:?}");
            }
        }
    }
    assert!(holds > 1_000, "only {holds} holds");
}
