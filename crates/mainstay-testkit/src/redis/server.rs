//! One server.

use std::net::SocketAddr;

use super::DEADLINE;
use super::port::Port;
use super::process::Process;
use super::resp::{Reply, ask};
use crate::{eventually_async, program};

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
    password: Option<String>,
}

/// What a server is started with; made by [`RedisServer::builder`].
#[derive(Debug)]
#[must_use]
pub struct RedisServerBuilder {
    program: &'static str,
    config: String,
    password: Option<String>,
    clock_shim: bool,
}

impl RedisServerBuilder {
    /// A line of the configuration file, like `.arg("--maxmemory-policy", "allkeys-lru")`; the dashes
    /// may be left out. A later line wins.
    pub fn arg(mut self, name: &str, value: &str) -> Self {
        self.config += &format!("{} {value}\n", name.trim_start_matches('-'));
        self
    }

    /// Writes are on disk before they are answered: a restart finds them all.
    pub fn aof_always(self) -> Self {
        self.arg("appendonly", "yes").arg("appendfsync", "always")
    }

    /// The default user's password, of characters that need no escape in a URL.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self.arg("requirepass", password).arg("masterauth", password)
    }

    /// A further user, with rules like `on >secret ~app:* +@all`.
    pub fn acl(self, user: &str, rules: &str) -> Self {
        self.arg("user", &format!("{user} {rules}"))
    }

    /// A calendar clock of its own, for [`RedisServer::step_clock`]. Needs a C compiler.
    pub fn clock_shim(mut self) -> Self {
        self.clock_shim = true;
        self
    }

    /// Makes it a replica. `master` must have no password, or the same one.
    pub fn replica_of(self, master: &RedisServer) -> Self {
        let address = master.address();
        self.arg("replicaof", &format!("{} {}", address.ip(), address.port()))
    }

    /// Starts the server and waits until it answers.
    ///
    /// # Panics
    ///
    /// If there is no `redis-server` (the message holds the command that installs it), or if it ends
    /// or does not answer within half a minute (the message holds its log).
    pub async fn start(self) -> RedisServer {
        let port = Port::reserve();
        let config = format!("bind 127.0.0.1\nport {}\n{}", port.number(), self.config);
        // The Debian packages are named after their programs.
        let mut process = Process::new(program(self.program, self.program), &config);
        if self.clock_shim {
            process.shim_clock();
        }
        let mut server = RedisServer { process, port, password: self.password };
        server.restart().await;
        server
    }
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

    /// A server with more to say about it.
    pub fn builder() -> RedisServerBuilder {
        RedisServerBuilder {
            program: "redis-server",
            config: DEFAULTS.to_owned(),
            password: None,
            clock_shim: false,
        }
    }

    /// A sentinel: it speaks the same protocol and dies the same deaths.
    pub(super) fn sentinel() -> RedisServerBuilder {
        RedisServerBuilder {
            program: "redis-sentinel",
            config: String::new(),
            password: None,
            clock_shim: false,
        }
    }

    /// Where it listens, and will listen again after a restart.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
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
        eventually_async("the server answers", DEADLINE, async || {
            assert!(self.process.is_alive(), "the server has ended:\n{}", self.log());
            matches!(self.ask(&["PING"]).await, Ok(Reply::Text(pong)) if pong == "PONG")
        })
        .await;
    }
}
