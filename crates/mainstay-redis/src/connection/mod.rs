//! The connections, and which of them has which key.

mod audit;
mod bell;
mod context;
mod dial;
mod guard;
mod instruments;
mod link;
mod node;
mod places;
mod record;
mod refusal;
mod server_time;
mod slot;
mod thread;
#[cfg_attr(not(feature = "tls"), path = "tls_absent.rs")]
mod tls;
mod topology;
mod trip;
mod verdict;
mod witness;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::Instant;

use mainstay_core::metrics::Metrics;
use mainstay_core::store::StoreError;
use mainstay_core::task::{Overrun, TaskGroup};
use mainstay_core::time::Clock;

use crate::{Answer, CallError, Command, Deployment, Finding, Lane, Options, Status};
use context::Context;
use node::Node;
use thread::KeeperThread;
use topology::Topology;
use trip::{Next, Trip};
use verdict::CLUSTER_DOWN;

pub use bell::Bell;
pub use server_time::ServerTime;
pub(crate) use slot::slot;
pub use witness::Witness;

/// Hears of keys that were read over the tracked connection and have changed since.
pub trait Invalidation: Send + Sync + 'static {
    /// These keys changed; `None`: all may have. Called in the order of the answers of the same connection, by the
    /// task that reads them: it must not block.
    fn invalidated(&self, keys: Option<&[bytes::Bytes]>);
}

/// The connection to a deployment. Clones share it.
#[derive(Clone)]
pub struct Redis {
    inner: Arc<Inner>,
    /// Apart from what the tasks hold, so that dropping the last handle ends them.
    tasks: Arc<TaskGroup>,
}

/// A server, and what it answered.
type Attempt = (Arc<Node>, Result<Answer, CallError>);

/// What the tasks share.
struct Inner {
    context: Arc<Context>,
    topology: Arc<Topology>,
    subscriptions: Arc<bell::Subscriptions>,
    next: AtomicUsize,
    thread: KeeperThread,
}

impl Redis {
    /// Begins to connect, and returns at once. Called inside a tokio runtime, which then carries the connections.
    #[must_use]
    pub fn open(options: Options, metrics: &Metrics, clock: Clock) -> Self {
        let (tasks, thread) = (Arc::new(TaskGroup::new()), KeeperThread::start());
        let context = Context::new(options, metrics, clock);
        let topology = Topology::open(&context, &tasks, thread.handle());
        let subscriptions = bell::Subscriptions::open(topology.place(), &context, &tasks);
        let inner = Inner { context, topology, subscriptions, next: AtomicUsize::new(0), thread };
        Self { inner: Arc::new(inner), tasks }
    }

    /// Waits until commands can be sent: on a Cluster, for every slot.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] after `deadline`. The attempts go on.
    pub async fn ready(&self, deadline: Duration) -> Result<(), StoreError> {
        let up = async {
            let mut epochs = self.epochs();
            while !self.inner.topology.is_up() {
                let _changed = epochs.changed().await;
            }
        };
        tokio::time::timeout(deadline, up)
            .await
            .map_err(|_| StoreError::unavailable(format!("no connection to Redis within {deadline:?}")))
    }

    /// Sends a command and waits for its answer, for at most [`Options::command_timeout`], and not beyond the
    /// [deadline](mainstay_core::deadline) around. Dropping the future does not take a command back.
    ///
    /// What was not carried out is sent again, whatever its [`Class`](crate::Class). What may have been is sent again
    /// unless it is [`Class::Once`](crate::Class::Once). That happens at most [`Options::max_retries`] times, and within
    /// the one deadline. It happens only if the connection was lost less than 250 ms ago: while the server is gone for
    /// longer, or silent, a call fails at once.
    ///
    /// # Errors
    /// [`CallError`]. While its server is gone it fails at once.
    pub fn call(&self, command: Command) -> impl Future<Output = Result<Answer, CallError>> + Send + use<> {
        let inner = Arc::clone(&self.inner);
        async move { inner.call(&command).await }
    }

    /// The longest that a [call](Self::call) takes.
    pub(crate) fn patience(&self) -> Duration {
        self.inner.context.options.command_timeout
    }

