//! A replicated server under sentinels.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;

use super::resp::Reply;
use super::{RedisServer, RedisServerBuilder, until};

const MASTER: &str = "mainstay";

/// How long a master without replicas goes on to answer before it is killed.
const LOSS: Duration = Duration::from_millis(300);

/// How often sentinels look and talk: more often than they do by themselves, so that a test does not
/// wait for it; not much more often, because five pings is how old what they know of a replica may be
/// when they promote it. And they do not stand back for half a minute (`TILT`) when a loaded machine has let
/// them wait for two seconds. A server before 7.0 does not know the command, and takes its time.
const HASTE: [&str; 14] = [
    "SENTINEL",
    "DEBUG",
    "info-period",
    "200",
    "ping-period",
    "500",
    "publish-period",
    "200",
    "ask-period",
    "100",
    "tilt-trigger",
    "60000",
    "tilt-period",
    "1000",
];

/// One master, two replicas and three sentinels: `down-after-milliseconds` is 1000,
/// `failover-timeout` 2 s. Dropping it kills them all.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use mainstay_testkit::redis::Sentinels;
///
/// let mut sentinels = Sentinels::start().await;
/// let old = sentinels.master();
/// sentinels.kill_master().await;
/// let new = sentinels.wait_for_new_master(old).await;
/// assert_eq!(sentinels.server(new).command(&["SET", "key", "value"]).await, "OK");
/// # });
/// ```
#[derive(Debug)]
pub struct Sentinels {
    servers: Vec<RedisServer>,
    sentinels: Vec<RedisServer>,
    /// The master as last seen.
    master: Mutex<SocketAddr>,
    /// Replicas that stand still, without a link to their master.
    cut: Vec<SocketAddr>,
}

impl Sentinels {
    /// Starts them and waits until the replicas follow the master and every sentinel knows that and
    /// the other sentinels.
    ///
    /// # Panics
    ///
    /// If a program is missing or does not start, or if that is not the case within half a minute.
    pub async fn start() -> Self {
        Self::start_with(|server| server).await
    }

    /// [`Sentinels::start`], with more to say about the master and the replicas; not a password, which
    /// the sentinels do not know.
    ///
    /// # Panics
    ///
    /// As [`Sentinels::start`].
    pub async fn start_with(configure: impl Fn(RedisServerBuilder) -> RedisServerBuilder) -> Self {
        let master = configure(RedisServer::builder()).start().await;
        let address = master.address();
        let replica = || configure(RedisServer::builder()).replica_of(&master).start();
        let (one, two) = tokio::join!(replica(), replica());
        let servers = vec![master, one, two];
        replicas_follow(&servers, address).await;
        let sentinel = || {
            RedisServer::sentinel()
                .arg("sentinel", &format!("monitor {MASTER} {} {} 2", address.ip(), address.port()))
                // Half of it, and a loaded machine fails over without a fault.
                .arg("sentinel", &format!("down-after-milliseconds {MASTER} 1000"))
                .arg("sentinel", &format!("failover-timeout {MASTER} 2000"))
                .start()
        };
        let (one, two, three) = tokio::join!(sentinel(), sentinel(), sentinel());
        let this =
            Self { servers, sentinels: vec![one, two, three], master: Mutex::new(address), cut: Vec::new() };
        this.haste().await;
        this.whole().await;
        this
    }

