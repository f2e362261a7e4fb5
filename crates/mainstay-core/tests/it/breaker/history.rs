//! Random histories against a model that keeps every outcome and counts anew each time. `MAINSTAY_ROUNDS`
//! multiplies the steps: 100 make a million for each kind of window.

use std::time::Duration;

use mainstay_core::breaker::{Mode, Permit, Policy, State, Window};
use mainstay_testkit::{Rng, Seed};

use super::{Rig, rounds};

const BUCKETS: u64 = 10;
const STEPS: usize = 10_000;
/// Steps of one history; then it begins anew with another policy.
const HISTORY: usize = 250;

/// One outcome of the state "closed".
#[derive(Debug, Clone, Copy)]
struct Entry {
    at: u64,
    failed: bool,
    slow: bool,
}

/// A permit that was given out.
struct Held<'a> {
    permit: Permit<'a>,
    begun: u64,
    generation: u32,
    /// The number of a probe.
    probe: Option<usize>,
}

struct Probe {
    number: usize,
    ends: u64,
}

/// The breaker as a naive person would write it: slow, with everything kept.
struct Model {
    policy: Policy,
    state: State,
    generation: u32,
    /// The window is made of the end of this.
    log: Vec<Entry>,
    /// What is before this left a window that was smaller.
    start: usize,
    until: u64,
    openings: u32,
    probes: Vec<Probe>,
    numbers: usize,
    successes: u32,
    failures: u32,
    slow: u32,
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Model {
    fn new(policy: Policy) -> Self {
        Self {
            policy,
            state: State::Closed,
            generation: 0,
            log: Vec::new(),
            start: 0,
            until: 0,
            openings: 0,
            probes: Vec::new(),
            numbers: 0,
            successes: 0,
            failures: 0,
            slow: 0,
        }
    }

    fn window(&self, now: u64) -> Vec<Entry> {
        match self.policy.window {
            Window::Count(size) => {
                self.log[self.start..].iter().rev().take(size.try_into().unwrap()).copied().collect()
            }
            Window::Time(time) => {
                let bucket = |time_at: u64| time_at / (micros(time) / BUCKETS);
                let counts = |entry: &&Entry| bucket(entry.at) + BUCKETS > bucket(now);
                self.log.iter().filter(counts).copied().collect()
            }
        }
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.generation += 1;
        match state {
            State::Closed => {
                self.log.clear();
                self.start = 0;
                self.openings = 0;
            }
            State::HalfOpen => {
                self.probes.clear();
                (self.successes, self.failures, self.slow) = (0, 0, 0);
            }
            State::Open => self.openings += 1,
        }
    }

    /// Gives up probes and ends a round that is decided.
    fn settle(&mut self, now: u64) {
        if self.state != State::HalfOpen {
            return;
        }
        let before = self.probes.len();
        self.probes.retain(|probe| probe.ends > now);
        self.failures += u32::try_from(before - self.probes.len()).unwrap();
        self.decide();
    }

    fn decide(&mut self) {
        if self.state != State::HalfOpen {
            return;
        }
        let ended = self.successes + self.failures;
        if self.failures > self.policy.probes - self.policy.probes_to_close {
            self.enter(State::Open);
        } else if self.successes >= self.policy.probes_to_close {
            let slow = self.slow > 0 && f64::from(self.slow) / f64::from(ended) >= self.policy.slow_rate;
            self.enter(if slow { State::Open } else { State::Closed });
        }
    }

    /// Whether a call passes, and as which probe.
    fn admit(&mut self, now: u64) -> Result<Option<usize>, ()> {
        if self.state == State::Open && now >= self.until {
            self.enter(State::HalfOpen);
        }
        self.settle(now);
        match self.state {
            State::Closed => Ok(None),
            State::Open => Err(()),
            State::HalfOpen => {
                let used = self.probes.len() + (self.successes + self.failures) as usize;
                if used >= self.policy.probes as usize {
                    return Err(());
                }
                self.numbers += 1;
                let ends = now + micros(self.policy.probe_lease);
                self.probes.push(Probe { number: self.numbers, ends });
                Ok(Some(self.numbers))
            }
        }
    }

    /// Whether it opened because the dependency asked for that.
    fn end(&mut self, now: u64, held: &Held<'_>, how: End) -> bool {
        if held.generation != self.generation {
            return false;
        }
        let time = now - held.begun;
        let slow = time >= micros(self.policy.slow_call);
        let failed = match how {
            End::Success => Some(false),
            End::Failure | End::For(_) => Some(true),
            End::Ignore => None,
            End::Drop => {
                self.policy.cancel_is_failure_after.is_some_and(|after| time >= micros(after)).then_some(true)
            }
        };
        match held.probe {
            None => {
                self.end_call(now, failed, slow, how);
                matches!(how, End::For(_))
            }
            Some(number) => self.end_probe(now, number, failed, slow, how),
        }
    }

    fn end_call(&mut self, now: u64, failed: Option<bool>, slow: bool, how: End) {
        let Some(failed) = failed else { return };
        self.log.push(Entry { at: now, failed, slow });
        let opens = match (how, self.policy.consecutive_failures) {
            (End::For(_), _) => true,
            (_, Some(wanted)) => {
                let row = self.log.iter().rev().take_while(|entry| entry.failed).count();
                failed && row >= wanted as usize
            }
            (_, None) => {
                let window = self.window(now);
                let share = |part: usize| part as f64 / window.len() as f64;
                let failures = window.iter().filter(|entry| entry.failed).count();
                let slow = window.iter().filter(|entry| entry.slow).count();
                window.len() >= self.policy.min_calls as usize
                    && (failures > 0 && share(failures) >= self.policy.failure_rate
                        || slow > 0 && share(slow) >= self.policy.slow_rate)
            }
        };
        if opens {
            self.enter(State::Open);
        }
    }

    fn end_probe(&mut self, now: u64, number: usize, failed: Option<bool>, slow: bool, how: End) -> bool {
        let before = self.probes.len();
        self.probes.retain(|probe| probe.ends > now);
        self.failures += u32::try_from(before - self.probes.len()).unwrap();
        let known = self.probes.iter().position(|probe| probe.number == number);
        if let Some(at) = known {
            self.probes.remove(at);
            if let Some(failed) = failed {
                self.successes += u32::from(!failed);
                self.failures += u32::from(failed);
                self.slow += u32::from(slow);
            }
        }
        let asked = known.is_some() && matches!(how, End::For(_));
        if asked {
            self.enter(State::Open);
        } else {
            self.decide();
        }
        asked
    }
}

#[derive(Debug, Clone, Copy)]
enum End {
    Success,
    Failure,
    Ignore,
    Drop,
    For(Duration),
}

fn end(permit: Permit<'_>, how: End) {
    match how {
        End::Success => permit.success(),
        End::Failure => permit.failure(),
        End::Ignore => permit.ignore(),
        End::Drop => drop(permit),
        End::For(time) => permit.open_for(time),
    }
}

fn some_policy(rng: &mut Rng, window: Window) -> Policy {
    let most = if let Window::Count(size) = window { size } else { 12 };
    let mut policy = Policy::default();
    policy.window = window;
    policy.min_calls = 1 + u32::try_from(rng.below(most.into())).unwrap();
    policy.failure_rate = *rng.pick(&[0.1, 0.3, 0.5, 0.75, 1.0]);
    policy.slow_call = *rng.pick(&[Duration::MAX, Duration::from_millis(40)]);
    policy.slow_rate = *rng.pick(&[0.2, 0.5, 1.0]);
    policy.consecutive_failures = *rng.pick(&[None, None, None, Some(1), Some(3)]);
    policy.open_for = Duration::from_millis(100);
    policy.open_max = *rng.pick(&[Duration::from_millis(100), Duration::from_millis(900)]);
    policy.probes = 1 + u32::try_from(rng.below(5)).unwrap();
    policy.probes_to_close = 1 + u32::try_from(rng.below(policy.probes.into())).unwrap();
    policy.probe_lease = Duration::from_millis(150);
    policy.cancel_is_failure_after = *rng.pick(&[None, Some(Duration::from_millis(60))]);
    policy
}

fn compare(rig: &Rig, model: &Model, what: &str) {
    let now = rig.hand.micros();
    let snapshot = rig.breaker.snapshot();
    assert_eq!(snapshot.state, model.state, "{what}");
    if model.state != State::Closed {
        return;
    }
    let window = model.window(now);
    let failures = window.iter().filter(|entry| entry.failed).count() as u64;
    let slow = window.iter().filter(|entry| entry.slow).count() as u64;
    let counted = (snapshot.calls, snapshot.failures, snapshot.slow);
    assert_eq!(counted, (window.len() as u64, failures, slow), "{what}");
    let share = |part: u64| if window.is_empty() { 0.0 } else { part as f64 / window.len() as f64 };
    assert_eq!((snapshot.failure_rate, snapshot.slow_rate), (share(failures), share(slow)), "{what}");
}

/// When it opened, the model learns how the dice fell, which has bounds.
fn learn(rig: &Rig, model: &mut Model, asked: Option<Duration>) {
    let waits = rig.breaker.snapshot().retry_after;
    let policy = &model.policy;
    match asked {
        Some(time) => assert_eq!(waits, time.min(policy.open_max)),
        None => {
            let whole = policy.open_for * 2_u32.pow((model.openings - 1).min(10));
            let longest = whole.min(policy.open_max);
            assert!(waits <= policy.open_max && waits <= longest.mul_f64(1.2), "{waits:?} of {longest:?}");
            assert!(waits + Duration::from_micros(1) >= longest.mul_f64(0.8), "{waits:?} of {longest:?}");
        }
    }
    model.until = rig.hand.micros() + micros(waits);
}

/// One history; how often each state was entered.
fn history(rng: &mut Rng, window: Window) -> [u32; 3] {
    let policy = some_policy(rng, window);
    let rig = Rig::new(policy.clone());
    let mut model = Model::new(policy);
    let mut held: Vec<Held<'_>> = Vec::new();
    let mut entered = [0; 3];
    let failing = *rng.pick(&[0.05, 0.3, 0.6]);
    for step in 0..HISTORY {
        let (before, mut asked) = (model.generation, None);
        let what;
        match rng.below(20) {
            0..8 if held.len() < 30 => {
                let now = rig.hand.micros();
                let permit = rig.breaker.try_acquire();
                let admitted = model.admit(now);
                what = format!("step {step}: acquire, {admitted:?}");
                assert_eq!(permit.is_ok(), admitted.is_ok(), "{what}");
                if let (Ok(permit), Ok(probe)) = (permit, admitted) {
                    held.push(Held { permit, begun: now, generation: model.generation, probe });
                }
            }
            8..16 if !held.is_empty() => {
                let one = held.swap_remove(rng.below(held.len() as u64).try_into().unwrap());
                let how = match rng.below(100) {
                    0..8 => End::Drop,
                    8..14 => End::Ignore,
                    14 => End::For(Duration::from_millis(rng.below(500).saturating_sub(50))),
                    _ if rng.chance(failing) => End::Failure,
                    _ => End::Success,
                };
                what = format!("step {step}: {how:?}");
                // Whoever asks for no time has failed and asked for nothing.
                let meant = if matches!(how, End::For(Duration::ZERO)) { End::Failure } else { how };
                let wished = model.end(rig.hand.micros(), &one, meant);
                if let End::For(time) = meant {
                    asked = wished.then_some(time);
                }
                end(one.permit, how);
            }
            16 if matches!(window, Window::Count(_)) && rng.chance(0.2) => {
                let size = 1 + u32::try_from(rng.below(20)).unwrap();
                if let Window::Count(before) = model.policy.window {
                    model.start = model.start.max(model.log.len().saturating_sub(before as usize));
                }
                let mut policy = some_policy(rng, Window::Count(size));
                policy.slow_call = model.policy.slow_call;
                policy.cancel_is_failure_after = model.policy.cancel_is_failure_after;
                policy.consecutive_failures = model.policy.consecutive_failures;
                rig.breaker.configure(policy.clone()).unwrap();
                model.policy = policy;
                model.until = model.until.min(rig.hand.micros() + micros(model.policy.open_max));
                model.settle(rig.hand.micros());
                what = format!("step {step}: a window of {size}");
            }
            _ => {
                let time = match rng.below(10) {
                    0 => Duration::from_millis(rng.below(400)),
                    1 => rig.breaker.snapshot().retry_after,
                    _ => Duration::from_micros(rng.below(20_000)),
                };
                rig.hand.advance(time);
                what = format!("step {step}: {time:?} pass");
            }
        }
        if model.generation != before {
            entered[model.state as usize] += 1;
            if model.state == State::Open {
                learn(&rig, &mut model, asked);
            }
        }
        compare(&rig, &model, &what);
    }
    assert_eq!(rig.breaker.mode(), Mode::Automatic);
    entered
}

fn histories(window: impl Fn(&mut Rng) -> Window) {
    let mut rng = Seed::from_env("MAINSTAY_SEED").rng();
    let mut entered = [0; 3];
    for _ in 0..rounds(STEPS) / HISTORY {
        let window = window(&mut rng);
        let states = history(&mut rng, window);
        entered.iter_mut().zip(states).for_each(|(sum, count)| *sum += count);
    }
    assert!(entered.iter().all(|count| *count >= 10), "{entered:?}: some state was never tried");
}

#[test]
fn a_count_window_is_what_counting_anew_gives() {
    histories(|rng| Window::Count(1 + u32::try_from(rng.below(20)).unwrap()));
}

#[test]
fn a_time_window_is_what_counting_anew_gives() {
    histories(|rng| Window::Time(*rng.pick(&[100, 350, 999]) * Duration::from_millis(1)));
}
