//! A service's binary as a process of its own.

mod command;
mod output;

use std::net::SocketAddr;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

pub use command::ServiceCommand;
use output::Output;
use rustix::process::{Pid, kill_process};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin};
use tokio::time::timeout;

use crate::freeze::freeze;

/// A running service. Dropping it kills the process (SIGKILL).
///
/// ```no_run
/// # async fn example() {
/// use std::time::Duration;
/// use mainstay_testkit::{Service, Signal, http::Request};
///
/// let mut service = Service::command("target/debug/user-service") // or env!("CARGO_BIN_EXE_user-service")
///     .env("APP_ENV", "development")
///     .start()
///     .await;
/// let live = Request::get(service.addr(), "/distributed/live").send().await;
/// assert_eq!(live.status, 200);
///
/// service.signal(Signal::Term);
/// let exit = service.wait_exit(Duration::from_secs(30)).await;
/// assert!(exit.status.success(), "{}", exit.output);
/// # }
/// ```
#[derive(Debug)]
pub struct Service {
    child: Child,
    input: Option<ChildStdin>,
    output: Output,
    address: Option<SocketAddr>,
    dir: PathBuf,
    /// Removes the directory when the service goes.
    _own_dir: Option<TempDir>,
}

/// How a process ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct Exit {
    /// Its exit code or the signal that ended it.
    pub status: ExitStatus,
    /// Everything it has printed, to stdout and stderr, in order.
    pub output: String,
}

/// A signal for a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signal {
    /// SIGTERM: asks it to drain and end, as a deployment does.
    Term,
    /// SIGINT: the same, as Ctrl-C does.
    Int,
    /// SIGKILL: ends it at once.
    Kill,
    /// SIGSTOP: freezes it. Its sockets stay open and nobody answers.
    Stop,
    /// SIGCONT: ends the freeze.
    Cont,
}

impl Service {
    /// The program at `path`, to be given arguments and variables, then started.
    pub fn command(path: impl Into<PathBuf>) -> ServiceCommand {
        ServiceCommand::new(path.into())
    }

    /// Where it listens.
    ///
    /// # Panics
    ///
    /// If it came from [`ServiceCommand::spawn`] and [`Service::announced`] was not awaited.
    #[must_use]
    #[track_caller]
    pub fn addr(&self) -> SocketAddr {
        self.address.expect("`announced` tells the address first")
    }

    /// `http://address:port`, without a slash at the end.
    ///
    /// # Panics
    ///
    /// As [`Service::addr`].
    #[must_use]
    #[track_caller]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// Its working directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What it has printed, to stdout and stderr, in whole lines. Wait for a line with
    /// [`eventually_async`](crate::eventually_async).
    #[must_use]
    pub fn output_so_far(&self) -> String {
        self.output.text()
    }

    /// Its process id.
    ///
    /// # Panics
    ///
    /// If [`Service::wait_exit`] has seen its end: the number may belong to another process by now.
    #[must_use]
    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.child.id().expect("the process has not been waited for")
    }

    /// Sends a signal.
    ///
    /// # Panics
    ///
    /// As [`Service::pid`].
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        use rustix::process::Signal as Posix;
        let posix = match signal {
            Signal::Term => Posix::TERM,
            Signal::Int => Posix::INT,
            Signal::Kill => Posix::KILL,
            Signal::Stop => Posix::STOP,
            Signal::Cont => Posix::CONT,
        };
        kill_process(self.posix_pid(), posix).expect("a process that was not waited for can be signalled");
    }

    /// SIGSTOP, and it stands still when this returns.
    #[track_caller]
    pub(crate) fn freeze(&self) {
        freeze(self.posix_pid());
    }

    #[track_caller]
    fn posix_pid(&self) -> Pid {
        i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process id is positive")
    }

    /// Waits until the service has printed its address: `http://127.0.0.1:<port>`, the first such
    /// address in its output.
    ///
    /// # Panics
    ///
    /// If it ends before, or does not print one within `deadline`.
    #[track_caller]
    pub fn announced(&mut self, deadline: Duration) -> impl Future<Output = ()> {
        self.announced_to(Location::caller(), deadline)
    }

    /// Waits for the end of the process, by itself or by a signal sent before, and of its output.
    ///
    /// # Panics
    ///
    /// If it still runs, or one of its children still holds its output open, after `deadline`.
    #[track_caller]
    pub fn wait_exit(&mut self, deadline: Duration) -> impl Future<Output = Exit> {
        self.exit_to(Location::caller(), deadline)
    }

    /// Writes a line to its standard input; `false` if it reads no more.
    pub(crate) async fn tell(&mut self, line: &str) -> bool {
        let input = self.input.as_mut().expect("it was started with `takes_orders`");
        input.write_all(format!("{line}\n").as_bytes()).await.is_ok()
    }

    /// Waits until it has printed a whole line that begins with `mark` after the first `from` bytes of
    /// its output: the line without the mark, and where it ends. `None` if the output ends before.
    pub(crate) async fn marked_line(&mut self, mark: &str, from: usize) -> Option<(String, usize)> {
        self.output.marked_line(mark, from).await
    }

    // The two below are told the line of the test: `#[track_caller]` does nothing on an async fn.

    async fn announced_to(&mut self, caller: &Location<'_>, deadline: Duration) {
        match timeout(deadline, self.output.address()).await {
            Ok(Some(address)) => self.address = Some(address),
            Ok(None) => panic!("{caller}: the service ended without an address:\n{}", self.output_so_far()),
            Err(_) => panic!("{caller}: no address within {deadline:?}:\n{}", self.output_so_far()),
        }
    }

    async fn exit_to(&mut self, caller: &Location<'_>, deadline: Duration) -> Exit {
        let ended = async {
            let status = self.child.wait().await.expect("a child can be waited for");
            self.output.end().await;
            status
        };
        match timeout(deadline, ended).await {
            Ok(status) => Exit { status, output: self.output_so_far() },
            Err(_) => panic!("{caller}: still running after {deadline:?}:\n{}", self.output_so_far()),
        }
    }
}
