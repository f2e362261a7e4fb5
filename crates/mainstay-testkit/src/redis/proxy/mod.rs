//! A wire that breaks on demand.

mod connection;
mod requests;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// A TCP proxy in this process, for Redis: clients connect to [`Proxy::address`] instead of the server.
///
/// [`Proxy::pass`] ends every fault. [`Proxy::delay`] and [`Proxy::split_every`] may be on at once,
/// under any other fault; of [`Proxy::blackhole`], [`Proxy::refuse`] and [`Proxy::drop_replies`] the
/// last one counts. A fault holds for what is forwarded after the call; connections that it resets
/// are reset as soon as the runtime gets to it. Dropping the proxy closes everything.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use mainstay_testkit::redis::{Proxy, RedisServer};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// let server = RedisServer::start().await;
/// let proxy = Proxy::start(server.address()).await;
/// let mut client = tokio::net::TcpStream::connect(proxy.address()).await.unwrap();
///
/// proxy.cut_after_request(1);
/// client.write_all(b"INCR counter\r\n").await.unwrap();
/// assert!(client.read_u8().await.is_err(), "the answer is lost");
/// assert_eq!(server.command(&["GET", "counter"]).await, "1"); // and yet it was done
/// # });
/// ```
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: AbortHandle,
}

/// What the connections of a proxy look at.
#[derive(Debug)]
struct Shared {
    faults: watch::Sender<Faults>,
    triggers: Mutex<Triggers>,
    connections: AtomicUsize,
}

/// The state of the wire.
#[derive(Debug, Clone)]
struct Faults {
    upstream: SocketAddr,
    path: Path,
    delay: Duration,
    split: Option<usize>,
    /// How often everything was cut: a connection of an earlier age is to be reset.
    age: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Path {
    Open,
    Blackhole,
    RepliesDropped,
    Refused,
}

/// Faults that happen once; `None` where none is set.
#[derive(Debug, Default)]
struct Triggers {
    /// Requests left until the cut.
    requests: Option<usize>,
    /// Bytes of replies left until the cut.
    reply_bytes: Option<usize>,
}

impl Proxy {
    /// A proxy to `upstream`, on a free port of 127.0.0.1, with no fault.
    ///
    /// # Panics
    ///
    /// If it cannot listen.
    pub async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("some port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let faults = Faults { upstream, path: Path::Open, delay: Duration::ZERO, split: None, age: 0 };
        let shared = Arc::new(Shared {
            faults: watch::Sender::new(faults),
            triggers: Mutex::default(),
            connections: AtomicUsize::new(0),
        });
        let acceptor = tokio::spawn(accept(listener, Arc::clone(&shared))).abort_handle();
        Self { address, shared, acceptor }
    }

    /// Where clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connects new clients to another server. Who is connected stays where it is.
    pub fn retarget(&self, upstream: SocketAddr) {
        self.change(|faults| faults.upstream = upstream);
    }

    /// Ends every fault. What a blackhole held is forwarded now; connections that have lost replies
    /// are reset, because a wire does not lose bytes in the middle.
    pub fn pass(&self) {
        *self.shared.triggers() = Triggers::default();
        self.change(|faults| {
            faults.path = Path::Open;
            faults.delay = Duration::ZERO;
            faults.split = None;
        });
    }

    /// Accepts connections, takes bytes and forwards nothing, in both directions: a partition. Nothing
    /// is lost in it either.
    pub fn blackhole(&self) {
        self.change(|faults| faults.path = Path::Blackhole);
    }

    /// Resets every connection there is, and every new one.
    pub fn refuse(&self) {
        self.change(|faults| faults.path = Path::Refused);
    }

    /// Resets every connection there is, once.
    pub fn cut(&self) {
        self.change(|faults| faults.age += 1);
    }

    /// Lets every byte arrive `delay` later, in each direction: a round trip takes twice that longer.
    /// Bandwidth is not limited.
    pub fn delay(&self, delay: Duration) {
        self.change(|faults| faults.delay = delay);
    }

    /// Forwards the `n`-th request from now, over all connections, and resets the connection it came on:
    /// no answer to it gets through, and when the client sees the reset, the server has done it (or has
    /// been silent for a second). Answers to earlier requests that are still on their way are lost, too.
    ///
    /// Counts what the client sends by itself after it has connected, like `HELLO`.
    ///
    /// # Panics
    ///
    /// If `n` is 0.
    #[track_caller]
    pub fn cut_after_request(&self, n: usize) {
        assert!(n > 0, "the first request is number 1");
        self.shared.triggers().requests = Some(n);
    }

    /// Forwards requests and drops every reply.
    pub fn drop_replies(&self) {
        self.change(|faults| faults.path = Path::RepliesDropped);
    }

    /// Forwards in chunks of `bytes`, each flushed by itself, in both directions. The other side may
    /// still find several in one read.
    ///
    /// # Panics
    ///
    /// If `bytes` is 0.
    #[track_caller]
    pub fn split_every(&self, bytes: usize) {
        assert!(bytes > 0, "a chunk has at least one byte");
        self.change(|faults| faults.split = Some(bytes));
    }

    /// Forwards so many `bytes` of replies from now, over all connections, and resets the connection
    /// that the next one would go to.
    pub fn cut_reply_after(&self, bytes: usize) {
        self.shared.triggers().reply_bytes = Some(bytes);
    }

    /// How many clients are connected.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    fn change(&self, change: impl FnOnce(&mut Faults)) {
        self.shared.faults.send_modify(change);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

impl Shared {
    fn triggers(&self) -> std::sync::MutexGuard<'_, Triggers> {
        self.triggers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Owns the connections: they end with it.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    connections.spawn(connection::serve(Client::new(client, &shared), Arc::clone(&shared)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// A client's socket, counted while it is open.
#[derive(Debug)]
struct Client {
    stream: TcpStream,
    shared: Arc<Shared>,
}

impl Client {
    fn new(stream: TcpStream, shared: &Arc<Shared>) -> Self {
        shared.connections.fetch_add(1, Ordering::SeqCst);
        Self { stream, shared: Arc::clone(shared) }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.connections.fetch_sub(1, Ordering::SeqCst);
    }
}
