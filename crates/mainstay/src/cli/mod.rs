//! The commands every service binary has: `serve` (the default), `migrate`, `config`, `events`, `openapi`, `health`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command answers at the terminal")]

mod events;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use mainstay_core::config::Server;
use mainstay_core::metrics::Metrics;
use mainstay_core::telemetry;
use mainstay_http::{Routes, probe_own};
use mainstay_sql::{MigrationState, MigrationStatus};

use crate::{Builder, Mainstay, StartError};

#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Set a configuration value for this run, by path or variable: `server.port=8080`, `PORT=8080`.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = assignment, global = true)]
    set: Vec<(String, String)>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve HTTP until a signal comes (the default).
    Serve,
    /// Bring the database to the version this binary needs, then exit.
    Migrate {
        #[command(subcommand)]
        command: Option<Migrate>,
    },
    /// Print the effective configuration with the origin of each value.
    Config {
        /// Only validate: print nothing and exit 0, or list every problem and exit 1.
        #[arg(long)]
        check: bool,
    },
    /// See the queues of the event bus and what could not be handled, while the service runs or not.
    Events {
        #[command(subcommand)]
        command: Option<events::Command>,
    },
    /// Print the OpenAPI document.
    Openapi,
    /// Ask the running service whether it is ready: exit 0 or 1. For container health checks.
    Health,
}

#[derive(Debug, Default, Subcommand)]
enum Migrate {
    /// Apply what is missing (the default).
    #[default]
    Up,
    /// List every migration and where it stands.
    Status,
    /// Change nothing: exit 0 if the database is as this binary needs it, or say what is not and exit 1.
    Check,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

/// Runs the command named on the command line, on a tokio runtime of its own: what a service's `main`
/// calls and returns.
///
/// `api` holds the routes, still without state: what they are must be known without an app (`openapi`).
/// `ready` gives them what they need of the started app: their state and, as a rule, the layer that limits
/// clients ([`Mainstay::client_rate_limit`]).
pub fn run<S: Clone + Send + Sync + 'static>(
    builder: Builder,
    api: fn() -> Routes<S>,
    ready: fn(Routes<S>, &Mainstay) -> Result<Routes, StartError>,
) -> ExitCode {
    let (name, version) = (builder.name(), builder.version());
    let args = match parse(name, version) {
        Ok(args) => args,
        Err(code) => return code,
    };
    // The first registry registers a memory barrier with the kernel: at once while the process has one
    // thread, some 15 ms once it has several.
    drop(Metrics::new());
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let builder = builder.overrides(args.set);
    let done = match args.command.unwrap_or(Command::Serve) {
        Command::Serve => runtime.block_on(serve(builder, api, ready)),
        Command::Migrate { command } => runtime.block_on(migrate(builder, command.unwrap_or_default())),
        Command::Config { check } => config(builder, check),
        Command::Events { command } => runtime.block_on(events::run(builder, command.unwrap_or_default())),
        Command::Openapi => openapi(name, version, api),
        Command::Health => runtime.block_on(health(builder)),
    };
    // Whatever still blocks a thread was told to stop and had its time.
    runtime.shutdown_background();
    done.map_or_else(|error| failed(error.as_ref()), |()| ExitCode::SUCCESS)
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

type Done = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Help and usage errors are for clap to print; the code tells which it was.
fn parse(name: &'static str, version: &'static str) -> Result<Args, ExitCode> {
    let command = Args::command().name(name).version(version);
    let matches = command.try_get_matches().and_then(|matches| Args::from_arg_matches(&matches));
    matches.map_err(|error| {
        let _ = error.print();
        u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
    })
}

async fn serve<S: Clone + Send + Sync + 'static>(
    builder: Builder,
    api: fn() -> Routes<S>,
    ready: fn(Routes<S>, &Mainstay) -> Result<Routes, StartError>,
) -> Done {
    let app = builder.start().await?;
    telemetry::log_panics();
    let routes = ready(api(), &app)?;
    Ok(app.serve(routes).await?)
}

async fn migrate(builder: Builder, command: Migrate) -> Done {
    let status = match command {
        Migrate::Up => return up(builder).await,
        Migrate::Status | Migrate::Check => builder.migration_status().await?,
    };
    let Some(status) = status else {
        println!("this service has no database");
        return Ok(());
    };
    if let Migrate::Status = command {
        for MigrationStatus { version, name, state } in &status {
            println!("{version} {name}: {state}");
        }
        return Ok(());
    }
    let wrong: Vec<_> = status.iter().filter(|one| one.state != MigrationState::Applied).collect();
    if wrong.is_empty() {
        println!("the database is up to date");
        return Ok(());
    }
    let list = wrong.iter().map(|one| format!("{} {}: {}", one.version, one.name, one.state));
    Err(format!("the database is not as this binary needs it: {}", list.collect::<Vec<_>>().join(", "))
        .into())
}

async fn up(builder: Builder) -> Done {
    match builder.migrate().await? {
        Some(applied) if applied.versions.is_empty() => println!("the database is up to date"),
        Some(applied) => println!("applied migrations {:?}", applied.versions),
        None => println!("this service has no database"),
    }
    Ok(())
}

fn config(builder: Builder, check: bool) -> Done {
    if check {
        return Ok(builder.check_config()?);
    }
    let config = builder.load_config()?;
    for entry in config.entries() {
        println!("{entry}");
    }
    Ok(())
}

fn openapi<S: Clone + Send + Sync + 'static>(name: &str, version: &str, api: fn() -> Routes<S>) -> Done {
    let document = crate::serve::document(name, version, api());
    println!("{}", document.to_pretty_json()?);
    Ok(())
}

async fn health(builder: Builder) -> Done {
    let config = builder.load_config()?;
    let server = config.get::<Server>();
    let host = match server.host {
        // Listening everywhere includes the loopback address of the same family.
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        host => host,
    };
    let addr = SocketAddr::new(host, server.port);
    probe_own(addr, server.tls_cert.is_some(), "/distributed/ready", Duration::from_secs(5)).await?;
    println!("ready");
    Ok(())
}
