//! `encrypt`: a password as `encrypted_password` in a drainer's file wants it.

/// Logs the encrypted text.
pub(super) fn run(text: &str) -> anyhow::Result<()> {
    if text.is_empty() {
        anyhow::bail!("need to specify the text to be encrypt");
    }
    let key = binlog_cli::secret_key(|name| std::env::var(name).ok())?;
    if key.is_default() {
        tracing::warn!("use the default secret key to encrypt; set BINLOG_SECRET_KEY to one of your own");
    }
    tracing::info!(encrypted = key.encrypt(text), "encrypt text");
    Ok(())
}
