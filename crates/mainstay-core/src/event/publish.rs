//! Publishing: from a value to accepted bytes.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tracing::Instrument;

use super::envelope::Envelope;
use super::meters::Known;
use super::store::{Published, Transactional};
use super::{Error, EventId, Events};
use crate::backoff::Backoff;
use crate::store::StoreError;
use crate::telemetry::trace_context::TraceContext;

/// Most times a publish with an unknown outcome is asked for, all within the operation's deadline.
const ATTEMPTS: u32 = 3;

/// Longest subject, in bytes.
const MAX_SUBJECT: usize = 1024;

/// An event about to be published: [`Events::event`]. Nothing happens before [`Publish::publish`].
#[derive(Debug, Clone)]
#[must_use = "nothing is published before `publish`"]
pub struct Publish<'a> {
    events: &'a Events,
    kind: &'a str,
    schema: u32,
    subject: Option<String>,
    id: Option<EventId>,
    time: Option<Timestamp>,
    trace_parent: Option<String>,
}

impl<'a> Publish<'a> {
    pub(super) const fn new(events: &'a Events, kind: &'a str) -> Self {
        Self { events, kind, schema: 1, subject: None, id: None, time: None, trace_parent: None }
    }

    /// The version of the data's schema, from 1, which is the default. Raise it with a change that older readers
    /// would misread; see [`Subscribe::schemas`](super::Subscribe::schemas).
    pub const fn schema(mut self, version: u32) -> Self {
        self.schema = version;
        self
    }

    /// What it happened to, such as `user/17`: 1 to 1,024 bytes.
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// The id to publish under; default a new one. Publishing again under the same id has no effect within the
    /// store's dedup window.
    pub const fn id(mut self, id: EventId) -> Self {
        self.id = Some(id);
        self
    }

    /// When it happened; default now.
    pub const fn time(mut self, time: Timestamp) -> Self {
        self.time = Some(time);
        self
    }

    /// The trace it belongs to, instead of that which is worked for here: its handlers' spans become children of this one.
    pub fn trace(mut self, trace: &TraceContext) -> Self {
        self.trace_parent = Some(trace.to_header());
        self
    }

    /// Publishes. When this returns `Ok`, every queue that takes the event has it.
    ///
    /// Dropping the future leaves open whether it was published.
    ///
    /// # Errors
    /// [`Error::Kind`], [`Error::Option`] (`subject`), [`Error::Codec`], [`Error::TooLarge`], [`Error::Stopped`]:
    /// nothing happened, nor will it. [`Error::Backpressure`], [`Error::Unavailable`]: nothing happened.
    /// [`Error::Unknown`]: it may have.
    pub async fn publish<T: Serialize + ?Sized>(self, data: &T) -> Result<EventId, Error> {
        let _pass = self.events.enter()?;
        let events = self.events;
        let (known, envelope) = self.prepare(data)?;
        let id = envelope.id;
        events.send(&known, &[Arc::new(envelope)]).await?;
        Ok(id)
    }

    /// Publishes with the transaction: when it commits, and not if it does not. Other statements of the transaction
    /// and the event are then one: no crash leaves one without the other.
    ///
    /// Dropping the future leaves the transaction to be rolled back. How long it may take is the transaction's affair.
    ///
    /// ```
    /// use mainstay_core::event::{EventId, Events, Transactional};
    ///
    /// async fn rename(
    ///     events: &Events,
    ///     transaction: &mut impl Transactional,
    ///     user: u64,
    ///     name: &str,
    /// ) -> Result<EventId, mainstay_core::event::Error> {
    ///     // … `UPDATE users SET name = …` with the same transaction, and then, before its commit:
    ///     events.event("user.renamed").subject(format!("user/{user}")).publish_in(transaction, name).await
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`publish`](Self::publish); nothing is published before the commit. After [`Error::Unavailable`] and
    /// [`Error::Unknown`] the transaction can only be rolled back.
    pub async fn publish_in<T: Serialize + ?Sized>(
        self,
        transaction: &mut impl Transactional,
        data: &T,
    ) -> Result<EventId, Error> {
        let _pass = self.events.enter()?;
        let (known, envelope) = self.prepare(data)?;
        let id = envelope.id;
        record(transaction, &known, &[Arc::new(envelope)]).await?;
        Ok(id)
    }

    fn prepare<T: Serialize + ?Sized>(self, data: &T) -> Result<(Known, Envelope), Error> {
        let known = self.events.meters().known(self.kind)?;
        if self.subject.as_ref().is_some_and(|subject| !(1..=MAX_SUBJECT).contains(&subject.len())) {
            return Err(Error::Option { field: "subject", reason: "must have 1 to 1,024 bytes" });
        }
        if self.schema == 0 {
            return Err(Error::Option { field: "schema", reason: "must be at least 1" });
        }
        let mut envelope = self.events.envelope(&known, data)?;
        envelope.id = self.id.unwrap_or(envelope.id);
        envelope.time = self.time.unwrap_or(envelope.time);
        envelope.schema = self.schema;
        envelope.subject = self.subject;
        let trace = || TraceContext::current().map(|trace| trace.to_header());
        envelope.trace_parent = self.trace_parent.or_else(trace);
        Ok((known, envelope))
    }
}

