use std::net::SocketAddr;

use mainstay_core::config::{Health, Log, Metrics, Server};
use mainstay_core::telemetry::Format;

use crate::app::Parts;

/// Tells whoever started the service where it is and what to open next. People get a banner, machines
/// (JSON logs) one event with the same facts.
pub(crate) fn banner(parts: &Parts, addrs: &[SocketAddr], landing: Option<&str>) {
    let Some(main) = addrs.first() else { return };
    let server = parts.config.get::<Server>();
    let url = format!("{}://{main}", if server.tls_cert.is_some() { "https" } else { "http" });
    let environment = server.env.as_str();
    let data = parts.storage.as_ref().map_or("none", |storage| &storage.location);
    let status = parts.primitives.redis.as_ref().map(|redis| redis.status());
    let mode = status.as_ref().map_or("embedded", |status| status.mode);
    let shared = match &status {
        None if parts.storage.is_some() => "events in the database, all else in this process",
        None => "everything in this process",
        Some(status) if status.connected => "cache, locks, limits and events on Redis",
        Some(_) => "cache, locks, limits and events on Redis, which is not connected yet",
    };
    if parts.config.get::<Log>().format == Format::Json {
        tracing::info!(address = url, mode, environment, data, "started");
        return;
    }
    let (health, metrics) = (parts.config.get::<Health>(), parts.config.get::<Metrics>());
    let health = if health.enabled { "/distributed/health" } else { "/distributed/ready" };
    let mut open: Vec<String> =
        landing.into_iter().chain([health]).map(|path| format!("{url}{path}")).collect();
    open.push(match addrs.get(1) {
        Some(admin) if metrics.enabled => format!("{admin}{} and all else below /distributed/", metrics.path),
        Some(admin) => format!("{admin}/distributed/info and all else below /distributed/"),
        None => format!("{url}{}", if metrics.enabled { &metrics.path } else { "/openapi.json" }),
    });
    #[expect(clippy::print_stdout, reason = "the banner is for the person at the terminal")]
    {
        println!(
            "\n  {name} {version} on {url}\n  \
             mode    {mode}: {shared} ({environment})\n  \
             data    {data}\n  \
             open    {open}\n",
            name = parts.info.service,
            version = parts.info.version,
            open = open.join("\n          "),
        );
    }
}
