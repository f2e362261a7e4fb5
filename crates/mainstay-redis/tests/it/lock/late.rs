//! A question that goes astray on the way to the server, and arrives when nobody expects it any more.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use mainstay_core::lock::{Options, Release, Store, Token};
use mainstay_testkit::redis::RedisServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{SECOND, claim, connect, granted, locks, name, store};

/// A connection and the bytes that are to go over it later.
type Kept = Arc<Mutex<Option<(TcpStream, Vec<u8>)>>>;

/// A wire that keeps the first question about a key when it is told to, and cuts off who asked.
#[derive(Clone)]
struct Detour {
    server: SocketAddr,
    key: &'static [u8],
    armed: Arc<AtomicBool>,
    kept: Kept,
}

impl Detour {
    async fn start(server: SocketAddr, key: &'static [u8]) -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let detour = Self { server, key, armed: Arc::default(), kept: Arc::default() };
        let wires = detour.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(wires.clone().carry(client));
            }
        });
        (detour, address)
    }

    async fn carry(self, mut client: TcpStream) {
        let mut server = TcpStream::connect(self.server).await.unwrap();
        let (mut asked, mut answered) = ([0; 4096], [0; 4096]);
        loop {
            tokio::select! {
                Ok(bytes @ 1..) = client.read(&mut asked) => {
                    let asked = &asked[..bytes];
                    let about = asked.windows(self.key.len()).any(|part| part == self.key);
                    if about && self.armed.swap(false, Ordering::SeqCst) {
                        *self.kept.lock().unwrap() = Some((server, asked.to_vec()));
                        return;
                    }
                    server.write_all(asked).await.unwrap();
                }
                Ok(bytes @ 1..) = server.read(&mut answered) => {
                    let _gone = client.write_all(&answered[..bytes]).await;
                }
                else => return,
            }
        }
    }

    /// What was kept arrives, and is answered.
    async fn arrive(&self) {
        let (mut server, asked) = self.kept.lock().unwrap().take().expect("a question was kept");
        server.write_all(&asked).await.unwrap();
        assert!(server.read(&mut [0; 4096]).await.unwrap() > 0);
    }
}

#[tokio::test]
async fn a_question_that_was_asked_again_and_arrives_after_the_release_finds_it_cancelled() {
    let server = RedisServer::start().await;
    let near = store(&connect(server.address()).await);
    // The server knows the scripts.
    granted(&near, "other", claim(Token::random(), SECOND)).await;
    let (detour, address) = Detour::start(server.address(), b"{test:lock:k}").await;
    let locks = locks(&connect(address).await, Options::default());
    for tries_once in [true, false] {
        detour.armed.store(true, Ordering::SeqCst);
        let request = locks.lock("k");
        let guard = if tries_once { request.try_acquire().await } else { request.acquire().await }.unwrap();
        assert_eq!(guard.release().await, Ok(Release::Released));
        detour.arrive().await;
        assert_eq!(near.holders(name("k")).await, Ok(Vec::new()), "held by nobody");
    }
}
