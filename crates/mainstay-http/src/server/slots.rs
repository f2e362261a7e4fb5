use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
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
    /// Only clients that have a place open or held.
    of: HashMap<Client, Places>,
    /// When a held place is free again, the next one first.
    held: VecDeque<(Instant, Client)>,
    /// When it was last told that connections are refused.
    told: Option<Instant>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Places {
    open: usize,
    /// Of connections that were cut off for an attack.
    held: usize,
}

/// Pause between two lines of the log about refusals: whoever causes them shall not fill it.
const QUIET: Duration = Duration::from_secs(60);

/// A client with so many connections cut off for an attack is refused until the first of them is this long ago. To
/// begin a connection costs an attacker little and the server much, above all with TLS: without this the next one
/// would take its place at once.
const HELD: Duration = Duration::from_secs(10);
const MOST_HELD_OF_CLIENT: usize = 50;
/// Of all clients, so that what is known of them stays below 16 MiB.
const MOST_HELD: usize = 100_000;

impl Open {
    fn free_held(&mut self) {
        let now = Instant::now();
        while let Some((until, client)) = self.held.front().copied() {
            if until > now && self.held.len() <= MOST_HELD {
                break;
            }
            self.held.pop_front();
            self.change(client, |places| places.held -= 1);
        }
    }

    fn change(&mut self, client: Client, change: impl FnOnce(&mut Places)) {
        if let Entry::Occupied(mut at) = self.of.entry(client) {
            change(at.get_mut());
            if at.get().open == 0 && at.get().held == 0 {
                at.remove();
            }
        }
    }
}

impl Slots {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, limits: &Limits, client: Option<Client>) -> Result<(), Refused> {
        let mut open = self.open();
        open.free_held();
        if open.all >= limits.max_connections {
            return Err(Refused::Total);
        }
        if let Some(client) = client {
            let places = open.of.get(&client).copied().unwrap_or_default();
            if places.open >= limits.max_connections_per_client {
                return Err(Refused::Client);
            }
            if places.held >= MOST_HELD_OF_CLIENT {
                return Err(Refused::Attacker);
            }
            open.of.entry(client).or_default().open += 1;
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

    fn give_back(&self, client: Option<Client>, hold: bool) {
        let mut open = self.open();
        open.all -= 1;
        let Some(client) = client else { return };
        if hold {
            open.held.push_back((Instant::now() + HELD, client));
        }
        open.change(client, |places| {
            places.open -= 1;
            places.held += usize::from(hold);
        });
    }
}

/// One of the connections a listener may have open.
pub(super) struct Slot {
    host: Arc<Host>,
    slots: Arc<Slots>,
    /// `None` for a trusted proxy, which has many clients of its own.
    client: Option<Client>,
    hold: bool,
}

impl Slot {
    pub(super) fn take(host: &Arc<Host>, slots: &Arc<Slots>, peer: IpAddr) -> Result<Self, Refused> {
        let limits = host.limits.load();
        let client = (!limits.trusted_proxies.trusts(peer)).then(|| Client::subscriber(peer));
        slots.take(&limits, client)?;
        host.metrics.connection_opened();
        Ok(Self { host: Arc::clone(host), slots: Arc::clone(slots), client, hold: false })
    }

    /// Gives the place back for others, and to its client only after a while.
    pub(super) fn hold(mut self) {
        self.hold = true;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.give_back(self.client, self.hold);
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
        slots.give_back(None, false);
        assert_eq!(slots.take(&limits, ada), Err(Refused::Client));
        slots.give_back(ada, false);
        slots.take(&limits, ada).unwrap();
        [ada, ada, bob].into_iter().for_each(|who| slots.give_back(who, false));
        let open = slots.open();
        assert_eq!((open.all, open.of.len()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_cut_off_again_and_again_is_refused_for_a_while_and_nobody_else_is() {
        let (slots, limits) = (Slots::default(), Limits::default());
        let (ada, bob) = (client("192.0.2.1"), client("192.0.2.2"));
        for _ in 0..MOST_HELD_OF_CLIENT {
            slots.take(&limits, ada).unwrap();
            slots.give_back(ada, true);
        }
        tokio::time::advance(HELD - Duration::from_millis(1)).await;
        assert_eq!(slots.take(&limits, ada), Err(Refused::Attacker));
        slots.take(&limits, bob).unwrap();
        slots.give_back(bob, false);
        tokio::time::advance(Duration::from_millis(1)).await;
        slots.take(&limits, ada).unwrap();
        slots.give_back(ada, false);
        let open = slots.open();
        assert_eq!((open.all, open.of.len(), open.held.len()), (0, 0, 0));
    }

    #[test]
    fn what_is_known_of_attackers_is_bounded() {
        let (slots, limits) = (Slots::default(), Limits::default());
        for number in 0..MOST_HELD as u64 + 10 {
            let who = Some(Client::subscriber(std::net::Ipv6Addr::from(u128::from(number) << 64).into()));
            slots.take(&limits, who).unwrap();
            slots.give_back(who, true);
        }
        slots.take(&limits, None).unwrap();
        let open = slots.open();
        assert_eq!((open.of.len(), open.held.len()), (MOST_HELD, MOST_HELD));
    }
}
