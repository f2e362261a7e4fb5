//! What a good client notices of an attack: its times to an answer beside 5,000 connections that dribble a head, and
//! beside HTTP/2 clients that take every request back, at once or a moment later, each as a ratio to its own times
//! without, and to those while another server on this machine is attacked by all of them: that much is the machine's.
//! What memory the server took for it, and how long the attackers could stay. The limits are those of production; an
//! attacker that is cut off comes again, from the same address. The server is a process of its own, and attackers run at the lowest priority: real ones do
//! not live on the processors of the server.
//!
//! `cargo bench -p mainstay-http --bench slow_clients`
#![allow(missing_docs)]
#![allow(clippy::print_stdout, reason = "the table is the result")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use mainstay_core::metrics::Metrics;
use mainstay_http::{Host, Limits};
use rustix::process::{Resource, Rlimit, getrlimit, nice, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Builder;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

const SLOW: usize = 5_000;
const RESETTING: usize = 16;
const ADDRESSES: usize = 16;
const LENGTH: Duration = Duration::from_secs(20);
const ROUNDS: usize = 3;
const SERVE: &str = "serve";

/// The server, in a process of its own until its standard input ends.
fn serve() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.spawn(async {
        let metrics = Metrics::new();
        let host = Host::new(&metrics, Limits::default());
        let series = get(async move || metrics.render(Default::default()));
        let routes =
            host.wrap(Router::new().route("/hello", get(async || "hello")).route("/metrics", series));
        let listening = host.listen(([127, 0, 0, 1], 0).into(), routes).await.expect("a port");
        println!("{}", listening.addr());
        match host.watch_queue().await {}
    });
    let _ = std::io::stdin().read(&mut [0]);
}

struct Server {
    address: SocketAddr,
    process: Child,
}