    /// Sends several commands at once, in one write to each server; each is answered for itself, in their order. The
    /// deadline is that of one command. More for one connection than [`Options::max_in_flight`] are not sent.
    pub fn call_all(
        &self,
        commands: Vec<Command>,
    ) -> impl Future<Output = Vec<Result<Answer, CallError>>> + Send + use<> {
        let inner = Arc::clone(&self.inner);
        async move { inner.call_all(&commands).await }
    }

    /// Subscribes to a channel; returns when the server has confirmed it. All of a process share one connection. While
    /// the server is gone it fails at once, as a call does.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn listen(&self, channel: Vec<u8>) -> Result<Bell, CallError> {
        if !self.inner.topology.place_answers() {
            return Err(CallError::not_sent("the server does not answer"));
        }
        self.inner.subscriptions.listen(channel, self.inner.context.options.command_timeout).await
    }

    /// Whether what is read now over the tracked connection of this key's server can be kept until its server says
    /// that it changed. `None` while there is no such connection.
    #[must_use]
    pub fn witness(&self, key: &str) -> Option<Witness> {
        let topology = &self.inner.topology;
        topology.witness(topology.slot(key.as_bytes()))
    }

    /// Adds a listener to what changes, for as long as this connection lives.
    pub fn on_invalidation(&self, listener: Arc<dyn Invalidation>) {
        self.inner.context.listeners.add(listener);
    }

    /// The calendar of this key's server. `None` before the first connection.
    #[must_use]
    pub fn server_time(&self, key: &str) -> Option<ServerTime> {
        let topology = &self.inner.topology;
        topology.node(Some(topology.slot(key.as_bytes())), 0)?.server_time()
    }

    /// A number that grows with every connection that was lost or made anew, and with every change of the servers.
    #[must_use]
    pub fn epochs(&self) -> watch::Receiver<u64> {
        self.inner.context.epoch.subscribe()
    }

    /// Whether keys of different slots can lie on different servers.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        matches!(self.inner.context.options.deployment, Deployment::Cluster { .. })
    }

    /// A slot of each server that has keys, for commands that ask all of them ([`Command::in_slot`]).
    #[must_use]
    pub fn primaries(&self) -> Vec<u16> {
        self.inner.topology.samples()
    }

    /// The clock that [`ServerTime`] and [`Witness`] are measured by.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.inner.context.clock
    }

    /// What is known of the servers. Asks nothing.
    #[must_use]
    pub fn status(&self) -> Status {
        let topology = &self.inner.topology;
        let mode = match self.inner.context.options.deployment {
            Deployment::Standalone(_) => "standalone",
            Deployment::Sentinel { .. } => "sentinel",
            Deployment::Cluster { .. } => "cluster",
        };
        let servers: Vec<_> = topology.nodes().iter().map(|node| node.status()).collect();
        let connected = topology.is_up() && servers.iter().all(|server| server.connected);
        Status::new(connected, mode, servers)
    }

    /// Looks at every server that is connected now, and says what whoever runs it should know. That is also done in
    /// the background, now and then; see [`Status::findings`].
    pub async fn audit(&self) -> Vec<Finding> {
        let nodes = self.inner.topology.nodes();
        join_all(nodes.iter().map(|node| node.look())).await;
        nodes.iter().flat_map(|node| node.status().findings).collect()
    }

    /// Closes the connections.
    ///
    /// # Errors
    /// [`Overrun`] if a task does not end within `deadline`.
    pub async fn stop(&self, deadline: Duration) -> Result<(), Overrun> {
        self.inner.topology.nodes().iter().for_each(|node| node.close());
        let stopped = self.tasks.stop(deadline).await;
        self.inner.thread.stop().await;
        stopped
    }
}

impl Inner {
    async fn call(&self, command: &Command) -> Result<Answer, CallError> {
        let (begun, which) = (Instant::now(), self.next());
        let first = match self.topology.node(self.topology.slot_of(command), which) {
            Some(node) => match node.link(command.lane, which).call(command, begun).await {
                Ok(answer) => return Ok(answer),
                refused => Some((node, refused)),
            },
            None => None,
        };
        // Boxed, so that a command that is answered at once need not carry the room for it.
        let trip = Trip::begin(command.class, &self.context.options, begun);
        Box::pin(self.carry(command, trip, first)).await
    }

