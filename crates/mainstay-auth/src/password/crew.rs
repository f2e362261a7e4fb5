use std::sync::Arc;

use mainstay_core::deadline::Deadline;
use mainstay_core::metrics::Histogram;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

use super::instruments::Instruments;
use super::{Error, Options};

/// Threads for work that is too long for the runtime, so many at a time and so many waiting.
#[derive(Debug)]
pub(super) struct Crew {
    /// Who is here at all, at work or waiting.
    places: Arc<Semaphore>,
    /// Who is at work.
    hands: Arc<Semaphore>,
    wait: std::time::Duration,
    waited: Histogram,
    worked: Histogram,
}

impl Crew {
    pub(super) fn new(options: &Options, instruments: &Instruments) -> Self {
        let hands = options.concurrent.clamp(1, Semaphore::MAX_PERMITS / 2);
        let places = hands.saturating_add(options.queue).min(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(places)),
            hands: Arc::new(Semaphore::new(hands)),
            wait: options.wait,
            waited: instruments.waited.clone(),
            worked: instruments.worked.clone(),
        }
    }

    /// Does `work` when its turn comes. Both permits travel with the work and not with the future: a caller that is
    /// gone must not make room for another while the thread is still busy.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Error::Busy)?;
        let began = Instant::now();
        let wait = Deadline::current().map_or(self.wait, |deadline| deadline.remaining().min(self.wait));
        let hand = match timeout(wait, Arc::clone(&self.hands).acquire_owned()).await {
            Ok(Ok(hand)) => hand,
            Ok(Err(_)) | Err(_) => return Err(Error::Busy),
        };
        self.waited.record(began.elapsed().as_secs_f64());
        let worked = self.worked.clone();
        let work = move || {
            let (_place, _hand, began) = (place, hand, Instant::now());
            let result = work();
            worked.record(began.elapsed().as_secs_f64());
            result
        };
        spawn_blocking(work).await.map_err(|_| Error::Failed("the work was cut off"))
    }
}

#[cfg(test)]
impl Crew {
    /// How many places and hands are free.
    pub(super) fn free(&self) -> (usize, usize) {
        (self.places.available_permits(), self.hands.available_permits())
    }

    /// Keeps one hand from work.
    pub(super) fn occupy(&self) -> tokio::sync::OwnedSemaphorePermit {
        Arc::clone(&self.hands).try_acquire_owned().expect("a hand is free")
    }
}
