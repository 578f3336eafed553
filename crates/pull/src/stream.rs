//! The merged stream: one task a pump, one byte budget, in order.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use binlog_catalog::UnknownDdl;
use binlog_types::{ClusterId, CommitTs, NodeId};
use tokio::sync::{Notify, Semaphore};

use crate::budget::Share;
use crate::feed::Feed;
use crate::ledger::{KnownHoles, PumpLedger};
use crate::merge::Merge;
use crate::source::{Inbox, Source, SourceOptions};
use crate::spool::SpoolDir;
use crate::{Arrivals, Batch, Dial, Error, Progress, SchemaSource, Skips};

/// The least that a pump's share of the budget is, in bytes.
const SMALLEST_SHARE: usize = 1 << 20;
/// The largest batch that is handed out, in bytes; a single transaction may be larger.
const LARGEST_BATCH: usize = 4 << 20;

/// A pump to pull from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The pump's id in the registry.
    pub id: NodeId,
    /// Its `host:port`.
    pub host: String,
}

/// What to pull.
#[derive(Clone, Debug)]
pub struct StreamOptions {
    /// How pumps are connected to.
    pub dial: Dial,
    /// What is remembered of them.
    pub ledger: Arc<dyn PumpLedger>,
    /// Asked for the schema history where no pump serves it.
    pub schema: Option<Arc<dyn SchemaSource>>,
    /// The cluster that the pumps must belong to; 0: whichever they say.
    pub cluster: ClusterId,
    /// Exclusive.
    pub after: CommitTs,
    /// Inclusive; None: follow for ever.
    pub through: Option<CommitTs>,
    /// `db.table` patterns; empty: all.
    pub table_patterns: Vec<String>,
    /// Bytes in flight over all pumps: of payload, and where records are decoded, of both forms.
    pub budget: usize,
    /// What becomes of DDLs of kinds that are not known.
    pub unknown_ddl: UnknownDdl,
    /// Is told of every record.
    pub arrivals: Option<Arc<dyn Arrivals>>,
    /// What an [`EventStream`](crate::EventStream) passes over.
    pub skips: Skips,
    /// Where transactions of more than 4 MiB are put aside until their turn comes, each in a file without a name, up to 1 GiB a pump. An
    /// [`EventStream`](crate::EventStream) hands them out in parts then ([`Part`](binlog_catalog::Part)). None: they are handed out whole; a
    /// [`MergedStream`] always does that.
    pub put_aside: Option<PathBuf>,
}

impl Default for StreamOptions {
    /// Everything from the beginning, for ever, over plain text and from any cluster.
    fn default() -> Self {
        StreamOptions {
            dial: Dial::default(),
            ledger: Arc::new(KnownHoles::default()),
            schema: None,
            cluster: ClusterId(0),
            after: CommitTs::ZERO,
            through: None,
            table_patterns: Vec::new(),
            budget: 64 << 20,
            unknown_ddl: UnknownDdl::default(),
            arrivals: None,
            skips: Skips::default(),
            put_aside: None,
        }
    }
}

/// Pulls from every member and merges.
#[derive(Debug)]
pub struct MergedStream {
    options: StreamOptions,
    sources: BTreeMap<NodeId, Source>,
    merge: Merge,
    bell: Arc<Notify>,
    turn: Arc<Semaphore>,
    progress: Progress,
}

impl MergedStream {
    /// Starts pulling. Must be called inside a Tokio runtime.
    pub fn new(options: StreamOptions, members: Vec<Member>) -> Self {
        Self::putting_aside(StreamOptions { put_aside: None, ..options }, members)
    }

    /// The same for a reader that knows what to do with payloads that were put aside.
    pub(crate) fn putting_aside(options: StreamOptions, members: Vec<Member>) -> Self {
        let merge = Merge::new(options.after, options.through);
        let progress = Progress::default();
        let mut stream = MergedStream {
            options,
            sources: BTreeMap::new(),
            merge,
            bell: Arc::new(Notify::new()),
            turn: Arc::new(Semaphore::new(1)),
            progress,
        };
        stream.set_members(members);
        stream
    }

