//! The other pumps of the cluster, noted in the store: who reads this store without theirs would miss binlogs, and shall know it.

use std::time::Duration;

use binlog_cluster::{NodeKind, NodeState};
use binlog_types::Peers;

use crate::context::Shared;
use crate::error::Error;

const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A pump that is still there is noted anew after so many looks.
const RENEW_AFTER: u32 = 30;

/// Looks at the registry until the pump stops.
pub(crate) async fn run(context: Shared) {
    let mut looks = 0;
    loop {
        // A registry that is away is told of by those who need it.
        if let Err(error) = look(&context, looks % RENEW_AFTER == 0).await {
            tracing::debug!(%error, "the other pumps are not noted");
        }
        looks += 1;
        tokio::select! {
            () = context.stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

async fn look(context: &Shared, renew: bool) -> Result<(), Error> {
    let nodes = context.registry.list(NodeKind::Pump).await.map_err(Error::cluster("list the pumps"))?;
    let Ok(now) = context.time.now().await else { return Ok(()) };
    let store = context.store.clone();
    let own = context.node.id().clone();
    let noted = tokio::task::spawn_blocking(move || {
        let known = store.get_meta(Peers::META)?;
        let mut peers = known.as_deref().and_then(Peers::from_bytes).unwrap_or_default();
        let mut news = false;
        for node in nodes {
            if node.node_id != own && node.state != NodeState::Offline {
                news |= renew || !peers.iter().any(|(known, _)| *known == node.node_id);
                peers.saw(node.node_id, now);
            }
        }
        if news { store.put_meta(Peers::META, &peers.to_bytes()) } else { Ok(()) }
    });
    match noted.await {
        Ok(noted) => noted.map_err(Error::store("note the other pumps")),
        Err(panic) => Err(Error::system("note the other pumps")(std::io::Error::other(panic))),
    }
}
