//! Where timestamps come from.

pub(crate) mod batch;
mod embedded;

use binlog_types::Ts;

use self::batch::{Batcher, MAX_COUNT};
use self::embedded::EmbeddedSource;
use crate::{EmbeddedCluster, Error, PdClient};

/// A timestamp oracle; cheap to clone. Calls of one process share requests.
///
/// Timestamps rise: what a call returns is above everything that was handed out, to anyone, before the call began.
#[derive(Clone, Debug)]
pub struct Oracle {
    batcher: Batcher,
}

impl Oracle {
    /// PD's oracle.
    pub fn pd(client: PdClient) -> Self {
        Oracle { batcher: client.batcher().clone() }
    }

    /// An embedded cluster's oracle: finds the pump that runs it through the cluster's directory and calls `Store/Tso` there.
    pub fn embedded(cluster: &EmbeddedCluster) -> Self {
        let cluster = cluster.clone();
        Oracle { batcher: Batcher::new(move || EmbeddedSource::new(cluster.clone())) }
    }

    /// A new timestamp.
    ///
    /// # Errors
    /// When no oracle answered for ten seconds.
    pub async fn now(&self) -> Result<Ts, Error> {
        Ok(self.batcher.take(1).await?.last)
    }

    /// `n` new timestamps, rising.
    ///
    /// # Errors
    /// As [`Self::now`].
    pub async fn many(&self, n: u32) -> Result<Vec<Ts>, Error> {
        let mut all = Vec::new();
        let mut left = n;
        while left > 0 {
            let block = self.batcher.take(left.min(MAX_COUNT)).await?;
            all.extend((0..block.count).map(|n| block.nth(n)));
            left -= block.count.min(left);
        }
        Ok(all)
    }
}
