//! A cluster.

use std::net::SocketAddr;

use futures_util::future::join_all;

use super::resp::Reply;
use super::{RedisServer, RedisServerBuilder, until};

const SLOTS: u16 = 16_384;
const MASTERS: u16 = 3;
const NODES: usize = 6;

/// Three masters with a replica each: `cluster-node-timeout` is 1 s, everything else as Redis has it.
/// Dropping it kills them all.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use mainstay_testkit::redis::Cluster;
///
/// let mut cluster = Cluster::start().await;
/// let old = cluster.master(12182).await;
/// assert_eq!(cluster.server(old).command(&["SET", "foo", "bar"]).await, "OK");
/// cluster.kill_master(12182).await;
/// cluster.wait_until_covered().await;
/// assert_ne!(cluster.master(12182).await, old);
/// # });
/// ```
#[derive(Debug)]
pub struct Cluster {
    servers: Vec<RedisServer>,
}

/// A part of the slots and who serves it, as one node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Range {
    first: u16,
    last: u16,
    master: SocketAddr,
    replicas: Vec<SocketAddr>,
}

impl Cluster {
    /// Starts the nodes, joins them and waits until every one sees all slots served, each by a master
    /// with a replica that follows it.
    ///
    /// # Panics
    ///
    /// If `redis-server` is missing or does not start, or if that is not the case within half a minute.
    pub async fn start() -> Self {
        Self::start_with(|node| node).await
    }

    /// [`Cluster::start`], with more to say about the nodes.
    ///
    /// # Panics
    ///
    /// As [`Cluster::start`].
    pub async fn start_with(configure: impl Fn(RedisServerBuilder) -> RedisServerBuilder) -> Self {
        let node = || {
            configure(RedisServer::builder())
                .arg("cluster-enabled", "yes")
                .arg("cluster-announce-ip", "127.0.0.1")
                .arg("cluster-node-timeout", "1000")
                // A replica is not listed until it has heard something from its master, be it a ping.
                .arg("repl-ping-replica-period", "1")
                // A replica may always stand for election, however long ago it heard of its master.
                .arg("cluster-replica-validity-factor", "0")
                .start()
        };
        let this = Self { servers: join_all((0..NODES).map(|_| node())).await };
        this.join().await;
        let (masters, replicas) = this.servers.split_at(usize::from(MASTERS));
        for (replica, master) in replicas.iter().zip(masters) {
            let id = master.command(&["CLUSTER", "MYID"]).await;
            until("the replica knows its master", &[replica], async || {
                replica.command(&["CLUSTER", "REPLICATE", &id]).await == "OK"
            })
            .await;
        }
        this.wait_until_whole().await;
        this
    }

