//! The original drainer's binlog files as a source.

use std::path::{Path, PathBuf};

use binlog_archive::{Archive, Decoder, Error as ArchiveError, RawRecord, Records, Statement, Subject};
use binlog_catalog::{Event, TableFilter};
use binlog_proto::pb_binlog;
use binlog_pull::narrow;
use binlog_types::{CommitTs, Range};
use jiff::tz::TimeZone;
use tokio::sync::mpsc;

use super::missing::{Survey, missing};
use super::reading::{Parcel, hand_over};
use super::{Hole, Reading};
use crate::{Error, utc};

/// Payload of a batch.
const BATCH_BYTES: usize = 4 << 20;
/// Batches that wait for the destination.
const BATCHES: usize = 4;

/// A directory of binlog files.
#[derive(Debug)]
pub struct Files {
    archive: Archive,
    /// Of TIMESTAMPs; None: values stay as they are written.
    zone: Option<TimeZone>,
    /// Damage is passed over, and recorded.
    allow_damage: bool,
    /// The last record.
    last: CommitTs,
}

impl Files {
    /// Lists the directory, and looks for its last record. With a zone, values come as pumps give them; without, as they are written.
    ///
    /// # Errors
    /// When there is no file, or the last one is damaged and may not be.
    pub async fn open(dir: &Path, zone: Option<TimeZone>, allow_damage: bool) -> Result<Self, Error> {
        let dir = dir.to_owned();
        let opened = tokio::task::spawn_blocking(move || Self::open_now(&dir, zone, allow_damage)).await;
        opened.unwrap_or(Err(Error::ReaderDied { position: CommitTs::ZERO }))
    }

    fn open_now(dir: &Path, zone: Option<TimeZone>, allow_damage: bool) -> Result<Self, Error> {
        let archive = Archive::open(dir)?;
        // Only the last file is read for that.
        let after = archive.files().iter().rev().find_map(|f| f.first).unwrap_or_default();
        let mut records = archive.records(Range { after, through: CommitTs::MAX });
        loop {
            match records.next() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(ArchiveError::Damaged { .. }) if allow_damage => {
                    records.skip_damage()?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Files { archive, zone, allow_damage, last: records.last() })
    }

    pub(super) fn names(&self) -> Vec<String> {
        vec![format!("{} binlog file(s) in {}", self.archive.files().len(), self.archive.dir().display())]
    }

    /// The first record: files of one drainer keep it, wherever they lie.
    pub(super) fn first(&self) -> CommitTs {
        self.archive.first().unwrap_or_default()
    }

    /// What is to be said about how far the files reach.
    pub(super) fn notes(&self, range: Range) -> Vec<String> {
        let text = |which: &str, ts: CommitTs, side: &str| {
            format!(
                "note: the {which} record of the files is at {ts} ({}); what came {side} is not in them",
                utc(ts.ts())
            )
        };
        let late = self.first() > range.after && range.after != CommitTs::ZERO;
        let first = late.then(|| text("first", self.first(), "before"));
        first.into_iter().chain([text("last", self.last, "after")]).collect()
    }

    /// The last record.
    pub(super) fn newest(&self) -> CommitTs {
        self.last
    }

    /// As [`Input::survey`](super::Input::survey). Files know of no watermark: a range that ends after the last record ends there.
    pub(super) fn survey(&self, range: Range) -> Survey {
        let holder = format!("binlog files in {}", self.archive.dir().display());
        let gaps = self.archive.gaps();
        let findings = gaps
            .into_iter()
            .filter_map(|(gap, reason)| missing(&holder, range, CommitTs::ZERO, (gap, &reason)));
        (Range { after: range.after, through: range.through.min(self.last) }, findings.collect())
    }

    /// Reads and decodes on a thread of its own.
    pub(super) fn read(&self, range: Range, filter: TableFilter) -> Reading {
        let decoder = match &self.zone {
            Some(zone) => Decoder::typed(zone.clone()),
            None => Decoder::as_written(),
        };
        let records = self.archive.records(range);
        let (allow_damage, through) = (self.allow_damage, range.through);
        let mut reader = Reader { records, decoder, filter, allow_damage, through, damaged: None };
        let (sender, receiver) = mpsc::channel(BATCHES);
        tokio::task::spawn_blocking(move || {
            hand_over(&sender, || reader.batch());
            let copies = reader.records.copies();
            if copies > 0 {
                tracing::info!(records = copies, "left out what a restarted drainer wrote again");
            }
        });
        Reading::of_thread(receiver, range.after)
    }
}

/// Records to events, on the reader's thread.
struct Reader {
    records: Records,
    decoder: Decoder,
    filter: TableFilter,
    allow_damage: bool,
    through: CommitTs,
    /// Passed over; where it ends is known with the next record.
    damaged: Option<Hole>,
}

impl Reader {
    fn batch(&mut self) -> Result<Parcel, Error> {
        let Parcel { mut batch, mut holes } = Parcel::default();
        let mut bytes = 0;
        while bytes < BATCH_BYTES {
            let Some((path, record, binlog)) = self.record()? else {
                holes.extend(self.damaged.take());
                batch.complete_through = self.through;
                batch.end = true;
                break;
            };
            bytes += record.payload.len();
            let event = self.decoder.event(&path, &record, binlog)?;
            // Another record may share the commit_ts: it is complete once the next one is seen.
            let complete: CommitTs = event.commit_ts().ts().prev().into();
            if let Some(mut hole) = self.damaged.take() {
                hole.range.through = hole.range.after.max(complete);
                holes.push(hole);
            }
            batch.complete_through = complete;
            match self.narrow(event) {
                Some(event) => batch.events.push(event),
                None => batch.skipped += 1,
            }
        }
        Ok(Parcel { batch, holes })
    }

    /// The next record; behind damage, if that is allowed.
    fn record(&mut self) -> Result<Option<(PathBuf, RawRecord, pb_binlog::Binlog)>, ArchiveError> {
        loop {
            let (path, offset, damage, last) = match self.records.next() {
                Err(ArchiveError::Damaged { path, offset, damage, last }) if self.allow_damage => {
                    (path, offset, damage, last)
                }
                other => return other,
            };
            let bytes = self.records.skip_damage()?;
            let reason = format!("{bytes} bytes at offset {offset} hold no record: {damage}");
            tracing::warn!(file = %path.display(), after = last.raw(), "{reason}");
            // Damage right behind damage is one hole.
            self.damaged.get_or_insert_with(|| Hole {
                holder: path.display().to_string(),
                range: Range { after: last, through: self.through },
                reason,
            });
        }
    }

    /// The part of an event that takes part. Of a DDL only the text tells what it is about.
    fn narrow(&self, event: Event) -> Option<Event> {
        let Event::Ddl(ddl) = &event else { return narrow(event, &self.filter) };
        let statement = Statement::parse(&ddl.query);
        let wanted = match &statement.subject {
            Subject::Database { name, drop: false } => self.filter.needs_database(name),
            Subject::Database { name, drop: true } => self.filter.allows(name, ""),
            Subject::Tables(tables) => tables
                .iter()
                .any(|(database, table)| self.filter.allows(database.as_deref().unwrap_or_default(), table)),
            Subject::Other => self.filter.allows(statement.database.as_deref().unwrap_or_default(), ""),
        };
        wanted.then_some(event)
    }
}
