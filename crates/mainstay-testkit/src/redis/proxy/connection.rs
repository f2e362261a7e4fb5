//! One client's connection through the proxy.

use std::io::{Error, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::requests::Requests;
use super::{Client, Faults, Path, Shared};

/// How much is read at once.
const CHUNK: usize = 16 * 1024;

/// How many chunks may be on their way; after that the sender feels it.
const ON_THE_WAY: usize = 256;

/// How long the server has to finish the request whose answer is to be lost.
const FINISH: Duration = Duration::from_secs(1);

/// Why bytes no longer flow.
enum Stop {
    Broken,
    /// The request was forwarded after which the connection is to be cut.
    RequestForwarded,
}

impl From<Error> for Stop {
    fn from(_: Error) -> Self {
        Self::Broken
    }
}

pub(super) async fn serve(mut client: Client, shared: Arc<Shared>) {
    let age = shared.faults.borrow().age;
    let replies_lost = AtomicBool::new(false);
    let closed = tokio::select! {
        biased;
        () = reset(&shared, age, &replies_lost) => false,
        closed = exchange(&mut client.stream, &shared, &replies_lost) => closed,
    };
    if !closed {
        // Fails only where the client is gone already.
        let _ = client.stream.set_zero_linger();
    }
}

/// Ends when the connection is to be reset.
async fn reset(shared: &Shared, age: u64, replies_lost: &AtomicBool) {
    let broken = |faults: &Faults| {
        let lost = replies_lost.load(Ordering::SeqCst) && faults.path != Path::RepliesDropped;
        faults.age != age || faults.path == Path::Refused || lost
    };
    let _ = shared.faults.subscribe().wait_for(broken).await;
}

/// Forwards until both sides have ended; `false` if it ends in another way.
async fn exchange(client: &mut TcpStream, shared: &Shared, replies_lost: &AtomicBool) -> bool {
    let mut faults = shared.faults.subscribe();
    let Ok(upstream) = open_path(&mut faults).await.map(|faults| faults.upstream) else { return false };
    let Ok(mut server) = TcpStream::connect(upstream).await else { return false };
    if client.set_nodelay(true).and(server.set_nodelay(true)).is_err() {
        return false;
    }
    let result = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let (request_sender, requests) = mpsc::channel(ON_THE_WAY);
        let (reply_sender, replies) = mpsc::channel(ON_THE_WAY);
        tokio::try_join!(
            receive(from_client, request_sender, shared),
            receive(from_server, reply_sender, shared),
            send_requests(requests, to_server, shared),
            send_replies(replies, to_client, shared, replies_lost),
        )
    };
    if let Err(Stop::RequestForwarded) = result {
        finish(&mut server).await;
    }
    result.is_ok()
}

/// Waits until the server has done what it was sent: it closes the connection after the last request
/// because there is nothing more to come.
async fn finish(server: &mut TcpStream) {
    let mut ignored = [0; 4096];
    let ended = async {
        server.shutdown().await?;
        while server.read(&mut ignored).await? > 0 {}
        Ok::<_, Error>(())
    };
    let _ = timeout(FINISH, ended).await;
}

/// Bytes, and when they arrive.
type Packet = (Instant, Vec<u8>);

async fn receive(mut from: ReadHalf<'_>, to: mpsc::Sender<Packet>, shared: &Shared) -> Result<(), Stop> {
    loop {
        let mut bytes = Vec::with_capacity(CHUNK);
        let read = from.read_buf(&mut bytes).await?;
        let arrival = Instant::now() + shared.faults.borrow().delay;
        // An empty packet is the end of the stream: it is late as well.
        if to.send((arrival, bytes)).await.is_err() || read == 0 {
            return Ok(());
        }
    }
}

async fn send_requests(
    mut packets: mpsc::Receiver<Packet>,
    mut to: WriteHalf<'_>,
    shared: &Shared,
) -> Result<(), Stop> {
    let mut faults = shared.faults.subscribe();
    let mut parser = Requests::default();
    while let Some((arrival, bytes)) = packets.recv().await {
        sleep_until(arrival).await;
        let now = open_path(&mut faults).await?;
        if bytes.is_empty() {
            break;
        }
        let (end, cut) = count(&mut parser, &bytes, shared);
        write(&mut to, &bytes[..end], now.split).await?;
        if cut {
            return Err(Stop::RequestForwarded);
        }
    }
    Ok(to.shutdown().await?)
}

/// How many of the bytes are to be forwarded, and whether the connection is to be cut there.
fn count(parser: &mut Requests, bytes: &[u8], shared: &Shared) -> (usize, bool) {
    let mut at = 0;
    while at < bytes.len() {
        let (step, ended) = parser.advance(&bytes[at..]);
        at += step;
        let mut triggers = shared.triggers();
        if ended && let Some(left) = triggers.requests {
            triggers.requests = left.checked_sub(1).filter(|left| *left > 0);
            if triggers.requests.is_none() {
                return (at, true);
            }
        }
    }
    (at, false)
}

async fn send_replies(
    mut packets: mpsc::Receiver<Packet>,
    mut to: WriteHalf<'_>,
    shared: &Shared,
    lost: &AtomicBool,
) -> Result<(), Stop> {
    let mut faults = shared.faults.subscribe();
    while let Some((arrival, bytes)) = packets.recv().await {
        sleep_until(arrival).await;
        let now = open_path(&mut faults).await?;
        if bytes.is_empty() {
            break;
        }
        if now.path == Path::RepliesDropped {
            lost.store(true, Ordering::SeqCst);
            continue;
        }
        let allowed = allowed(bytes.len(), shared);
        write(&mut to, &bytes[..allowed], now.split).await?;
        if allowed < bytes.len() {
            return Err(Stop::Broken);
        }
    }
    Ok(to.shutdown().await?)
}

/// How many bytes of a reply are to be forwarded.
fn allowed(bytes: usize, shared: &Shared) -> usize {
    let mut triggers = shared.triggers();
    let Some(left) = triggers.reply_bytes else { return bytes };
    triggers.reply_bytes = left.checked_sub(bytes);
    bytes.min(left)
}

/// The state of the wire, once it lets bytes through.
async fn open_path(faults: &mut watch::Receiver<Faults>) -> Result<Faults, Error> {
    let open = faults.wait_for(|faults| faults.path != Path::Blackhole).await;
    open.map(|faults| faults.clone()).map_err(|_| ErrorKind::BrokenPipe.into())
}

async fn write(to: &mut WriteHalf<'_>, bytes: &[u8], split: Option<usize>) -> Result<(), Error> {
    for chunk in bytes.chunks(split.unwrap_or(usize::MAX)) {
        to.write_all(chunk).await?;
        if split.is_some() {
            // A chance for the reader to find it alone.
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}