    /// Gives the masters their slots and makes everybody known to everybody.
    async fn join(&self) {
        for (number, master) in (0..MASTERS).zip(&self.servers) {
            // Different from the start: otherwise they would have to agree on it later.
            order(master, &["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]).await;
            let slots = (0..SLOTS)
                .filter(|slot| u32::from(*slot) * u32::from(MASTERS) / u32::from(SLOTS) == u32::from(number));
            let slots: Vec<String> = slots.map(|slot| slot.to_string()).collect();
            let args: Vec<&str> =
                ["CLUSTER", "ADDSLOTS"].into_iter().chain(slots.iter().map(String::as_str)).collect();
            order(master, &args).await;
        }
        for (index, node) in self.servers.iter().enumerate() {
            for other in &self.servers[index + 1..] {
                order(node, &["CLUSTER", "MEET", "127.0.0.1", &other.address().port().to_string()]).await;
            }
        }
    }

    /// The addresses of all nodes, dead ones as well.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(RedisServer::address).collect()
    }

    /// `redis+cluster://address,address,…`.
    #[must_use]
    pub fn url(&self) -> String {
        let addresses: Vec<String> = self.addresses().iter().map(SocketAddr::to_string).collect();
        format!("redis+cluster://{}", addresses.join(","))
    }

    /// The node at `address`, whatever its role: to be asked, paused, resumed.
    ///
    /// # Panics
    ///
    /// If `address` is not one of the six.
    #[must_use]
    #[track_caller]
    pub fn server(&self, address: SocketAddr) -> &RedisServer {
        self.servers.iter().find(|server| server.address() == address).expect("one of the six nodes")
    }

    /// Who serves `slot`, as the first node that is up sees it; possibly one that was just killed.
    ///
    /// # Panics
    ///
    /// If nobody does.
    pub async fn master(&self, slot: u16) -> SocketAddr {
        let node = self.up().next().expect("one node is up");
        let ranges = ranges(node).await;
        owner(&ranges, slot).unwrap_or_else(|| panic!("nobody serves slot {slot}"))
    }

    /// Kills the master that serves `slot` (SIGKILL).
    ///
    /// # Panics
    ///
    /// As [`Cluster::master`].
    pub async fn kill_master(&mut self, slot: u16) {
        let master = self.master(slot).await;
        for server in self.servers.iter_mut().filter(|server| server.address() == master) {
            server.kill();
        }
    }

    /// Waits until every node that is up sees every slot served by a master that is up, neither killed nor
    /// paused.
    ///
    /// # Panics
    ///
    /// If that is not the case within half a minute.
    pub async fn wait_until_covered(&self) {
        for node in self.up() {
            until("the node sees all slots covered", &[node], async || {
                let masters: Vec<SocketAddr> = ranges(node).await.iter().map(|range| range.master).collect();
                is_ok(node).await && masters.iter().all(|master| self.server(*master).is_up())
            })
            .await;
        }
    }

    /// Starts what was killed, with the role it is given by the others, and waits as
    /// [`Cluster::start`].
    ///
    /// # Panics
    ///
    /// If that is not the case within half a minute.
    pub async fn restart_dead(&mut self) {
        for server in self.servers.iter_mut().filter(|server| server.is_killed()) {
            server.restart().await;
        }
        self.wait_until_whole().await;
    }

    /// Moves `slot`, with its keys, to another master, and waits until every node that is up knows.
    ///
    /// # Panics
    ///
    /// As [`Cluster::finish_migration`].
    pub async fn migrate_slot(&self, slot: u16) {
        self.start_migration(slot).await;
        self.finish_migration(slot).await;
    }

    /// Begins to move `slot` to another master: until [`Cluster::finish_migration`] its present one
    /// answers for keys that it has, and sends who asks for another one there (`ASK`).
    ///
    /// # Panics
    ///
    /// If a node does not play along.
    pub async fn start_migration(&self, slot: u16) {
        let node = self.up().next().expect("one node is up");
        let ranges = ranges(node).await;
        let source = self.master(slot).await;
        let target = ranges.iter().map(|range| range.master).find(|master| *master != source);
        let (source, target) = (self.server(source), self.server(target.expect("there are three masters")));
        let (source_id, target_id) = (id(source).await, id(target).await);
        let slot = slot.to_string();
        order(target, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source_id]).await;
        order(source, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target_id]).await;
    }

    /// Moves the keys of `slot`, then the slot, and waits until every node that is up knows. Keys must
    /// be UTF-8.
    ///
    /// # Panics
    ///
    /// If [`Cluster::start_migration`] was not called, a node does not play along, or that is not the
    /// case within half a minute.
    pub async fn finish_migration(&self, slot: u16) {
        let source = self.server(self.master(slot).await);
        let text = slot.to_string();
        let target_id = migrates_to(source, slot).await;
        let mut target = None;
        for node in self.up() {
            if id(node).await == target_id {
                target = Some(node);
            }
        }
        let target = target.expect("the target is up");
        move_keys(source, target, &text).await;
        // The target first: were it the last, nobody would own the slot for a moment.
        order(target, &["CLUSTER", "SETSLOT", &text, "NODE", &target_id]).await;
        order(source, &["CLUSTER", "SETSLOT", &text, "NODE", &target_id]).await;
        for node in self.up() {
            until("the node knows the new owner", &[node], async || {
                owner(&ranges(node).await, slot) == Some(target.address())
            })
            .await;
        }
    }

    fn up(&self) -> impl Iterator<Item = &RedisServer> {
        self.servers.iter().filter(|server| server.is_up())
    }

    async fn wait_until_whole(&self) {
        for node in &self.servers {
            until("the node sees the whole cluster", &[node], async || {
                let ranges = ranges(node).await;
                is_ok(node).await
                    && ranges.iter().all(|range| !range.replicas.is_empty())
                    && !node.command(&["CLUSTER", "NODES"]).await.contains("fail")
                    && follows_if_replica(node).await
            })
            .await;
        }
    }
}

async fn order(node: &RedisServer, args: &[&str]) {
    let answer = node.command(args).await;
    assert_eq!(answer, "OK", "{args:?} to {}", node.address());
}

async fn id(node: &RedisServer) -> String {
    node.command(&["CLUSTER", "MYID"]).await
}

async fn is_ok(node: &RedisServer) -> bool {
    node.command(&["CLUSTER", "INFO"]).await.contains("cluster_state:ok")
}

async fn follows_if_replica(node: &RedisServer) -> bool {
    let role = node.command(&["ROLE"]).await;
    !role.starts_with("slave\n") || role.contains("\nconnected\n")
}

async fn move_keys(source: &RedisServer, target: &RedisServer, slot: &str) {
    let port = target.address().port().to_string();
    loop {
        let keys = source.reply(&["CLUSTER", "GETKEYSINSLOT", slot, "100"]).await.into_list();
        if keys.is_empty() {
            return;
        }
        let keys: Vec<String> = keys.iter().map(Reply::to_string).collect();
        let migrate = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        let args: Vec<&str> = migrate.into_iter().chain(keys.iter().map(String::as_str)).collect();
        order(source, &args).await;
    }
}

/// The id of the node that `slot` is on its way to: `[93->-<id>]` in the node's line about itself.
async fn migrates_to(source: &RedisServer, slot: u16) -> String {
    let nodes = source.command(&["CLUSTER", "NODES"]).await;
    let target = nodes.split_once(&format!("[{slot}->-")).and_then(|(_, rest)| rest.split(']').next());
    target.unwrap_or_else(|| panic!("slot {slot} does not migrate")).to_owned()
}

fn owner(ranges: &[Range], slot: u16) -> Option<SocketAddr> {
    ranges.iter().find(|range| (range.first..=range.last).contains(&slot)).map(|range| range.master)
}

/// `CLUSTER SLOTS`.
async fn ranges(node: &RedisServer) -> Vec<Range> {
    let ranges = node.reply(&["CLUSTER", "SLOTS"]).await.into_list();
    ranges.into_iter().filter_map(range).collect()
}

fn range(reply: Reply) -> Option<Range> {
    let mut items = reply.into_list().into_iter();
    let mut slot = || items.next()?.to_string().parse().ok();
    let (first, last) = (slot()?, slot()?);
    let mut nodes = items.filter_map(|node| {
        let node = node.into_list();
        format!("{}:{}", node.first()?, node.get(1)?).parse().ok()
    });
    Some(Range { first, last, master: nodes.next()?, replicas: nodes.collect() })
}
