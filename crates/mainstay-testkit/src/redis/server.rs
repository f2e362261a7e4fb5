//! One server.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::process::Process;
use super::resp::{Reply, ask};
use super::tls::Tls;
use crate::Port;
use tokio::time::timeout;

use super::{DEADLINE, POLL, RedisServerBuilder};

/// Nothing on disk, and replicas that begin at once.
const DEFAULTS: &str = "save \"\"\nappendonly no\nrepl-diskless-sync yes\nrepl-diskless-sync-delay 0\n";

/// A `redis-server` on a port of its own. Dropping it kills the process (SIGKILL).
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use mainstay_testkit::redis::RedisServer;
///
/// let mut server = RedisServer::start().await;
/// assert_eq!(server.command(&["SET", "greeting", "hello"]).await, "OK");
/// server.kill();
/// server.restart().await; // nothing was on disk
/// assert_eq!(server.command(&["GET", "greeting"]).await, "(nil)");
/// # });
/// ```
#[derive(Debug)]
pub struct RedisServer {
    process: Process,
    port: Port,
    tls: Option<Tls>,
    password: Option<String>,
}

impl RedisServer {
    /// An empty server that writes nothing to disk and evicts nothing.
    ///
    /// # Panics
    ///
    /// As [`RedisServerBuilder::start`].
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    pub(super) async fn launch(
        process: Process,
        port: Port,
        tls: Option<Tls>,
        password: Option<String>,
    ) -> Self {
        let mut server = Self { process, port, tls, password };
        server.restart().await;
        server
    }

    /// A server with more to say about it.
    pub fn builder() -> RedisServerBuilder {
        RedisServerBuilder::new("redis-server", DEFAULTS)
    }

    /// A sentinel: it speaks the same protocol and dies the same deaths.
    pub(super) fn sentinel() -> RedisServerBuilder {
        RedisServerBuilder::new("redis-sentinel", "")
    }

    /// Where it listens, and will listen again after a restart.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Where it speaks TLS: its URL is `rediss://` and this. Its certificate is
    /// for 127.0.0.1 and for localhost.
    ///
    /// # Panics
    ///
    /// If it was started without [`RedisServerBuilder::tls`].
    #[must_use]
    #[track_caller]
    pub fn tls_address(&self) -> SocketAddr {
        self.tls.as_ref().expect("started with `tls`").port.address()
    }

    /// The certificate of the authority that its certificate is signed by: a PEM file that goes with
    /// the server.
    ///
    /// # Panics
    ///
    /// As [`RedisServer::tls_address`].
    #[must_use]
    #[track_caller]
    pub fn ca_certificate(&self) -> PathBuf {
        self.tls.as_ref().expect("started with `tls`").ca_certificate()
    }

    /// `redis://127.0.0.1:port`, with the password if it has one.
    #[must_use]
    pub fn url(&self) -> String {
        match &self.password {
            Some(password) => format!("redis://:{password}@{}", self.address()),
            None => format!("redis://{}", self.address()),
        }
    }

    /// Ends it as a crash does (SIGKILL), frozen or not. Connections are reset or closed by then.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it on the same port, killed before or not, and waits until it answers. Its data is what
    /// it had on disk.
    ///
    /// # Panics
    ///
    /// As [`RedisServerBuilder::start`].
    pub async fn restart(&mut self) {
        self.process.kill();
        self.process.spawn();
        self.answers().await;
    }

    /// Like [`RedisServer::restart`], with its data on disk deleted.
    ///
    /// # Panics
    ///
    /// As [`RedisServerBuilder::start`].
    pub async fn restart_empty(&mut self) {
        self.process.kill();
        self.process.remove_data();
        self.restart().await;
    }

    /// Freezes it (SIGSTOP): its sockets stay open, the kernel accepts connections and takes bytes,
    /// and nobody answers. It stands still when this returns.
    ///
    /// # Panics
    ///
    /// If it was killed.
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Ends the freeze (SIGCONT). What came in meanwhile is done now.
    ///
    /// # Panics
    ///
    /// If it was killed.
    pub fn resume(&self) {
        self.process.resume();
    }

    /// Sets the server's calendar clock forward or back, for all that it computes from it: `TIME`,
    /// `EXPIRE`, scripts. The step stays over a restart; steps add up.
    ///
    /// # Panics
    ///
    /// If it was started without [`RedisServerBuilder::clock_shim`].
    #[track_caller]
    pub fn step_clock(&self, by_seconds: f64) {
        self.process.clock().expect("started with `clock_shim`").step(by_seconds);
    }

    /// Gives an order on a connection of its own, as the default user. The text of the answer: of a
    /// list one line per element, `(nil)` for nothing, an error as `-ERR …`.
    ///
    /// # Panics
    ///
    /// If it cannot be reached or does not answer within ten seconds.
    pub async fn command(&self, args: &[&str]) -> String {
        self.reply(args).await.to_string()
    }

    pub(super) async fn reply(&self, args: &[&str]) -> Reply {
        match self.ask(args).await {
            Ok(reply) => reply,
            Err(error) => panic!("{args:?} to {}: {error}\n{}", self.address(), self.log()),
        }
    }

    /// [`RedisServer::command`] for a server that may be down, or resets connections because its role
    /// changes; the error is the connection's.
    pub async fn try_command(&self, args: &[&str]) -> Result<String, std::io::Error> {
        Ok(self.ask(args).await?.to_string())
    }

    /// What it has logged, over all restarts.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Replaces every line of the configuration file that begins with `name`, for the next start.
    pub(super) fn configure(&self, name: &str, value: &str) {
        self.process.configure(name, value);
    }

    pub(super) fn is_killed(&self) -> bool {
        self.process.is_killed()
    }

    pub(super) fn is_up(&self) -> bool {
        self.process.is_up()
    }

    pub(super) async fn ask(&self, args: &[&str]) -> Result<Reply, std::io::Error> {
        ask(self.address(), self.password.as_deref(), args).await
    }

    async fn answers(&mut self) {
        let answer = async {
            while !matches!(self.ask(&["PING"]).await, Ok(Reply::Text(pong)) if pong == "PONG") {
                assert!(self.process.is_alive(), "the server has ended:\n{}", self.process.log());
                tokio::time::sleep(POLL).await;
            }
        };
        if timeout(DEADLINE, answer).await.is_err() {
            panic!("no answer within {DEADLINE:?}:\n{}", self.log());
        }
    }
}
