//! One connection for all subscriptions of a process.
//!
//! One task decides what is subscribed: it compares the channels that somebody listens to with those the server knows
//! of, and sends the difference, one batch after the other. So whatever comes and goes meanwhile, in any order, is put
//! right with the next batch; a thousand waiters cost two round trips, and one more on a known channel costs none.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{self, Poll};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, PushInfo, PushKind, Value};
use tokio::sync::futures::OwnedNotified;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use mainstay_core::backoff::Backoff;
use mainstay_core::task::TaskGroup;

use super::context::Context;
use super::dial::{Dialled, ask, dial, greet, login, must_be_primary};
use super::link::{BEAT, BEAT_TIMEOUT};
use super::refusal::Refusal;
use crate::{Address, CallError};

/// Channels in one command.
const BATCH: usize = 500;
const NO_CONNECTION: &str = "no connection for subscriptions";

/// Rings once: with the next message on its channel, or when messages may have been missed. Dropping it ends the
/// subscription, if it was the last of its channel.
#[must_use = "a bell that nobody waits for rings unheard"]
pub struct Bell {
    rung: Pin<Box<OwnedNotified>>,
    channel: Arc<Channel>,
}

impl Future for Bell {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<()> {
        self.rung.as_mut().poll(context)
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bell").field("channel", &String::from_utf8_lossy(&self.channel.name)).finish()
    }
}

type Name = Arc<[u8]>;

/// What its bells share.
struct Channel {
    name: Name,
    rung: Arc<Notify>,
    phase: watch::Sender<Phase>,
    hub: Arc<Subscriptions>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Asked,
    Confirmed,
    Refused(CallError),
}

