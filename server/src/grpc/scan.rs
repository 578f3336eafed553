//! `Store/Scan`: fragments of a range, or of everything from a point on.

use std::sync::Arc;
use std::time::Duration;

use binlog_proto::store as wire;
use binlog_storage::Fragment;
use binlog_types::{CommitTs, Gap, Range};
use tokio::sync::watch;
use tonic::Status;

use super::reader::{self, Reader};
use super::status;
use super::tables::TableMatcher;
use crate::context::Shared;

const DEFAULT_BATCH_BYTES: usize = 1 << 20;
/// Above it a batch would not fit what clients usually accept.
const MAX_BATCH_BYTES: usize = 64 << 20;

/// The stream of one reader; driven by it, as [`super::pull::PullStream`].
#[derive(Debug)]
pub(super) struct ScanStream {
    context: Shared,
    watermark: watch::Receiver<CommitTs>,
    after: CommitTs,
    /// None: follow.
    through: Option<CommitTs>,
    /// How long it may still wait for the watermark.
    patience: Duration,
    batch_bytes: usize,
    tables: Option<Arc<TableMatcher>>,
    /// Gaps that the reader knows of and reads over.
    accepted: Vec<Range>,
    /// The transaction whose fragments are left out, until its last one.
    skipping: bool,
    reader: Option<(Reader, CommitTs)>,
    ended: bool,
}

impl ScanStream {
    /// A checked request.
    pub(super) fn new(context: Shared, request: &wire::ScanRequest) -> Result<Self, Status> {
        let after = CommitTs::new(request.after);
        let through = (!request.follow).then(|| CommitTs::new(request.through));
        let watermark = context.watermark.subscribe();
        let now = *watermark.borrow();
        let patience = Duration::from_millis(request.wait_millis);
        if let Some(through) = through {
            if through > CommitTs::MAX {
                return Err(Status::invalid_argument(format!("through {through} is above every timestamp")));
            }
            if through > now && patience.is_zero() {
                return Err(status::not_yet(through, now));
            }
        }
        if after < context.store.safe_point() {
            return Err(status::purged(context.store.safe_point()));
        }
        let tables = TableMatcher::new(&request.table_patterns).map_err(Status::invalid_argument)?;
        let batch_bytes = match usize::try_from(request.max_batch_bytes) {
            Ok(0) => DEFAULT_BATCH_BYTES,
            Ok(bytes) => bytes.min(MAX_BATCH_BYTES),
            Err(_) => MAX_BATCH_BYTES,
        };
        let accepted = |gap: &wire::GapInfo| Range {
            after: CommitTs::new(gap.after),
            through: CommitTs::new(gap.through),
        };
        Ok(ScanStream {
            accepted: request.accepted_gaps.iter().map(accepted).collect(),
            context,
            watermark,
            after,
            through,
            patience,
            batch_bytes,
            tables: tables.map(Arc::new),
            skipping: false,
            reader: None,
            ended: false,
        })
    }

    /// The next batch; None after the end.
    pub(super) async fn next(&mut self) -> Result<Option<wire::ScanResponse>, Status> {
        loop {
            if self.ended {
                return Ok(None);
            }
            if self.context.stop.is_cancelled() {
                return Err(status::stopping());
            }
            if self.reader.is_none() && !self.open().await? {
                if self.through.is_some_and(|through| self.after >= through) {
                    self.ended = true;
                    return Ok(Some(self.response(Vec::new(), true)));
                }
                self.wait().await?;
                continue;
            }
            if let Some(response) = self.read().await? {
                return Ok(Some(response));
            }
        }
    }

