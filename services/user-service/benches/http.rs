//! The service over HTTP, as its users meet it: throughput against a bare axum handler in the same
//! run, time from start to the first answer, memory when idle.
//!
//! `cargo bench -p user-service --bench http`. Needs `wrk` (Debian package `wrk`). Machines are noisy:
//! each figure is the median of rounds that alternate between the two servers; read the ratios.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

use std::process::Command;
use std::time::Duration;

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

fn service() -> ServiceCommand {
    Service::command(env!("CARGO_BIN_EXE_user-service"))
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

    let users = Request::get(service.addr(), "/api/users").send().await.json();
    let user = format!("{}/api/users/{}", service.url(), users["items"][0]["id"].as_str().unwrap());
    let targets = [
        ("bare axum", format!("{}/", bare.url())),
        ("/distributed/live", format!("{}/distributed/live", service.url())),
        ("/api/users/{id}", user),
        ("/distributed/metrics", format!("{}/distributed/metrics", service.url())),
    ];
    let mut rates = vec![Vec::new(); targets.len()];
    for _ in 0..ROUNDS {
        for ((_, url), rates) in targets.iter().zip(&mut rates) {
            rates.push(wrk(url));
        }
    }
    let rates: Vec<f64> = rates.into_iter().map(middle).collect();
    for ((name, _), rate) in targets.iter().zip(&rates) {
        println!("{name:<20} {rate:>9.0} requests/s   {:.2} x bare axum", rate / rates[0]);
    }
    println!("resident after load  {:6.1} MiB", resident_mib(service.pid()));
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

/// Requests per second that two threads with 64 connections get.
fn wrk(url: &str) -> f64 {
    let seconds = Duration::from_secs(3).as_secs();
    let output = Command::new(program("wrk", "wrk"))
        .args(["-t2", "-c64", &format!("-d{seconds}s"), url])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("Non-2xx"), "{url}: {text}");
    let rate = text.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    rate.unwrap_or_else(|| panic!("wrk said {text}")).trim().parse().unwrap()
}

fn resident_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    kib.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}
