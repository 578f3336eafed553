//! Keeps the schema history of a TiDB cluster in the store. Storing binlogs never waits for it.

use std::time::Duration;

use binlog_catalog::same_object;
use binlog_cluster::{KeepError, PACE, PdClient, SchemaFollower, SchemaKeeper};
use binlog_proto::store::SchemaObject;
use binlog_storage::{SchemaEntry, Store};
use binlog_types::SchemaVersion;
use prost::Message as _;

use crate::context::Shared;
use crate::grpc::schema::entry_of;

/// After somebody asked, the follower hurries for so long.
const EAGER_FOR: Duration = Duration::from_secs(5);
/// The highest job id that was read; a hint for the next start.
const MARK: &str = "schema-job-mark";

/// Follows until the pump stops.
pub(crate) async fn run(context: Shared, pd: PdClient) {
    let kept = Kept(context.clone());
    let mut follower = SchemaFollower::new(pd, kept, context.schema.jobs(), context.clock.clone());
    let mut eager_until = Duration::ZERO;
    let mut last_failure = String::new();
    loop {
        let settled = tokio::select! {
            () = context.stop.cancelled() => return,
            round = follower.round() => match round {
                Ok(settled) => {
                    last_failure.clear();
                    settled
                }
                Err(error) => {
                    let failure = error.to_string();
                    if failure != last_failure {
                        tracing::warn!(%error, "the schema history cannot be followed now; binlogs are stored all the same");
                        last_failure = failure;
                    }
                    true
                }
            },
        };
        let eager = !settled || context.clock.monotonic() < eager_until;
        tokio::select! {
            () = context.stop.cancelled() => return,
            () = tokio::time::sleep(if eager { PACE.eager } else { PACE.calm }) => {}
            () = context.schema.wanted() => {
                eager_until = context.clock.monotonic() + EAGER_FOR;
                // One asker after the other must not make rounds without pause.
                tokio::time::sleep(PACE.eager / 5).await;
            }
        }
    }
}

/// The store as the follower sees it.
struct Kept(Shared);

impl SchemaKeeper for Kept {
    fn complete(&self) -> SchemaVersion {
        self.0.store.schema_version()
    }

    fn mark(&self) -> Result<i64, KeepError> {
        let bytes = self.0.store.get_meta(MARK)?;
        Ok(bytes.and_then(|b| b.as_ref().try_into().ok()).map_or(0, i64::from_be_bytes))
    }

    async fn save_mark(&self, mark: i64) -> Result<(), KeepError> {
        let store = self.0.store.clone();
        blocking(move || store.put_meta(MARK, &mark.to_be_bytes())).await
    }

    fn knows(&self, object: &SchemaObject) -> Result<bool, KeepError> {
        let entry = entry_of(object)?;
        Ok(!self.0.store.schema_object(entry.kind, entry.id)?.is_empty())
    }

    async fn keep(&self, objects: Vec<SchemaObject>, complete: SchemaVersion) -> Result<(), KeepError> {
        let entries = objects.iter().map(entry_of).collect::<Result<Vec<_>, _>>()?;
        let store = self.0.store.clone();
        blocking(move || match store.put_schema(entries.clone(), complete) {
            Err(binlog_storage::Error::SchemaConflict { .. }) => {
                store.put_schema(unknown(&store, entries)?, complete)
            }
            done => done,
        })
        .await?;
        self.0.schema.grown(&self.0.store);
        Ok(())
    }
}

/// Without those that the store has in other words: what was read from TiKV before its job was in the history. What says something else
/// stays, and is refused.
fn unknown(store: &Store, entries: Vec<SchemaEntry>) -> Result<Vec<SchemaEntry>, binlog_storage::Error> {
    let mut left = Vec::with_capacity(entries.len());
    for entry in entries {
        let known = store.schema_object(entry.kind, entry.id)?;
        let known = known.into_iter().find(|known| known.schema_version == entry.schema_version);
        let same = known.is_some_and(|known| {
            let decode = |entry: &SchemaEntry| SchemaObject::decode(entry.value.clone());
            matches!((decode(&known), decode(&entry)), (Ok(a), Ok(b)) if same_object(&a, &b))
        });
        if !same {
            left.push(entry);
        }
    }
    Ok(left)
}

async fn blocking(
    work: impl FnOnce() -> Result<(), binlog_storage::Error> + Send + 'static,
) -> Result<(), KeepError> {
    Ok(tokio::task::spawn_blocking(work).await??)
}