    async fn call_all(&self, commands: &[Command]) -> Vec<Result<Answer, CallError>> {
        let begun = Instant::now();
        let (mut answers, mut rest) = (Vec::with_capacity(commands.len()), Vec::new());
        for (at, first) in self.send_together(commands).await.into_iter().enumerate() {
            match first {
                Some((_, Ok(answer))) => answers.push(Ok(answer)),
                first => {
                    answers.push(Err(CallError::not_sent("not yet")));
                    rest.push((at, first));
                }
            }
        }
        let late = rest.into_iter().map(async |(at, first)| {
            let command = &commands[at];
            let trip = Trip::begin(command.class, &self.context.options, begun);
            (at, self.carry(command, trip, first).await)
        });
        for (at, answer) in join_all(late).await {
            answers[at] = answer;
        }
        answers
    }

    /// Sends a command where it belongs, as often as [`trip`] says. Perhaps a first attempt was made already.
    async fn carry(
        &self,
        command: &Command,
        mut trip: Trip,
        mut attempt: Option<Attempt>,
    ) -> Result<Answer, CallError> {
        let mut asked = None;
        loop {
            let (node, answer) = match attempt.take() {
                Some(attempt) => attempt,
                None => {
                    let (which, asking) = (self.next(), asked.is_some());
                    let Some(node) =
                        asked.take().or_else(|| self.topology.node(self.topology.slot_of(command), which))
                    else {
                        return trip.end(CallError::not_sent("no server is known to have this key"));
                    };
                    let link = node.link(command.lane, which);
                    let answer = match asking {
                        false => trip.attempt(link.call(command, Instant::now())).await,
                        true => trip.attempt(link.call_asking(command)).await,
                    };
                    (node, answer)
                }
            };
            if matches!(&answer, Err(CallError::NotSent { reason }) if reason == CLUSTER_DOWN) {
                self.topology.doubt();
            }
            let lost_lately = answer.is_err() && node.lost_lately(command.lane);
            match trip.next(answer, lost_lately) {
                Next::Done(answer) => return answer,
                Next::Again(pause) => tokio::time::sleep(pause).await,
                Next::Moved(news) => self.topology.moved(news.slot, &news.server(node.address())),
                Next::Ask(news) => asked = self.topology.asked(news.slot, &news.server(node.address())),
            }
        }
    }

    /// One write to each server. What no server answers, or only in a second round, is `None`.
    async fn send_together(&self, commands: &[Command]) -> Vec<Option<Attempt>> {
        let which = self.next();
        let mut groups: Vec<(Arc<Node>, Lane, Vec<usize>)> = Vec::new();
        for (at, command) in commands.iter().enumerate() {
            let Some(node) = self.topology.node(self.topology.slot_of(command), which) else { continue };
            match groups.iter_mut().find(|group| Arc::ptr_eq(&group.0, &node) && group.1 == command.lane) {
                Some(group) => group.2.push(at),
                None => groups.push((node, command.lane, vec![at])),
            }
        }
        let mut attempts: Vec<_> = commands.iter().map(|_| None).collect();
        let sent = groups.iter().map(async |(node, lane, places)| {
            let group: Vec<_> = places.iter().map(|at| &commands[*at]).collect();
            node.link(*lane, which).call_all(&group).await
        });
        for ((node, _, places), answers) in groups.iter().zip(join_all(sent).await) {
            for (at, answer) in places.iter().zip(answers) {
                let unknown_script =
                    matches!(&answer, Err(CallError::Rejected { code, .. }) if &**code == "NOSCRIPT");
                attempts[*at] = (!unknown_script).then(|| (Arc::clone(node), answer));
            }
        }
        attempts
    }

    fn next(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("deployment", &self.inner.context.options.deployment)
            .finish_non_exhaustive()
    }
}
