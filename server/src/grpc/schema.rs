//! `Store/Schema`: the schema history, once it reaches what the reader needs.

use std::time::Duration;

use binlog_catalog::made_by;
use binlog_proto::store as wire;
use binlog_proto::store::{ObjectKind, SchemaObject};
use binlog_storage::{Behind, SchemaEntry, Store};
use binlog_types::{CommitTs, JobId, SchemaVersion};
use prost::Message;
use tonic::Status;

use super::{reader, status};
use crate::context::Shared;

const BATCH_BYTES: usize = 1 << 20;

/// Waits for the history, then gives it in batches.
pub(super) async fn read(
    context: &Shared,
    request: &wire::SchemaRequest,
) -> Result<Vec<wire::SchemaResponse>, Status> {
    wait(context, request).await?;
    let store = context.store.clone();
    let (after, job) = (SchemaVersion(request.after_version), request.need_job);
    let base = Base { version: SchemaVersion(request.base_version), ts: request.base_ts };
    let (entries, complete) = reader::blocking(move || {
        // The version first: what is complete up to it is then read.
        let complete = store.schema_version();
        let mut entries = if base.is_none() {
            store.schema(after)?
        } else {
            store.schema_above(after, |entry| base.covers(entry), ObjectKind::Job as u8)?
        };
        if job > 0 {
            let found = store.schema_object(ObjectKind::Job as u8, job)?;
            entries.extend(found.into_iter().filter(|entry| entry.schema_version <= after));
            entries.sort_by_key(|e| (e.schema_version, e.kind, e.id));
        }
        Ok::<_, binlog_storage::Error>((entries, complete))
    })
    .await
    .map_err(|e| e.into_status())?
    .map_err(|e| status::of_store(&e))?;
    batches(&entries, complete)
}

/// What lies behind the reader; see the protocol.
#[derive(Clone, Copy)]
struct Base {
    version: SchemaVersion,
    ts: u64,
}

impl Base {
    fn is_none(self) -> bool {
        self.version.0 <= 0 && self.ts == 0
    }

    /// Whether the entry is behind; and whether it says that its object is gone.
    fn covers(self, entry: &SchemaEntry) -> Behind {
        // What cannot be read is sent on, and refused there by name.
        let decoded = SchemaObject::decode(entry.value.clone()).ok();
        match decoded.filter(|object| made_by(object, self.version, CommitTs::new(self.ts))) {
            Some(object) if object.dropped => Behind::Gone,
            Some(_) => Behind::Yes,
            None => Behind::No,
        }
    }
}

/// Deletes the history that no kept record needs: of objects made at or before `ts`, all but the newest.
///
/// # Errors
/// Those of the store.
pub(crate) fn collect(store: &Store, ts: CommitTs) -> Result<usize, binlog_storage::Error> {
    let base = Base { version: SchemaVersion(0), ts: ts.raw() };
    store.collect_schema(|entry| base.covers(entry), ObjectKind::Job as u8)
}

async fn wait(context: &Shared, request: &wire::SchemaRequest) -> Result<(), Status> {
    let start = context.clock.monotonic();
    let patience = Duration::from_millis(request.wait_millis);
    let mut versions = context.schema.subscribe();
    loop {
        let known = *versions.borrow_and_update();
        let missing = missing(&context.store, known, request).await?;
        let Some(missing) = missing else { return Ok(()) };
        let missing = match missing {
            Missing::Version(version) => {
                context.schema.want();
                format!("version {version}")
            }
            Missing::Job(job) => {
                context.schema.want_job(job);
                format!("job {job}")
            }
        };
        let left = patience.saturating_sub(context.elapsed_since(start));
        if left.is_zero() {
            return Err(status::schema_not_yet(&missing, known));
        }
        tokio::select! {
            () = context.stop.cancelled() => return Err(status::stopping()),
            changed = versions.changed() => changed.map_err(|_| status::stopping())?,
            () = tokio::time::sleep(left) => {}
        }
    }
}

/// What a reader needs and the store has not.
enum Missing {
    Version(i64),
    Job(JobId),
}

async fn missing(
    store: &Store,
    known: SchemaVersion,
    request: &wire::SchemaRequest,
) -> Result<Option<Missing>, Status> {
    if known.0 < request.need_version {
        return Ok(Some(Missing::Version(request.need_version)));
    }
    if request.need_job > 0 {
        let (store, job) = (store.clone(), request.need_job);
        let found = reader::blocking(move || store.schema_object(ObjectKind::Job as u8, job))
            .await
            .map_err(|e| e.into_status())?
            .map_err(|e| status::of_store(&e))?;
        if found.is_empty() {
            return Ok(Some(Missing::Job(JobId(request.need_job))));
        }
    }
    Ok(None)
}

