//! `PullBinlogs`: whole transactions as the original sends them, for ever.

use std::collections::VecDeque;
use std::time::Duration;

use binlog_proto::binlog::{BinlogType, Entity, Meta, Pos, PullBinlogResp};
use binlog_proto::{compose_commit, decode_extra};
use binlog_storage::Fragment;
use binlog_types::{CommitTs, Range};
use bytes::Bytes;
use prost::Message;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;
use tonic::Status;

use super::reader::{self, ReadError, Reader};
use super::status;
use crate::config::PurgedPull;
use crate::context::Shared;

const BATCH_BYTES: usize = 1 << 20;
/// What a drainer may hold of a transaction without its turn. One entity is one message, so a larger one is put together whole, for one drainer
/// at a time.
const OVERSIZE: usize = 8 << 20;
/// How long a turn is waited for. A drainer that does not take its message must not stop the others: better more memory than that.
const TURN_LIMIT: Duration = Duration::from_secs(60);

/// The stream of one drainer. It is driven by its reader: nothing is read ahead of what the connection takes.
#[derive(Debug)]
pub(super) struct PullStream {
    context: Shared,
    watermark: watch::Receiver<CommitTs>,
    /// Everything at or below was sent or needs no sending.
    after: CommitTs,
    /// The last commit_ts that went out; fakes must be above it.
    last_sent: CommitTs,
    /// None: a drainer that just came learns at once how far this pump is, since it hands out nothing before.
    last_sent_at: Option<Duration>,
    reader: Option<(Reader, CommitTs)>,
    ready: VecDeque<Ready>,
    joining: Joining,
    /// Of what went out last: the connection asks for more when it has taken that.
    taking: Turn,
}

/// Held from when a transaction turns out to be oversize until its message is taken.
type Turn = Option<OwnedSemaphorePermit>;

#[derive(Debug)]
struct Ready {
    response: PullBinlogResp,
    turn: Turn,
}

/// The fragments so far of one transaction.
#[derive(Debug, Default)]
struct Joining {
    pieces: Vec<Fragment>,
    bytes: usize,
    turn: Turn,
    /// The turn was not to be had, and is not asked for again.
    gave_up: bool,
}

impl PullStream {
    /// A stream of everything above `after`.
    pub(super) fn new(context: Shared, after: CommitTs) -> Self {
        let watermark = context.watermark.subscribe();
        PullStream {
            context,
            watermark,
            after,
            last_sent: after,
            last_sent_at: None,
            reader: None,
            ready: VecDeque::new(),
            joining: Joining::default(),
            taking: None,
        }
    }

    /// The next entity; None when the pump stops.
    pub(super) async fn next(&mut self) -> Result<Option<PullBinlogResp>, Status> {
        self.taking = None;
        loop {
            if let Some(Ready { response, turn }) = self.ready.pop_front() {
                self.last_sent_at = Some(self.context.clock.monotonic());
                self.taking = turn;
                return Ok(Some(response));
            }
            match self.read().await {
                Ok(true) => {}
                Ok(false) => {
                    if !self.wait().await {
                        return Ok(None);
                    }
                }
                Err(ReadError::Purged(safe_point)) => self.jump(safe_point)?,
                Err(error @ ReadError::Other(_)) => {
                    return Err(reader::count(&self.context, error).into_status());
                }
            }
        }
    }

    /// Reads on; false when everything up to the watermark was read.
    async fn read(&mut self) -> Result<bool, ReadError> {
        if self.reader.is_none() {
            let through = *self.watermark.borrow_and_update();
            if through <= self.after {
                return Ok(false);
            }
            let reader = Reader::open(&self.context.store, Range { after: self.after, through }).await?;
            self.reader = Some((reader, through));
        }
        if self.joining.bytes > OVERSIZE {
            self.wait_for_turn().await?;
        }
        let Some((reader, through)) = &mut self.reader else { return Ok(false) };
        let through = *through;
        let batch = match reader.next_batch(BATCH_BYTES).await {
            Ok(batch) => batch,
            Err(error) => {
                self.reader = None;
                self.joining = Joining::default();
                return Err(error);
            }
        };
        for fragment in batch.fragments {
            self.take(fragment).map_err(ReadError::Other)?;
        }
        if batch.done {
            self.reader = None;
            self.after = through;
        }
        Ok(true)
    }

    fn take(&mut self, fragment: Fragment) -> Result<(), Status> {
        let (last, commit_ts) = (fragment.last, fragment.commit_ts);
        self.joining.bytes += fragment.payload.len();
        self.joining.pieces.push(fragment);
        if last {
            let Joining { pieces, turn, .. } = std::mem::take(&mut self.joining);
            self.ready.push_back(Ready { response: join(&pieces)?, turn });
            self.after = commit_ts;
            self.last_sent = commit_ts;
        }
        Ok(())
    }

