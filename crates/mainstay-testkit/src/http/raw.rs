//! Clients that do not speak HTTP, or not all of it.

use std::io;
use std::net::SocketAddr;
use std::panic::Location;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{DEADLINE, keep_writing};

/// Sends exactly these bytes and returns what comes back until the server closes the connection.
///
/// A reset is an end like any other. The request should ask for `connection: close` if it is one
/// that a server can answer.
///
/// ```no_run
/// # async fn example(addr: std::net::SocketAddr) {
/// let answer = mainstay_testkit::http::raw(addr, b"GET / HTTP/9.9\r\n\r\n").await;
/// assert!(answer.starts_with(b"HTTP/1.1 400"));
/// # }
/// ```
///
/// # Panics
///
/// If the server takes no connection, or has not closed it after 30 s.
#[track_caller]
pub fn raw(addr: SocketAddr, bytes: &[u8]) -> impl Future<Output = Vec<u8>> {
    let caller = Location::caller();
    async move {
        let mut stream = connect(addr, caller).await;
        let mut answer = Vec::new();
        let (mut read, write) = stream.split();
        let exchange = async {
            tokio::select! {
                _ = read.read_to_end(&mut answer) => {}
                never = keep_writing(write, bytes) => match never {},
            }
        };
        let closed = timeout(DEADLINE, exchange).await.is_ok();
        assert!(
            closed,
            "{caller}: the server keeps the connection open after {:?}",
            String::from_utf8_lossy(&answer)
        );
        answer
    }
}

/// Connections that have sent a few bytes and then nothing, as in a Slowloris attack. They close
/// when this is dropped.
///
/// ```no_run
/// # async fn example(addr: std::net::SocketAddr) {
/// use std::time::Duration;
/// use mainstay_testkit::{eventually_async, http::SlowClients};
///
/// let mut slow = SlowClients::open(addr, 1_000, b"G").await;
/// // … good clients are still answered …
/// eventually_async("the header timeout has fired", Duration::from_secs(60), async || slow.still_open() == 0).await;
/// # }
/// ```
#[derive(Debug)]
pub struct SlowClients {
    streams: Vec<TcpStream>,
}

impl SlowClients {
    /// Opens `count` connections and sends `first_bytes` on each.
    ///
    /// # Panics
    ///
    /// If one of them cannot be opened within 30 s. Each is an open file of this process, whose soft
    /// limit is therefore raised to the hard one, as servers do for themselves.
    #[track_caller]
    pub fn open(addr: SocketAddr, count: usize, first_bytes: &[u8]) -> impl Future<Output = Self> {
        let caller = Location::caller();
        async move {
            raise_open_file_limit();
            let mut streams = Vec::with_capacity(count);
            for _ in 0..count {
                let mut stream = connect(addr, caller).await;
                // A server that has closed already is what `still_open` is there to tell.
                let _ = stream.write_all(first_bytes).await;
                streams.push(stream);
            }
            Self { streams }
        }
    }

    /// How many of them the server has not closed, as far as the runtime knows: poll this with
    /// [`eventually_async`](crate::eventually_async). What the server sends is thrown away.
    pub fn still_open(&mut self) -> usize {
        self.streams.retain(is_open);
        self.streams.len()
    }
}

/// The usual soft limit of 1,024 is for programs that call `select`.
fn raise_open_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // A refusal leaves the limit as it was; opening too many then says so itself.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

fn is_open(stream: &TcpStream) -> bool {
    let mut answer = [0; 4096];
    loop {
        match stream.try_read(&mut answer) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

async fn connect(addr: SocketAddr, caller: &Location<'_>) -> TcpStream {
    match timeout(DEADLINE, TcpStream::connect(addr)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => panic!("{caller}: cannot connect to {addr}: {error}"),
        Err(_) => panic!("{caller}: cannot connect to {addr}: it does not accept connections"),
    }
}
