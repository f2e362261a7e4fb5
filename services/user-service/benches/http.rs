//! The service over HTTP, as its users meet it: throughput against a bare axum handler in the same
//! run, time from start to the first answer, memory when idle.
//!
//! `cargo bench -p user-service --bench http`. Needs `wrk` (Debian package `wrk`). Machines are noisy:
//! each figure is the median of rounds that alternate between the two servers; read the ratios.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

use std::process::Command;

use mainstay_testkit::http::Request;
use mainstay_testkit::{Service, ServiceCommand, program};
use tokio::time::Instant;

const ROUNDS: usize = 3;
const STARTS: usize = 20;

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // The bench starts itself again as the server to compare with, so that each has a process.
    if std::env::args().any(|arg| arg == "bare") {
        runtime.block_on(bare());
    } else {
        runtime.block_on(measure());
    }
}

/// What axum alone does for an answer of the same size.
async fn bare() {
    let body = r#"{"status":"alive","timestamp":1700000000000,"uptime":12345}"#;
    let json = [("content-type", "application/json")];
    let routes = axum::Router::new().route("/", axum::routing::get(async move || (json, body)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("http://{}", listener.local_addr().unwrap());
    axum::serve(listener, routes).await.unwrap();
}

/// With a limit that no load reaches: what is measured is the service, its limiter included, and not refusals.
fn service() -> ServiceCommand {
    Service::command(env!("CARGO_BIN_EXE_user-service")).env("RATE_LIMIT_MAX_REQUESTS", "4000000000")
}

async fn measure() {
    let dir = tempfile::tempdir().unwrap();
    let first = median((0..STARTS).map(async |_| start(&service()).await)).await;
    start_in(dir.path()).await;
    let again = median((0..STARTS).map(async |_| start_in(dir.path()).await)).await;
    println!("start to first 200   new data {:6.1} ms   existing data {:6.1} ms", first * 1e3, again * 1e3);

    let bare = Service::command(std::env::current_exe().unwrap()).arg("bare").start().await;
    let service = service().start().await;
    println!("idle resident memory {:6.1} MiB", resident_mib(service.pid()));

    let token = signed_in(&service).await;
    let users = Request::get(service.addr(), "/api/users").bearer(&token).send().await.json();
    let user = format!("/api/users/{}", users["items"][0]["id"].as_str().unwrap());
    let targets = [
        ("bare axum", &bare, "/"),
        ("/distributed/live", &service, "/distributed/live"),
        ("/api/users/{id}", &service, user.as_str()),
        ("/distributed/metrics", &service, "/distributed/metrics"),
    ];
    let mut loads = vec![Vec::new(); targets.len()];
    for _ in 0..ROUNDS {
        for ((_, server, path), loads) in targets.iter().zip(&mut loads) {
            loads.push(Load::put_on(server, path, &token));
        }
    }
    let loads: Vec<Load> = loads.iter().map(|rounds| Load::middle(rounds)).collect();
    for ((name, ..), Load { rate, cpu }) in targets.iter().zip(&loads) {
        let (rates, cpus) = (rate / loads[0].rate, cpu / loads[0].cpu);
        println!(
            "{name:<20} {rate:>7.0} requests/s {rates:>5.2} x bare   {cpu:>6.1} µs CPU/request {cpus:>5.2} x bare"
        );
    }
    println!("resident after load  {:6.1} MiB", resident_mib(service.pid()));
}

/// The token of the first administrator, whose password the terminal is shown.
async fn signed_in(service: &Service) -> String {
    let output = service.output_so_far();
    let shown = output.lines().find_map(|line| line.strip_prefix("First administrator: "));
    let (email, password) = shown.and_then(|line| line.split_once(" with the password ")).unwrap();
    let input = serde_json::json!({"email": email, "password": password});
    let answer = Request::post(service.addr(), "/api/auth/login").json(&input).send().await;
    answer.json()["accessToken"].as_str().unwrap().to_owned()
}

/// What a server made of a load. The processor time is the steadier of the two on a busy machine.
#[derive(Clone, Copy)]
struct Load {
    /// Requests per second.
    rate: f64,
    /// Processor time of the server per request, in microseconds.
    cpu: f64,
}

impl Load {
    fn put_on(server: &Service, path: &str, token: &str) -> Self {
        let before = processor_seconds(server.pid());
        let (requests, rate) = wrk(&format!("{}{path}", server.url()), token);
        Self { rate, cpu: (processor_seconds(server.pid()) - before) * 1e6 / requests }
    }

    fn middle(rounds: &[Self]) -> Self {
        let of = |value: fn(&Self) -> f64| middle(rounds.iter().map(value).collect());
        Self { rate: of(|load| load.rate), cpu: of(|load| load.cpu) }
    }
}

/// Seconds from starting the process to its first 200.
async fn start(command: &ServiceCommand) -> f64 {
    let command = command.clone();
    let started = Instant::now();
    let service = command.start().await;
    let live = Request::get(service.addr(), "/distributed/live").send().await;
    assert_eq!(live.status, 200);
    started.elapsed().as_secs_f64()
}

async fn start_in(dir: &std::path::Path) -> f64 {
    start(&service().dir(dir)).await
}

async fn median(runs: impl Iterator<Item = impl Future<Output = f64>>) -> f64 {
    let mut times = Vec::new();
    for run in runs {
        times.push(run.await);
    }
    middle(times)
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// How many requests two threads with 64 connections get answered, in all and per second.
fn wrk(url: &str, token: &str) -> (f64, f64) {
    let authorization = format!("authorization: Bearer {token}");
    let arguments = ["-t2", "-c64", "-d3s", "-H", &authorization, url];
    let output = Command::new(program("wrk", "wrk")).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("Non-2xx"), "{url}: {text}");
    let line = |part: &str| {
        text.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("wrk said {text}"))
    };
    let requests = line("requests in").split_whitespace().next().unwrap();
    let rate = line("Requests/sec:").split_whitespace().last().unwrap();
    (requests.parse().unwrap(), rate.parse().unwrap())
}

/// User and system time the process has used. The kernel counts in hundredths of a second.
fn processor_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks = |field: usize| fields[field].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

fn resident_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    kib.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}
