//! Random schedules, by a clock of the test's: the script against the store in memory, and against an exact log.
//!
//! `MAINSTAY_ROUNDS` multiplies the schedules; 250 make 100,000 of each kind.

use std::collections::VecDeque;
use std::time::Duration;

use mainstay_core::rate_limit::{Debit, Mode, Quota, Receipt, Rule, Verdict};
use mainstay_redis::Redis;
use mainstay_testkit::redis::RedisServer;
use mainstay_testkit::{Rng, Seed};
use tokio::task::JoinSet;

use super::connect;
use super::lane::{BEGINNING, Lane, Patch, debit};

/// Schedules of each kind, and who runs them.
const SCHEDULES: usize = 400;
const LANES: usize = 8;
const STEPS: usize = 30;

const WINDOWS: [u64; 4] = [60, 999, 10_000, 1_000_000];
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

fn quota(rng: &mut Rng) -> (Quota, u64) {
    if rng.chance(0.05) {
        let large = Quota::new(u32::MAX, YEAR);
        return (if rng.chance(0.5) { large } else { large.gcra(u32::MAX) }, 31_536_000_000_000);
    }
    let (limit, window) = (*rng.pick(&[1, 2, 3, 7, 20]), *rng.pick(&WINDOWS));
    let quota = Quota::new(limit, Duration::from_micros(window));
    let quota = if rng.chance(0.4) {
        quota.gcra(*rng.pick(&[1, 2, 7, 20]))
    } else {
        quota.buckets(*rng.pick(&[1, 2, 7, 10, 60]))
    };
    (quota, window)
}

/// What is seen of a verdict: the life of a state is the store's own, and so is a mark under GCRA.
fn seen(verdict: &Verdict) -> (bool, u32, Option<Duration>, Duration, Option<u32>) {
    let Verdict { fits, remaining, retry_after, reset_after, receipt } = *verdict;
    (fits, remaining, retry_after, reset_after, receipt.map(|receipt| receipt.cost))
}

