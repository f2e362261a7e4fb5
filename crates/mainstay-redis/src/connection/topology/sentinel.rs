//! The primary that sentinels name.
//!
//! Every sentinel is asked on a connection of its own: at once, when it tells of a switch (`+switch-master`), when
//! the primary is lost, and each second. Of their answers the one with the highest configuration epoch counts, the
//! number that sentinels agree on for each switch, if the server it names says that it is a primary. So a sentinel
//! that is down, slow or cut off from the others delays nobody, and one with old news is overruled by any other.
//!
//! Not promised: a primary that is cut off from the sentinels' majority, but reached from here together with
//! sentinels of the minority, is used until one of the others is reached. `min-replicas-to-write` on the servers
//! bounds what is lost then.

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use redis::PushKind;
use redis::aio::MultiplexedConnection;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use mainstay_core::backoff::Backoff;

use super::Topology;
use super::map::Map;
use crate::connection::context::Context;
use crate::connection::dial::{ask, dial, greet, login, login_as};
use crate::connection::record::Record;
use crate::connection::refusal::Refusal;
use crate::{Address, Answer};

/// Pause between two questions to a sentinel while all is well.
const PERIOD: Duration = Duration::from_secs(1);
/// Pause while there is no primary.
const HURRY: Duration = Duration::from_millis(100);

/// What a sentinel says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct View {
    /// `None`: it names a server that does not say so itself.
    primary: Option<Address>,
    /// Of the configuration: grows with each switch.
    epoch: u64,
    /// The other sentinels that it knows.
    peers: Vec<Address>,
}

/// A sentinel's last word; `None`: it cannot be asked.
type News = (Address, Option<View>);

struct Sentinel {
    view: Option<View>,
    task: AbortHandle,
}

struct Watch {
    topology: Arc<Topology>,
    master: Arc<str>,
    seeds: Vec<Address>,
    known: HashMap<Address, Sentinel>,
    tasks: JoinSet<()>,
    news: mpsc::Sender<News>,
    /// Tells all to ask again.
    again: watch::Sender<()>,
    /// Under which the present primary was named.
    epoch: u64,
}

pub(super) async fn follow(topology: Arc<Topology>, sentinels: Vec<Address>, master: String) {
    let (news, mut inbox) = mpsc::channel(64);
    let mut epochs = topology.context.epoch.subscribe();
    let mut watch = Watch {
        topology,
        master: master.into(),
        known: HashMap::new(),
        seeds: sentinels,
        tasks: JoinSet::new(),
        news,
        again: watch::Sender::new(()),
        epoch: 0,
    };
    watch.meet();
    loop {
        let hurry = async {
            match watch.topology.is_up() {
                true => pending().await,
                false => sleep(HURRY).await,
            }
        };
        tokio::select! {
            Some((sentinel, view)) = inbox.recv() => {
                if let Some(known) = watch.known.get_mut(&sentinel) {
                    known.view = view;
                }
                watch.meet();
                watch.decide();
            }
            () = hurry => { watch.again.send_replace(()); }
            _changed = epochs.changed() => { watch.again.send_replace(()); }
        }
    }
}

impl Watch {
    /// Watches the sentinels that others tell of, and no longer those that nobody tells of any more.
    fn meet(&mut self) {
        let views: Vec<_> = self.known.values().filter_map(|sentinel| sentinel.view.as_ref()).collect();
        let mut present = self.seeds.clone();
        present.extend(views.iter().flat_map(|view| view.peers.iter().cloned()));
        if !views.is_empty() {
            self.known.retain(|address, sentinel| {
                let stays = sentinel.view.is_some() || present.contains(address);
                if !stays {
                    sentinel.task.abort();
                }
                stays
            });
        }
        for address in present {
            if !self.known.contains_key(&address) {
                let asker = Asker {
                    sentinel: address.clone(),
                    master: Arc::clone(&self.master),
                    topology: Arc::clone(&self.topology),
                    again: self.again.subscribe(),
                    news: self.news.clone(),
                };
                let task = self.tasks.spawn(asker.keep_asking());
                self.known.insert(address, Sentinel { view: None, task });
            }
        }
    }

    /// Goes over to the primary that is named, if it is another one.
    fn decide(&mut self) {
        let mut named: HashMap<&Address, u64> = HashMap::new();
        for view in self.known.values().filter_map(|sentinel| sentinel.view.as_ref()) {
            if let Some(primary) = &view.primary {
                let epoch = named.entry(primary).or_default();
                *epoch = view.epoch.max(*epoch);
            }
        }
        let present = self.topology.only_server();
        let present_epoch = present.as_ref().and_then(|present| named.remove(present));
        self.epoch = self.epoch.max(present_epoch.unwrap_or_default());
        // While it is down, the present primary counts for no more than its sentinels say.
        let least = if self.topology.is_up() { Some(self.epoch) } else { present_epoch };
        let best = named.into_iter().max_by_key(|(_, epoch)| *epoch);
        if let Some((server, epoch)) = best.filter(|(_, epoch)| least.is_none_or(|least| *epoch > least)) {
            tracing::info!(address = %server, epoch, "the primary, say the sentinels");
            self.epoch = epoch;
            self.topology.change(|map| *map = Map::single(server.clone()));
            self.topology.place.send_replace(Some(server.clone()));
        }
    }
}

