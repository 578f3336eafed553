//! The schema history straight from TiKV, for readers of original pumps, none of which serves it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use binlog_catalog::made_by;
use binlog_cluster::{JobRequests, KeepError, PACE, PdClient, SchemaFollower, SchemaKeeper};
use binlog_proto::store::{ObjectKind, SchemaObject};
use binlog_types::{ClockHandle, JobId, SchemaVersion};
use futures::future::{BoxFuture, FutureExt as _};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{Error, SchemaBase, SchemaSource};

/// The history in TiKV's meta. It starts to read when it is asked the first time, and follows from then on.
#[derive(Debug)]
pub struct TikvSchema {
    pd: PdClient,
    clock: ClockHandle,
    following: Mutex<Option<Following>>,
}

#[derive(Debug)]
struct Following {
    kept: Kept,
    requests: Arc<JobRequests>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What was read so far, without what the reader has already or does not need.
#[derive(Clone, Debug)]
struct Kept(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    base: SchemaBase,
    shelf: Mutex<Shelf>,
    complete: watch::Sender<SchemaVersion>,
    /// The last failure; empty: none.
    failure: Mutex<String>,
}

#[derive(Debug)]
struct Shelf {
    objects: BTreeMap<(i32, i64), BTreeMap<i64, SchemaObject>>,
    /// Databases and tables that were met, by kind and id.
    met: HashSet<(i32, i64)>,
    /// Jobs that the reader asks for by their ids.
    wanted: HashSet<i64>,
    /// The reader has everything up to here; −1: nothing yet.
    given: SchemaVersion,
}

impl Shelf {
    fn insert(&mut self, object: SchemaObject, base: SchemaBase) {
        let behind = |o: &SchemaObject| made_by(o, base.version, base.ts);
        let (key, version) = ((object.kind, object.id), object.schema_version);
        if object.kind == ObjectKind::Job as i32 {
            // One that was rolled back has no version: it is asked for when its binlog comes.
            let ahead = version > self.given.0.max(0) && !behind(&object);
            if !ahead && !self.wanted.contains(&object.id) {
                return;
            }
        } else {
            self.met.insert(key);
            if version <= self.given.0 {
                return;
            }
        }
        let versions = self.objects.entry(key).or_default();
        if behind(&object) {
            if versions.range(version..).any(|(_, later)| behind(later)) {
                return;
            }
            versions.retain(|earlier, _| *earlier > version);
        }
        versions.insert(version, object);
    }

    /// The reader has everything up to `version`.
    fn give(&mut self, version: SchemaVersion) {
        self.given = version;
        self.objects.retain(|_, versions| {
            *versions = versions.split_off(&(version.0 + 1));
            !versions.is_empty()
        });
    }

    fn job(&self, job: JobId) -> Option<Vec<SchemaObject>> {
        let versions = self.objects.get(&(ObjectKind::Job as i32, job.0))?;
        Some(versions.values().cloned().collect())
    }
}

impl SchemaKeeper for Kept {
    fn complete(&self) -> SchemaVersion {
        *self.0.complete.borrow()
    }

    fn mark(&self) -> Result<i64, KeepError> {
        Ok(0)
    }

    async fn save_mark(&self, _: i64) -> Result<(), KeepError> {
        Ok(())
    }

    fn knows(&self, object: &SchemaObject) -> Result<bool, KeepError> {
        Ok(self.0.shelf.lock().met.contains(&(object.kind, object.id)))
    }

    async fn keep(&self, objects: Vec<SchemaObject>, complete: SchemaVersion) -> Result<(), KeepError> {
        {
            let mut shelf = self.0.shelf.lock();
            for object in objects {
                shelf.insert(object, self.0.base);
            }
        }
        self.0.complete.send_if_modified(|known| {
            let more = complete > *known;
            *known = complete.max(*known);
            more
        });
        Ok(())
    }
}

impl TikvSchema {
    /// Of the cluster of this PD.
    pub fn new(pd: PdClient, clock: ClockHandle) -> Self {
        TikvSchema { pd, clock, following: Mutex::new(None) }
    }

    /// What is read for a reader that begins at `base`.
    fn begin(&self, base: SchemaBase) -> Following {
        let shelf = Shelf {
            objects: BTreeMap::new(),
            met: HashSet::new(),
            wanted: HashSet::new(),
            given: SchemaVersion(-1),
        };
        let kept = Kept(Arc::new(Inner {
            base,
            shelf: Mutex::new(shelf),
            complete: watch::Sender::new(SchemaVersion(0)),
            failure: Mutex::default(),
        }));
        let clock = self.clock.clone();
        let requests = Arc::new(JobRequests::new(clock.clone()));
        let follower = SchemaFollower::new(self.pd.clone(), kept.clone(), Arc::clone(&requests), clock)
            .beginning_behind(base.version, base.ts.ts());
        Following { kept: kept.clone(), requests, task: tokio::spawn(follow(follower, kept)) }
    }