    /// Changes who is pulled from: new pumps start after what was already handed out; a removed (offline) pump no longer holds the stream back;
    /// one with a new address is taken up there where it was.
    pub fn set_members(&mut self, members: Vec<Member>) {
        let gone: Vec<NodeId> =
            self.sources.keys().filter(|id| !members.iter().any(|m| m.id == **id)).cloned().collect();
        for id in gone {
            self.settle(&id);
            self.sources.remove(&id);
            self.merge.leave(&id);
            tracing::info!(pump = %id, "no longer pulled from");
        }
        let limit = (self.options.budget / members.len().max(1)).max(SMALLEST_SHARE);
        for member in members {
            let old = self.sources.get(&member.id);
            if let Some(source) = old
                && source.inbox.member.host == member.host
            {
                source.share.set_limit(limit);
                continue;
            }
            let identity = old.and_then(|source| source.inbox.identity());
            self.settle(&member.id);
            self.sources.remove(&member.id);
            let id = member.id.clone();
            let after = self.merge.join(&id);
            tracing::info!(pump = %id, host = member.host, %after, "pulling");
            let inbox = Inbox::new(member, after, identity, Arc::clone(&self.bell));
            let options = SourceOptions {
                arrivals: self.options.arrivals.clone(),
                dial: self.options.dial.clone(),
                ledger: Arc::clone(&self.options.ledger),
                cluster: self.options.cluster,
                through: self.options.through,
                patterns: self.options.table_patterns.clone(),
                spool: self.options.put_aside.clone().map(SpoolDir),
                turn: Arc::clone(&self.turn),
            };
            self.sources.insert(id, Source::spawn(inbox, Share::new(limit), options));
        }
        self.note_sources();
    }

    fn note_sources(&self) {
        *self.progress.inboxes.lock() = self.sources.values().map(|s| Arc::clone(&s.inbox)).collect();
        self.bell.notify_one();
    }

    /// Adds a member that does not run: its records are read elsewhere, from the stream's start to `through`. Before anything was handed out, and
    /// [`MergedStream::set_members`] ends it.
    pub fn add_feed(&mut self, id: NodeId, feed: Feed, through: CommitTs) {
        let after = self.merge.join(&id);
        let members = self.sources.len() + 1;
        let share = Share::new((self.options.budget / members).max(SMALLEST_SHARE));
        let member = Member { id: id.clone(), host: "its directory".to_owned() };
        let inbox = Inbox::new(member, after, None, Arc::clone(&self.bell));
        self.sources.insert(id, Source::fed(inbox, share, feed, through));
        self.note_sources();
    }

    /// Takes over what a source that is about to go has received.
    fn settle(&mut self, id: &NodeId) {
        let Some(source) = self.sources.get(id) else { return };
        if let Ok((held, complete)) = source.inbox.drain() {
            // An error here would come again from the next reader of the same position.
            if let Err(error) = self.merge.feed(id, held, complete) {
                tracing::warn!(pump = %id, %error, "what the pump sent last is not taken");
            }
        }
    }

    /// The next batch, in order. Cancel safe. After `end` it must not be called again.
    ///
    /// # Errors
    /// Stops only: what time heals was retried. The stream cannot be read on after an error.
    pub async fn next(&mut self) -> Result<Batch, Error> {
        loop {
            if let Some(batch) = self.poll_batch()? {
                return Ok(batch);
            }
            self.bell.notified().await;
        }
    }

    /// No await in here: what was taken out of an inbox is in the merge before anybody can cancel.
    fn poll_batch(&mut self) -> Result<Option<Batch>, Error> {
        for (id, source) in &self.sources {
            let (held, complete) = source.inbox.drain()?;
            self.merge.feed(id, held, complete)?;
        }
        let largest = (self.options.budget / 8).clamp(64 << 10, LARGEST_BATCH);
        let batch = self.merge.pop(largest)?;
        if batch.is_none() && self.sources.values().any(|s| s.inbox.has_failed()) {
            // What preceded the failure is handed out: now it is the failure's turn.
            self.bell.notify_one();
        }
        Ok(batch)
    }

    /// Per pump what it was last heard to be complete through.
    pub fn positions(&self) -> Vec<(NodeId, CommitTs)> {
        self.progress.members().into_iter().map(|m| (m.id, m.complete_through)).collect()
    }

    /// What the stream waits for, for people.
    pub fn waits_for(&self) -> String {
        self.progress.waits_for()
    }

    /// A view of the same that outlives borrows of the stream.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }
}
