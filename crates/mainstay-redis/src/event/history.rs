//! Reading what is retained.

use std::sync::Arc;

use mainstay_core::event::store::{History, Start};
use mainstay_core::event::{EventId, Pattern};
use mainstay_core::store::StoreError;

use super::{Inner, answers};
use crate::{Answer, Class, Command};

/// Entries in one question.
const CHUNK: usize = 500;
/// How long before an event reached the stream it may have been made: it may have waited in an outbox.
const SLACK: u64 = 60_000;
/// More than a millisecond has events, and exact in a double.
const MOST: u64 = 1 << 52;

impl Inner {
    /// The id that a reader begins behind, and whether its place is not known.
    pub(super) async fn place(&self, topic: &str, from: Start) -> Result<(String, bool), StoreError> {
        match from {
            Start::Now => Ok(("$".to_owned(), false)),
            Start::At(time) => {
                let millis = u64::try_from(time.as_millisecond()).unwrap_or(0);
                // Behind the last id before that millisecond which a script can reckon with.
                let before = millis.checked_sub(1).map(|last| format!("{last}-{MOST}"));
                Ok((before.unwrap_or_else(|| "0-0".to_owned()), false))
            }
            Start::After(id) => match self.find(topic, id).await? {
                Some(place) => Ok((place, false)),
                None => Ok(("0-0".to_owned(), true)),
            },
            _ => Ok(("0-0".to_owned(), false)),
        }
    }

    /// Where an event is in the stream: near the time its id was made, or anywhere.
    async fn find(&self, topic: &str, id: EventId) -> Result<Option<String>, StoreError> {
        let made = id.uuid().get_timestamp().map_or(0, |made| {
            let (seconds, nanos) = made.to_unix();
            seconds.saturating_mul(1_000) + u64::from(nanos / 1_000_000)
        });
        let near = format!("{}-0", made.saturating_sub(SLACK));
        let found = self.search(topic, id, near).await?;
        if found.is_some() || made == 0 {
            return Ok(found);
        }
        self.search(topic, id, "0-0".to_owned()).await
    }

    async fn search(&self, topic: &str, id: EventId, from: String) -> Result<Option<String>, StoreError> {
        let mut place = from;
        loop {
            let entries = self.entries(topic, &place).await?;
            let Some((last, _)) = entries.last() else { return Ok(None) };
            place.clone_from(last);
            let found =
                entries.into_iter().find(|(_, event)| event.as_ref().is_some_and(|event| event.id == id));
            if let Some((place, _)) = found {
                return Ok(Some(place));
            }
        }
    }

    /// The next entries behind an id.
    async fn entries(
        &self,
        topic: &str,
        behind: &str,
    ) -> Result<Vec<(String, Option<mainstay_core::event::Envelope>)>, StoreError> {
        let next = answers::number(behind)? + 1;
        let next = format!("{}-{}", next >> 64, next & u128::from(u64::MAX));
        let read = Command::new(Class::Read, "XRANGE").key(&self.key(topic, "s")).arg(next).arg("+");
        let answer = self.redis.call(read.arg("COUNT").arg(CHUNK)).await?;
        Ok(answer.into_list()?.into_iter().map(answers::entry).collect::<Result<_, _>>()?)
    }

    /// The last id that is no longer retained.
    async fn removed(&self, topic: &str) -> Result<u128, StoreError> {
        let last = self.redis.call(Command::new(Class::Read, "GET").key(&self.key(topic, "t"))).await?;
        match last {
            Answer::Nil => Ok(0),
            id => Ok(answers::number(id.text()?)?),
        }
    }

    pub(super) async fn history(
        &self,
        pattern: &Pattern,
        from: Start,
        limit: usize,
    ) -> Result<History, StoreError> {
        if from == Start::Now {
            return Ok(History::new(Vec::new(), false));
        }
        let (mut place, is_unknown) = self.place(pattern.topic(), from).await?;
        let begin = answers::number(&place)?;
        let mut events = Vec::new();
        while events.len() < limit {
            let entries = self.entries(pattern.topic(), &place).await?;
            let Some((last, _)) = entries.last() else { break };
            place.clone_from(last);
            let wanted = entries.into_iter().filter_map(|(_, event)| event);
            let wanted = wanted.filter(|event| pattern.matches(&event.kind)).map(Arc::new);
            events.extend(wanted.take(limit - events.len()));
        }
        // After the events were read: some may have been removed just before.
        let gap = is_unknown || (from != Start::Oldest && self.removed(pattern.topic()).await? > begin);
        Ok(History::new(events, gap))
    }
}
