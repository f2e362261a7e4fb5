//! What is only read.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mainstay_core::event::store::{Dead, History, QueueStats, Start};
use mainstay_core::event::{Pattern, Queue};
use mainstay_core::store::StoreError;

use super::verbs::{envelope, pattern, whole};
use super::{Inner, SEEN, unread};
use crate::{Error, Row};

/// What whoever waits for a queue has to know.
pub(super) struct Look {
    pub(super) has_due: bool,
    /// It is to be written down that the queue is fetched from, or it would seem deserted.
    pub(super) is_unseen: bool,
    /// How long until a held event is due again.
    pub(super) next_due: Option<Duration>,
}

impl Inner {
    pub(super) async fn look(&self, queue: &Queue) -> Result<Look, StoreError> {
        let sql = "SELECT q.fetched_at, \
                   (SELECT 1 FROM mainstay_event_deliveries d WHERE d.queue = q.id AND d.state = 0 LIMIT 1) AS queued, \
                   (SELECT MIN(d.due) FROM mainstay_event_deliveries d WHERE d.queue = q.id AND d.state = 1) AS pending, \
                   (SELECT MIN(d.due) FROM mainstay_event_deliveries d WHERE d.queue = q.id AND d.state = 2) AS held \
                   FROM mainstay_event_queues q WHERE q.name = ?";
        let look = self.db.query(sql).bind(queue.to_string()).label("events.look").fetch_optional();
        let row = look.await.map_err(|error| unread(&error))?;
        let row = row.ok_or_else(|| StoreError::rejected(format!("no queue {queue} is open")))?;
        let read = || -> Result<Look, Error> {
            let queued: Option<i64> = row.get("queued")?;
            let held = [row.get::<Option<i64>>("pending")?, row.get::<Option<i64>>("held")?];
            let next = held.into_iter().flatten().min().map(|due| due.saturating_sub(self.now()));
            Ok(Look {
                has_due: queued.is_some() || next.is_some_and(|wait| wait <= 0),
                is_unseen: row.get::<i64>("fetched_at")? < self.now() - SEEN,
                next_due: next.map(|wait| Duration::from_micros(u64::try_from(wait).unwrap_or(0))),
            })
        };
        read().map_err(|error| unread(&error))
    }

