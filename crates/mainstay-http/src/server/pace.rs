use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// How slow the other end may be: it may do nothing for a while, but not again and again for next to nothing.
///
/// Only time in which we wait counts. A single wait may last `patience`; waits that follow each other may last that and
/// what the bytes between them would take at the least rate. Nothing can be saved for later: who took a gigabyte at
/// once does not earn days to dribble in.
#[derive(Debug)]
pub(super) struct Pace {
    patience: Duration,
    /// Bytes per second; 0 asks for none.
    rate: u32,
    /// How much longer we have waited than the bytes since then were worth.
    behind: Duration,
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    since: Instant,
    over: Pin<Box<Sleep>>,
}

impl Pace {
    pub(super) fn new(patience: Duration, rate: u32) -> Self {
        Self { patience, rate, behind: Duration::ZERO, waiting: None }
    }

    /// So many bytes have come or gone: a wait is over.
    pub(super) fn moved(&mut self, bytes: usize) {
        if let Some(waiting) = self.waiting.take() {
            self.behind = self.behind.saturating_add(waiting.since.elapsed());
        }
        if !self.behind.is_zero() {
            // Without a rate the quotient is no time at all, and everything is forgiven.
            let earned = Duration::try_from_secs_f64(bytes as f64 / f64::from(self.rate));
            self.behind = self.behind.saturating_sub(earned.unwrap_or(Duration::MAX));
        }
    }

    /// We wait. Ready when that has lasted too long.
    pub(super) fn poll_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let allowed = self.allowed();
        let waiting = self.waiting.get_or_insert_with(|| {
            let since = Instant::now();
            // A time that cannot be told is never.
            let over = since.checked_add(allowed).unwrap_or(since + Duration::from_secs(86_400 * 365));
            Waiting { since, over: Box::pin(sleep_until(over)) }
        });
        waiting.over.as_mut().poll(cx)
    }

    fn allowed(&self) -> Duration {
        self.patience.saturating_sub(self.behind)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    async fn waits(pace: &mut Pace, time: Duration) -> bool {
        tokio::time::timeout(time, poll_fn(|cx| pace.poll_too_slow(cx))).await.is_err()
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_wait_may_last_its_patience_and_no_longer() {
        for rate in [0, 1, u32::MAX] {
            let mut pace = Pace::new(ms(1_000), rate);
            assert!(waits(&mut pace, ms(999)).await, "{rate}");
            assert!(!waits(&mut pace, ms(2)).await, "{rate}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_sends_a_byte_now_and_then_is_too_slow_and_one_who_keeps_the_rate_is_not() {
        let mut dribbling = Pace::new(ms(1_000), 1_000);
        let mut steady = Pace::new(ms(1_000), 1_000);
        let mut patient = Pace::new(ms(1_000), 0);
        let mut cut_after = None;
        for round in 0..100 {
            assert!(waits(&mut steady, ms(500)).await, "{round}");
            steady.moved(500);
            assert!(waits(&mut patient, ms(500)).await, "{round}");
            patient.moved(1);
            if cut_after.is_none() && !waits(&mut dribbling, ms(500)).await {
                cut_after = Some(round);
            }
            dribbling.moved(1);
        }
        assert_eq!(cut_after, Some(2), "a second of patience is used up in the third half second");
    }

    #[tokio::test(start_paused = true)]
    async fn what_went_fast_before_earns_no_time_to_dribble_later() {
        let mut pace = Pace::new(ms(1_000), 1_000);
        assert!(waits(&mut pace, ms(10)).await);
        pace.moved(1 << 30);
        let mut cut_after = None;
        for round in 0..100 {
            if cut_after.is_none() && !waits(&mut pace, ms(500)).await {
                cut_after = Some(round);
            }
            pace.moved(1);
        }
        assert_eq!(cut_after, Some(2), "as one who has taken nothing yet");
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nobody_waits_for_the_client_is_not_its_own() {
        let mut pace = Pace::new(ms(100), 1);
        for _ in 0..100 {
            tokio::time::advance(ms(1_000)).await;
            pace.moved(0);
        }
        assert!(waits(&mut pace, ms(99)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn extremes_do_not_overflow() {
        let mut pace = Pace::new(Duration::MAX, 1);
        pace.moved(usize::MAX);
        pace.moved(usize::MAX);
        assert!(waits(&mut pace, ms(1)).await);
        pace.moved(1);
        assert!(waits(&mut pace, ms(1)).await);
    }
}
