use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::connection::{self, Connection, Switches};
use super::slots::{Slot, Slots};
use super::tls::Tls;
use super::{Host, Reason};

/// Connections that may wait to be accepted; the system may allow fewer (`net.core.somaxconn`). Beyond it the system
/// drops what clients send, who try again a second later: a burst must not get there.
const BACKLOG: u32 = 4096;

/// Bytes of an answer that the kernel may hold before it sends them.
#[cfg(target_os = "linux")]
const MAX_UNSENT: u32 = 64 * 1024;

/// An address could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr}: {}", explain(.source))]
pub struct BindError {
    /// The address asked for.
    pub addr: SocketAddr,
    source: io::Error,
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program uses this port; stop it or set PORT, or METRICS_PORT if it is that one, to a free one (0 = any)".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "not permitted; ports below 1024 need a privilege, set PORT or METRICS_PORT to a higher one".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address; check HOST and METRICS_HOST".to_owned(),
        _ => error.to_string(),
    }
}

/// An open listener with its connections. Dropping it stops accepting and closes them all.
#[derive(Debug)]
pub struct Listening {
    addr: SocketAddr,
    connections: TaskTracker,
    switches: Switches,
    released: CancellationToken,
    _close_on_drop: DropGuard,
}

impl Listening {
    pub(super) async fn open(
        host: Arc<Host>,
        addr: SocketAddr,
        routes: Router,
        tls: Option<Tls>,
    ) -> Result<Self, BindError> {
        let bind = || {
            let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            // As a restart on the same address needs it.
            socket.set_reuseaddr(true)?;
            socket.bind(addr)?;
            let listener = socket.listen(BACKLOG)?;
            keep_little_unsent(&listener);
            let addr = listener.local_addr()?;
            Ok((listener, addr))
        };
        let (listener, addr) = bind().map_err(|source| BindError { addr, source })?;
        let connections = TaskTracker::new();
        let switches = Switches { drain: CancellationToken::new(), close: CancellationToken::new() };
        let released = CancellationToken::new();
        let acceptor = Acceptor {
            _released: released.clone().drop_guard(),
            host,
            slots: Arc::default(),
            routes,
            tls,
            bound: addr,
            connections: connections.clone(),
            switches: switches.clone(),
        };
        connections.spawn(acceptor.run(listener));
        let _close_on_drop = switches.close.clone().drop_guard();
        Ok(Self { addr, connections, switches, released, _close_on_drop })
    }

    /// The address in use, with the real port where 0 was asked for.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Takes what is already in the backlog, then closes the listening socket. Open connections
    /// finish the request they are in, or one that comes within half a second, and close.
    pub fn stop_accepting(&self) {
        self.switches.drain.cancel();
        self.connections.close();
    }

    /// Stops accepting and waits until the address is free for another listener.
    pub async fn release(&self) {
        self.stop_accepting();
        self.released.cancelled().await;
    }

    /// Stops accepting and waits for the requests in flight.
    ///
    /// # Errors
    /// [`Unfinished`] when `deadline` passed first; the connections left are then closed. Dropping
    /// this future loses nothing: call it again.
    pub async fn drain(&self, deadline: Duration) -> Result<(), Unfinished> {
        self.stop_accepting();
        if tokio::time::timeout(deadline, self.connections.wait()).await.is_ok() {
            return Ok(());
        }
        let connections = self.connections.len();
        self.switches.close.cancel();
        self.connections.wait().await;
        Err(Unfinished { connections })
    }
}

/// Connections that had to be cut because their requests did not end in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{connections} connections were still busy and have been closed")]
#[non_exhaustive]
pub struct Unfinished {
    /// How many.
    pub connections: usize,
}

struct Acceptor {
    host: Arc<Host>,
    slots: Arc<Slots>,
    routes: Router,
    tls: Option<Tls>,
    bound: SocketAddr,
    connections: TaskTracker,
    switches: Switches,
    _released: DropGuard,
}

impl Acceptor {
    /// The socket is dropped before `self`, and so closed when that tells that it is.
    async fn run(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.switches.close.cancelled() => return,
                () = self.switches.drain.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer),
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    // Out of file descriptors or memory: waiting lets connections end; a tight loop would not.
                    tracing::error!(%error, "cannot accept connections; trying again in 100 ms");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        self.take_backlog(listener);
    }

    /// These clients finished their handshake while we still listened: closing now would reset them. The
    /// kernel is asked directly, because the runtime may not have heard of the latest yet.
    fn take_backlog(&self, listener: TcpListener) {
        let Ok(listener) = listener.into_std() else { return };
        while let Ok((stream, peer)) = listener.accept() {
            if stream.set_nonblocking(true).is_ok()
                && let Ok(stream) = TcpStream::from_std(stream)
            {
                self.admit(stream, peer);
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let slot = match Slot::take(&self.host, &self.slots, peer.ip()) {
            Ok(slot) => slot,
            Err(refused) => {
                self.host.metrics.connection_refused(refused);
                if self.slots.tell() {
                    tracing::warn!(
                        peer = %peer.ip(),
                        why = refused.explain(),
                        "connections are refused"
                    );
                }
                if self.tls.is_none() {
                    refuse(&stream);
                }
                return;
            }
        };
        let connection = Connection { peer, bound: self.bound };
        let served = connection::accept(
            Arc::clone(&self.host),
            stream,
            self.tls.clone(),
            connection,
            self.routes.clone(),
            self.switches.clone(),
        );
        self.connections.spawn(async move {
            let slot = slot;
            if served.await.is_some_and(Reason::is_attack) {
                slot.hold();
            }
        });
    }
}

/// The kernel would take megabytes ahead of a client, and say nothing until a third of them is gone: one who reads
/// steadily would seem to read nothing for as long. Its connections have this from the listener. A system that does
/// not know it only keeps more.
fn keep_little_unsent(listener: &TcpListener) {
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(listener).set_tcp_notsent_lowat(MAX_UNSENT);
    #[cfg(not(target_os = "linux"))]
    let _ = listener;
}

/// Says why, as far as that costs nothing: a full socket buffer just loses the text.
fn refuse(stream: &TcpStream) {
    const ANSWER: &[u8] =
        b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
    let _ = stream.try_write(ANSWER);
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
