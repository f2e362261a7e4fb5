//! The primaries of a Cluster.
//!
//! Each server is believed about the slots that it was thought to have: what it says of others it has by hearsay,
//! which may be old. A server that cannot be asked is spoken for by all others. Before the first server is known, the
//! seeds are believed about everything.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::timeout;

use super::Topology;
use super::map::Map;
use crate::connection::dial::{ask, dial, login};
use crate::connection::slot::SLOTS;
use crate::{Address, Answer, Class, Command, Lane};

/// Pause between two questions while all is well.
const PERIOD: Duration = Duration::from_secs(1);
/// Pause while a slot has no server that is up.
const HURRY: Duration = Duration::from_millis(100);
/// Shortest pause, however many slots are found moved.
const BREATH: Duration = Duration::from_millis(20);
/// Questions through which a server without slots is kept: it may be about to get some.
const IDLE_ROUNDS: u32 = 10;

/// Slots from the first to the second, and their server.
type Range = (u16, u16, Address);

pub(super) async fn follow(topology: Arc<Topology>, seeds: Vec<Address>) {
    let mut epochs = topology.context.epoch.subscribe();
    let mut idle = HashMap::new();
    loop {
        epochs.mark_unchanged();
        if !ask_servers(&topology).await {
            ask_seeds(&topology, &seeds).await;
        }
        dismiss(&topology, &mut idle);
        settle_subscriptions(&topology);
        tokio::time::sleep(BREATH).await;
        let pause = if topology.is_up() { PERIOD } else { HURRY };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = topology.outdated.notified() => {}
            _changed = epochs.changed() => {}
        }
    }
}

/// Whether any answered.
async fn ask_servers(topology: &Topology) -> bool {
    let nodes = topology.nodes().into_iter().filter(|node| node.is_up());
    let mut answers: FuturesUnordered<_> = nodes
        .map(|node| async move {
            let question = Command::new(Class::Read, "CLUSTER").arg("SLOTS");
            let answer = node.link(Lane::Main, 0).call(&question).await;
            (node, answer)
        })
        .collect();
    let mut any = false;
    // Each as it comes: a server that hangs delays nobody.
    while let Some((node, answer)) = answers.next().await {
        let Ok(ranges) = answer.and_then(Answer::into_list) else { continue };
        any = true;
        let ranges = read(ranges, node.address());
        let down: Vec<_> = topology.nodes().into_iter().filter(|node| !node.is_up()).collect();
        let silent = |server: &Address| down.iter().any(|node| node.address() == server);
        topology.change(|map| believe(map, &ranges, |owner| owner == node.address() || silent(owner)));
    }
    any
}

async fn ask_seeds(topology: &Topology, seeds: &[Address]) {
    let context = &topology.context;
    let login = login(&context.options);
    let mut answers: FuturesUnordered<_> = seeds
        .iter()
        .map(|seed| {
            let login = &login;
            async move {
                let question = async {
                    let mut dialled = dial(seed, login, context, |_| {}).await?;
                    ask(&mut dialled.connection, redis::cmd("CLUSTER").arg("SLOTS")).await
                };
                (seed, timeout(context.options.connect_timeout, question).await)
            }
        })
        .collect();
    while let Some((seed, answer)) = answers.next().await {
        match answer {
            Ok(Ok(Answer::List(ranges))) if !ranges.is_empty() => {
                let ranges = read(ranges, seed);
                topology.change(|map| believe(map, &ranges, |_| true));
                return;
            }
            Ok(Err(error)) => tracing::debug!(address = %seed, %error, "a seed of the Redis Cluster"),
            _ => tracing::debug!(address = %seed, "a seed of the Redis Cluster says nothing of use"),
        }
    }
}

/// Takes over what is said about slots that nobody has, or whose server the speaker may speak for.
fn believe(map: &mut Map, ranges: &[Range], speaks_for: impl Fn(&Address) -> bool) {
    for (first, last, server) in ranges {
        let index = |map: &Map| map.servers().iter().position(|known| known == server);
        let mut known = index(map);
        for slot in *first..=*last {
            let owner = map.index(slot);
            if owner.is_none() || owner != known && map.owner(slot).is_some_and(&speaks_for) {
                map.assign(slot, server);
                known = index(map);
            }
        }
    }
}

/// The answer to `CLUSTER SLOTS` of this server. What cannot be read is left out.
fn read(ranges: Vec<Answer>, speaker: &Address) -> Vec<Range> {
    ranges.into_iter().filter_map(|range| self::range(range, speaker)).collect()
}

fn range(range: Answer, speaker: &Address) -> Option<Range> {
    let [first, last, primary, ..] = &range.into_list().ok()?[..] else { return None };
    let Answer::List(primary) = primary else { return None };
    let (host, port) = (primary.first()?, primary.get(1)?);
    // A server that does not know its own name leaves it out.
    let host = match host.text().unwrap_or_default() {
        "" => speaker.host.as_str(),
        "?" => return None,
        host => host,
    };
    let number = |answer: &Answer| u16::try_from(answer.int().ok()?).ok();
    let (first, last) = (number(first)?, number(last)?.min(SLOTS - 1));
    Some((first, last, Address::new(host, number(port)?)))
}

/// Closes what has been without slots for long, or is gone.
fn dismiss(topology: &Topology, idle: &mut HashMap<Address, u32>) {
    let table = topology.table.load_full();
    idle.retain(|server, _| table.map.servers().contains(server) && !table.map.has_slots(server));
    for node in table.nodes.iter().filter(|node| !table.map.has_slots(node.address())) {
        let rounds = idle.entry(node.address().clone()).or_default();
        *rounds += 1;
        if *rounds > IDLE_ROUNDS {
            topology.change(|map| map.drop_idle(|kept| kept != node.address()));
        }
    }
}

/// Any server will do: what is published is passed on to all.
fn settle_subscriptions(topology: &Topology) {
    let nodes = topology.nodes();
    let up = |node: &&Arc<_>| crate::connection::node::Node::is_up(node);
    topology.place.send_if_modified(|place| {
        let stays = nodes.iter().filter(up).any(|node| Some(node.address()) == place.as_ref());
        let next = nodes.iter().find(up).filter(|_| !stays);
        if let Some(node) = next {
            *place = Some(node.address().clone());
        }
        next.is_some()
    });
}