/// What one task needs to ask one sentinel.
struct Asker {
    sentinel: Address,
    master: Arc<str>,
    topology: Arc<Topology>,
    again: watch::Receiver<()>,
    news: mpsc::Sender<News>,
}

enum Never {}

impl Asker {
    async fn keep_asking(mut self) {
        let backoff = Backoff::new(HURRY, PERIOD);
        let (mut failures, record) = (0, Record::new(self.sentinel.clone()));
        loop {
            let Err(error) = self.session(&mut failures, &record).await;
            record.refused(&error);
            self.tell(None).await;
            sleep(backoff.delay(failures)).await;
            failures = failures.saturating_add(1);
        }
    }

    async fn tell(&self, view: Option<View>) {
        let _ended = self.news.send((self.sentinel.clone(), view)).await;
    }

    /// Asks until that fails.
    async fn session(&mut self, failures: &mut u32, record: &Record) -> Result<Never, Refusal> {
        let context = &self.topology.context;
        let options = &context.options;
        let switched = Arc::new(Notify::new());
        let told = Arc::clone(&switched);
        let push = move |news: redis::PushInfo| {
            if matches!(news.kind, PushKind::Message | PushKind::Disconnection) {
                told.notify_one();
            }
        };
        let late = |_| Refusal::Timeout(options.connect_timeout);
        let login = login_as(options.sentinel_username.as_ref(), options.sentinel_password.as_ref());
        let dialled = dial(&self.sentinel, &login, context, push);
        let mut dialled = timeout(options.connect_timeout, dialled).await.map_err(late)??;
        let subscribed = dialled.connection.subscribe("+switch-master");
        timeout(options.connect_timeout, subscribed).await.map_err(late)??;
        loop {
            self.again.mark_unchanged();
            let questions = questions(&dialled.connection, &self.master);
            let mut view = timeout(options.connect_timeout, questions).await.map_err(late)??;
            *failures = 0;
            record.found(&context.clock);
            if view.primary != self.topology.only_server()
                && let Some(server) = &view.primary
            {
                let checked = tokio::select! {
                    checked = is_primary(server, context) => checked,
                    // It is another one by now.
                    () = switched.notified() => continue,
                };
                if let Err(error) = checked {
                    tracing::debug!(address = %server, %error, "a sentinel names a server that is no primary");
                    view.primary = None;
                }
            }
            self.tell(Some(view)).await;
            tokio::select! {
                () = switched.notified() => {}
                _ = self.again.changed() => {}
                () = sleep(PERIOD) => {}
            }
        }
    }
}

/// Whether a server says that it is a primary.
async fn is_primary(server: &Address, context: &Context) -> Result<(), Refusal> {
    let check = async {
        let mut dialled = dial(server, &login(&context.options), context, |_| {}).await?;
        greet(&mut dialled.connection, &context.options.client_name).await.map(|_| ())
    };
    let within = context.options.connect_timeout;
    timeout(within, check).await.map_err(|_| Refusal::Timeout(within))?
}

async fn questions(connection: &MultiplexedConnection, master: &str) -> Result<View, Refusal> {
    let question = |verb| {
        let (mut connection, mut words) = (connection.clone(), redis::cmd("SENTINEL"));
        words.arg(verb).arg(master);
        async move { ask(&mut connection, &words).await }
    };
    // The first names a server that was promoted before the second does.
    let (primary, state, peers) =
        tokio::try_join!(question("GET-MASTER-ADDR-BY-NAME"), question("MASTER"), question("SENTINELS"))?;
    view(primary, &state, peers).ok_or_else(|| Refusal::Unexpected("about its primary".into()))
}

fn view(primary: Answer, state: &Answer, peers: Answer) -> Option<View> {
    let [host, port] = primary.into_array().ok()?;
    let port = u16::try_from(port.int().ok()?).ok()?;
    let peers = peers.into_list().ok()?;
    let peer = |peer: &Answer| Some(Address::new(field(peer, "ip")?, field(peer, "port")?.parse().ok()?));
    Some(View {
        primary: Some(Address::new(host.text().ok()?, port)),
        epoch: field(state, "config-epoch")?.parse().ok()?,
        peers: peers.iter().filter_map(peer).collect(),
    })
}

/// A value of a map, which is a flat list here.
fn field<'a>(fields: &'a Answer, name: &str) -> Option<&'a str> {
    let Answer::List(fields) = fields else { return None };
    fields.chunks_exact(2).find(|pair| pair[0].text() == Ok(name)).and_then(|pair| pair[1].text().ok())
}
