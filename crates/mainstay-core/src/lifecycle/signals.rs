use std::future::Future;
use std::io;

use tokio::signal::unix::{SignalKind, signal};

use super::{Lifecycle, Phase};

/// Listens to SIGTERM and SIGINT: the first asks for shutdown, the second aborts it. Ends when the
/// sequence has ended.
///
/// The signals are caught from the call on, so that none is lost before the future first runs; the
/// owner spawns it: `tasks.spawn("signals", signals(&lifecycle)?)`. Call it on a tokio runtime with
/// I/O enabled. From then on these signals no longer end the process by themselves, even when
/// nobody listens: tokio's handlers stay installed.
///
/// # Errors
/// The handlers could not be installed.
///
/// # Cancellation
/// Dropping the future stops listening.
pub fn signals(lifecycle: &Lifecycle) -> io::Result<impl Future<Output = ()> + Send + use<>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let lifecycle = lifecycle.clone();
    Ok(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let mut phase = lifecycle.phase();
        let both = async {
            lifecycle.request_shutdown(next().await);
            lifecycle.abort(format!("second signal: {}", next().await));
        };
        tokio::select! {
            () = both => {}
            _ = phase.wait_for(|phase| *phase == Phase::Stopped) => {}
        }
    })
}
