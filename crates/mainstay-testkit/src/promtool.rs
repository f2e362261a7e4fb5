//! The judgement of Prometheus' own tool.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::program;

/// Runs `promtool check metrics` on `text`; the error is what it complains of, failure or mere lint.
///
/// # Panics
///
/// If the program is missing (the message holds the command that installs it) or cannot be run.
#[track_caller]
pub fn promtool(text: &str) -> Result<(), String> {
    let mut child = Command::new(program("promtool", "prometheus"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool can be started");
    let mut input = child.stdin.take().expect("its input is a pipe");
    input.write_all(text.as_bytes()).expect("promtool reads its input");
    drop(input);
    let output = child.wait_with_output().expect("a child can be waited for");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if output.status.success() && said.is_empty() { Ok(()) } else { Err(said) }
}
