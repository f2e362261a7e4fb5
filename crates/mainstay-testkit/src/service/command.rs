//! How a service is started.

use std::ffi::{OsStr, OsString};
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;

use super::output::Output;
use super::{Exit, Service};
use crate::sql::{Kind, SqlServer};

/// A debug build on a loaded machine needs seconds.
const START: Duration = Duration::from_secs(60);

/// A program with arguments, variables and a directory; made by [`Service::command`].
///
/// Its environment holds nothing of the test's but `PATH`, then `PORT=0` (a free port), then what
/// [`ServiceCommand::env`] adds, so that a developer's variables cannot change a test.
#[derive(Debug, Clone)]
#[must_use]
pub struct ServiceCommand {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    dir: Option<PathBuf>,
    database: Option<Kind>,
    takes_orders: bool,
}

/// Names the database of a directory.
const DATABASE: &str = ".database";

impl ServiceCommand {
    pub(super) fn new(program: PathBuf) -> Self {
        Self { program, args: Vec::new(), env: Vec::new(), dir: None, database: None, takes_orders: false }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().into());
        self
    }

    /// Sets a variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().into(), value.as_ref().into()));
        self
    }

    /// Runs it in this directory instead of a fresh one: for a restart on the same data, two
    /// services on one file, or a directory that was prepared.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Sets `DATABASE_URL` to a database at the server that all tests [share](SqlServer::shared): that of its
    /// directory, made for the first service that is started there.
    pub fn database(mut self, kind: Kind) -> Self {
        self.database = Some(kind);
        self
    }

    /// Gives it a standard input that [`Service::tell`] writes to.
    pub(crate) fn takes_orders(mut self) -> Self {
        self.takes_orders = true;
        self
    }

    /// Starts the process. Must be called on a tokio runtime.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[track_caller]
    pub fn spawn(self) -> Service {
        let own_dir = self.dir.is_none().then(|| TempDir::new().expect("a temporary directory can be made"));
        let dir =
            own_dir.as_ref().map(|dir| dir.path().to_owned()).or(self.dir).expect("one of the two is set");
        let database = self.database.map(|kind| ("DATABASE_URL", database_of(&dir, kind)));
        // One pipe for both streams keeps their lines in order.
        let (reader, stdout) = std::io::pipe().expect("a pipe can be made");
        let stderr = stdout.try_clone().expect("a pipe can be shared");
        let mut child = Command::new(&self.program)
            .args(self.args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("PORT", "0")
            .envs(database)
            .envs(self.env)
            .current_dir(&dir)
            .stdin(if self.takes_orders { Stdio::piped() } else { Stdio::null() })
            .stdout(stdout)
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.program.display()));
        // Not left in the child: waiting for its end would close it.
        let input = child.stdin.take();
        Service { child, input, output: Output::capture(reader), address: None, dir, _own_dir: own_dir }
    }

    /// Starts the process and waits, at most a minute, until it has printed its address.
    ///
    /// # Panics
    ///
    /// If it cannot be started, ends, or prints no address.
    #[track_caller]
    pub fn start(self) -> impl Future<Output = Service> {
        let caller = Location::caller();
        let mut service = self.spawn();
        async move {
            service.announced_to(caller, START).await;
            service
        }
    }

    /// Runs a command that is expected to end by itself within `deadline`, like `config --check`.
    ///
    /// # Panics
    ///
    /// If it cannot be started or still runs then.
    #[track_caller]
    pub fn run(self, deadline: Duration) -> impl Future<Output = Exit> {
        let caller = Location::caller();
        let mut service = self.spawn();
        async move { service.exit_to(caller, deadline).await }
    }
}

fn database_of(dir: &Path, kind: Kind) -> String {
    let server = SqlServer::shared(kind);
    let file = dir.join(DATABASE);
    let name = std::fs::read_to_string(&file).unwrap_or_else(|_| {
        let name = server.database();
        std::fs::write(file, &name).expect("the directory of a service can be written to");
        name
    });
    server.url(&name)
}
