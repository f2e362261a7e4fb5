//! One connection to one server, made anew whenever it is lost.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use redis::aio::{MultiplexedConnection, SendError};
use redis::{AsyncConnectionConfig, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo, Value};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

use mainstay_core::backoff::Backoff;

use super::context::{Context, Listeners};
use super::witness::Beat;
use super::{ServerTime, Witness};
use crate::{Address, Answer, CallError, Command};

/// Pause between two questions whether the server is there.
const BEAT: Duration = Duration::from_secs(1);
/// Longest wait for their answer.
const BEAT_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads and writes the bytes of a connection.
pub(crate) type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Commands,
    /// The server says when what was read over it changes.
    Tracked,
}

/// See the module.
pub(crate) struct Link {
    purpose: Purpose,
    address: Address,
    context: Arc<Context>,
    live: ArcSwapOption<MultiplexedConnection>,
    in_flight: AtomicUsize,
    beat: Arc<Beat>,
    time: ArcSwapOption<ServerTime>,
    lost: Arc<Notify>,
}

impl Link {
    pub(crate) fn new(purpose: Purpose, address: Address, context: Arc<Context>) -> Self {
        Self {
            purpose,
            address,
            context,
            live: ArcSwapOption::empty(),
            in_flight: AtomicUsize::new(0),
            beat: Arc::default(),
            time: ArcSwapOption::empty(),
            lost: Arc::new(Notify::new()),
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.live.load().is_some()
    }

    pub(crate) fn witness(&self) -> Option<Witness> {
        self.beat.witness()
    }

    pub(crate) fn server_time(&self) -> Option<ServerTime> {
        self.time.load().as_deref().copied()
    }

    /// Sends a command once.
    pub(crate) async fn call(&self, command: &Command) -> Result<Answer, CallError> {
        let Some(live) = self.live.load_full() else {
            return Err(CallError::not_sent("no connection"));
        };
        let _place = InFlight::enter(&self.in_flight, self.context.options.max_in_flight)?;
        let mut connection = MultiplexedConnection::clone(&live);
        let mut answer = self.send(&mut connection, &command.words).await;
        if let (Err(CallError::Rejected { code, .. }), Some(words)) = (&answer, command.spelled_out())
            && &**code == "NOSCRIPT"
        {
            answer = self.send(&mut connection, &words).await;
        }
        match answer {
            Err(CallError::Rejected { code, .. })
                if matches!(&*code, "READONLY" | "LOADING" | "MASTERDOWN" | "CLUSTERDOWN") =>
            {
                self.lost.notify_one();
                Err(CallError::not_sent(format!("the server answered {code}")))
            }
            answer => answer,
        }
    }

    async fn send(
        &self,
        connection: &mut MultiplexedConnection,
        words: &redis::Cmd,
    ) -> Result<Answer, CallError> {
        match timeout(self.context.options.command_timeout, connection.send_packed_command(words)).await {
            Ok(Ok(value)) => Answer::of(value),
            Ok(Err(error)) => Err(CallError::unknown(error.to_string())),
            Err(_) => Err(CallError::unknown("no answer in time")),
        }
    }
}

/// A command on its way.
struct InFlight<'a>(&'a AtomicUsize);

impl<'a> InFlight<'a> {
    fn enter(count: &'a AtomicUsize, most: usize) -> Result<Self, CallError> {
        let place = Self(count);
        if count.fetch_add(1, Ordering::Relaxed) >= most {
            return Err(CallError::not_sent("too many commands wait for an answer"));
        }
        Ok(place)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Keeps the connection up for as long as it is polled.
pub(crate) async fn keep_up(link: Arc<Link>) {
    let backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500));
    let mut failures = 0;
    loop {
        match timeout(link.context.options.connect_timeout, link.connect()).await {
            Ok(Ok((connection, driver))) => {
                failures = 0;
                let driver = tokio::spawn(driver);
                let outcome = link.serve(connection).await;
                driver.abort();
                link.beat.end();
                link.live.store(None);
                link.context.listeners.tell(None);
                link.context.next_epoch();
                tracing::warn!(address = ?link.address, reason = %outcome, "connection to Redis lost");
            }
            Ok(Err(error)) => tracing::debug!(address = ?link.address, %error, "no connection to Redis"),
            Err(_) => tracing::debug!(address = ?link.address, "no connection to Redis in time"),
        }
        tokio::time::sleep(backoff.delay(failures)).await;
        failures += 1;
    }
}

impl Link {
    async fn connect(&self) -> Result<(MultiplexedConnection, Driver), redis::RedisError> {
        let stream = TcpStream::connect((self.address.host.as_str(), self.address.port)).await?;
        stream.set_nodelay(true)?;
        let mut info = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            .set_skip_set_lib_name()
            .set_db(i64::from(self.context.options.database));
        if let Some(name) = &self.context.options.username {
            info = info.set_username(name);
        }
        if let Some(password) = &self.context.options.password {
            info = info.set_password(password.expose());
        }
        let (context, lost) = (Arc::clone(&self.context), Arc::clone(&self.lost));
        let push = move |push: PushInfo| {
            match push.kind {
                PushKind::Invalidate => tell(&context.listeners, push.data),
                PushKind::Disconnection => lost.notify_one(),
                _ => {}
            }
            Ok::<_, SendError>(())
        };
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_connection_timeout(None)
            .set_pipeline_buffer_size(1024)
            .set_push_sender(push);
        let (connection, driver) = MultiplexedConnection::new_with_config(&info, stream, config).await?;
        Ok((connection, Box::pin(driver)))
    }

    /// Ends when the connection is of no more use, and says why.
    async fn serve(&self, mut connection: MultiplexedConnection) -> CallError {
        if self.purpose == Purpose::Tracked
            && let Err(error) =
                self.send(&mut connection, redis::cmd("CLIENT").arg("TRACKING").arg("ON")).await
        {
            return error;
        }
        loop {
            let sent = self.context.clock.now();
            match timeout(BEAT_TIMEOUT, connection.send_packed_command(&redis::cmd("TIME"))).await {
                Ok(Ok(Value::Array(time))) => {
                    let time = Answer::of(Value::Array(time)).and_then(server_micros);
                    let Ok(micros) = time else { return CallError::unexpected("no time") };
                    self.time.store(Some(Arc::new(ServerTime::measured(
                        micros,
                        sent,
                        self.context.clock.now(),
                    ))));
                    self.beat.begin(sent + BEAT + BEAT_TIMEOUT);
                    if self.live.load().is_none() {
                        self.live.store(Some(Arc::new(connection.clone())));
                        self.context.next_epoch();
                    }
                }
                Ok(Ok(value)) => {
                    return Answer::of(value).err().unwrap_or_else(|| CallError::unexpected("no time"));
                }
                Ok(Err(error)) => return CallError::unknown(error.to_string()),
                Err(_) => return CallError::unknown("no sign of life"),
            }
            tokio::select! {
                () = tokio::time::sleep(BEAT) => {}
                () = self.lost.notified() => return CallError::unknown("closed"),
            }
        }
    }
}

fn server_micros(time: Answer) -> Result<u64, CallError> {
    let [seconds, micros] = time.into_array()?;
    Ok(seconds.uint()? * 1_000_000 + micros.uint()?)
}

fn tell(listeners: &Listeners, data: Vec<Value>) {
    match data.into_iter().next().map(Answer::of) {
        Some(Ok(Answer::List(keys))) => {
            let keys: Vec<Bytes> = keys.into_iter().filter_map(|key| key.into_bytes().ok()).collect();
            listeners.tell(Some(&keys));
        }
        _ => listeners.tell(None),
    }
}