    /// For a reader that has everything up to `after`.
    fn kept(&self, after: SchemaVersion, base: SchemaBase) -> Kept {
        let mut following = self.following.lock();
        let fits = |following: &Following| after >= following.kept.0.shelf.lock().given;
        if !following.as_ref().is_some_and(fits) {
            // The first one, or one that begins anew.
            *following = Some(self.begin(base));
        }
        let kept = following.get_or_insert_with(|| self.begin(base)).kept.clone();
        kept.0.shelf.lock().give(after);
        kept
    }
}

async fn follow(mut follower: SchemaFollower<Kept>, kept: Kept) {
    loop {
        let settled = match follower.round().await {
            Ok(settled) => {
                kept.0.failure.lock().clear();
                settled
            }
            Err(error) => {
                let text = error.to_string();
                let mut failure = kept.0.failure.lock();
                if *failure != text {
                    tracing::warn!(%error, "the schema history cannot be read from TiKV now, trying again");
                    *failure = text;
                }
                true
            }
        };
        tokio::time::sleep(if settled { PACE.calm } else { PACE.eager }).await;
    }
}

impl SchemaSource for TikvSchema {
    fn versions(
        &self,
        after: SchemaVersion,
        need: SchemaVersion,
        base: SchemaBase,
        wait: Duration,
    ) -> BoxFuture<'_, Result<(Vec<SchemaObject>, SchemaVersion), Error>> {
        let kept = self.kept(after, base);
        async move {
            let mut complete = kept.0.complete.subscribe();
            // Version 0 is of what TiDB has before its first DDL: the first round reads it with the rest.
            let reached = complete.wait_for(|known| *known >= need && known.0 > 0);
            let Ok(Ok(known)) = tokio::time::timeout(wait, reached).await.map(|r| r.map(|known| *known))
            else {
                let failure = kept.0.failure.lock().clone();
                let known = *kept.0.complete.borrow();
                let why =
                    if failure.is_empty() { format!("it reaches version {known} so far") } else { failure };
                return Err(Error::SchemaSource { why });
            };
            let mut newer: Vec<SchemaObject> = kept
                .0
                .shelf
                .lock()
                .objects
                .values()
                .flat_map(|versions| versions.values().cloned())
                .collect();
            newer.sort_by_key(|object| (object.schema_version, object.kind, object.id));
            Ok((newer, known))
        }
        .boxed()
    }

    fn job(&self, job: JobId, wait: Duration) -> BoxFuture<'_, Result<Option<Vec<SchemaObject>>, Error>> {
        let (kept, requests) = {
            let mut following = self.following.lock();
            let following = following.get_or_insert_with(|| self.begin(SchemaBase::default()));
            (following.kept.clone(), Arc::clone(&following.requests))
        };
        async move {
            let find = || {
                let mut shelf = kept.0.shelf.lock();
                let found = shelf.job(job);
                if found.is_none() {
                    shelf.wanted.insert(job.0);
                } else {
                    shelf.wanted.remove(&job.0);
                }
                found
            };
            if let Some(found) = find() {
                return Ok(Some(found));
            }
            requests.want(job);
            let mut complete = kept.0.complete.subscribe();
            let found = async {
                loop {
                    if let Some(found) = find() {
                        return found;
                    }
                    // A job may enter the history without a new version.
                    let _ = tokio::time::timeout(PACE.eager, complete.changed()).await;
                }
            };
            Ok(tokio::time::timeout(wait, found).await.ok())
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use binlog_types::CommitTs;

    use super::*;

    fn object(kind: ObjectKind, id: i64, version: i64) -> SchemaObject {
        let finished_ts = version as u64 * 10;
        SchemaObject {
            kind: kind as i32,
            id,
            schema_version: version,
            finished_ts,
            ..SchemaObject::default()
        }
    }

    fn shelf(base: SchemaBase, objects: &[SchemaObject]) -> Shelf {
        let mut shelf = Shelf {
            objects: BTreeMap::new(),
            met: HashSet::new(),
            wanted: HashSet::from([77]),
            given: SchemaVersion(-1),
        };
        objects.iter().cloned().for_each(|object| shelf.insert(object, base));
        shelf
    }

    fn kept(shelf: &Shelf) -> Vec<(i64, i64)> {
        let all = shelf.objects.iter();
        all.flat_map(|((_, id), versions)| versions.keys().map(|version| (*id, *version))).collect()
    }

    #[test]
    fn what_the_reader_has_or_does_not_need_is_let_go() {
        let (table, job) = (ObjectKind::Table, ObjectKind::Job);
        let objects: Vec<SchemaObject> = [(table, 1), (table, 3), (table, 5), (table, 9), (job, 3), (job, 9)]
            .into_iter()
            .map(|(kind, version)| object(kind, if kind == job { 50 + version } else { 10 }, version))
            .chain([object(job, 66, 0), object(job, 77, 0), object(table, 11, 0)])
            .collect();
        let bases = [
            SchemaBase { version: SchemaVersion(6), ts: CommitTs::ZERO },
            SchemaBase { version: SchemaVersion(0), ts: CommitTs::new(60) },
        ];
        for base in bases {
            for objects in [objects.clone(), objects.iter().rev().cloned().collect()] {
                let mut shelf = shelf(base, &objects);
                // Of what lies behind, the last state; of jobs, those ahead, and the one that is asked for.
                assert_eq!(kept(&shelf), [(10, 5), (10, 9), (11, 0), (59, 9), (77, 0)]);
                shelf.give(SchemaVersion(8));
                assert_eq!(kept(&shelf), [(10, 9), (59, 9)]);
                shelf.give(SchemaVersion(9));
                objects.iter().cloned().for_each(|object| shelf.insert(object, base));
                assert_eq!(kept(&shelf), [(77, 0)], "nothing comes back");
                assert!(shelf.met.contains(&(table as i32, 10)), "it is not taken for one that no job made");
            }
        }
    }
}
