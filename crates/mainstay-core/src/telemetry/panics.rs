use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, PanicHookInfo};

use crate::task::panic_message;

/// From now on a panic anywhere in the process is one line of the log, an error of the target `panic`, instead of
/// several lines of plain text on standard error, which a client whose input is in the message could forge more of.
///
/// For the `main` of a program, after [`init`](super::init): there is one hook in a process. A backtrace is a field
/// of the line where `RUST_BACKTRACE` asks for one.
pub fn log_panics() {
    panic::set_hook(Box::new(log));
}

fn log(info: &PanicHookInfo<'_>) {
    let location = info.location().map(tracing::field::display);
    let backtrace = Backtrace::capture();
    let captured = backtrace.status() == BacktraceStatus::Captured;
    tracing::error!(
        target: "panic",
        panic = panic_message(info.payload()),
        location,
        thread = std::thread::current().name(),
        backtrace = captured.then(|| tracing::field::display(&backtrace)),
        "panicked"
    );
}
