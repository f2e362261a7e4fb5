//! The primaries of a Cluster.
//!
//! Each server is believed about the slots that it was thought to have: what it says of others it has by hearsay,
//! which may be old. For a server that is down, or says that it is cut off from the rest (`cluster_state:fail`), all
//! others speak. While no server is known that is not cut off, a seed that is not is believed about everything.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::timeout;

use super::Topology;
use super::map::Map;
use crate::connection::dial::{ask, dial, login};
use crate::connection::node::Node;
use crate::connection::record::Record;
use crate::connection::refusal::Refusal;
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
    let (mut idle, mut cut_off) = (HashMap::new(), HashSet::new());
    let seeds: Vec<Record> = seeds.into_iter().map(Record::new).collect();
    loop {
        epochs.mark_unchanged();
        if !ask_servers(&topology, &mut cut_off).await {
            ask_seeds(&topology, &seeds).await;
        }
        dismiss(&topology, &mut idle);
        settle_subscriptions(&topology, &cut_off);
        tokio::time::sleep(BREATH).await;
        let well = topology.is_up() && cut_off.is_empty();
        tokio::select! {
            () = tokio::time::sleep(if well { PERIOD } else { HURRY }) => {}
            () = topology.outdated.notified() => {}
            _changed = epochs.changed() => {}
        }
    }
}

/// Whether any answered that is not cut off.
async fn ask_servers(topology: &Topology, cut_off: &mut HashSet<Address>) -> bool {
    let questions = ["INFO", "SLOTS"].map(|what| Command::new(Class::Read, "CLUSTER").arg(what));
    let [info, slots] = &questions;
    let nodes = topology.nodes();
    cut_off.retain(|server| nodes.iter().any(|node| node.address() == server));
    let mut answers: FuturesUnordered<_> = nodes
        .into_iter()
        .filter(|node| node.is_up())
        .map(async |node| {
            let answers = node.link(Lane::Main, 0).call_all(&[info, slots]).await;
            (node, answers)
        })
        .collect();
    let mut any = false;
    // Each as it comes: a server that hangs delays nobody.
    while let Some((node, answers)) = answers.next().await {
        let Ok([Ok(info), Ok(Answer::List(ranges))]) = <[_; 2]>::try_from(answers) else { continue };
        if !serves(&info) {
            cut_off.insert(node.address().clone());
            continue;
        }
        any = true;
        cut_off.remove(node.address());
        let ranges = read(ranges, node.address());
        let down: Vec<_> = topology.nodes().into_iter().filter(|node| !node.is_up()).collect();
        let silent =
            |server: &Address| cut_off.contains(server) || down.iter().any(|node| node.address() == server);
        topology.change(|map| believe(map, &ranges, |owner| owner == node.address() || silent(owner)));
    }
    any
}

/// By a server's answer to `CLUSTER INFO`.
fn serves(info: &Answer) -> bool {
    info.text().is_ok_and(|info| info.contains("cluster_state:ok"))
}

async fn ask_seeds(topology: &Topology, seeds: &[Record]) {
    let context = &topology.context;
    let login = login(&context.options);
    let mut answers: FuturesUnordered<_> = seeds
        .iter()
        .map(|seed| {
            let login = &login;
            async move {
                let question = async {
                    let mut dialled = dial(&seed.address, login, context, |_| {}).await?;
                    if !serves(&ask(&mut dialled.connection, redis::cmd("CLUSTER").arg("INFO")).await?) {
                        return Err(Refusal::Unexpected("it is cut off, or slots have no server".into()));
                    }
                    ask(&mut dialled.connection, redis::cmd("CLUSTER").arg("SLOTS")).await
                };
                (seed, timeout(context.options.connect_timeout, question).await)
            }
        })
        .collect();
    while let Some((seed, answer)) = answers.next().await {
        match answer {
            Ok(Ok(Answer::List(ranges))) if !ranges.is_empty() => {
                seeds.iter().for_each(|seed| seed.found(&context.clock));
                let ranges = read(ranges, &seed.address);
                topology.change(|map| believe(map, &ranges, |_| true));
                return;
            }
            Ok(Err(refusal)) => seed.refused(&refusal),
            Ok(Ok(_)) => seed.refused(&Refusal::Unexpected("it knows of no server with slots".into())),
            Err(_) => seed.refused(&Refusal::Timeout(context.options.connect_timeout)),
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

/// Any server will do that is not cut off: what is published is passed on to all.
fn settle_subscriptions(topology: &Topology, cut_off: &HashSet<Address>) {
    let nodes = topology.nodes();
    let up = |node: &&Arc<Node>| node.is_up() && !cut_off.contains(node.address());
    topology.place.send_if_modified(|place| {
        let stays = nodes.iter().filter(up).any(|node| Some(node.address()) == place.as_ref());
        let next = nodes.iter().find(up).filter(|_| !stays);
        if let Some(node) = next {
            *place = Some(node.address().clone());
        }
        next.is_some()
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(port: u16) -> Address {
        Address::new("h", port)
    }

    fn words(list: &[&str]) -> Answer {
        Answer::List(list.iter().map(|word| Answer::Bytes(word.to_string().into())).collect())
    }

    #[test]
    fn a_server_is_believed_about_its_own_slots_and_those_of_the_silent() {
        let mut map = Map::unknown_cluster();
        believe(&mut map, &[(0, 9, server(1)), (10, 19, server(2)), (20, 29, server(3))], |_| true);
        // 1 gave a slot away, and has old news of 2 and of 3, which is silent; nobody had 30.
        let said = [(0, 8, server(1)), (9, 9, server(2)), (10, 19, server(9)), (20, 30, server(4))];
        believe(&mut map, &said, |owner| [server(1), server(3)].contains(owner));
        let owners = [0, 8, 9, 10, 20, 30, 31].map(|slot| map.owner(slot).map(|owner| owner.port));
        assert_eq!(owners, [Some(1), Some(1), Some(2), Some(2), Some(4), Some(4), None]);
    }

    #[test]
    fn ranges_are_read_and_what_is_none_is_left_out() {
        let range = |first, last, primary| Answer::List(vec![Answer::Int(first), Answer::Int(last), primary]);
        let answer = vec![
            range(0, 5, words(&["a", "7000", "id"])),
            range(6, 7, words(&["", "7001"])),
            range(8, 20_000, Answer::List(vec![Answer::Nil, Answer::Int(7002)])),
            range(8, 9, words(&["?", "7003"])),
            range(8, 9, words(&["a", "70000"])),
            range(8, 9, words(&["a"])),
            range(-1, 9, words(&["a", "1"])),
            range(8, 9, Answer::Nil),
            Answer::Nil,
            words(&[]),
        ];
        let speaker = Address::new("self", 1);
        let read = read(answer, &speaker);
        let here = |port| Address::new("self", port);
        assert_eq!(read, [(0, 5, Address::new("a", 7000)), (6, 7, here(7001)), (8, 16_383, here(7002))]);
    }
}
