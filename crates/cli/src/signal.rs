//! Signals that end a program.

use tokio::signal::unix::{SignalKind, signal};

/// Catches HUP, INT, TERM and QUIT from now on, which needs a runtime. The future ends at the first of them, with its name. From then on a second
/// one ends the process at once: the user is impatient, and nothing acknowledged can be lost.
///
/// # Errors
/// When a handler cannot be installed.
pub fn catch_signals() -> std::io::Result<impl Future<Output = &'static str> + Send> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut next = async move || {
        tokio::select! {
            _ = hangup.recv() => "HUP",
            _ = interrupt.recv() => "INT",
            _ = terminate.recv() => "TERM",
            _ = quit.recv() => "QUIT",
        }
    };
    Ok(async move {
        let first = next().await;
        tokio::spawn(async move {
            let second = next().await;
            tracing::warn!(signal = second, "got a second signal, ending at once");
            #[expect(clippy::disallowed_methods, reason = "a second signal asks for exactly this")]
            std::process::exit(1)
        });
        first
    })
}

/// As [`catch_signals`], from the first poll on.
///
/// # Errors
/// When a handler cannot be installed.
pub async fn shutdown_signal() -> std::io::Result<&'static str> {
    Ok(catch_signals()?.await)
}
