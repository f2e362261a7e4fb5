//! An HTTP/2 client that sends what it likes (RFC 9113).

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::sync::CancellationToken;

use super::PROMISE;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RESET: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

/// `GET http://x/`, from the static table of HPACK but for the name of the host.
pub(super) const GET: &[u8] = b"\x82\x86\x84\x41\x01x";

/// `POST http://x/`.
pub(super) const POST: &[u8] = b"\x83\x86\x84\x41\x01x";

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

pub(super) fn request(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, GET)
}

pub(super) fn reset(stream: u32) -> Vec<u8> {
    const CANCEL: [u8; 4] = [0, 0, 0, 8];
    frame(RESET, 0, stream, &CANCEL)
}

/// The ids a client may use.
pub(super) fn streams() -> impl Iterator<Item = u32> {
    (1..).step_by(2)
}

/// A connection. What the server sends is thrown away, unless nobody is to read it.
pub(super) struct Raw {
    write: OwnedWriteHalf,
    /// Kept open by one that does not read.
    unread: Option<OwnedReadHalf>,
    closed: CancellationToken,
}

impl Raw {
    pub(super) async fn open(addr: SocketAddr) -> Self {
        let mut raw = Self::deaf(addr).await;
        let mut read = raw.unread.take().unwrap();
        let closing = raw.closed.clone().drop_guard();
        tokio::spawn(async move {
            let _closing = closing;
            while matches!(read.read(&mut [0; 4096]).await, Ok(1..)) {}
        });
        raw
    }

    /// One that does not read, and so does not learn of its end but by writing.
    pub(super) async fn deaf(addr: SocketAddr) -> Self {
        let (read, write) = TcpStream::connect(addr).await.unwrap().into_split();
        let mut raw = Self { write, unread: Some(read), closed: CancellationToken::new() };
        let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        hello.extend(frame(SETTINGS, 0, 0, &[]));
        assert!(raw.send(&hello).await);
        raw
    }

    /// Whether the server may still take it.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> bool {
        !self.closed.is_cancelled() && self.write.write_all(bytes).await.is_ok()
    }

    /// Waits until the server has closed.
    pub(super) async fn closed(&self) {
        let closed = tokio::time::timeout(PROMISE, self.closed.cancelled());
        closed.await.expect("the server should close the connection");
    }
}
