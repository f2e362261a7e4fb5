//! Elections: one leads, and the others follow.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mainstay_core::key::InvalidKey;
use mainstay_core::lock::election::{Election, Leadership};
use mainstay_core::lock::{Error, Fence, Locks, Lost, Usage};
use mainstay_core::metrics::{Format, Metrics};
use mainstay_testkit::Seed;
use mainstay_testkit::faulty::lock::Faulty;
use mainstay_testkit::faulty::{Fault, Faults};
use tokio::time::Instant;

use super::{Bench, SECOND, on_paused_time};

const TTL: Duration = Duration::from_secs(15);
const TICK: Duration = Duration::from_millis(5);

fn candidate(locks: &Locks) -> Election {
    locks.elect("purge").start().unwrap()
}

async fn leads(election: &Election) -> Leadership {
    tokio::time::timeout(SECOND, election.elected())
        .await
        .expect("within a second")
        .expect("still campaigning")
}

#[tokio::test(start_paused = true)]
async fn one_leads_and_when_it_resigns_another_does_at_once() {
    let bench = Bench::far();
    let one = candidate(&bench.locks);
    let first = leads(&one).await;
    let other = candidate(&bench.another());
    tokio::time::sleep(10 * TTL).await;
    assert!(one.is_leader() && !other.is_leader());
    assert_eq!(one.leader().unwrap().fence(), first.fence(), "renewed, not elected again");

    one.resign(SECOND).await.unwrap();
    assert_eq!(first.check(), Err(Lost));
    first.lost().await;
    assert!(!one.is_leader() && one.leader().is_none());
    assert!(leads(&other).await.fence() > first.fence());
    assert!(one.elected().await.is_none(), "who resigned does not come back");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_clone_of_an_election_ends_its_leadership() {
    let bench = Bench::far();
    let one = candidate(&bench.locks);
    let other = candidate(&bench.another());
    let clone = one.clone();
    drop(one);
    let leadership = leads(&clone).await;
    drop(clone);
    let lost = leadership.lost();
    assert!(leads(&other).await.fence() > leadership.fence());
    lost.await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(bench.locks.usage(), Usage::default());
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_leads_no_more_before_another_does() {
    for fault in [Fault::Unavailable, Fault::LostRequest, Fault::Hang] {
        let bench = Bench::far();
        let one = candidate(&bench.locks);
        leads(&one).await;
        let other = candidate(&bench.another());
        bench.faults.always(fault);
        let cut = Instant::now();
        while !other.is_leader() {
            assert!(cut.elapsed() <= TTL + SECOND, "{fault:?}: nobody follows");
            tokio::time::sleep(TICK).await;
            assert!(!(one.is_leader() && other.is_leader()), "{fault:?}: both lead");
        }
        bench.faults.mend();
        tokio::time::sleep(2 * TTL).await;
        other.resign(SECOND).await.unwrap();
        tokio::time::timeout(2 * SECOND, one.elected()).await.expect("it still campaigns");
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_was_stopped_knows_without_asking_that_it_leads_no_more() {
    let bench = Bench::far();
    let one = candidate(&bench.locks);
    let leadership = leads(&one).await;
    let calls = bench.faults.calls();
    bench.time.suspend(TTL);
    assert!(!one.is_leader() && one.leader().is_none());
    assert_eq!(leadership.check(), Err(Lost));
    assert_eq!(bench.faults.calls(), calls);
}

#[tokio::test(start_paused = true)]
async fn a_campaign_begun_while_the_store_is_down_is_won_when_it_is_back() {
    let bench = Bench::far();
    bench.faults.always(Fault::Unavailable);
    let one = candidate(&bench.locks);
    tokio::time::sleep(600 * SECOND).await;
    assert!(!one.is_leader());
    assert!(bench.faults.calls() < 1_500, "{} calls of a store that is down", bench.faults.calls());
    bench.faults.mend();
    tokio::time::timeout(2 * SECOND, one.elected()).await.expect("soon").expect("still campaigning");
}

#[tokio::test(start_paused = true)]
async fn a_term_ends_and_who_waits_is_elected() {
    let bench = Bench::near();
    let one = bench.locks.elect("purge").term(60 * SECOND).start().unwrap();
    let first = leads(&one).await;
    let other = candidate(&bench.another());
    tokio::time::sleep(50 * SECOND).await;
    assert!(one.is_leader());
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(first.check(), Err(Lost));
    assert!(leads(&other).await.fence() > first.fence());
    assert!(!one.is_leader());
}

#[tokio::test(start_paused = true)]
async fn changes_are_told_to_every_clone_and_end_with_the_campaign() {
    let bench = Bench::near();
    let mut one = candidate(&bench.locks);
    let mut clone = one.clone();
    assert!(one.changed().await && one.is_leader());
    bench.time.suspend(TTL);
    assert!(one.changed().await && !one.is_leader());
    assert!(one.changed().await && one.is_leader(), "elected again");
    assert!(clone.changed().await && clone.is_leader());
    bench.locks.stop(SECOND).await.unwrap();
    while one.changed().await {}
    assert!(!one.is_leader());
    assert_eq!(bench.holders(), 0);
}

/// Counts the works that were begun and those that run.
#[derive(Debug, Default, Clone)]
struct Works(Arc<(AtomicUsize, AtomicUsize)>);

struct Work(Works);

impl Works {
    fn begin(&self) -> Work {
        self.0.0.fetch_add(1, Ordering::SeqCst);
        self.0.1.fetch_add(1, Ordering::SeqCst);
        Work(self.clone())
    }

    fn begun_and_running(&self) -> (usize, usize) {
        (self.0.0.load(Ordering::SeqCst), self.0.1.load(Ordering::SeqCst))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.0.1.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn work_runs_for_as_long_as_its_process_leads_and_begins_again_with_the_next_leadership() {
    let bench = Bench::far();
    let (one, works) = (candidate(&bench.locks), Works::default());
    let running = tokio::spawn({
        let (one, works) = (one.clone(), works.clone());
        async move {
            one.run(|_| {
                let work = works.begin();
                async move {
                    let _work = work;
                    std::future::pending::<()>().await;
                }
            })
            .await;
        }
    });
    for round in 1..4 {
        leads(&one).await;
        tokio::time::sleep(TTL).await;
        assert_eq!(works.begun_and_running(), (round, 1));
        bench.faults.always(Fault::Unavailable);
        tokio::time::sleep(TTL).await;
        assert_eq!(works.begun_and_running(), (round, 0), "dropped with its leadership");
        bench.faults.mend();
        tokio::time::sleep(2 * SECOND).await;
    }
    one.resign(SECOND).await.unwrap();
    running.await.unwrap();
    assert_eq!(works.begun_and_running().1, 0);
}

#[tokio::test(start_paused = true)]
async fn work_that_ends_by_itself_runs_once_for_each_leadership() {
    let bench = Bench::near();
    let (one, works) = (candidate(&bench.locks), Works::default());
    let run = one.run(|_| {
        drop(works.begin());
        std::future::ready(())
    });
    let weather = async {
        tokio::time::sleep(10 * TTL).await;
        assert_eq!(works.begun_and_running().0, 1);
        bench.time.suspend(TTL);
        tokio::time::sleep(10 * TTL).await;
        assert_eq!(works.begun_and_running().0, 2);
    };
    tokio::select! {
        () = run => panic!("the campaign is not over"),
        () = weather => {}
    }
}

#[tokio::test(start_paused = true)]
async fn bad_input_is_named_before_the_campaign_begins() {
    let bench = Bench::near();
    let refused = |campaign: mainstay_core::lock::election::Campaign| campaign.start().map(drop).unwrap_err();
    assert_eq!(refused(bench.locks.elect("")), Error::Key(InvalidKey::Empty));
    let ttl = refused(bench.locks.elect("e").ttl(Duration::ZERO));
    assert!(matches!(ttl, Error::Option { field: "ttl", .. }), "{ttl}");
    let term = refused(bench.locks.elect("e").term(SECOND));
    assert!(matches!(term, Error::Option { field: "max_hold", .. }), "{term}");
    bench.locks.stop(SECOND).await.unwrap();
    assert_eq!(refused(bench.locks.elect("e")), Error::Stopped);
}

#[tokio::test(start_paused = true)]
async fn elections_are_counted() {
    let bench = Bench::near();
    let one = candidate(&bench.locks);
    leads(&one).await;
    let shows = |line: &str| bench.metrics.render(Format::Prometheus).lines().any(|shown| shown == line);
    assert!(shows("lock_leaderships 1") && shows("lock_elections_won_total 1"));
    one.resign(SECOND).await.unwrap();
    assert!(shows("lock_leaderships 0") && shows("lock_elections_won_total 1"));
}

/// Candidates on lines that fail at random, come, go and sleep; at every moment at most one leads, and whoever leads
/// has a higher fence than whoever led before.
#[tokio::test(start_paused = true)]
async fn whatever_happens_one_leads_at_most_and_fences_tell_the_order() {
    let mut rng = Seed::from_env("MAINSTAY_SEED").rng();
    let rounds = 4_000 * std::env::var("MAINSTAY_ROUNDS").map_or(1, |times| times.parse().expect("a number"));
    let bench = Bench::far();
    let processes: Vec<_> = (0..3)
        .map(|_| {
            let faults = Faults::none();
            let store = Arc::new(Faulty::new(Arc::clone(&bench.memory) as _, faults.clone()));
            (faults, Locks::new(store, on_paused_time(), &Metrics::new(), bench.time.clock()))
        })
        .collect();
    let mut campaigns: Vec<Option<Election>> = (0..3).map(|_| None).collect();
    let (mut last, mut terms) = (Fence::default(), 0);
    for _ in 0..rounds {
        let at = usize::try_from(rng.below(3)).unwrap();
        let (faults, locks) = &processes[at];
        match rng.below(10) {
            0 => faults.always(*rng.pick(&[Fault::Unavailable, Fault::LostReply, Fault::Hang])),
            1 => faults.random(Seed::new(rng.next_u64()), 0.3),
            2..4 => faults.mend(),
            4 => campaigns[at] = None,
            5 if rng.chance(0.1) => bench.time.suspend(Duration::from_millis(rng.below(20_000))),
            _ if campaigns[at].is_none() => campaigns[at] = Some(candidate(locks)),
            _ => {}
        }
        let leaders: Vec<_> = campaigns.iter().flatten().filter_map(Election::leader).collect();
        assert!(leaders.len() <= 1, "{leaders:?}");
        if let [leader] = &*leaders {
            assert!(leader.fence() >= last, "{} after {last}", leader.fence());
            terms += usize::from(leader.fence() > last);
            last = leader.fence();
        }
        tokio::time::sleep(Duration::from_millis(rng.below(2_000))).await;
    }
    assert!(terms > 20, "only {terms} leaderships");
    drop(campaigns);
    processes.iter().for_each(|(faults, _)| faults.mend());
    tokio::time::sleep(2 * TTL).await;
    assert_eq!(bench.holders(), 0);
}