/// Charges, looks and refunds, alone and several at once; time goes on.
pub(crate) async fn as_in_memory(lane: &Lane, name: usize, mut rng: Rng) -> Result<(), String> {
    let quotas = [quota(&mut rng), quota(&mut rng)];
    let keys = [format!("{name}-a"), format!("{name}-b")];
    let mut time = BEGINNING + rng.below(1_000_000_000);
    let mut receipts: Vec<(Debit<'_>, Receipt, Receipt)> = Vec::new();
    for step in 0..STEPS {
        let (_, window) = *rng.pick(&quotas);
        time += *rng.pick(&[0, 0, 1, window / 20, window / 3, window - 1, window, 2 * window]);
        lane.at(time).await;
        if rng.chance(0.25) && !receipts.is_empty() {
            let at = usize::try_from(rng.below(receipts.len() as u64)).unwrap();
            let (debit, ours, memorys) = receipts.swap_remove(at);
            lane.refund(debit, ours, memorys).await;
        }
        let mut debits = Vec::new();
        for _ in 0..*rng.pick(&[1, 1, 1, 2, 3]) {
            let (quota, _) = *rng.pick(&quotas);
            let capacity = quota.policy().unwrap().capacity();
            let any = 1 + u32::try_from(rng.below(u64::from(capacity))).unwrap();
            let cost = *rng.pick(&[0, 1, 1, 1, 2, any, any, capacity.saturating_add(1)]);
            debits.push(debit(rng.pick(&keys).as_str(), quota, cost));
        }
        let mode = if rng.chance(0.15) { Mode::Peek } else { Mode::Take };
        let (ours, memorys) = (lane.decide(&debits, mode).await?, lane.in_memory(&debits, mode));
        if !ours.iter().map(seen).eq(memorys.iter().map(seen)) {
            return Err(format!("step {step} at {time}, {mode:?} {debits:?}:\n{ours:?}\n{memorys:?}"));
        }
        let both = debits.iter().zip(ours.iter().zip(memorys.iter()));
        receipts.extend(
            both.filter_map(|(debit, (ours, memorys))| Some((*debit, ours.receipt?, memorys.receipt?))),
        );
    }
    Ok(())
}

/// Of the charge of a bucket long gone nothing is given back, though a bucket that counts is named by the same byte.
pub(crate) async fn a_byte_comes_again(lane: &Lane, name: usize, mut rng: Rng) -> Result<(), String> {
    let quota = Quota::new(20, Duration::from_secs(1)).buckets(*rng.pick(&[2, 7, 10, 60]));
    let policy = quota.policy().unwrap();
    let Rule::Window(rule) = policy.rule() else { unreachable!("the quota is of buckets") };
    let key = format!("{name}-c");
    let (debit, mut time, mut receipts) = (debit(&key, quota, 3), BEGINNING, Vec::new());
    for after in [0, 256, 1] {
        time += after * rule.width();
        lane.at(time).await;
        let ours = lane.decide(&[debit], Mode::Take).await?;
        receipts.push((ours[0].receipt, lane.in_memory(&[debit], Mode::Take)[0].receipt));
    }
    let (Some(ours), Some(memorys)) = receipts[0] else { return Err("refused".into()) };
    lane.refund(debit, ours, memorys).await;
    let (ours, memorys) = (lane.decide(&[debit], Mode::Peek).await?, lane.in_memory(&[debit], Mode::Peek));
    if seen(&ours[0]) == seen(&memorys[0]) { Ok(()) } else { Err(format!("{ours:?}\n{memorys:?}")) }
}

/// Charges to one window, against a log of all that was admitted. The clock can step back, true time cannot.
pub(crate) async fn within_the_limit(lane: &Lane, name: usize, mut rng: Rng) -> Result<(), String> {
    let (limit, window, buckets) =
        (*rng.pick(&[1, 2, 3, 7, 20]), *rng.pick(&WINDOWS), *rng.pick(&[1, 2, 7, 10, 60]));
    let quota = Quota::new(limit, Duration::from_micros(window)).buckets(buckets);
    let (key, pace, steps_back) = (format!("{name}-w"), window / u64::from(limit), rng.chance(0.4));
    let (mut time, mut behind) = (BEGINNING + rng.below(window), 0);
    let mut log: VecDeque<(u64, u32)> = VecDeque::new();
    let saturated = rng.chance(0.4);
    for _ in 0..2 * STEPS {
        let edge = window - time % window;
        time += if saturated {
            pace / 4
        } else {
            *rng.pick(&[0, 0, 1, pace, window - 1, window, edge, edge - 1])
        };
        if steps_back && rng.chance(0.07) {
            behind += rng.below(3 * window);
        }
        lane.at(time - behind).await;
        let cost = if rng.chance(0.8) { 1 } else { 1 + u32::try_from(rng.below(limit.into())).unwrap() };
        let debits = [debit(&key, quota, cost)];
        let verdict = lane.decide(&debits, Mode::Take).await?[0];
        if verdict.fits {
            log.retain(|(then, _)| time - then < window);
            log.push_back((time, cost));
            let sum: u32 = log.iter().map(|(_, cost)| cost).sum();
            if sum > limit {
                return Err(format!(
                    "{sum} of {limit} in a window of {window} µs, {buckets} buckets: {log:?}"
                ));
            }
        } else {
            let wait = verdict.retry_after.ok_or("no cost is above the limit")?;
            let most =
                Duration::from_micros(window.div_ceil(buckets.into()) * u64::from(buckets + 1) + behind);
            if wait > most {
                return Err(format!("a wait of {wait:?}, {behind} µs behind"));
            }
            if rng.chance(0.2) {
                lane.at(time - behind + u64::try_from(wait.as_micros()).unwrap()).await;
                if !lane.decide(&debits, Mode::Peek).await?[0].fits {
                    return Err(format!("waiting as told was not enough: {verdict:?}"));
                }
            }
        }
    }
    Ok(())
}

/// Runs all kinds, and says what failed first.
pub(crate) async fn run(
    redis: &Redis,
    name: &str,
    patch: Patch,
    schedules: usize,
    seed: Seed,
) -> Result<(), String> {
    let mut lanes: JoinSet<Result<(), String>> = JoinSet::new();
    for lane in 0..LANES {
        let (redis, name) = (redis.clone(), format!("{name}-{lane}"));
        lanes.spawn(async move {
            let lane_of = Lane::new(&redis, &name, patch);
            for schedule in (lane..schedules).step_by(LANES) {
                let rng = Seed::new(seed.value().wrapping_add(schedule as u64)).rng();
                as_in_memory(&lane_of, schedule, rng.clone()).await?;
                within_the_limit(&lane_of, schedule, rng.clone()).await?;
                a_byte_comes_again(&lane_of, schedule, rng).await?;
            }
            Ok(())
        });
    }
    while let Some(lane) = lanes.join_next().await {
        lane.unwrap()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_script_decides_as_memory_does_and_never_admits_more_than_the_limit() {
    let seed = Seed::from_env("MAINSTAY_SEED");
    let rounds: usize =
        std::env::var("MAINSTAY_ROUNDS").map_or(1, |rounds| rounds.parse().expect("a number"));
    let server = RedisServer::start().await;
    let redis = connect(&server.url()).await;
    for round in 0..rounds {
        let seed = Seed::new(seed.value().wrapping_add((round * SCHEDULES) as u64));
        run(&redis, "right", str::to_owned, SCHEDULES, seed).await.unwrap();
        // States of schedules that are over.
        server.command(&["FLUSHALL"]).await;
    }
}
