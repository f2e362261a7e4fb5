//! From the table to the store.

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::backoff::Backoff;
use mainstay_core::event::Envelope;
use mainstay_core::event::store::Published;
use tokio::sync::watch;

use super::Inner;
use crate::{Dialect, Error, Row};

/// Most events in one question to the store.
const BATCH: i64 = 64;
/// Most bytes in one question, beyond those of the event that exceeds them: it has to be answered in time.
const ROOM: usize = 256 * 1024;
/// Most batches of one topic before others have their turn.
const TURN: usize = 16;
/// How often it looks for what another process has recorded, or what was missed.
const LOOK: Duration = Duration::from_millis(500);

/// What is left when a round has ended.
enum Left {
    /// Nothing.
    Nothing,
    /// A topic with more than its share, or a reason to begin anew.
    More,
    /// Another process relays.
    All,
}

/// Why a round did not relay what it came to.
enum Stop {
    Database(Error),
    Store(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

/// Relays until it is dropped, which loses nothing: what was not marked is relayed again.
pub(super) async fn work(inner: Arc<Inner>, mut epochs: watch::Receiver<u64>) {
    let owner = uuid();
    *inner.owner() = owner.clone();
    let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    // What another process had relayed last may be what the store has lost since.
    let mut has_to_republish = true;
    let mut epoch = *epochs.borrow_and_update();
    let mut failures = 0;
    loop {
        let before = std::mem::replace(&mut epoch, *epochs.borrow_and_update());
        has_to_republish |= epoch != before;
        let pause = match round(&inner, &owner, &epochs, epoch, &mut has_to_republish).await {
            Ok(left @ (Left::Nothing | Left::More)) => {
                if failures > 0 {
                    tracing::info!("the outbox is relayed again");
                }
                failures = 0;
                if matches!(left, Left::More) {
                    continue;
                }
                LOOK
            }
            // If this process is the successor of the other, it begins as at a start.
            Ok(Left::All) => {
                has_to_republish = true;
                LOOK
            }
            Err(stop) => {
                if failures == 0 {
                    match &stop {
                        Stop::Database(error) => {
                            tracing::warn!(%error, "the outbox cannot be read; trying on");
                        }
                        Stop::Store(reason) => {
                            tracing::warn!(reason, "events wait in the outbox; trying on");
                        }
                    }
                }
                let pause = backoff.delay(failures);
                failures = failures.saturating_add(1);
                pause
            }
        };
        tokio::select! {
            () = inner.recorded.notified(), if failures == 0 => {}
            // A closed channel never changes again.
            Ok(()) = async { epochs.wait_for(|now| *now != epoch).await.map(drop) } => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

fn uuid() -> String {
    mainstay_core::event::EventId::at(jiff::Timestamp::now()).to_string()
}

/// Relays of every topic what there is, up to its share.
async fn round(
    inner: &Inner,
    owner: &str,
    epochs: &watch::Receiver<u64>,
    epoch: u64,
    has_to_republish: &mut bool,
) -> Result<Left, Stop> {
    if !inner.lease(owner).await? {
        // Its events wait with the others: transactions here have to know how many do.
        inner.look().await?;
        return Ok(Left::All);
    }
    if *has_to_republish {
        let count = inner.forget_marks().await?;
        inner.meters.republished.increment(count);
        // What is stuck now has no bearing on it: no mark is left.
        *has_to_republish = false;
    }
    let (mut stop, mut left) = (None, Left::Nothing);
    for topic in inner.topics().await? {
        let mut turn = TURN;
        loop {
            if turn == 0 || *epochs.borrow() != epoch {
                left = Left::More;
                break;
            }
            if !inner.lease(owner).await? {
                return Ok(Left::All);
            }
            turn -= 1;
            match inner.relay(&topic, epochs, epoch).await {
                Ok(true) => {}
                Ok(false) => break,
                // Another topic may go on.
                Err(Stop::Store(reason)) => {
                    stop = Some(Stop::Store(reason));
                    break;
                }
                Err(stop) => return Err(stop),
            }
        }
    }
    inner.tidy().await?;
    inner.look().await?;
    stop.map_or(Ok(left), Err)
}

impl Inner {
    pub(super) fn owner(&self) -> std::sync::MutexGuard<'_, String> {
        self.owner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether `owner` relays from now on, for the time of a lease.
    async fn lease(&self, owner: &str) -> Result<bool, Error> {
        let now = self.now();
        let until = now.saturating_add(micros(self.options.lease));
        let sql = "UPDATE mainstay_outbox_relay SET owner = ?, until = ? WHERE id = 1 AND (owner = ? OR until < ? OR until > ?)";
        // A lease that ends later than any can was given before the calendar was set back.
        let lease = self.db.query(sql).bind(owner).bind(until).bind(owner).bind(now).bind(until);
        Ok(lease.label("outbox.lease").execute().await? == 1)
    }

    /// Lets another process relay at once.
    pub(super) async fn resign(&self) {
        let owner = self.owner().clone();
        let sql = "UPDATE mainstay_outbox_relay SET until = 0 WHERE id = 1 AND owner = ?";
        if let Err(error) = self.db.query(sql).bind(owner).label("outbox.lease").execute().await {
            tracing::debug!(%error, "the outbox is relayed by others when its lease has ended");
        }
    }

    /// Has everything that is kept relayed once more; says how much that is.
    async fn forget_marks(&self) -> Result<u64, Error> {
        let sql = "UPDATE mainstay_outbox SET relayed_at = 0 WHERE relayed_at >= ?";
        let oldest = self.now().saturating_sub(micros(self.options.keep)).max(1);
        self.db.query(sql).bind(oldest).label("outbox.republish").execute().await
    }

    async fn topics(&self) -> Result<Vec<String>, Error> {
        let sql = "SELECT topic FROM mainstay_outbox WHERE relayed_at IS NULL OR relayed_at = 0 \
                   GROUP BY topic ORDER BY MIN(position)";
        let rows = self.db.query(sql).label("outbox.topics").fetch_all().await?;
        rows.iter().map(|row| row.get("topic")).collect()
    }

    /// Relays the next events of a topic; `false` if there are none.
    async fn relay(&self, topic: &str, epochs: &watch::Receiver<u64>, epoch: u64) -> Result<bool, Stop> {
        let next = self.next(topic).await?;
        let mut positions = Vec::with_capacity(next.len());
        let mut events = Vec::with_capacity(next.len());
        let mut room = ROOM;
        for row in &next {
            if room == 0 {
                break;
            }
            positions.push(row.get::<i64>("position")?);
            let written: String = row.get("envelope")?;
            room = room.saturating_sub(written.len());
            let event = Envelope::from_cloud_event(&written).map_err(|error| Error::Decode {
                column: "envelope".to_owned(),
                reason: error.to_string(),
            })?;
            events.push(Arc::new(event));
        }
        if events.is_empty() {
            return Ok(false);
        }
        match self.store.publish(&events).within(self.options.op_timeout).await {
            Ok(Published::Accepted) => {}
            Ok(Published::Full) if events.len() > 1 => {
                return self.one_by_one(&positions, &events, epochs, epoch).await;
            }
            Ok(Published::Full) => return Err(Stop::Store(format!("a queue of {topic} is full"))),
            Err(error) => return Err(Stop::Store(error.to_string())),
        }
        self.mark(&positions, epoch, epochs).await?;
        Ok(true)
    }

    /// What goes out once more was before what waits.
    async fn next(&self, topic: &str) -> Result<Vec<Row>, Error> {
        let sql = "SELECT position, envelope FROM mainstay_outbox WHERE relayed_at = 0 AND topic = ? \
                   ORDER BY position LIMIT ?";
        let again = self.db.query(sql).bind(topic).bind(BATCH).label("outbox.again").fetch_all().await?;
        if !again.is_empty() {
            return Ok(again);
        }
        let sql = "SELECT position, envelope FROM mainstay_outbox WHERE relayed_at IS NULL AND topic = ? \
                   ORDER BY position LIMIT ?";
        self.db.query(sql).bind(topic).bind(BATCH).label("outbox.next").fetch_all().await
    }

    /// As many as there is room for.
    async fn one_by_one(
        &self,
        positions: &[i64],
        events: &[Arc<Envelope>],
        epochs: &watch::Receiver<u64>,
        epoch: u64,
    ) -> Result<bool, Stop> {
        for (position, event) in positions.iter().zip(events) {
            let one = std::slice::from_ref(event);
            match self.store.publish(one).within(self.options.op_timeout).await {
                Ok(Published::Accepted) => self.mark(&[*position], epoch, epochs).await?,
                Ok(Published::Full) => {
                    return Err(Stop::Store(format!("a queue of {} is full", event.kind.topic())));
                }
                Err(error) => return Err(Stop::Store(error.to_string())),
            }
        }
        Ok(true)
    }

    /// Writes down that the store has them, unless it may have lost them since.
    async fn mark(&self, positions: &[i64], epoch: u64, epochs: &watch::Receiver<u64>) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        for position in positions {
            let sql = "UPDATE mainstay_outbox SET relayed_at = ? WHERE position = ?";
            tx.query(sql).bind(self.now()).bind(*position).label("outbox.mark").execute().await?;
        }
        if *epochs.borrow() != epoch {
            // The next round hands them over again.
            return tx.rollback().await;
        }
        tx.commit().await?;
        self.meters.relayed.increment(positions.len() as u64);
        Ok(())
    }

    /// Removes what the store has had for long enough.
    async fn tidy(&self) -> Result<(), Error> {
        let sql = match self.db.dialect() {
            // It has no `LIMIT` in a subquery of `IN`, and one in `DELETE` instead.
            Dialect::Mysql => {
                "DELETE FROM mainstay_outbox WHERE relayed_at > 0 AND relayed_at < ? ORDER BY position LIMIT 1000"
            }
            _ => {
                "DELETE FROM mainstay_outbox WHERE position IN \
                 (SELECT position FROM mainstay_outbox WHERE relayed_at > 0 AND relayed_at < ? \
                 ORDER BY position LIMIT 1000)"
            }
        };
        let oldest = self.now().saturating_sub(micros(self.options.keep));
        self.db.query(sql).bind(oldest).label("outbox.tidy").execute().await?;
        Ok(())
    }

    async fn look(&self) -> Result<(), Error> {
        let sql = "SELECT COUNT(*) AS waiting, MIN(recorded_at) AS oldest FROM mainstay_outbox WHERE relayed_at IS NULL";
        let row = self.db.query(sql).label("outbox.look").fetch_one().await?;
        self.count(row.get("waiting")?, row.get("oldest")?);
        Ok(())
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
