//! What each verb does within a transaction. A verb looks first and changes then, so that one that is refused has
//! changed nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use mainstay_core::event::store::{Delivery, Opening, Published, Receipt, Standing, Start, Verdict};
use mainstay_core::event::{Envelope, EventId, Queue};

use super::Options;
use crate::{Dialect, Error, Query, Row, Transaction};

/// Most events one transaction takes for a queue: what is left is taken by the next.
const MAX_TAKE: usize = 1_000;
/// Most events of a topic that one transaction removes.
const MAX_TRIM: usize = 500;

const PENDING: i64 = 1;
const DELAYED: i64 = 2;

/// What a transaction has to know, and what is to be told when it has committed.
pub(super) struct Ground<'a> {
    pub(super) tx: &'a mut Transaction,
    pub(super) options: &'a Options,
    /// Microseconds by the calendar.
    pub(super) now: i64,
    /// Names of queues that have got something to deliver.
    pub(super) filled: &'a mut BTreeSet<String>,
}

/// Why a verb did nothing.
#[derive(Debug)]
pub(super) enum Refusal {
    NoQueue,
    OtherOrder,
    Sql(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Sql(error)
    }
}

/// A queue as the table has it.
pub(super) struct Known {
    pub(super) id: i64,
    name: String,
    pattern: String,
    ordered: bool,
    unfinished: i64,
    fetched_at: i64,
}

impl Known {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.get("id")?,
            name: row.get("name")?,
            pattern: row.get("pattern")?,
            ordered: row.get("ordered")?,
            unfinished: row.get("unfinished")?,
            fetched_at: row.get("fetched_at")?,
        })
    }

    fn takes(&self, event: &Envelope) -> bool {
        match self.pattern.strip_suffix('*') {
            Some(prefix) => event.kind.as_str().starts_with(prefix),
            None => event.kind == *self.pattern,
        }
    }
}

