//! What a server does with three times what it can: answers within the 300 ms that its clients wait, with load
//! shedding and without, as shares of the most it can do. Each request burns 4 ms of the server's one thread.
//!
//! `cargo bench -p mainstay-http --bench overload`
#![allow(missing_docs)]
#![allow(clippy::print_stdout, reason = "the table is the result")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use mainstay_core::metrics::Metrics;
use mainstay_http::{Host, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

const WORK: Duration = Duration::from_millis(4);
const PATIENCE: Duration = Duration::from_millis(300);
const LENGTH: Duration = Duration::from_secs(8);
const CONNECTIONS: usize = 1_000;

/// All clients come from this machine.
fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_connections_per_client = limits.max_connections;
    limits
}

/// A server on a thread of its own.
struct Server {
    address: SocketAddr,
    host: Arc<Host>,
    _runtime: Runtime,
}

impl Server {
    fn start() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let (tell, told) = mpsc::channel();
        runtime.spawn(async move {
            let host = Host::new(&Metrics::new(), limits());
            let routes = Router::new().route("/work", get(work));
            let routes = host.wrap(routes.route("/distributed/live", get(async || "alive")));
            let listening = host.listen(([127, 0, 0, 1], 0).into(), routes).await.expect("a port");
            tell.send((listening.addr(), Arc::clone(&host))).expect("somebody waits");
            match host.watch_queue().await {}
        });
        let (address, host) = told.recv().expect("it started");
        Self { address, host, _runtime: runtime }
    }

    fn shed_at(&self, target: Duration) {
        let mut limits = limits();
        limits.shed_target = target;
        self.host.update(limits);
    }
}

async fn work() -> &'static str {
    let begun = Instant::now();
    while begun.elapsed() < WORK {
        std::hint::spin_loop();
    }
    "done"
}

/// Sends a request and reads the status; a connection that cannot be used again is dropped.
async fn ask(connection: &mut TcpStream, path: &str) -> Option<u16> {
    connection.write_all(format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n").as_bytes()).await.ok()?;
    let (mut text, mut buffer) = (String::new(), [0; 2048]);
    loop {
        let read = connection.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return head.get(9..12)?.parse().ok();
            }
        }
    }
}

/// How answers came.
#[derive(Default)]
struct Tally {
    /// Milliseconds to each good answer in time.
    good: Vec<f64>,
    shed: usize,
    late: usize,
    /// Milliseconds to each answer about the health.
    health: Vec<f64>,
    free: Vec<TcpStream>,
}

fn locked(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().expect("nobody panics")
}

impl Tally {
    fn line(&mut self, what: &str, most: f64) {
        self.good.sort_by(f64::total_cmp);
        self.health.sort_by(f64::total_cmp);
        let at = |times: &[f64], percent: usize| times.get(times.len() * percent / 100).copied();
        let goodput = self.good.len() as f64 / LENGTH.as_secs_f64();
        println!(
            "{what:<28} {goodput:>8.0} {:>8.2} {:>8.0} {:>8.0} {:>8} {:>8} {:>10.0}",
            goodput / most,
            at(&self.good, 50).unwrap_or(f64::NAN),
            at(&self.good, 99).unwrap_or(f64::NAN),
            self.shed,
            self.late,
            at(&self.health, 99).unwrap_or(f64::NAN),
        );
    }
}

/// As much as it can do: a few callers that wait for their answer.
async fn peak(address: SocketAddr) -> f64 {
    let caller = || async move {
        let mut connection = TcpStream::connect(address).await.expect("it listens");
        let (begun, mut count) = (Instant::now(), 0_u32);
        while begun.elapsed() < LENGTH / 2 && ask(&mut connection, "/work").await == Some(200) {
            count += 1;
        }
        f64::from(count)
    };
    let callers: Vec<_> = (0..4).map(|_| tokio::spawn(caller())).collect();
    let mut count = 0.0;
    for caller in callers {
        count += caller.await.expect("a caller panicked");
    }
    count / (LENGTH / 2).as_secs_f64()
}

/// One request, by a client that gives up.
async fn client(address: SocketAddr, tally: Arc<Mutex<Tally>>) {
    let begun = Instant::now();
    let there = locked(&tally).free.pop();
    let answer = timeout(PATIENCE, async {
        let mut connection = match there {
            Some(connection) => connection,
            None => TcpStream::connect(address).await.ok()?,
        };
        let status = ask(&mut connection, "/work").await?;
        Some((status, connection))
    });
    let answer = answer.await;
    let mut tally = locked(&tally);
    match answer {
        Ok(Some((200, connection))) => {
            tally.good.push(begun.elapsed().as_secs_f64() * 1e3);
            tally.free.push(connection);
        }
        Ok(Some((503, connection))) => {
            tally.shed += 1;
            tally.free.push(connection);
        }
        _ => tally.late += 1,
    }
}

async fn ask_for_health(address: SocketAddr, tally: Arc<Mutex<Tally>>) {
    let mut ticks = interval(Duration::from_millis(50));
    let mut connection = TcpStream::connect(address).await.expect("it listens");
    loop {
        ticks.tick().await;
        let begun = Instant::now();
        if ask(&mut connection, "/distributed/live").await == Some(200) {
            locked(&tally).health.push(begun.elapsed().as_secs_f64() * 1e3);
        }
    }
}

/// So many requests a second, whether or not they are answered; and one for the health every 50 ms.
async fn load(address: SocketAddr, rate: f64) -> Tally {
    let tally = Arc::new(Mutex::new(Tally::default()));
    for _ in 0..CONNECTIONS {
        let connection = TcpStream::connect(address).await.expect("it listens");
        locked(&tally).free.push(connection);
    }
    let health = tokio::spawn(ask_for_health(address, Arc::clone(&tally)));
    let mut ticks = interval(Duration::from_secs_f64(1.0 / rate));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let begun = Instant::now();
    while begun.elapsed() < LENGTH {
        ticks.tick().await;
        tokio::spawn(client(address, Arc::clone(&tally)));
    }
    tokio::time::sleep(PATIENCE).await;
    health.abort();
    std::mem::take(&mut locked(&tally))
}

fn main() {
    let clients = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let most = clients.block_on(peak(Server::start().address));
    println!("the most it can do: {most:.0} answers a second");
    println!(
        "{:<28} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>10}",
        "load", "good/s", "of most", "p50 ms", "p99 ms", "shed", "late", "health p99"
    );
    for (what, times, target) in [
        ("0.8 of it, shedding", 0.8, 20),
        ("3 times, without shedding", 3.0, 0),
        ("3 times, shedding", 3.0, 20),
    ] {
        // A server of its own: what one left behind is not for the next.
        let server = Server::start();
        server.shed_at(Duration::from_millis(target));
        clients.block_on(load(server.address, most * times)).line(what, most);
    }
}