    /// Starts to read up to the watermark; false when there is nothing to read.
    async fn open(&mut self) -> Result<bool, Status> {
        let watermark = *self.watermark.borrow_and_update();
        let through = self.through.map_or(watermark, |through| through.min(watermark));
        if through <= self.after {
            return Ok(false);
        }
        let through = match self.gap_before(through) {
            Some(gap) if gap.range.after <= self.after => return Err(status::gap(&gap)),
            Some(gap) => gap.range.after,
            None => through,
        };
        let range = Range { after: self.after, through };
        let reader = Reader::open(&self.context.store, range).await;
        self.reader = Some((reader.map_err(|e| reader::count(&self.context, e).into_status())?, through));
        Ok(true)
    }

    /// The first gap up to `through` that the reader has not accepted.
    fn gap_before(&self, through: CommitTs) -> Option<Gap> {
        let is_new = |gap: &Gap| {
            let covers = |known: &Range| known.after <= gap.range.after && known.through >= gap.range.through;
            !self.accepted.iter().any(covers)
        };
        let meets = |gap: &Gap| gap.range.through > self.after && gap.range.after < through;
        self.context.store.gaps().into_iter().find(|gap| meets(gap) && is_new(gap))
    }

    /// One batch; None when all of it was filtered out and more follows at once.
    async fn read(&mut self) -> Result<Option<wire::ScanResponse>, Status> {
        let Some((reader, through)) = &mut self.reader else { return Ok(None) };
        let through = *through;
        let batch = reader.next_batch(self.batch_bytes).await;
        let batch = batch.map_err(|e| reader::count(&self.context, e).into_status())?;
        if batch.done {
            self.reader = None;
            self.after = through;
            let end = self.through.is_some_and(|last| through >= last);
            self.ended = end;
            return Ok(Some(self.response(Vec::new(), end)));
        }
        self.after = self.after.max(batch.complete_through);
        let fragments = self.filter(batch.fragments).await?;
        Ok(Some(self.response(fragments, false)))
    }

    async fn filter(&mut self, fragments: Vec<Fragment>) -> Result<Vec<Fragment>, Status> {
        let Some(tables) = self.tables.clone() else { return Ok(fragments) };
        let (store, mut skipping) = (self.context.store.clone(), self.skipping);
        let work = move || {
            let mut kept = Vec::with_capacity(fragments.len());
            for fragment in fragments {
                if fragment.sequence == 0 {
                    skipping = !tables.wants(&store, &fragment)?;
                }
                if !skipping {
                    kept.push(fragment);
                }
            }
            Ok((kept, skipping))
        };
        let (kept, skipping) =
            reader::blocking(work).await.map_err(|e| e.into_status())?.map_err(|e| status::of_store(&e))?;
        self.skipping = skipping;
        Ok(kept)
    }

    fn response(&self, fragments: Vec<Fragment>, end: bool) -> wire::ScanResponse {
        wire::ScanResponse {
            fragments: fragments.into_iter().map(fragment_out).collect(),
            complete_through: self.after.raw(),
            end,
        }
    }

    /// Waits for the watermark to rise.
    async fn wait(&mut self) -> Result<(), Status> {
        let start = self.context.clock.monotonic();
        let follows = self.through.is_none();
        let patience = self.patience;
        tokio::select! {
            () = self.context.stop.cancelled() => return Err(status::stopping()),
            changed = self.watermark.changed() => changed.map_err(|_| status::stopping())?,
            () = tokio::time::sleep(patience), if !follows => {}
        }
        if let Some(through) = self.through {
            self.patience = patience.saturating_sub(self.context.elapsed_since(start));
            let watermark = *self.watermark.borrow();
            if self.patience.is_zero() && watermark < through {
                return Err(status::not_yet(through, watermark));
            }
        }
        Ok(())
    }
}

fn fragment_out(fragment: Fragment) -> wire::Fragment {
    wire::Fragment {
        commit_ts: fragment.commit_ts.raw(),
        start_ts: fragment.start_ts.raw(),
        schema_version: fragment.schema_version.0,
        flags: u32::from(fragment.ddl) | u32::from(fragment.fake) << 1,
        sequence: fragment.sequence,
        last: fragment.last,
        extra: fragment.extra,
        payload: fragment.payload,
    }
}
