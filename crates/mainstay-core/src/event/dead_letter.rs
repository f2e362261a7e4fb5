//! Dead letters as operators see them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;

use super::store::{Dead, Queue};
use super::{Envelope, Error, EventId, Events, Pattern};

/// Names a dead letter: an event, and the queue it is dead in.
///
/// Written as `group/pattern/id`, or `group/pattern/@instance/id` for the queue of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DeadLetterId {
    /// Which queue.
    pub queue: Queue,
    /// Which event.
    pub event: EventId,
}

impl fmt::Display for DeadLetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.queue, self.event)
    }
}

/// Not the name of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of a dead letter is group/pattern/id")]
#[non_exhaustive]
pub struct InvalidDeadLetterId;

impl FromStr for DeadLetterId {
    type Err = InvalidDeadLetterId;

    /// Read from the end, because a group's name may have slashes.
    fn from_str(text: &str) -> Result<Self, InvalidDeadLetterId> {
        let (rest, event) = text.rsplit_once('/').ok_or(InvalidDeadLetterId)?;
        let event = event.parse().map_err(|_| InvalidDeadLetterId)?;
        let (group, last) = rest.rsplit_once('/').ok_or(InvalidDeadLetterId)?;
        let pattern = |text| Pattern::new(text).map_err(|_| InvalidDeadLetterId);
        let queue = match last.strip_prefix('@') {
            None => Queue::shared(group.into(), pattern(last)?),
            Some(instance) => {
                let (group, last) = group.rsplit_once('/').ok_or(InvalidDeadLetterId)?;
                let instance = instance.replace("%2F", "/").replace("%25", "%");
                Queue::own(group.into(), pattern(last)?, instance.into())
            }
        };
        Ok(Self { queue, event })
    }
}

/// An event nobody could handle, kept until it is redriven.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DeadLetter {
    /// For [`Events::redrive`].
    pub id: DeadLetterId,
    /// The event.
    pub event: Arc<Envelope>,
    /// How often it was delivered.
    pub attempts: u32,
    /// Why it was given up.
    pub cause: String,
    /// When, by the store's calendar.
    pub at: Timestamp,
}

impl Events {
    /// The dead letters of every queue in the store, queue by queue and oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Unknown`].
    pub async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        let mut letters = Vec::new();
        for stats in self.stats().await?.into_iter().filter(|stats| stats.dead > 0) {
            let queue = stats.queue;
            let limit = limit - letters.len();
            let dead = self.store().dead_letters(&queue, limit).within(self.options().op_timeout).await?;
            letters.extend(dead.into_iter().take(limit).map(|dead| {
                let Dead { event, attempts, cause, at } = dead;
                let id = DeadLetterId { queue: queue.clone(), event: event.id };
                DeadLetter { id, event, attempts, cause, at }
            }));
        }
        Ok(letters)
    }

    /// Has a dead letter delivered again, to its own queue and with all attempts before it. `false`: there is no
    /// such dead letter any more, so asking twice, or again after [`Error::Unknown`], does it once.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: nothing happened. [`Error::Unknown`]: it may have.
    pub async fn redrive(&self, id: &DeadLetterId) -> Result<bool, Error> {
        let redriven = self.store().redrive(&id.queue, id.event).within(self.options().op_timeout).await?;
        if redriven {
            tracing::info!(queue = %id.queue, event_id = %id.event, "dead letter redriven");
        }
        Ok(redriven)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_dead_letter_can_be_read_back() {
        let pattern = Pattern::new("user.*").unwrap();
        let shared = Queue::shared("audit/eu".into(), pattern.clone());
        let own = ["Node-1", "node-1", "eu/%2F/@", "", "%25é"];
        let own = own.map(|instance| Queue::own("audit/a/@b".into(), pattern.clone(), instance.into()));
        for queue in own.into_iter().chain([shared]) {
            let id = DeadLetterId { queue, event: EventId::at(Timestamp::UNIX_EPOCH) };
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        let event = "0190163d-8694-739b-aea5-966c26f8ad91";
        for queue in ["", "a", "a/B", "@b", "user.*/@b", "a/B/@b"] {
            let bad = format!("{queue}/{event}");
            assert_eq!(bad.parse::<DeadLetterId>(), Err(InvalidDeadLetterId), "{bad}");
        }
        for bad in ["", "a", "a/b", "a/b/c", "///"] {
            assert_eq!(bad.parse::<DeadLetterId>(), Err(InvalidDeadLetterId), "{bad}");
        }
    }
}
