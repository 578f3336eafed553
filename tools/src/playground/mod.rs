//! `tools playground`: the whole system on one machine, with an accident and the restore.
//!
//! Two pumps, a drainer to SQLite and a bank's traffic written as TiDB writes it. When the replica equals what was written, somebody deletes all
//! accounts and drops the database, and the replica follows faithfully. Then `reparo --from-pump` restores to the moment before, and
//! to a moment halfway, and row counts and digests prove both.
//!
//! The programs are real child processes, found beside this one. All of them end with this one, unless they are to be kept.

mod compare;
mod nodes;
mod site;
mod story;

use std::path::PathBuf;

use anyhow::anyhow;

use nodes::Nodes;
use site::Site;

/// What to play.
#[derive(Clone, Debug)]
pub struct PlaygroundOptions {
    /// Where everything goes; `None`: a new directory for temporary files.
    pub dir: Option<PathBuf>,
    /// How long the bank is busy.
    pub seconds: u64,
    /// Connections at once.
    pub sessions: usize,
    /// Decides what the bank does.
    pub seed: u64,
    /// Leave pumps and drainer running.
    pub keep: bool,
}

/// Plays it all, and cleans up after itself on every way out.
///
/// # Errors
/// When a program is missing or fails, when something does not come in time, and when a restored table is not what it should be.
pub async fn run(options: PlaygroundOptions) -> anyhow::Result<()> {
    let site = Site::prepare(&options)?;
    let mut nodes = Nodes::default();
    let told = tokio::select! {
        told = story::tell(&site, &options, &mut nodes) => told,
        signal = binlog_cli::shutdown_signal() => Err(anyhow!("ended by signal {}", signal?)),
    };
    if told.is_ok() && options.keep {
        story::farewell(&site, Some(&nodes.leave()))
    } else {
        nodes.stop().await;
        match told {
            Ok(()) => story::farewell(&site, None),
            Err(error) => {
                Err(error.context(format!("the playground's files and logs are in {}", site.dir.display())))
            }
        }
    }
}
