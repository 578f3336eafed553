//! Signals that end a program.
/// Returns at the first HUP, INT, TERM or QUIT, with its name; from then on a second one ends the process at once.
///
/// # Errors
/// When a handler cannot be installed.
pub async fn shutdown_signal() -> std::io::Result<&'static str> { todo!() }
