//! `binlogctl`: lists nodes, asks them to pause, go offline or leave something out, edits the registry, makes a savepoint, encrypts a password.

mod config;
mod encrypt;
mod nodes;
mod savepoint;
mod tls;

use anyhow::bail;
use binlog_cluster::{NodeKind, PdClient, Registry};
use binlog_types::ClockHandle;

pub use config::{Config, PROGRAM};

/// Runs the command that the configuration names.
///
/// # Errors
/// When the registry, PD or the node cannot be reached, or refuses.
pub async fn run(config: &Config, clock: &ClockHandle) -> anyhow::Result<()> {
    match config.cmd.as_str() {
        "pumps" => {
            nodes::list(&registry(config).await?, NodeKind::Pump, config.show_offline_nodes, clock).await
        }
        "drainers" => {
            nodes::list(&registry(config).await?, NodeKind::Drainer, config.show_offline_nodes, clock).await
        }
        "update-pump" => nodes::update(&registry(config).await?, NodeKind::Pump, config).await,
        "update-drainer" => nodes::update(&registry(config).await?, NodeKind::Drainer, config).await,
        "pause-pump" => nodes::act(&registry(config).await?, NodeKind::Pump, config, "pause").await,
        "pause-drainer" => nodes::act(&registry(config).await?, NodeKind::Drainer, config, "pause").await,
        "offline-pump" => nodes::act(&registry(config).await?, NodeKind::Pump, config, "close").await,
        "offline-drainer" => nodes::act(&registry(config).await?, NodeKind::Drainer, config, "close").await,
        "skip" => nodes::skip(&registry(config).await?, config).await,
        "generate_meta" => {
            let pd =
                PdClient::connect(&config.urls().map_err(anyhow::Error::msg)?, config.tls().as_ref()).await?;
            savepoint::generate(config, pd.ts().await?, clock)
        }
        "encrypt" => encrypt::run(&config.text),
        other => bail!("cmd {other} not supported"),
    }
}

async fn registry(config: &Config) -> anyhow::Result<Registry> {
    if !config.cluster_dir.is_empty() {
        return Ok(binlog_cluster::EmbeddedCluster::open(config.cluster_dir.as_ref())?.registry());
    }
    Ok(Registry::etcd(&config.urls().map_err(anyhow::Error::msg)?, config.tls().as_ref()).await?)
}
