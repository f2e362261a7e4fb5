use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::Client;

use super::reason::Refused;
use super::{Host, Limits};

/// How many connections of a listener are open, of all and of each client. Each listener has its own: who fills the
/// main one does not shut out those who look after the service on the second one.
#[derive(Debug, Default)]
pub(super) struct Slots(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    all: usize,
    /// Only clients that have one: as many as connections at most.
    of: HashMap<Client, usize>,
    /// When it was last told that connections are refused.
    told: Option<Instant>,
}

/// Pause between two lines of the log about refusals: whoever causes them shall not fill it.
const QUIET: Duration = Duration::from_secs(60);

impl Slots {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, limits: &Limits, client: Option<Client>) -> Result<(), Refused> {
        let mut open = self.open();
        if open.all >= limits.max_connections {
            return Err(Refused::Total);
        }
        if let Some(client) = client {
            match open.of.entry(client) {
                Entry::Occupied(at) if *at.get() >= limits.max_connections_per_client => {
                    return Err(Refused::Client);
                }
                at => *at.or_default() += 1,
            }
        }
        open.all += 1;
        Ok(())
    }

    /// Whether it is time to tell that connections are refused.
    pub(super) fn tell(&self) -> bool {
        let mut open = self.open();
        let due = open.told.is_none_or(|told| told.elapsed() >= QUIET);
        if due {
            open.told = Some(Instant::now());
        }
        due
    }

    fn give_back(&self, client: Option<Client>) {
        let mut open = self.open();
        open.all -= 1;
        if let Some(Entry::Occupied(mut at)) = client.map(|client| open.of.entry(client)) {
            *at.get_mut() -= 1;
            if *at.get() == 0 {
                at.remove();
            }
        }
    }
}

/// One of the connections a listener may have open.
pub(super) struct Slot {
    host: Arc<Host>,
    slots: Arc<Slots>,
    /// `None` for a trusted proxy, which has many clients of its own.
    client: Option<Client>,
}

impl Slot {
    pub(super) fn take(host: &Arc<Host>, slots: &Arc<Slots>, peer: IpAddr) -> Result<Self, Refused> {
        let limits = host.limits.load();
        let client = (!limits.trusted_proxies.trusts(peer)).then(|| Client::subscriber(peer));
        slots.take(&limits, client)?;
        host.metrics.connection_opened();
        Ok(Self { host: Arc::clone(host), slots: Arc::clone(slots), client })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.give_back(self.client);
        self.host.metrics.connection_closed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(address: &str) -> Option<Client> {
        Some(Client::subscriber(address.parse().unwrap()))
    }

    #[test]
    fn a_client_is_an_ipv4_address_or_a_64_of_ipv6() {
        let (slots, mut limits) = (Slots::default(), Limits::default());
        limits.max_connections_per_client = 1;
        for (first, same) in
            [("192.0.2.1", "::ffff:192.0.2.1"), ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff")]
        {
            slots.take(&limits, client(first)).unwrap();
            assert_eq!(slots.take(&limits, client(same)), Err(Refused::Client), "{same}");
        }
        for other in ["192.0.2.2", "2001:db8:1:3::1"] {
            slots.take(&limits, client(other)).unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_are_told_once_a_minute() {
        let slots = Slots::default();
        assert!(slots.tell() && !slots.tell());
        tokio::time::advance(QUIET - Duration::from_millis(1)).await;
        assert!(!slots.tell());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(slots.tell() && !slots.tell());
    }

    #[test]
    fn places_come_back_and_nothing_is_kept_of_a_client_that_left() {
        let (slots, mut limits) = (Slots::default(), Limits::default());
        (limits.max_connections, limits.max_connections_per_client) = (4, 2);
        let (ada, bob) = (client("192.0.2.1"), client("192.0.2.2"));
        for who in [ada, ada, bob, None] {
            slots.take(&limits, who).unwrap();
        }
        assert_eq!(slots.take(&limits, bob), Err(Refused::Total));
        slots.give_back(None);
        assert_eq!(slots.take(&limits, ada), Err(Refused::Client));
        slots.give_back(ada);
        slots.take(&limits, ada).unwrap();
        [ada, ada, bob].into_iter().for_each(|who| slots.give_back(who));
        let open = slots.open();
        assert_eq!((open.all, open.of.len()), (0, 0));
    }
}
