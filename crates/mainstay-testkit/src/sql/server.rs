//! One server.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use super::DEADLINE;
use super::kind::Kind;
use super::process::{finish, kill, make_dir, pause, resume, start};
use super::run::{Run, copy};
use crate::guard::Guard;
use crate::{Port, eventually};

/// A PostgreSQL or MariaDB server.
///
/// ```
/// use mainstay_testkit::sql::{Kind, SqlServer};
///
/// let server = SqlServer::shared(Kind::Postgres);
/// let database = server.database();
/// assert!(server.url(&database).starts_with("postgres://"));
/// assert_eq!(server.ask(&database, "SELECT 1 + 1"), "2");
/// ```
#[derive(Debug)]
pub struct SqlServer {
    kind: Kind,
    port: u16,
    /// Absent from the shared one, which no test may end.
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    child: Option<(Child, Guard)>,
    dir: TempDir,
    _port: Port,
}

impl SqlServer {
    /// A server for this test alone, empty.
    ///
    /// # Panics
    ///
    /// If it does not come up, with its log; if it is not installed, with the command that installs it.
    #[must_use]
    pub fn start(kind: Kind) -> Self {
        let dir = TempDir::new().expect("a temporary directory can be made");
        make_dir(dir.path());
        copy(&Run::current().template(kind), &dir.path().join("data"));
        let port = Port::reserve();
        let mut server = Self { kind, port: port.number(), own: Some(Own { child: None, dir, _port: port }) };
        server.restart();
        server
    }

    /// The server that all tests of this run share. It cannot be killed or paused.
    ///
    /// # Panics
    ///
    /// As [`SqlServer::start`].
    #[must_use]
    pub fn shared(kind: Kind) -> Self {
        Self { kind, port: Run::current().server(kind), own: None }
    }

    /// Creates an empty database and answers its name.
    ///
    /// # Panics
    ///
    /// If the server does not answer.
    #[must_use]
    pub fn database(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{number}", std::process::id());
        self.ask(self.kind.home(), &self.kind.create_database(&name));
        name
    }

    /// Where `database` is, for clients.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.kind.url(self.port, database)
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Runs a statement on a connection of its own; rows by line, columns by tab.
    ///
    /// # Panics
    ///
    /// If it fails, with the server's words.
    pub fn ask(&self, database: &str, sql: &str) -> String {
        finish(self.kind.ask(self.port, database, sql)).trim_end().to_owned()
    }

    /// Ends it as a crash does (SIGKILL), frozen or not, with all its processes. What was committed is kept.
    ///
    /// # Panics
    ///
    /// If it is the shared one.
    #[track_caller]
    pub fn kill(&mut self) {
        if let Some((mut child, guard)) = self.own().child.take() {
            // First: once the child was waited for, its number may be another process's.
            drop(guard);
            kill(&mut child);
        }
    }

    /// Starts it on the same port with the data it had, killed before or not, and waits until it answers.
    ///
    /// # Panics
    ///
    /// As [`SqlServer::start`], and if it is the shared one.
    #[track_caller]
    pub fn restart(&mut self) {
        self.kill();
        let (kind, port) = (self.kind, self.port);
        let own = self.own();
        let (data, log) = (own.dir.path().join("data"), own.dir.path().join("log"));
        // Left by a server that was killed; its number may be another process's by now.
        let _ = std::fs::remove_file(data.join("postmaster.pid"));
        let mut child = start(kind.serve(&data, port), &log);
        let guard = Guard::of(&child, own.dir.path());
        answers(kind, port, &mut child, &log);
        own.child = Some((child, guard));
    }

    /// Freezes it (SIGSTOP): its sockets stay open, the kernel accepts connections and takes bytes, and nobody
    /// answers. It stands still when this returns.
    ///
    /// # Panics
    ///
    /// If it was killed, or is the shared one.
    #[track_caller]
    pub fn pause(&mut self) {
        pause(&self.own().child.as_ref().expect("only a server that runs can be paused").0);
    }

    /// Ends the freeze (SIGCONT). What came in meanwhile is done now.
    ///
    /// # Panics
    ///
    /// As [`SqlServer::pause`].
    #[track_caller]
    pub fn resume(&mut self) {
        resume(&self.own().child.as_ref().expect("only a server that runs can be resumed").0);
    }

    #[track_caller]
    fn own(&mut self) -> &mut Own {
        self.own.as_mut().expect("the shared server belongs to every test: start one to break it")
    }
}

impl Drop for SqlServer {
    fn drop(&mut self) {
        if self.own.is_some() {
            self.kill();
        }
    }
}

/// Waits until the server answers.
pub(super) fn answers(kind: Kind, port: u16, child: &mut Child, log: &Path) {
    let log = || String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned();
    let answer = |mut ask: Command| {
        ask.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        ask.status().is_ok_and(|status| status.success())
    };
    eventually("the server answers", DEADLINE, || {
        assert!(matches!(child.try_wait(), Ok(None)), "the server has ended:\n{}", log());
        answer(kind.ask(port, kind.home(), "SELECT 1"))
    });
}