impl Drop for Channel {
    fn drop(&mut self) {
        let mut state = self.hub.state();
        // Somebody may have begun to listen anew.
        if state.channels.get(&self.name).is_some_and(|channel| channel.strong_count() == 0) {
            state.channels.remove(&self.name);
            state.changed.insert(Arc::clone(&self.name));
            drop(state);
            self.hub.wake.notify_one();
        }
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct Subscriptions {
    state: Mutex<State>,
    /// Something changed.
    wake: Notify,
    most: usize,
}

#[derive(Default)]
struct State {
    /// Which connection this is, or was: counts up.
    session: u64,
    connected: bool,
    channels: HashMap<Name, Weak<Channel>>,
    /// Channels to look at again.
    changed: HashSet<Name>,
}

impl Subscriptions {
    /// Follows `server` from one address to the next.
    pub(crate) fn open(
        server: watch::Receiver<Option<Address>>,
        context: &Arc<Context>,
        tasks: &TaskGroup,
    ) -> Arc<Self> {
        let hub = Arc::new(Self { most: context.options.max_in_flight, ..Self::default() });
        tasks.spawn_until_cancelled(
            "redis subscriptions",
            keep_up(Arc::clone(&hub), server, Arc::clone(context)),
        );
        hub
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the server has confirmed the subscription.
    pub(crate) async fn listen(
        self: &Arc<Self>,
        name: Vec<u8>,
        patience: Duration,
    ) -> Result<Bell, CallError> {
        let channel = self.channel(name.into())?;
        // Before the confirmation, so that nothing that comes after it is missed.
        let rung = Box::pin(Arc::clone(&channel.rung).notified_owned());
        let mut phase = channel.phase.subscribe();
        let settled = timeout(patience, phase.wait_for(|phase| *phase != Phase::Asked)).await;
        match settled.map(|phase| phase.map(|phase| phase.clone())) {
            Ok(Ok(Phase::Refused(error))) => Err(error),
            Ok(Ok(_)) => Ok(Bell { rung, channel }),
            // Nothing is to be undone: dropping the channel ends the subscription.
            Ok(Err(_)) | Err(_) => Err(CallError::not_sent("the subscription was not confirmed in time")),
        }
    }

    fn channel(self: &Arc<Self>, name: Name) -> Result<Arc<Channel>, CallError> {
        let mut state = self.state();
        if !state.connected {
            return Err(CallError::not_sent(NO_CONNECTION));
        }
        if let Some(channel) = state.channels.get(&name).and_then(Weak::upgrade) {
            return Ok(channel);
        }
        if state.channels.len() >= self.most {
            return Err(CallError::not_sent("too many subscriptions"));
        }
        let channel = Arc::new(Channel {
            name: Arc::clone(&name),
            rung: Arc::default(),
            phase: watch::Sender::new(Phase::Asked),
            hub: Arc::clone(self),
        });
        state.channels.insert(Arc::clone(&name), Arc::downgrade(&channel));
        state.changed.insert(name);
        drop(state);
        self.wake.notify_one();
        Ok(channel)
    }

    fn find(&self, name: &[u8]) -> Option<Arc<Channel>> {
        self.state().channels.get(name).and_then(Weak::upgrade)
    }

    fn all(&self) -> Vec<Arc<Channel>> {
        self.state().channels.values().filter_map(Weak::upgrade).collect()
    }

    /// What the server said, unless the connection was lost since.
    fn settle(&self, name: &[u8], to: Phase) {
        let state = self.state();
        let channel = state.channels.get(name).and_then(Weak::upgrade).filter(|_| state.connected);
        if let Some(channel) = &channel {
            channel.phase.send_replace(to);
        }
        // In this order: dropping the last of a channel needs the lock.
        drop(state);
        drop(channel);
    }

    fn ring(&self, name: &[u8]) {
        if let Some(channel) = self.find(name) {
            channel.rung.notify_waiters();
        }
    }

    fn begin(&self) -> u64 {
        let mut state = self.state();
        state.session += 1;
        state.session
    }

    /// Asks anew for every channel that somebody still listens to.
    fn connected(&self) {
        let channels = self.all();
        for channel in &channels {
            channel.phase.send_replace(Phase::Asked);
        }
        let mut state = self.state();
        state.changed = channels.iter().map(|channel| Arc::clone(&channel.name)).collect();
        state.connected = true;
        drop(state);
        self.wake.notify_one();
    }

    /// Messages may be missed from now on: every bell rings.
    fn lost(&self, session: u64) {
        let mut state = self.state();
        if state.session != session || !std::mem::take(&mut state.connected) {
            return;
        }
        drop(state);
        for channel in self.all() {
            // Before it rings: who listens from now on must not take it for confirmed.
            channel.phase.send_replace(Phase::Refused(CallError::not_sent(NO_CONNECTION)));
            channel.rung.notify_waiters();
        }
    }

    /// What has to be asked of the server, which knows of `subscribed`: channels to join, and to leave. `None`: nothing.
    fn difference(&self, subscribed: &HashSet<Name>) -> Option<(Vec<Name>, Vec<Name>)> {
        let (mut join, mut leave, mut known) = (Vec::new(), Vec::new(), Vec::new());
        let mut state = self.state();
        if state.changed.is_empty() {
            return None;
        }
        let changed: Vec<Name> = state.changed.iter().take(BATCH).cloned().collect();
        for name in changed {
            state.changed.remove(&name);
            match (state.channels.contains_key(&name), subscribed.contains(&name)) {
                (true, true) => known.push(name),
                (true, false) => join.push(name),
                (false, true) => leave.push(name),
                (false, false) => {}
            }
        }
        drop(state);
        known.iter().for_each(|name| self.settle(name, Phase::Confirmed));
        Some((join, leave))
    }
}

/// Keeps the connection up for as long as it is polled.
async fn keep_up(
    hub: Arc<Subscriptions>,
    mut server: watch::Receiver<Option<Address>>,
    context: Arc<Context>,
) {
    let backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500));
    let mut failures = 0;
    loop {
        let address = match server.wait_for(Option::is_some).await {
            Ok(address) => address.clone().expect("it was waited for"),
            Err(_) => return,
        };
        let mut was_up = false;
        tokio::select! {
            refusal = session(&hub, &address, &context, &mut was_up) => {
                tracing::debug!(%address, reason = %refusal, "no connection for subscriptions to Redis");
            }
            () = moved(&mut server, &address) => {}
        }
        failures = if was_up { 0 } else { failures + 1 };
        sleep(backoff.delay(failures)).await;
    }
}

/// Waits until the server is another one.
async fn moved(server: &mut watch::Receiver<Option<Address>>, from: &Address) {
    let _ended = server.wait_for(|now| now.as_ref() != Some(from)).await;
}

/// Ends a session with the future that keeps it, also where that is dropped.
struct End<'a>(&'a Subscriptions, u64);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.lost(self.1);
    }
}

