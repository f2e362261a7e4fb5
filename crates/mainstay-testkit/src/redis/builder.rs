//! What a server is started with.

use super::RedisServer;
use super::process::Process;
use super::tls::Tls;
use crate::Port;
use crate::program;

/// What a server is started with; made by [`RedisServer::builder`].
#[derive(Debug)]
#[must_use]
pub struct RedisServerBuilder {
    program: &'static str,
    config: String,
    password: Option<String>,
    clock_shim: bool,
    tls: bool,
}

impl RedisServerBuilder {
    pub(super) fn new(program: &'static str, defaults: &str) -> Self {
        Self { program, config: defaults.to_owned(), password: None, clock_shim: false, tls: false }
    }

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

    /// A second port that speaks TLS: see [`RedisServer::tls_address`].
    pub fn tls(mut self) -> Self {
        self.tls = true;
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
        let tls = self.tls.then(|| Tls::certify(process.dir()));
        for (name, value) in tls.iter().flat_map(Tls::config) {
            process.configure(name, &value);
        }
        RedisServer::launch(process, port, tls, self.password).await
    }
}