    pub(super) async fn stats(&self) -> Result<Vec<QueueStats>, StoreError> {
        let sql = "SELECT q.consumers, q.pattern, q.instance, q.ordered, q.dead_dropped, \
                   (SELECT COUNT(*) FROM mainstay_event_deliveries d WHERE d.queue = q.id AND d.state = 0) AS queued, \
                   (SELECT COUNT(*) FROM mainstay_event_deliveries d WHERE d.queue = q.id AND d.state = 1) AS pending, \
                   (SELECT COUNT(*) FROM mainstay_event_deliveries d WHERE d.queue = q.id AND d.state = 2) AS held, \
                   (SELECT COUNT(*) FROM mainstay_event_dead x WHERE x.queue = q.id) AS dead, \
                   (SELECT MIN(d.queued_at) FROM mainstay_event_deliveries d WHERE d.queue = q.id) AS oldest \
                   FROM mainstay_event_queues q ORDER BY q.name";
        let rows = self.db.query(sql).label("events.stats").fetch_all().await;
        let rows = rows.map_err(|error| unread(&error))?;
        let mut stats = rows
            .iter()
            .map(|row| self.read_stats(row))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| unread(&error))?;
        stats.sort_by(|a, b| a.queue.cmp(&b.queue));
        Ok(stats)
    }

    fn read_stats(&self, row: &Row) -> Result<QueueStats, Error> {
        let text: String = row.get("pattern")?;
        let pattern = Pattern::new(&text)
            .map_err(|error| Error::Decode { column: "pattern".to_owned(), reason: error.to_string() })?;
        let group: String = row.get("consumers")?;
        let queue = match row.get::<Option<String>>("instance")? {
            Some(instance) => Queue::own(group.into(), pattern, instance.into()),
            None => Queue::shared(group.into(), pattern),
        };
        let count = |column| Ok::<_, Error>(usize::try_from(row.get::<i64>(column)?).unwrap_or(0));
        let mut stats = QueueStats::empty(queue);
        stats.ordered = row.get("ordered")?;
        stats.queued = count("queued")?;
        stats.pending = count("pending")?;
        stats.delayed = count("held")?;
        stats.dead = count("dead")?;
        stats.dead_dropped = u64::try_from(row.get::<i64>("dead_dropped")?).unwrap_or(0);
        stats.oldest = row
            .get::<Option<i64>>("oldest")?
            .map(|since| Duration::from_micros(u64::try_from(self.now().saturating_sub(since)).unwrap_or(0)));
        Ok(stats)
    }

    pub(super) async fn dead_letters(&self, queue: &Queue, limit: usize) -> Result<Vec<Dead>, StoreError> {
        let sql = "SELECT e.envelope, x.attempts, x.cause, x.died_at FROM mainstay_event_dead x \
                   JOIN mainstay_event_queues q ON q.id = x.queue JOIN mainstay_events e ON e.position = x.position \
                   WHERE q.name = ? ORDER BY x.ticket LIMIT ?";
        let dead = self.db.query(sql).bind(queue.to_string()).bind(whole(limit)).label("events.dead");
        let rows = dead.fetch_all().await.map_err(|error| unread(&error))?;
        let read = |row: &Row| -> Result<Dead, Error> {
            let at = Timestamp::from_microsecond(row.get("died_at")?)
                .map_err(|error| Error::Decode { column: "died_at".to_owned(), reason: error.to_string() })?;
            let attempts = u32::try_from(row.get::<i64>("attempts")?).unwrap_or(u32::MAX);
            Ok(Dead::new(Arc::new(envelope(row)?), attempts, row.get("cause")?, at))
        };
        rows.iter().map(read).collect::<Result<_, _>>().map_err(|error| unread(&error))
    }

    pub(super) async fn history(
        &self,
        wanted: &Pattern,
        from: Start,
        limit: usize,
    ) -> Result<History, StoreError> {
        self.read_history(wanted, from, limit).await.map_err(|error| unread(&error))
    }

    async fn read_history(&self, wanted: &Pattern, from: Start, limit: usize) -> Result<History, Error> {
        if from == Start::Now {
            return Ok(History::new(Vec::new(), false));
        }
        let (position, time) = match from {
            Start::At(time) => (0, time.as_microsecond()),
            Start::After(id) => {
                let sql = "SELECT position FROM mainstay_events WHERE id = ?";
                let place =
                    self.db.query(sql).bind(id.to_string()).label("events.place").fetch_optional().await?;
                // Of one that is not known, everything may be missing.
                (place.map_or(Ok(-1), |row| row.get("position"))?, i64::MIN)
            }
            _ => (0, i64::MIN),
        };
        let sql = "SELECT envelope FROM mainstay_events WHERE topic = ? AND position > ? AND accepted_at >= ? \
                   AND (kind = ? OR substr(kind, 1, length(?)) = ?) ORDER BY position LIMIT ?";
        let (exact, prefix) = pattern(wanted.as_str());
        let read = self.db.query(sql).bind(wanted.topic()).bind(position).bind(time);
        let read = read.bind(exact).bind(prefix).bind(prefix).bind(whole(limit)).label("events.history");
        let rows = read.fetch_all().await?;
        let events = rows.iter().map(|row| envelope(row).map(Arc::new)).collect::<Result<_, _>>()?;
        let sql = "SELECT position, accepted_at FROM mainstay_event_trims WHERE topic = ?";
        // After the events were read: some may have been removed just before.
        let trim = self.db.query(sql).bind(wanted.topic()).label("events.trim").fetch_optional().await?;
        let (behind, youngest) = match trim {
            Some(row) => (row.get("position")?, row.get("accepted_at")?),
            None => (0, i64::MIN),
        };
        let gap = match from {
            Start::At(_) => youngest >= time,
            // It may have stayed for a slow queue while others behind it went.
            Start::After(_) => behind > position,
            _ => false,
        };
        Ok(History::new(events, gap))
    }
}