    /// The sentinels' addresses.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sentinels.iter().map(RedisServer::address).collect()
    }

    /// The name the sentinels know the master by.
    #[must_use]
    pub fn master_name(&self) -> &str {
        MASTER
    }

    /// `redis+sentinel://address,address,address/name`.
    #[must_use]
    pub fn url(&self) -> String {
        let addresses: Vec<String> = self.addresses().iter().map(SocketAddr::to_string).collect();
        format!("redis+sentinel://{}/{MASTER}", addresses.join(","))
    }

    /// The master, as the last method here that waited has seen it.
    #[must_use]
    pub fn master(&self) -> SocketAddr {
        *self.master.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The servers other than [`Sentinels::master`], dead ones as well.
    #[must_use]
    pub fn replicas(&self) -> Vec<SocketAddr> {
        let master = self.master();
        self.servers.iter().map(RedisServer::address).filter(|address| *address != master).collect()
    }

    /// The server at `address`, whatever its role: to be asked, paused, resumed.
    ///
    /// # Panics
    ///
    /// If `address` is not one of the three servers.
    #[must_use]
    #[track_caller]
    pub fn server(&self, address: SocketAddr) -> &RedisServer {
        self.servers.iter().find(|server| server.address() == address).expect("one of the three servers")
    }

    /// Kills the master (SIGKILL). If its replicas were cut from it, they go on now.
    pub async fn kill_master(&mut self) {
        let master = self.master();
        for server in self.servers.iter_mut().filter(|server| server.address() == master) {
            server.kill();
        }
        for address in std::mem::take(&mut self.cut) {
            self.server(address).resume();
        }
    }

    /// Kills a sentinel (SIGKILL), by its position in [`Sentinels::addresses`].
    ///
    /// # Panics
    ///
    /// If there is no such sentinel.
    pub fn kill_sentinel(&mut self, index: usize) {
        self.sentinels[index].kill();
    }

    /// Waits until every sentinel that is up names a master other than `old`, and that one takes itself
    /// for a master.
    ///
    /// # Panics
    ///
    /// If that is not the case within half a minute.
    pub async fn wait_for_new_master(&self, old: SocketAddr) -> SocketAddr {
        let mut new = old;
        until("the sentinels agree on a new master", &self.everybody(), async || {
            let named = join_all(self.sentinels.iter().filter(|sentinel| sentinel.is_up()).map(named)).await;
            let Some(Some(first)) = named.first().copied() else { return false };
            new = first;
            new != old
                && named.iter().all(|address| *address == Some(new))
                && is_master(self.server(new)).await
        })
        .await;
        *self.master.lock().unwrap_or_else(PoisonError::into_inner) = new;
        new
    }

    /// Has the sentinels promote a replica (`SENTINEL FAILOVER`) and waits for that. The old master
    /// runs on, and takes itself for a master until the sentinels tell it otherwise, up to some seconds
    /// later: what is written to it meanwhile is lost.
    ///
    /// # Panics
    ///
    /// If there is no new master within half a minute.
    pub async fn failover(&mut self) -> SocketAddr {
        self.settle().await;
        let old = self.master();
        until("a sentinel begins the failover", &self.everybody(), async || {
            let sentinel =
                self.sentinels.iter().find(|sentinel| sentinel.is_up()).expect("one sentinel is up");
            sentinel.command(&["SENTINEL", "FAILOVER", MASTER]).await == "OK"
        })
        .await;
        self.wait_for_new_master(old).await
    }

    /// Cuts the replicas from the master. It goes on to answer, and what it answers from here on is
    /// lost if it is killed next.
    ///
    /// The replicas stand still (SIGSTOP) and their links are closed, in this order: a replica that was
    /// only stopped still finds in its socket what the master has sent.
    pub async fn cut_replicas(&mut self) {
        self.settle().await;
        self.cut = self.replicas().into_iter().filter(|address| self.server(*address).is_up()).collect();
        for address in &self.cut {
            self.server(*address).pause();
        }
        let killed = self.server(self.master()).command(&["CLIENT", "KILL", "TYPE", "replica"]).await;
        assert!(killed.parse::<u32>().is_ok(), "{killed}");
    }

    /// [`Sentinels::cut_replicas`], 0.3 s of acknowledging writes to be lost, [`Sentinels::kill_master`],
    /// and a replica is promoted.
    ///
    /// # Panics
    ///
    /// If there is no new master within half a minute.
    pub async fn lossy_failover(&mut self) -> SocketAddr {
        self.cut_replicas().await;
        let old = self.master();
        tokio::time::sleep(LOSS).await;
        self.kill_master().await;
        self.wait_for_new_master(old).await
    }

    /// Starts what was killed, empty and as a replica where there is a new master, and waits until the
    /// replicas follow the master and all sentinels see it.
    ///
    /// # Panics
    ///
    /// If that is not the case within half a minute.
    pub async fn restart_dead(&mut self) {
        let master = self.master();
        for server in self.servers.iter_mut().filter(|server| server.is_killed()) {
            if server.address() != master {
                server.configure("replicaof", &format!("{} {}", master.ip(), master.port()));
            }
            server.restart().await;
        }
        for sentinel in self.sentinels.iter_mut().filter(|sentinel| sentinel.is_killed()) {
            sentinel.restart().await;
        }
        self.haste().await;
        replicas_follow(&self.servers, master).await;
        self.whole().await;
    }

    /// Waits until the sentinels are done with what they did: on a loaded machine they may replace a master by
    /// themselves, and one failover that begins before the other has ended is given up.
    async fn settle(&self) {
        let mut master = self.master();
        until("the sentinels are done", &self.everybody(), async || {
            let up: Vec<_> = self.sentinels.iter().filter(|sentinel| sentinel.is_up()).collect();
            let named = join_all(up.iter().map(|sentinel| named(sentinel))).await;
            let Some(Some(first)) = named.first().copied() else { return false };
            master = first;
            let at_rest =
                join_all(up.iter().map(async |sentinel| map(sentinel, "MASTER").await["flags"] == "master"));
            named.iter().all(|address| *address == Some(first))
                && at_rest.await.into_iter().all(|rests| rests)
                && is_master(self.server(first)).await
        })
        .await;
        *self.master.lock().unwrap_or_else(PoisonError::into_inner) = master;
    }

    fn everybody(&self) -> Vec<&RedisServer> {
        self.servers.iter().chain(&self.sentinels).collect()
    }

    async fn haste(&self) {
        for sentinel in &self.sentinels {
            sentinel.command(&HASTE).await;
        }
    }

    async fn whole(&self) {
        for sentinel in &self.sentinels {
            until("the sentinel sees everybody", &self.everybody(), async || sees_everybody(sentinel).await)
                .await;
        }
    }
}

