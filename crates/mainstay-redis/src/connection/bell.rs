//! One connection for all subscriptions of a process.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{self, Poll};
use std::time::Duration;

use super::context::Context;
use super::link::Driver;
use redis::aio::{MultiplexedConnection, SendError};
use redis::{AsyncConnectionConfig, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo, Value};
use tokio::net::TcpStream;
use tokio::sync::futures::OwnedNotified;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use mainstay_core::task::TaskGroup;

use crate::{Address, CallError, Options};

/// Rings once: with the next message on its channel, or when messages may have been missed. Dropping it ends the
/// subscription, if it was the last of its channel.
pub struct Bell {
    rung: Pin<Box<OwnedNotified>>,
    _channel: Arc<Channel>,
}

impl Future for Bell {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<()> {
        self.rung.as_mut().poll(context)
    }
}

struct Channel {
    name: Vec<u8>,
    rung: Arc<Notify>,
    hub: Arc<Subscriptions>,
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.hub.left(&self.name);
    }
}

#[derive(Default)]
pub(crate) struct Subscriptions {
    state: Mutex<State>,
    /// Channels nobody listens to any more.
    departed: Notify,
    lost: Notify,
}

#[derive(Default)]
struct State {
    connection: Option<MultiplexedConnection>,
    channels: HashMap<Vec<u8>, std::sync::Weak<Channel>>,
    leave: Vec<Vec<u8>>,
}

impl Subscriptions {
    /// Follows `server` from one address to the next.
    pub(crate) fn open(
        server: watch::Receiver<Option<Address>>,
        context: &Arc<Context>,
        tasks: &TaskGroup,
    ) -> Arc<Self> {
        let hub = Arc::new(Self::default());
        tasks.spawn_until_cancelled(
            "redis subscriptions",
            keep_up(Arc::clone(&hub), server, context.options.clone()),
        );
        hub
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn listen(
        self: &Arc<Self>,
        name: Vec<u8>,
        patience: Duration,
    ) -> Result<Bell, CallError> {
        let (channel, connection) = {
            let mut state = self.state();
            let Some(connection) = state.connection.clone() else {
                return Err(CallError::not_sent("no connection for subscriptions"));
            };
            let known = state.channels.get(&name).and_then(std::sync::Weak::upgrade);
            let channel = known.unwrap_or_else(|| {
                Arc::new(Channel { name: name.clone(), rung: Arc::default(), hub: Arc::clone(self) })
            });
            state.channels.insert(name.clone(), Arc::downgrade(&channel));
            (channel, connection)
        };
        let rung = Box::pin(Arc::clone(&channel.rung).notified_owned());
        let mut connection = connection;
        match timeout(patience, connection.subscribe(name)).await {
            Ok(Ok(())) => Ok(Bell { rung, _channel: channel }),
            Ok(Err(error)) => Err(CallError::unknown(error.to_string())),
            Err(_) => Err(CallError::unknown("no answer in time")),
        }
    }

    fn left(&self, name: &[u8]) {
        let mut state = self.state();
        if state.channels.get(name).is_some_and(|channel| channel.strong_count() == 0) {
            state.channels.remove(name);
            state.leave.push(name.to_vec());
            self.departed.notify_one();
        }
    }

    fn ring(&self, name: &[u8]) {
        let channel = self.state().channels.get(name).and_then(std::sync::Weak::upgrade);
        if let Some(channel) = channel {
            channel.rung.notify_waiters();
        }
    }

    fn ring_all(&self) {
        let all: Vec<_> = self.state().channels.values().filter_map(std::sync::Weak::upgrade).collect();
        all.iter().for_each(|channel| channel.rung.notify_waiters());
    }
}

async fn keep_up(hub: Arc<Subscriptions>, mut server: watch::Receiver<Option<Address>>, options: Options) {
    loop {
        let address = match server.wait_for(Option::is_some).await {
            Ok(address) => address.clone().expect("it was waited for"),
            Err(_) => return,
        };
        let connected = timeout(options.connect_timeout, connect(&hub, &address, &options)).await;
        if let Ok(Ok((connection, driver))) = connected {
            let driver = tokio::spawn(driver);
            hub.state().connection = Some(connection.clone());
            loop {
                tokio::select! {
                    () = hub.lost.notified() => break,
                    () = moved(&mut server, &address) => break,
                    () = hub.departed.notified() => {
                        let leave = std::mem::take(&mut hub.state().leave);
                        for name in leave {
                            let again = hub.state().channels.contains_key(&name);
                            if !again {
                                let _late = timeout(options.command_timeout, connection.clone().unsubscribe(name)).await;
                            }
                        }
                    }
                }
            }
            driver.abort();
            hub.state().connection = None;
            hub.ring_all();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the server is another one.
async fn moved(server: &mut watch::Receiver<Option<Address>>, from: &Address) {
    let _ended = server.wait_for(|now| now.as_ref() != Some(from)).await;
}

async fn connect(
    hub: &Arc<Subscriptions>,
    address: &Address,
    options: &Options,
) -> Result<(MultiplexedConnection, Driver), redis::RedisError> {
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
    stream.set_nodelay(true)?;
    let mut info =
        RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name();
    if let Some(name) = &options.username {
        info = info.set_username(name);
    }
    if let Some(password) = &options.password {
        info = info.set_password(password.expose());
    }
    let hub = Arc::clone(hub);
    let push = move |push: PushInfo| {
        match (push.kind, push.data.into_iter().next()) {
            (PushKind::Message, Some(Value::BulkString(channel))) => hub.ring(&channel),
            (PushKind::Disconnection, _) => hub.lost.notify_one(),
            _ => {}
        }
        Ok::<_, SendError>(())
    };
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(None)
        .set_connection_timeout(None)
        .set_push_sender(push);
    let (connection, driver) = MultiplexedConnection::new_with_config(&info, stream, config).await?;
    Ok((connection, Box::pin(driver)))
}
