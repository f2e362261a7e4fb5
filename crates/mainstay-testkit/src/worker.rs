//! A part of a test, run in further processes: what happens between the instances of a service, and
//! what is left when one of them is killed, shows only there.
//!
//! The part is an ignored test of the same binary, and the two talk in lines. It works under `cargo
//! test` and under nextest.
//!
//! ```no_run
//! use std::time::Duration;
//! use mainstay_testkit::worker::{Parent, Worker};
//!
//! const DEADLINE: Duration = Duration::from_secs(30);
//!
//! # mod counting { use super::*;
//! #[tokio::test] // in the module `counting`
//! async fn two_processes_count() {
//!     let mut workers = [1, 2].map(|_| Worker::spawn("counting::worker", &[("STEP", "3")]));
//!     for worker in &mut workers {
//!         worker.tell("from 4").await;
//!         assert_eq!(worker.line(DEADLINE).await.as_deref(), Some("7"));
//!     }
//! }
//!
//! #[tokio::test]
//! #[ignore = "a worker of the test above"]
//! async fn worker() {
//!     let Some(mut parent) = Parent::here() else { return };
//!     let step: u32 = std::env::var("STEP").unwrap().parse().unwrap();
//!     let from: u32 = parent.order().await.strip_prefix("from ").unwrap().parse().unwrap();
//!     parent.say(&(from + step).to_string());
//! }
//! # }
//! ```

use std::io::{BufRead, Write};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::{Exit, Service, Signal};

/// Tells a test that it is a worker.
const VARIABLE: &str = "MAINSTAY_TEST_WORKER";

/// Begins what a worker says, among what the test harness and others print.
const MARK: &str = ">> ";

/// A process that runs one ignored test of this binary. Dropping it kills the process (SIGKILL).
#[derive(Debug)]
pub struct Worker {
    service: Service,
    test: String,
    /// How much of the output was returned as lines.
    read: usize,
}

impl Worker {
    /// Starts the ignored test of this binary with the full name `test`, with this process's
    /// environment, directory and `env`. Must be called on a tokio runtime.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[track_caller]
    #[must_use]
    pub fn spawn(test: &str, env: &[(&str, &str)]) -> Self {
        let binary = std::env::current_exe().expect("a test knows its binary");
        let mut command = Service::command(binary)
            .dir(std::env::current_dir().expect("a test has a directory"))
            .takes_orders();
        for arg in ["--exact", test, "--ignored", "--nocapture"] {
            command = command.arg(arg);
        }
        for (name, value) in std::env::vars_os() {
            command = command.env(name, value);
        }
        for (name, value) in env {
            command = command.env(name, value);
        }
        Self { service: command.env(VARIABLE, "1").spawn(), test: test.to_owned(), read: 0 }
    }

    /// The next line that it [says](Parent::say); `None` if it has ended.
    ///
    /// # Panics
    ///
    /// If it says nothing for `deadline`, or if there is no such test.
    pub async fn line(&mut self, deadline: Duration) -> Option<String> {
        let Ok(line) = timeout(deadline, self.service.marked_line(MARK, self.read)).await else {
            panic!("`{}` says nothing for {deadline:?}:\n{}", self.test, self.output_so_far())
        };
        let Some((line, end)) = line else {
            self.exists();
            return None;
        };
        self.read = end;
        Some(line)
    }

    /// Gives it a line to read by [`Parent::order`].
    ///
    /// # Panics
    ///
    /// If it has ended.
    pub async fn tell(&mut self, order: &str) {
        assert!(self.service.tell(order).await, "`{}` has ended:\n{}", self.test, self.output_so_far());
    }

    /// Everything it has printed.
    #[must_use]
    pub fn output_so_far(&self) -> String {
        self.service.output_so_far()
    }

    /// Ends it at once (SIGKILL), frozen or not; [`Worker::wait`] sees the end.
    ///
    /// # Panics
    ///
    /// If [`Worker::wait`] has seen its end.
    #[track_caller]
    pub fn kill(&self) {
        self.service.signal(Signal::Kill);
    }

    /// Freezes it (SIGSTOP); it stands still when this returns.
    ///
    /// # Panics
    ///
    /// As [`Worker::kill`].
    #[track_caller]
    pub fn pause(&self) {
        self.service.freeze();
    }

    /// Ends the freeze (SIGCONT).
    ///
    /// # Panics
    ///
    /// As [`Worker::kill`].
    #[track_caller]
    pub fn resume(&self) {
        self.service.signal(Signal::Cont);
    }

    /// Waits for its end. The status is a success if the ignored test passed.
    ///
    /// # Panics
    ///
    /// If it still runs after `deadline`, or if there is no such test.
    pub async fn wait(&mut self, deadline: Duration) -> Exit {
        let exit = self.service.wait_exit(deadline).await;
        self.exists();
        exit
    }

    /// A test harness is content to run no test at all.
    fn exists(&self) {
        let none = self.output_so_far().contains("running 0 tests\n");
        assert!(!none, "there is no ignored test named `{}` in this binary", self.test);
    }
}

/// The test that has started this process: the worker's end.
#[derive(Debug)]
pub struct Parent(mpsc::UnboundedReceiver<String>);

impl Parent {
    /// `None` in a process that was not started by [`Worker::spawn`], like one that runs all ignored
    /// tests. To be called once.
    ///
    /// From here on this process ends when the other one is gone, however that ended.
    #[must_use]
    pub fn here() -> Option<Self> {
        std::env::var_os(VARIABLE)?;
        let (sender, orders) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                // An error means that nobody reads orders any more; the end still counts.
                let _ = sender.send(line);
            }
            std::process::exit(1);
        });
        Some(Self(orders))
    }

    /// Says a line, read by [`Worker::line`].
    ///
    /// # Panics
    ///
    /// If `line` is more than one line.
    #[track_caller]
    pub fn say(&self, line: &str) {
        assert!(!line.contains('\n'), "a line has no end within");
        // In one piece and on a line of its own, whatever else is printed. An error means that the
        // parent is gone, and that ends this process.
        let _ = std::io::stdout().write_all(format!("\n{MARK}{line}\n").as_bytes());
    }

    /// The next line of [`Worker::tell`]. Without a deadline: it ends with the parent.
    pub async fn order(&mut self) -> String {
        match self.0.recv().await {
            Some(order) => order,
            // The thread that reads is about to end this process.
            None => std::future::pending().await,
        }
    }
}