async fn sees_everybody(sentinel: &RedisServer) -> bool {
    let master = map(sentinel, "MASTER").await;
    let replicas = maps(sentinel, "REPLICAS").await;
    let sentinels = maps(sentinel, "SENTINELS").await;
    master["flags"] == "master"
        && replicas.len() == 2
        && replicas.iter().all(|it| it["flags"] == "slave" && it["master-link-status"] == "ok")
        && sentinels.len() == 2
        && sentinels.iter().all(|it| it["flags"] == "sentinel")
}

async fn map(sentinel: &RedisServer, what: &str) -> HashMap<String, String> {
    sentinel.reply(&["SENTINEL", what, MASTER]).await.into_map()
}

async fn maps(sentinel: &RedisServer, what: &str) -> Vec<HashMap<String, String>> {
    let reply = sentinel.reply(&["SENTINEL", what, MASTER]).await;
    reply.into_list().into_iter().map(Reply::into_map).collect()
}

/// The master's address, as a sentinel tells it.
async fn named(sentinel: &RedisServer) -> Option<SocketAddr> {
    let address = sentinel.try_command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]).await;
    address.ok()?.replace('\n', ":").parse().ok()
}

async fn is_master(server: &RedisServer) -> bool {
    server.try_command(&["ROLE"]).await.is_ok_and(|role| role.starts_with("master\n"))
}

/// Waits until the servers other than `master` are connected to it and have its data.
async fn replicas_follow(servers: &[RedisServer], master: SocketAddr) {
    let expected = format!("slave\n{}\n{}\nconnected\n", master.ip(), master.port());
    for replica in servers.iter().filter(|server| server.address() != master) {
        until("the replica follows the master", &servers.iter().collect::<Vec<_>>(), async || {
            replica.try_command(&["ROLE"]).await.is_ok_and(|role| role.starts_with(&expected))
        })
        .await;
    }
}