fn batches(entries: &[SchemaEntry], complete: SchemaVersion) -> Result<Vec<wire::SchemaResponse>, Status> {
    let mut responses = Vec::new();
    let empty = wire::SchemaResponse { complete_version: complete.0, ..wire::SchemaResponse::default() };
    let mut current = empty.clone();
    let mut bytes = 0;
    for entry in entries {
        let object = object_of(entry)?;
        match object.kind() {
            ObjectKind::Step => current.steps.push(object),
            _ => current.objects.push(object),
        }
        bytes += entry.value.len();
        if bytes >= BATCH_BYTES {
            responses.push(std::mem::replace(&mut current, empty.clone()));
            bytes = 0;
        }
    }
    // Also an empty history is answered, with its version.
    if bytes > 0 || responses.is_empty() {
        responses.push(current);
    }
    Ok(responses)
}

fn object_of(entry: &SchemaEntry) -> Result<SchemaObject, Status> {
    SchemaObject::decode(entry.value.clone()).map_err(|e| {
        Status::data_loss(format!(
            "schema object kind {} id {} version {}: {e}",
            entry.kind, entry.id, entry.schema_version
        ))
    })
}

/// An object as the store keeps it.
///
/// # Errors
/// A text for people when the kind is none.
pub(crate) fn entry_of(object: &SchemaObject) -> Result<SchemaEntry, String> {
    let kind = match ObjectKind::try_from(object.kind) {
        Ok(kind @ (ObjectKind::Database | ObjectKind::Table | ObjectKind::Job | ObjectKind::Step)) => {
            kind as u8
        }
        Ok(ObjectKind::Unspecified) | Err(_) => {
            return Err(format!(
                "schema object id {} version {} has the unknown kind {}",
                object.id, object.schema_version, object.kind
            ));
        }
    };
    Ok(SchemaEntry {
        kind,
        id: object.id,
        schema_version: SchemaVersion(object.schema_version),
        value: object.encode_to_vec().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: i64, size: usize) -> SchemaEntry {
        let object = SchemaObject {
            kind: ObjectKind::Table as i32,
            id,
            json: vec![b'x'; size].into(),
            ..Default::default()
        };
        entry_of(&object).unwrap()
    }

    #[test]
    fn large_histories_are_cut_and_empty_ones_are_answered() {
        let entries: Vec<_> = (0..5).map(|id| entry(id, BATCH_BYTES / 2)).collect();
        let responses = batches(&entries, SchemaVersion(9)).unwrap();
        assert!(responses.len() > 1);
        let ids: Vec<i64> = responses.iter().flat_map(|r| &r.objects).map(|o| o.id).collect();
        assert_eq!(ids, [0, 1, 2, 3, 4]);
        let empty = batches(&[], SchemaVersion(9)).unwrap();
        assert_eq!((empty.len(), empty[0].complete_version), (1, 9));
    }

    #[test]
    fn collecting_keeps_what_the_oldest_record_needs() {
        use ObjectKind::{Job, Step, Table};
        let object = |kind: ObjectKind, id, version, made, dropped| {
            let json = if dropped { bytes::Bytes::new() } else { format!("{id}@{version}").into() };
            let (kind, finished_ts) = (kind as i32, made);
            let object =
                SchemaObject { kind, id, schema_version: version, finished_ts, json, dropped, parent_id: 1 };
            entry_of(&object).unwrap()
        };
        let dir = tempfile::tempdir().unwrap();
        let node = binlog_types::NodeId::new("pump").unwrap();
        let clock = binlog_types::SystemClock::handle();
        let options = binlog_storage::Options::new(binlog_types::ClusterId(1), node, clock);
        let store = Store::open(dir.path(), options).unwrap();
        let entries = vec![
            object(Table, 7, 1, 100, false),
            object(Table, 7, 2, 200, false),
            object(Table, 7, 3, 300, false),
            object(Table, 8, 1, 100, false),
            object(Table, 8, 2, 150, true),
            // Two DDLs that took indexes away.
            object(Step, 7, 1, 90, false),
            object(Step, 7, 2, 190, false),
            object(Step, 7, 3, 290, false),
            object(Table, 9, 1, 100, false),
            object(Table, 9, 4, 300, true),
            object(Job, 50, 2, 200, false),
            object(Job, 51, 3, 300, false),
            // Rolled back: without a version.
            object(Job, 52, 0, 200, false),
            object(Job, 53, 0, 300, false),
        ];
        store.put_schema(entries, SchemaVersion(4)).unwrap();
        let left = |store: &Store| -> Vec<_> {
            let all = store.schema(SchemaVersion(-1)).unwrap();
            all.into_iter().map(|entry| (entry.id, entry.schema_version.0)).collect()
        };
        assert_eq!(collect(&store, CommitTs::new(89)), Ok(0));
        assert_eq!(left(&store).len(), 14);
        // The oldest record lies above 250: it needs table 7 as of 200, and 9, which is dropped only later.
        assert_eq!(collect(&store, CommitTs::new(250)), Ok(6));
        assert_eq!(left(&store), [(53, 0), (9, 1), (7, 2), (7, 2), (7, 3), (51, 3), (7, 3), (9, 4)]);
        assert_eq!(collect(&store, CommitTs::new(250)), Ok(0));
        assert_eq!(collect(&store, CommitTs::new(400)), Ok(6));
        assert_eq!(left(&store), [(7, 3), (7, 3)], "the table, and its last step");
    }

    #[test]
    fn objects_without_kind_are_refused() {
        assert!(entry_of(&SchemaObject::default()).is_err());
    }
}