impl Server {
    fn start() -> Self {
        let program = std::env::current_exe().expect("a program");
        let mut process = Command::new(program)
            .arg(SERVE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut line = String::new();
        let output = process.stdout.as_mut().expect("it is piped");
        BufReader::new(output).read_line(&mut line).expect("it says where it listens");
        Self { address: line.trim().parse().expect("an address"), process }
    }

    fn series(&self) -> Series {
        let mut stream = std::net::TcpStream::connect(self.address).expect("it listens");
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")
            .expect("it is taken");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("it answers");
        Series(text)
    }

    /// MiB of memory in use at its worst.
    fn most_memory(&self) -> u64 {
        let status = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(status).expect("Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("KiB");
        kib / 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Series(String);

impl Series {
    fn value(&self, series: &str) -> &str {
        self.0.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')).unwrap_or("0")
    }
}

#[derive(Default)]
struct Attackers {
    open: AtomicUsize,
    /// Seconds for which one of them was not thrown out.
    longest: AtomicU64,
}

impl Attackers {
    fn thrown_out(&self, since: Instant) {
        self.longest.fetch_max(since.elapsed().as_secs(), Relaxed);
    }
}

/// A connection of the attacker with this number. They come from sixteen addresses, none that of the good client.
async fn come(address: SocketAddr, number: usize) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let from = 1 + u8::try_from(number % ADDRESSES).expect("few");
    socket.bind(([127, 0, 1, from], 0).into())?;
    socket.connect(address).await
}

/// A line of a head per second, on one connection after the other.
async fn dribble(address: SocketAddr, number: usize, all: Arc<Attackers>) {
    loop {
        let Ok(mut stream) = come(address, number).await else { continue };
        let begun = Instant::now();
        all.open.fetch_add(1, Relaxed);
        let mut sent = stream.write_all(b"GET /hello HTTP/1.1\r\n").await;
        while sent.is_ok() {
            sleep(Duration::from_secs(1)).await;
            sent = stream.write_all(b"x-more: y\r\n").await;
        }
        all.open.fetch_sub(1, Relaxed);
        all.thrown_out(begun);
    }
}

/// Requests that are taken back, at once or a moment later, on one connection after the other.
async fn take_back(address: SocketAddr, number: usize, at_once: bool, all: Arc<Attackers>) {
    loop {
        let Ok(mut stream) = come(address, number).await else { continue };
        let begun = Instant::now();
        let mut sent = stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
        for id in (1_u32..).step_by(2) {
            if sent.is_err() {
                break;
            }
            let id = id.to_be_bytes();
            let request = [b"\0\0\x06\x01\x05".as_slice(), &id, b"\x82\x86\x84\x41\x01x"].concat();
            let reset = [b"\0\0\x04\x03\0".as_slice(), &id, b"\0\0\0\x08"].concat();
            if at_once {
                sent = stream.write_all(&[request, reset].concat()).await;
            } else {
                sent = stream.write_all(&request).await;
                tokio::task::yield_now().await;
                sent = sent.and(stream.write_all(&reset).await);
            }
        }
        all.thrown_out(begun);
    }
}

/// Whether it was served, or refused because of overload.
async fn ask(stream: &mut TcpStream) -> bool {
    stream.write_all(b"GET /hello HTTP/1.1\r\nhost: bench\r\n\r\n").await.expect("it is taken");
    let (mut answer, mut length) = ([0; 4096], 0);
    loop {
        let read = stream.read(&mut answer[length..]).await.expect("it answers");
        assert!(read > 0, "a good client was cut off");
        length += read;
        let answer = &answer[..length];
        if answer.ends_with(b"hello") {
            return true;
        }
        if answer.starts_with(b"HTTP/1.1 503") && answer.ends_with(b"}") {
            return false;
        }
    }
}

/// Microseconds to each answer: on a kept connection, and on a new one each.
#[derive(Default)]
struct Times {
    kept: Vec<f64>,
    new: Vec<f64>,
    /// Of both.
    refused: usize,
}

async fn good_client(address: SocketAddr) -> Times {
    let mut times = Times::default();
    let mut kept = TcpStream::connect(address).await.expect("it listens");
    kept.set_nodelay(true).expect("a socket");
    let mut ticks = interval(Duration::from_millis(5));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let begun = Instant::now();
    while begun.elapsed() < LENGTH {
        ticks.tick().await;
        let asked = Instant::now();
        times.refused += usize::from(!ask(&mut kept).await);
        times.kept.push(asked.elapsed().as_secs_f64() * 1e6);
        let asked = Instant::now();
        let mut new = TcpStream::connect(address).await.expect("it listens");
        times.refused += usize::from(!ask(&mut new).await);
        times.new.push(asked.elapsed().as_secs_f64() * 1e6);
    }
    times
}

fn at(times: &mut [f64], percent: usize) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() * percent / 100]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attack {
    None,
    /// All of the following, on another server.
    Elsewhere,
    Dribbling,
    Resetting,
    ResettingLater,
    All,
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some(SERVE) {
        return serve();
    }
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("5,000 connections need files");
    let good = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let kinds = [
        Attack::None,
        Attack::Elsewhere,
        Attack::Dribbling,
        Attack::Resetting,
        Attack::ResettingLater,
        Attack::All,
    ];
    let mut all: [Times; 6] = Default::default();
    // In turns, so that what else the machine does falls on all of them alike.
    for round in 1..=ROUNDS {
        for (kind, times) in kinds.into_iter().zip(&mut all) {
            let server = Server::start();
            let other = (kind == Attack::Elsewhere).then(Server::start);
            let attacked = other.as_ref().unwrap_or(&server);
            let all = matches!(kind, Attack::Elsewhere | Attack::All);
            let bad = Builder::new_multi_thread()
                .worker_threads(1)
                .on_thread_start(|| {
                    nice(19).expect("less is allowed to everybody");
                })
                .enable_all()
                .build()
                .expect("a runtime");
            let attackers = Arc::new(Attackers::default());
            if all || kind == Attack::Dribbling {
                for number in 0..SLOW {
                    bad.spawn(dribble(attacked.address, number, Arc::clone(&attackers)));
                }
                good.block_on(async {
                    while attackers.open.load(Relaxed) < SLOW {
                        sleep(Duration::from_millis(10)).await;
                    }
                });
            }
            for (when, at_once) in [(Attack::Resetting, true), (Attack::ResettingLater, false)] {
                for number in 0..RESETTING {
                    if all || kind == when {
                        bad.spawn(take_back(attacked.address, number, at_once, Arc::clone(&attackers)));
                    }
                }
            }
            let measured = good.block_on(good_client(server.address));
            times.kept.extend(measured.kept);
            times.new.extend(measured.new);
            times.refused += measured.refused;
            let series = attacked.series();
            println!(
                "round {round}, {kind:?}: {} connections, ended by header {}, by resets {} and {}, refused {}; {} MiB at \
                 most; an attacker stayed {} s at most",
                series.value("http_connections"),
                series.value(r#"http_connections_ended_total{reason="header"}"#),
                series.value(r#"http_connections_ended_total{reason="protocol"}"#),
                series.value(r#"http_connections_ended_total{reason="resets"}"#),
                series.value(r#"http_connections_refused_total{limit="attacker"}"#),
                attacked.most_memory(),
                attackers.longest.load(Relaxed),
            );
            bad.shutdown_background();
        }
    }
    println!(
        "\n{:<21} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "attack", "asked", "refused", "p50 us", "p99 us", "ratio"
    );
    for what in ["kept", "new"] {
        let mut bases = Vec::new();
        for (kind, times) in kinds.iter().zip(&mut all) {
            let refused = times.refused;
            let times = if what == "kept" { &mut times.kept } else { &mut times.new };
            let p99 = at(times, 99);
            bases.push(p99);
            println!(
                "{:<21} {:>8} {refused:>8} {:>8.0} {p99:>8.0} {:>8.2} {:>8.2}",
                format!("{kind:?}, {what}"),
                times.len(),
                at(times, 50),
                p99 / bases[0],
                bases.get(1).map_or(f64::NAN, |elsewhere| p99 / elsewhere),
            );
        }
    }
}