    /// Waits until no other drainer is at a transaction as large.
    async fn wait_for_turn(&mut self) -> Result<(), ReadError> {
        let joining = &mut self.joining;
        if joining.turn.is_some() || joining.gave_up {
            return Ok(());
        }
        let commit_ts = joining.pieces.first().map_or(CommitTs::ZERO, |piece| piece.commit_ts);
        tracing::info!(%commit_ts, "a large transaction goes to a drainer in one message, one drainer at a time");
        let turn = std::sync::Arc::clone(&self.context.oversize).acquire_owned();
        tokio::select! {
            () = self.context.stop.cancelled() => return Err(ReadError::Other(status::stopping())),
            turn = timeout(TURN_LIMIT, turn) => match turn {
                Ok(turn) => joining.turn = turn.ok(),
                Err(_) => {
                    tracing::warn!(%commit_ts, "another drainer does not take its large transaction: this one is put together besides, in more memory");
                    joining.gave_up = true;
                }
            },
        }
        Ok(())
    }

    /// Waits until there is something to read or a fake is due; false when the pump stops.
    async fn wait(&mut self) -> bool {
        let watermark = *self.watermark.borrow();
        let interval = self.context.settings.fake_interval;
        let until_fake = self
            .last_sent_at
            .map_or(Duration::ZERO, |last| interval.saturating_sub(self.context.elapsed_since(last)));
        if watermark > self.last_sent && until_fake.is_zero() && watermark <= self.after {
            self.ready.push_back(Ready { response: fake(watermark), turn: None });
            self.last_sent = watermark;
            return true;
        }
        // With nothing to tell, a fake is not due however long it takes.
        let until_fake = if watermark > self.last_sent { until_fake } else { interval };
        tokio::select! {
            () = self.context.stop.cancelled() => false,
            changed = self.watermark.changed() => changed.is_ok(),
            () = tokio::time::sleep(until_fake.max(Duration::from_millis(1))) => true,
        }
    }

    /// What lies below the safe point is gone: an error, or on with what is left.
    fn jump(&mut self, safe_point: CommitTs) -> Result<(), Status> {
        match self.context.settings.purged_pull {
            PurgedPull::Error => Err(status::purged(safe_point)),
            PurgedPull::Clamp => {
                tracing::error!(
                    after = %self.after, %safe_point,
                    "drainer request a purged binlog TS, some binlog events may be loss"
                );
                self.after = self.after.max(safe_point);
                self.last_sent = self.last_sent.max(safe_point);
                Ok(())
            }
        }
    }
}

/// One transaction put together from its fragments.
fn join(pieces: &[Fragment]) -> Result<PullBinlogResp, Status> {
    let Some(first) = pieces.first() else { return Err(Status::internal("a record without fragments")) };
    let (start_ts, commit_ts) = (first.start_ts, first.commit_ts);
    if first.fake {
        return Ok(fake(commit_ts));
    }
    let key = decode_extra(&first.extra)
        .map_err(|e| Status::data_loss(format!("record at commit_ts {commit_ts}: {e}")))?;
    let body = pieces.iter().map(|piece| piece.payload.as_ref());
    let payload = compose_commit(BinlogType::Commit, start_ts.as_i64(), commit_ts.as_i64(), key, body);
    Ok(response(start_ts.as_i64(), commit_ts.as_i64(), payload))
}

/// The filler that tells a reader that everything up to `at` is complete.
fn fake(at: CommitTs) -> PullBinlogResp {
    let body = binlog_proto::Body::default().encode_to_vec();
    let payload = compose_commit(BinlogType::Rollback, at.as_i64(), at.as_i64(), None, [body.as_slice()]);
    response(at.as_i64(), at.as_i64(), payload)
}

fn response(start_ts: i64, commit_ts: i64, payload: Bytes) -> PullBinlogResp {
    // The original always sends an (empty) position.
    let entity = Entity {
        pos: Some(Pos::default()),
        payload,
        checksum: Bytes::new(),
        meta: Some(Meta { start_ts, commit_ts }),
    };
    PullBinlogResp { entity: Some(entity) }
}

#[cfg(test)]
mod tests {
    use binlog_types::{SchemaVersion, StartTs};

    use super::*;

    fn piece(sequence: u32, last: bool, payload: &'static [u8]) -> Fragment {
        Fragment {
            start_ts: StartTs::new(5),
            commit_ts: CommitTs::new(7),
            schema_version: SchemaVersion(1),
            ddl: false,
            fake: false,
            sequence,
            last,
            extra: if sequence == 0 { binlog_proto::encode_extra(Some(b"k")) } else { Bytes::new() },
            payload: Bytes::from_static(payload),
        }
    }

    #[test]
    fn fragments_become_one_entity() {
        let joined =
            join(&[piece(0, false, &[0x38]), piece(1, true, &[0, 0x40, 0])]).unwrap().entity.unwrap();
        assert_eq!(joined.payload, &[0x08, 1, 0x10, 5, 0x18, 7, 0x22, 1, b'k', 0x38, 0, 0x40, 0][..]);
        assert_eq!(joined.meta, Some(Meta { start_ts: 5, commit_ts: 7 }));
    }

    #[test]
    fn a_fake_is_the_originals() {
        assert_eq!(
            fake(CommitTs::new(5)).entity.unwrap().payload,
            &[0x08, 2, 0x10, 5, 0x18, 5, 0x38, 0, 0x40, 0][..]
        );
    }
}