impl Events {
    /// Publishes events of one type: all or none. Otherwise as [`Publish::publish`].
    ///
    /// # Errors
    /// As [`Publish::publish`]; more events than a queue has room for are [`Error::Backpressure`].
    pub async fn publish_all<'a, T: Serialize + 'a>(
        &self,
        kind: &str,
        data: impl IntoIterator<Item = &'a T>,
    ) -> Result<Vec<EventId>, Error> {
        let _pass = self.enter()?;
        let (known, envelopes) = self.envelopes(kind, data)?;
        self.send(&known, &envelopes).await?;
        Ok(ids(&envelopes))
    }

    /// Publishes an event with nothing but a type and data with a transaction: [`Publish::publish_in`].
    ///
    /// # Errors
    /// As [`Publish::publish_in`].
    pub async fn publish_in<T: Serialize + ?Sized>(
        &self,
        transaction: &mut impl Transactional,
        kind: &str,
        data: &T,
    ) -> Result<EventId, Error> {
        self.event(kind).publish_in(transaction, data).await
    }

    /// Publishes events of one type with a transaction: all or none. Otherwise as [`Publish::publish_in`].
    ///
    /// # Errors
    /// As [`Publish::publish_in`].
    pub async fn publish_all_in<'a, T: Serialize + 'a>(
        &self,
        transaction: &mut impl Transactional,
        kind: &str,
        data: impl IntoIterator<Item = &'a T>,
    ) -> Result<Vec<EventId>, Error> {
        let _pass = self.enter()?;
        let (known, envelopes) = self.envelopes(kind, data)?;
        record(transaction, &known, &envelopes).await?;
        Ok(ids(&envelopes))
    }

    fn envelopes<'a, T: Serialize + 'a>(
        &self,
        kind: &str,
        data: impl IntoIterator<Item = &'a T>,
    ) -> Result<(Known, Vec<Arc<Envelope>>), Error> {
        let known = self.meters().known(kind)?;
        let envelopes = data.into_iter().map(|data| self.envelope(&known, data).map(Arc::new));
        let envelopes = envelopes.collect::<Result<_, _>>()?;
        Ok((known, envelopes))
    }

    fn envelope<T: Serialize + ?Sized>(&self, known: &Known, data: &T) -> Result<Envelope, Error> {
        let options = self.options();
        let data = options.codec.encode(data)?;
        if data.len() > options.max_event_bytes {
            return Err(Error::TooLarge { size: data.len(), max: options.max_event_bytes });
        }
        let time = self.clock().wall();
        let source = Arc::clone(&options.source);
        Ok(Envelope::new(EventId::at(time), source, known.kind.clone(), time, options.codec, data))
    }

    async fn send(&self, known: &Known, envelopes: &[Arc<Envelope>]) -> Result<(), Error> {
        let span =
            tracing::debug_span!("publish", event_type = known.kind.as_str(), events = envelopes.len());
        match self.offer(envelopes).instrument(span).await {
            Ok(Published::Accepted) => {
                known.published.increment(envelopes.len() as u64);
                Ok(())
            }
            Ok(Published::Full) => Err(Error::Backpressure),
            Err(source @ StoreError::Unknown { .. }) => {
                Err(Error::Unknown { id: envelopes.first().map(|envelope| envelope.id), source })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Asks again while the outcome is unknown: the ids make that safe.
    async fn offer(&self, envelopes: &[Arc<Envelope>]) -> Result<Published, StoreError> {
        let deadline = self.options().op_timeout;
        // A store in this process answers at once: no timer.
        let first = match self.store().publish(envelopes).now() {
            Ok(answer) => return answer,
            Err(pending) => pending,
        };
        let backoff = Backoff::new(Duration::from_millis(10), deadline / 4);
        let mut last = StoreError::unknown(format!("no answer within {deadline:?}"));
        let attempts = async {
            let mut answer = first.await;
            for failures in 0..ATTEMPTS - 1 {
                match answer {
                    Err(unknown @ StoreError::Unknown { .. }) => last = unknown,
                    Ok(Published::Accepted) => return answer,
                    answer if failures == 0 => return answer,
                    // The question whose answer was lost may have done it, or do it yet.
                    _ => {}
                }
                tokio::time::sleep(backoff.delay(failures)).await;
                answer = self.store().publish(envelopes).await;
            }
            match answer {
                Ok(Published::Accepted) | Err(StoreError::Unknown { .. }) => answer,
                _ => Err(last.clone()),
            }
        };
        match tokio::time::timeout(deadline, attempts).await {
            Ok(answer) => answer,
            Err(_) => Err(last),
        }
    }
}

fn ids(envelopes: &[Arc<Envelope>]) -> Vec<EventId> {
    envelopes.iter().map(|envelope| envelope.id).collect()
}

async fn record(
    transaction: &mut impl Transactional,
    known: &Known,
    envelopes: &[Arc<Envelope>],
) -> Result<(), Error> {
    match transaction.record(envelopes).await {
        Ok(Published::Accepted) => {
            known.published.increment(envelopes.len() as u64);
            Ok(())
        }
        Ok(Published::Full) => Err(Error::Backpressure),
        Err(error) => Err(error.into()),
    }
}
