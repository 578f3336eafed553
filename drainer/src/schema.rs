//! The schema history straight from TiKV, where all pumps are original ones and none serves it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use binlog_cluster::{JobRequests, KeepError, PACE, PdClient, SchemaFollower, SchemaKeeper};
use binlog_proto::store::{ObjectKind, SchemaObject};
use binlog_pull::{Error, SchemaBase, SchemaSource};
use binlog_types::{JobId, SchemaVersion, SystemClock};
use futures::future::{BoxFuture, FutureExt as _};
use parking_lot::Mutex;
use tokio::sync::watch;

/// Starts to read when it is asked the first time.
#[derive(Debug)]
pub(crate) struct TikvSchema {
    pd: PdClient,
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

/// What was read so far, without what lies behind the reader.
#[derive(Clone, Debug)]
struct Kept(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    base: SchemaBase,
    objects: Mutex<BTreeMap<(i32, i64), BTreeMap<i64, SchemaObject>>>,
    complete: watch::Sender<SchemaVersion>,
    /// The last failure; empty: none.
    failure: Mutex<String>,
}

impl Kept {
    fn insert(&self, object: SchemaObject) {
        let base = self.0.base;
        let behind = |o: &SchemaObject| {
            o.schema_version <= base.version.0 || (o.finished_ts != 0 && o.finished_ts <= base.ts.raw())
        };
        if behind(&object) && object.kind == ObjectKind::Job as i32 {
            return;
        }
        let mut objects = self.0.objects.lock();
        let versions = objects.entry((object.kind, object.id)).or_default();
        let ahead = object.schema_version;
        if behind(&object) {
            if versions.range(ahead..).any(|(_, later)| behind(later)) {
                return;
            }
            versions.retain(|version, _| *version > ahead);
        }
        versions.insert(ahead, object);
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
        Ok(self.0.objects.lock().contains_key(&(object.kind, object.id)))
    }

    async fn keep(&self, objects: Vec<SchemaObject>, complete: SchemaVersion) -> Result<(), KeepError> {
        for object in objects {
            self.insert(object);
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
    pub(crate) fn new(pd: PdClient) -> Self {
        TikvSchema { pd, following: Mutex::new(None) }
    }

    fn kept(&self, base: SchemaBase) -> (Kept, Arc<JobRequests>) {
        let mut following = self.following.lock();
        let following = following.get_or_insert_with(|| {
            let kept = Kept(Arc::new(Inner {
                base,
                objects: Mutex::default(),
                complete: watch::Sender::new(SchemaVersion(0)),
                failure: Mutex::default(),
            }));
            let clock = SystemClock::handle();
            let requests = Arc::new(JobRequests::new(clock.clone()));
            let follower = SchemaFollower::new(self.pd.clone(), kept.clone(), Arc::clone(&requests), clock);
            Following { kept: kept.clone(), requests, task: tokio::spawn(follow(follower, kept)) }
        });
        (following.kept.clone(), Arc::clone(&following.requests))
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
        let (kept, _) = self.kept(base);
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
            let objects = kept.0.objects.lock();
            let mut newer: Vec<SchemaObject> = objects
                .values()
                .flat_map(|versions| versions.range(after.0 + 1..).map(|(_, object)| object.clone()))
                .collect();
            newer.sort_by_key(|object| (object.schema_version, object.kind, object.id));
            Ok((newer, known))
        }
        .boxed()
    }

    fn job(&self, job: JobId, wait: Duration) -> BoxFuture<'_, Result<Option<Vec<SchemaObject>>, Error>> {
        let (kept, requests) = self.kept(SchemaBase::default());
        async move {
            let find = || {
                let objects = kept.0.objects.lock();
                objects.get(&(ObjectKind::Job as i32, job.0)).map(|v| v.values().cloned().collect::<Vec<_>>())
            };
            if find().is_none() {
                requests.want(job);
            }
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
