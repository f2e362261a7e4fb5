//! Real PostgreSQL and MariaDB servers on private ports, and the faults they meet in production.
//!
//! - [`SqlServer`] is one server of its own, which a test kills, freezes and restarts.
//! - [`SqlServer::shared`] is one for all tests of a run, each with a [database](SqlServer::database) of its own.
//!
//! Promises: a server listens on 127.0.0.1 only, runs as an unprivileged user (both refuse root), keeps its files in
//! a temporary directory, answers when its `start` returns, and is killed when its value is dropped, or when the
//! test's process ends without that; the shared one when the run ends. A server that does not come up panics with
//! its log.
//!
//! Not promised: that data survives the machine. A commit is handed to the kernel and not to the disk, so it
//! survives [`SqlServer::kill`].

mod kind;
mod process;
mod run;
mod server;

pub use kind::Kind;
pub use server::SqlServer;

use std::time::Duration;

/// How long a server may take to do what it was told, on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(60);