/// Connects, and serves until the connection is of no more use.
async fn session(
    hub: &Arc<Subscriptions>,
    address: &Address,
    context: &Context,
    was_up: &mut bool,
) -> Refusal {
    let session = hub.begin();
    let _end = End(hub, session);
    let (gone, within) = (Arc::new(Notify::new()), context.options.connect_timeout);
    let connected = timeout(within, connect(hub, address, context, session, &gone)).await;
    let Dialled { connection, driver: _driver } = match connected.unwrap_or(Err(Refusal::Timeout(within))) {
        Ok(dialled) => dialled,
        Err(refusal) => return refusal,
    };
    *was_up = true;
    hub.connected();
    tokio::select! {
        refusal = serve(hub, connection) => refusal,
        () = gone.notified() => Refusal::Unreachable("disconnected".into()),
    }
}

async fn connect(
    hub: &Arc<Subscriptions>,
    address: &Address,
    context: &Context,
    session: u64,
    gone: &Arc<Notify>,
) -> Result<Dialled, Refusal> {
    let (hub, gone) = (Arc::clone(hub), Arc::clone(gone));
    let push = move |push: PushInfo| match (push.kind, push.data.into_iter().next()) {
        (PushKind::Message, Some(Value::BulkString(channel))) => hub.ring(&channel),
        (PushKind::Disconnection, _) => {
            hub.lost(session);
            gone.notify_one();
        }
        _ => {}
    };
    let mut dialled = dial(address, &login(&context.options), context, push).await?;
    greet(&mut dialled.connection, &context.options.client_name).await?;
    Ok(dialled)
}

/// Subscribes and unsubscribes, and asks for a sign of life when there is nothing else to ask.
async fn serve(hub: &Subscriptions, mut connection: MultiplexedConnection) -> Refusal {
    let mut subscribed = HashSet::new();
    loop {
        let asked = match timeout(BEAT, hub.wake.notified()).await {
            Ok(()) => timeout(BEAT_TIMEOUT, update(hub, &mut connection, &mut subscribed)).await,
            Err(_) => timeout(BEAT_TIMEOUT, still_primary(&mut connection)).await,
        };
        if let Err(refusal) = asked.unwrap_or(Err(Refusal::Timeout(BEAT_TIMEOUT))) {
            return refusal;
        }
    }
}

async fn still_primary(connection: &mut MultiplexedConnection) -> Result<(), Refusal> {
    must_be_primary(&ask(connection, redis::cmd("HELLO").arg("3")).await?)
}

/// Brings what the server knows in line with who listens, a batch at a time.
async fn update(
    hub: &Subscriptions,
    connection: &mut MultiplexedConnection,
    subscribed: &mut HashSet<Name>,
) -> Result<(), Refusal> {
    let Some((join, leave)) = hub.difference(subscribed) else { return Ok(()) };
    // There may be more.
    hub.wake.notify_one();
    if !leave.is_empty() {
        connection.unsubscribe(words(&leave)).await?;
        for name in &leave {
            subscribed.remove(name);
        }
    }
    if join.is_empty() {
        return Ok(());
    }
    let answers = match connection.subscribe(words(&join)).await {
        // One that the user may not hear refuses them all.
        Err(error) if join.len() > 1 && is_answer(&error) => one_by_one(connection, join).await,
        answer => join.into_iter().map(|name| (name, answer.clone())).collect(),
    };
    for (name, answer) in answers {
        match answer {
            Ok(()) => {
                subscribed.insert(Arc::clone(&name));
                hub.settle(&name, Phase::Confirmed);
            }
            Err(error) if is_answer(&error) => {
                let (code, details) = (error.code().unwrap_or("ERR"), error.detail().unwrap_or_default());
                hub.settle(&name, Phase::Refused(CallError::rejected(code, details)));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

async fn one_by_one(
    connection: &mut MultiplexedConnection,
    names: Vec<Name>,
) -> Vec<(Name, redis::RedisResult<()>)> {
    let mut answers = Vec::with_capacity(names.len());
    for name in names {
        let joined = connection.subscribe(&name[..]).await;
        answers.push((name, joined));
    }
    answers
}

fn words(names: &[Name]) -> Vec<&[u8]> {
    names.iter().map(|name| &**name).collect()
}

/// Whether the server said so.
fn is_answer(error: &redis::RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}