impl Ground<'_> {
    /// From here to the commit nobody else changes these tables: what follows looks first and changes then, and
    /// positions become visible in their order. SQLite has one writer anyway.
    pub(super) async fn enter(&mut self) -> Result<(), Error> {
        if self.tx.dialect() != Dialect::Sqlite {
            let sql = "SELECT id FROM mainstay_event_writer WHERE id = 1 FOR UPDATE";
            self.tx.query(sql).label("events.enter").fetch_one().await?;
        }
        Ok(())
    }

    async fn queue(&mut self, name: &str) -> Result<Known, Refusal> {
        let sql = "SELECT id, name, pattern, ordered, unfinished, fetched_at FROM mainstay_event_queues WHERE name = ?";
        let row = self.tx.query(sql).bind(name).label("events.queue").fetch_optional().await?;
        Ok(Known::read(&row.ok_or(Refusal::NoQueue)?)?)
    }

    async fn count(&mut self, queue: i64, change: i64) -> Result<(), Error> {
        if change != 0 {
            let sql = "UPDATE mainstay_event_queues SET unfinished = unfinished + ? WHERE id = ?";
            self.tx.query(sql).bind(change).bind(queue).label("events.count").execute().await?;
        }
        Ok(())
    }

    pub(super) async fn publish(&mut self, events: &[Arc<Envelope>]) -> Result<Published, Refusal> {
        let Some(first) = events.first() else { return Ok(Published::Accepted) };
        let sql = "SELECT id, name, pattern, ordered, unfinished, fetched_at FROM mainstay_event_queues WHERE topic = ?";
        let rows = self.tx.query(sql).bind(first.kind.topic()).label("events.queues").fetch_all().await?;
        let queues = rows.iter().map(Known::read).collect::<Result<Vec<_>, _>>()?;
        let mut new: Vec<_> = events.iter().collect();
        if !self.has_room(&queues, &new) {
            // What is there already needs none.
            new.clear();
            for event in events {
                if !self.is_known(event.id).await? {
                    new.push(event);
                }
            }
            if !self.has_room(&queues, &new) {
                return Ok(Published::Full);
            }
        }
        let mut coming = vec![0; queues.len()];
        for event in new {
            let Some(position) = self.keep(event).await? else { continue };
            for (queue, coming) in queues.iter().zip(&mut coming).filter(|(queue, _)| queue.takes(event)) {
                self.deliver(queue, position, position, event.subject.as_deref()).await?;
                *coming += 1;
            }
        }
        for (queue, coming) in queues.iter().zip(coming) {
            self.count(queue.id, coming).await?;
        }
        Ok(Published::Accepted)
    }

    fn has_room(&self, queues: &[Known], events: &[&Arc<Envelope>]) -> bool {
        queues.iter().all(|queue| {
            let coming = events.iter().filter(|event| queue.takes(event)).count();
            coming == 0 || queue.unfinished.saturating_add(whole(coming)) <= whole(self.options.max_queue)
        })
    }

    async fn is_known(&mut self, id: EventId) -> Result<bool, Error> {
        let sql = "SELECT position FROM mainstay_events WHERE id = ?";
        Ok(self.tx.query(sql).bind(id.to_string()).label("events.known").fetch_optional().await?.is_some())
    }

    /// Its position, unless its id is known.
    async fn keep(&mut self, event: &Envelope) -> Result<Option<i64>, Error> {
        let dialect = self.tx.dialect();
        let sql = match dialect {
            Dialect::Mysql => {
                "INSERT IGNORE INTO mainstay_events (id, topic, kind, subject, envelope, accepted_at) \
                 VALUES (?, ?, ?, ?, ?, ?)"
            }
            _ => {
                "INSERT INTO mainstay_events (id, topic, kind, subject, envelope, accepted_at) \
                 VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING RETURNING position"
            }
        };
        let id = event.id.to_string();
        let insert = self.tx.query(sql).bind(&id).bind(event.kind.topic());
        let insert = insert.bind(event.kind.as_str()).bind(event.subject.clone());
        let insert = insert.bind(event.to_cloud_event()).bind(self.now).label("events.publish");
        let kept = if dialect != Dialect::Mysql {
            insert.fetch_optional().await?
        } else if insert.execute().await? == 0 {
            None
        } else {
            let sql = "SELECT position FROM mainstay_events WHERE id = ?";
            self.tx.query(sql).bind(&id).label("events.publish").fetch_optional().await?
        };
        kept.map(|row| row.get("position")).transpose()
    }

    async fn deliver(
        &mut self,
        queue: &Known,
        position: i64,
        place: i64,
        subject: Option<&str>,
    ) -> Result<(), Error> {
        let sql = "INSERT INTO mainstay_event_deliveries \
                   (queue, position, place, subject, state, due, attempt, queued_at) VALUES (?, ?, ?, ?, 0, 0, 0, ?)";
        let insert = self.tx.query(sql).bind(queue.id).bind(position).bind(place);
        let insert = insert.bind(subject.filter(|_| queue.ordered)).bind(self.now);
        insert.label("events.deliver").execute().await?;
        self.filled.insert(queue.name.clone());
        Ok(())
    }

    pub(super) async fn open(&mut self, queue: &Queue, opening: Opening) -> Result<(), Refusal> {
        let name = queue.to_string();
        match self.queue(&name).await {
            Ok(known) if known.ordered == opening.ordered => return Ok(()),
            Ok(_) => return Err(Refusal::OtherOrder),
            Err(Refusal::NoQueue) => {}
            Err(other) => return Err(other),
        }
        let sql = "INSERT INTO mainstay_event_queues \
                   (name, topic, consumers, pattern, instance, ordered, unfinished, dead_dropped, fetched_at) \
                   VALUES (?, ?, ?, ?, ?, ?, 0, 0, ?)";
        let insert = self.tx.query(sql).bind(&name).bind(queue.pattern.topic()).bind(&*queue.group);
        let insert = insert.bind(queue.pattern.as_str()).bind(queue.instance.as_deref());
        insert.bind(i64::from(opening.ordered)).bind(self.now).label("events.open").execute().await?;
        let known = self.queue(&name).await?;
        self.requeue(&known, queue, opening.from).await
    }

    pub(super) async fn rewind(&mut self, queue: &Queue, from: Start) -> Result<(), Refusal> {
        let known = self.queue(&queue.to_string()).await?;
        self.requeue(&known, queue, from).await
    }

    /// Queues what is retained from there on and not in the queue already.
    async fn requeue(&mut self, known: &Known, queue: &Queue, from: Start) -> Result<(), Refusal> {
        if from == Start::Now {
            return Ok(());
        }
        let (position, time) = self.beginning(from).await?;
        let (exact, prefix) = pattern(&known.pattern);
        let sql = "INSERT INTO mainstay_event_deliveries \
                   (queue, position, place, subject, state, due, attempt, queued_at) \
                   SELECT ?, e.position, e.position, CASE WHEN ? = 1 THEN e.subject END, 0, 0, 0, ? \
                   FROM mainstay_events e WHERE e.topic = ? AND e.position > ? AND e.accepted_at >= ? \
                   AND (e.kind = ? OR substr(e.kind, 1, length(?)) = ?) AND NOT EXISTS \
                   (SELECT 1 FROM mainstay_event_deliveries d WHERE d.position = e.position AND d.queue = ?) \
                   ORDER BY e.position";
        let insert = self.tx.query(sql).bind(known.id).bind(i64::from(known.ordered)).bind(self.now);
        let insert = insert.bind(queue.pattern.topic()).bind(position).bind(time);
        let insert = insert.bind(exact).bind(prefix).bind(prefix).bind(known.id);
        let queued = insert.label("events.requeue").execute().await?;
        self.count(known.id, i64::try_from(queued).unwrap_or(i64::MAX)).await?;
        self.filled.insert(known.name.clone());
        Ok(())
    }

    /// The position and the time that retained events come after and not before.
    async fn beginning(&mut self, from: Start) -> Result<(i64, i64), Error> {
        Ok(match from {
            Start::At(time) => (0, time.as_microsecond()),
            Start::After(id) => {
                let sql = "SELECT position FROM mainstay_events WHERE id = ?";
                let row =
                    self.tx.query(sql).bind(id.to_string()).label("events.place").fetch_optional().await?;
                (row.map_or(Ok(0), |row| row.get("position"))?, i64::MIN)
            }
            _ => (0, i64::MIN),
        })
    }

    pub(super) async fn take(
        &mut self,
        queue: &Queue,
        credits: usize,
        visibility: i64,
    ) -> Result<Vec<Delivery>, Refusal> {
        let known = self.queue(&queue.to_string()).await?;
        let credits = credits.min(MAX_TAKE);
        let until = self.now.saturating_add(visibility);
        let sql = "SELECT d.ticket, d.attempt, e.envelope FROM mainstay_event_deliveries d \
                   JOIN mainstay_events e ON e.position = d.position \
                   WHERE d.queue = ? AND d.state IN (1, 2) AND d.due <= ? ORDER BY d.due, d.place, d.ticket LIMIT ?";
        let due = self.tx.query(sql).bind(known.id).bind(self.now).bind(whole(credits));
        let mut rows = due.label("events.due").fetch_all().await?;
        if rows.len() < credits {
            let sql = if known.ordered {
                "SELECT d.ticket, d.attempt, e.envelope FROM mainstay_event_deliveries d \
                 JOIN mainstay_events e ON e.position = d.position WHERE d.queue = ? AND d.state = 0 \
                 AND (d.subject IS NULL OR NOT EXISTS (SELECT 1 FROM mainstay_event_deliveries o \
                   WHERE o.queue = d.queue AND o.subject = d.subject AND o.ticket <> d.ticket \
                   AND (o.state <> 0 OR o.place < d.place OR (o.place = d.place AND o.ticket < d.ticket)))) \
                 ORDER BY d.place, d.ticket LIMIT ?"
            } else {
                "SELECT d.ticket, d.attempt, e.envelope FROM mainstay_event_deliveries d \
                 JOIN mainstay_events e ON e.position = d.position \
                 WHERE d.queue = ? AND d.state = 0 ORDER BY d.place, d.ticket LIMIT ?"
            };
            let more = self.tx.query(sql).bind(known.id).bind(whole(credits - rows.len()));
            rows.extend(more.label("events.next").fetch_all().await?);
        }
        let mut taken = Vec::with_capacity(rows.len());
        for row in rows {
            let (ticket, attempt): (i64, i64) = (row.get("ticket")?, row.get("attempt")?);
            let attempt = attempt.saturating_add(1);
            let sql = "UPDATE mainstay_event_deliveries SET state = ?, due = ?, attempt = ? WHERE ticket = ?";
            let hold = self.tx.query(sql).bind(PENDING).bind(until).bind(attempt).bind(ticket);
            hold.label("events.hold").execute().await?;
            let receipt = Receipt {
                position: u128::try_from(ticket).unwrap_or(0),
                attempt: u32::try_from(attempt).unwrap_or(u32::MAX),
            };
            taken.push(Delivery::new(receipt, Arc::new(envelope(&row)?)));
        }
        if known.fetched_at < self.now - super::SEEN {
            let sql = "UPDATE mainstay_event_queues SET fetched_at = ? WHERE id = ?";
            self.tx.query(sql).bind(self.now).bind(known.id).label("events.seen").execute().await?;
        }
        Ok(taken)
    }

    pub(super) async fn settle(
        &mut self,
        queue: &Queue,
        receipt: Receipt,
        verdict: &Verdict,
    ) -> Result<Standing, Refusal> {
        let known = self.queue(&queue.to_string()).await?;
        let (ticket, attempt) = key(receipt);
        if let Verdict::Retry { after } = verdict {
            let due = self.now.saturating_add(micros(*after));
            let sql = "UPDATE mainstay_event_deliveries SET state = ?, due = ? \
                       WHERE ticket = ? AND queue = ? AND state = ? AND attempt = ?";
            let delay = self.tx.query(sql).bind(DELAYED).bind(due).bind(ticket).bind(known.id);
            let delayed = delay.bind(PENDING).bind(attempt).label("events.delay").execute().await?;
            if delayed == 0 {
                return Ok(Standing::Gone);
            }
            self.filled.insert(known.name);
            return Ok(Standing::Held);
        }
        let Some(position) = self.end(known.id, ticket, attempt).await? else { return Ok(Standing::Gone) };
        self.count(known.id, -1).await?;
        if known.ordered {
            // The next of its subject.
            self.filled.insert(known.name.clone());
        }
        if let Verdict::Dead { cause } = verdict {
            self.bury(known.id, position, attempt, cause).await?;
        }
        Ok(Standing::Held)
    }

    /// Ends a delivery that is still held under this receipt; answers the position of its event.
    async fn end(&mut self, queue: i64, ticket: i64, attempt: i64) -> Result<Option<i64>, Error> {
        fn held<'a>(query: Query<'a>, [ticket, queue, attempt]: [i64; 3]) -> Query<'a> {
            query.bind(ticket).bind(queue).bind(PENDING).bind(attempt).label("events.done")
        }
        let key = [ticket, queue, attempt];
        if self.tx.dialect() != Dialect::Mysql {
            let sql = "DELETE FROM mainstay_event_deliveries \
                       WHERE ticket = ? AND queue = ? AND state = ? AND attempt = ? RETURNING position";
            let ended = held(self.tx.query(sql), key).fetch_optional().await?;
            return ended.map(|row| row.get("position")).transpose();
        }
        let sql = "SELECT position FROM mainstay_event_deliveries \
                   WHERE ticket = ? AND queue = ? AND state = ? AND attempt = ?";
        let Some(row) = held(self.tx.query(sql), key).fetch_optional().await? else { return Ok(None) };
        let sql = "DELETE FROM mainstay_event_deliveries WHERE ticket = ?";
        self.tx.query(sql).bind(ticket).label("events.done").execute().await?;
        row.get("position").map(Some)
    }

    async fn bury(&mut self, queue: i64, position: i64, attempts: i64, cause: &str) -> Result<(), Error> {
        // It was dead before, if the queue was rewound.
        let sql = "DELETE FROM mainstay_event_dead WHERE queue = ? AND position = ?";
        self.tx.query(sql).bind(queue).bind(position).label("events.bury").execute().await?;
        let sql = "INSERT INTO mainstay_event_dead (queue, position, attempts, cause, died_at) VALUES (?, ?, ?, ?, ?)";
        let bury = self.tx.query(sql).bind(queue).bind(position).bind(attempts);
        // No database stores a NUL in text.
        bury.bind(cause.replace('\0', "\u{fffd}")).bind(self.now).label("events.bury").execute().await?;
        // Nested once more for MySQL, which does not read a table that it deletes from.
        let sql = "DELETE FROM mainstay_event_dead WHERE queue = ? AND ticket <= (SELECT ticket FROM \
                   (SELECT ticket FROM mainstay_event_dead WHERE queue = ? ORDER BY ticket DESC LIMIT 1 OFFSET ?) oldest)";
        let drop = self.tx.query(sql).bind(queue).bind(queue).bind(whole(self.options.max_dead));
        let dropped = drop.label("events.bury").execute().await?;
        if dropped > 0 {
            let dropped = i64::try_from(dropped).unwrap_or(i64::MAX);
            let sql = "UPDATE mainstay_event_queues SET dead_dropped = dead_dropped + ? WHERE id = ?";
            self.tx.query(sql).bind(dropped).bind(queue).label("events.bury").execute().await?;
        }
        Ok(())
    }

    pub(super) async fn extend(
        &mut self,
        queue: &Queue,
        receipt: Receipt,
        visibility: i64,
    ) -> Result<Standing, Refusal> {
        let known = self.queue(&queue.to_string()).await?;
        let (ticket, attempt) = key(receipt);
        let sql = "UPDATE mainstay_event_deliveries SET due = ? \
                   WHERE ticket = ? AND queue = ? AND state = ? AND attempt = ?";
        let extend = self.tx.query(sql).bind(self.now.saturating_add(visibility)).bind(ticket).bind(known.id);
        let extended = extend.bind(PENDING).bind(attempt).label("events.extend").execute().await?;
        Ok(if extended > 0 { Standing::Held } else { Standing::Gone })
    }

    pub(super) async fn retire(&mut self, queue: &Queue) -> Result<usize, Refusal> {
        let name = queue.to_string();
        let known = match self.queue(&name).await {
            Err(Refusal::NoQueue) => return Ok(0),
            known => known?,
        };
        self.filled.insert(name);
        self.remove(known.id).await?;
        Ok(usize::try_from(known.unfinished).unwrap_or(0))
    }

    async fn remove(&mut self, queue: i64) -> Result<(), Error> {
        for sql in [
            "DELETE FROM mainstay_event_deliveries WHERE queue = ?",
            "DELETE FROM mainstay_event_dead WHERE queue = ?",
            "DELETE FROM mainstay_event_queues WHERE id = ?",
        ] {
            self.tx.query(sql).bind(queue).label("events.retire").execute().await?;
        }
        Ok(())
    }

    pub(super) async fn redrive(&mut self, queue: &Queue, id: EventId) -> Result<bool, Refusal> {
        let known = match self.queue(&queue.to_string()).await {
            Err(Refusal::NoQueue) => return Ok(false),
            known => known?,
        };
        let sql = "SELECT d.ticket, d.position, e.subject, (SELECT MAX(position) FROM mainstay_events) AS last \
                   FROM mainstay_event_dead d JOIN mainstay_events e ON e.position = d.position \
                   WHERE d.queue = ? AND e.id = ? ORDER BY d.ticket LIMIT 1";
        let dead = self.tx.query(sql).bind(known.id).bind(id.to_string()).label("events.redrive");
        let Some(row) = dead.fetch_optional().await? else { return Ok(false) };
        let (ticket, position, last): (i64, i64, i64) =
            (row.get("ticket")?, row.get("position")?, row.get("last")?);
        let subject: Option<String> = row.get("subject")?;
        let sql = "DELETE FROM mainstay_event_dead WHERE ticket = ?";
        self.tx.query(sql).bind(ticket).label("events.redrive").execute().await?;
        self.deliver(&known, position, last, subject.as_deref()).await?;
        self.count(known.id, 1).await?;
        Ok(true)
    }

    /// Removes what nobody needs any more, a bounded part of it; says whether there may be more.
    pub(super) async fn tidy(&mut self) -> Result<bool, Refusal> {
        let sql = "SELECT id FROM mainstay_event_queues WHERE instance IS NOT NULL \
                   AND (fetched_at < ? OR (fetched_at < ? AND unfinished > ?)) LIMIT 100";
        let left = self.tx.query(sql).bind(self.now - super::DESERTED).bind(self.now - super::IN_THE_WAY);
        let left = left.bind(whole(self.options.max_queue / 2)).label("events.tidy");
        for row in left.fetch_all().await? {
            self.remove(row.get("id")?).await?;
        }
        let sql = "SELECT topic, MAX(position) AS last FROM mainstay_events GROUP BY topic";
        let mut more = false;
        for row in self.tx.query(sql).label("events.tidy").fetch_all().await? {
            let (topic, last): (String, i64) = (row.get("topic")?, row.get("last")?);
            more |= self.trim(&topic, last).await? == MAX_TRIM;
        }
        Ok(more)
    }

    /// The last of a topic stays, so that no position is ever given twice. Says how many went.
    async fn trim(&mut self, topic: &str, last: i64) -> Result<usize, Error> {
        let oldest = self.now.saturating_sub(micros(self.options.retention));
        let sql = "SELECT e.position, e.accepted_at FROM mainstay_events e WHERE e.topic = ? AND e.position < ? \
                   AND (e.accepted_at < ? OR e.position <= (SELECT position FROM mainstay_events \
                     WHERE topic = ? ORDER BY position DESC LIMIT 1 OFFSET ?)) \
                   AND NOT EXISTS (SELECT 1 FROM mainstay_event_deliveries d WHERE d.position = e.position) \
                   AND NOT EXISTS (SELECT 1 FROM mainstay_event_dead x WHERE x.position = e.position) \
                   ORDER BY e.position LIMIT ?";
        let old = self.tx.query(sql).bind(topic).bind(last).bind(oldest).bind(topic);
        let old = old.bind(whole(self.options.max_retained)).bind(whole(MAX_TRIM));
        let old = old.label("events.tidy").fetch_all().await?;
        let Some(behind) = old.last() else { return Ok(0) };
        let behind: i64 = behind.get("position")?;
        let mut youngest = i64::MIN;
        for row in &old {
            // The calendar may have been set back: not always the last.
            youngest = youngest.max(row.get("accepted_at")?);
            let sql = "DELETE FROM mainstay_events WHERE position = ?";
            self.tx.query(sql).bind(row.get::<i64>("position")?).label("events.tidy").execute().await?;
        }
        let sql = match self.tx.dialect() {
            Dialect::Sqlite => {
                "INSERT INTO mainstay_event_trims (topic, position, accepted_at) VALUES (?, ?, ?) \
                 ON CONFLICT (topic) DO UPDATE SET position = MAX(position, excluded.position), \
                 accepted_at = MAX(accepted_at, excluded.accepted_at)"
            }
            Dialect::Postgres => {
                "INSERT INTO mainstay_event_trims AS t (topic, position, accepted_at) VALUES (?, ?, ?) \
                 ON CONFLICT (topic) DO UPDATE SET position = GREATEST(t.position, excluded.position), \
                 accepted_at = GREATEST(t.accepted_at, excluded.accepted_at)"
            }
            Dialect::Mysql => {
                "INSERT INTO mainstay_event_trims (topic, position, accepted_at) VALUES (?, ?, ?) \
                 ON DUPLICATE KEY UPDATE position = GREATEST(position, VALUES(position)), \
                 accepted_at = GREATEST(accepted_at, VALUES(accepted_at))"
            }
        };
        let trim = self.tx.query(sql).bind(topic).bind(behind).bind(youngest);
        trim.label("events.tidy").execute().await?;
        Ok(old.len())
    }
}

/// How a receipt is found.
fn key(receipt: Receipt) -> (i64, i64) {
    (i64::try_from(receipt.position).unwrap_or(i64::MAX), i64::from(receipt.attempt))
}

/// A type to compare with, and a beginning to compare with; the one that does not apply fits nothing.
pub(super) fn pattern(pattern: &str) -> (&str, &str) {
    match pattern.strip_suffix('*') {
        Some(prefix) => ("", prefix),
        None => (pattern, "\u{1}"),
    }
}

pub(super) fn envelope(row: &Row) -> Result<Envelope, Error> {
    Envelope::from_cloud_event(&row.get::<String>("envelope")?)
        .map_err(|error| Error::Decode { column: "envelope".to_owned(), reason: error.to_string() })
}

pub(super) fn micros(time: std::time::Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

pub(super) fn whole(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
