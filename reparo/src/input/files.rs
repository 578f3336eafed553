//! The original drainer's binlog files as a source.

use std::path::Path;

use binlog_archive::{Archive, Decoder, Error as ArchiveError, Records, Statement, Subject};
use binlog_catalog::{Event, TableFilter};
use binlog_pull::{EventBatch, narrow};
use binlog_types::{CommitTs, Range};
use jiff::tz::TimeZone;
use tokio::sync::mpsc;

use super::pumps::missing;
use super::reading::Parcel;
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
    /// The last record.
    last: CommitTs,
}

impl Files {
    /// Lists the directory, and looks for its last record. With a zone, values come as pumps give them; without, as they are written.
    ///
    /// # Errors
    /// When there is no file, or the last ones are damaged.
    pub async fn open(dir: &Path, zone: Option<TimeZone>) -> Result<Self, Error> {
        let dir = dir.to_owned();
        let opened = tokio::task::spawn_blocking(move || Self::open_now(&dir, zone)).await;
        opened.unwrap_or(Err(Error::ReaderDied { position: CommitTs::ZERO }))
    }

    fn open_now(dir: &Path, zone: Option<TimeZone>) -> Result<Self, Error> {
        let archive = Archive::open(dir)?;
        // Only the last file is read for that.
        let after = archive.files().iter().rev().find_map(|f| f.first).unwrap_or_default();
        let mut records = archive.records(Range { after, through: CommitTs::MAX });
        while next(&mut records)?.is_some() {}
        Ok(Files { archive, zone, last: records.last() })
    }

    pub(super) fn names(&self) -> Vec<String> {
        vec![format!("{} binlog file(s) in {}", self.archive.files().len(), self.archive.dir().display())]
    }

    /// What is to be said about how far the files reach.
    pub(super) fn notes(&self) -> Vec<String> {
        let (last, at) = (self.last, utc(self.last.ts()));
        vec![format!(
            "note: the last record of the files is at {last} ({at}); what came after is not in them"
        )]
    }

    /// The last record.
    pub(super) fn newest(&self) -> CommitTs {
        self.last
    }

    /// As [`Input::check`](super::Input::check). Files know of no watermark: a range that ends after the last record ends there.
    pub(super) fn check(&self, range: Range, allow: bool) -> Result<(Range, Vec<Hole>), Error> {
        let mut holes = Vec::new();
        let holder = format!("binlog files in {}", self.archive.dir().display());
        for (gap, reason) in self.archive.gaps() {
            missing(&holder, range, CommitTs::ZERO, (gap, &reason), allow, &mut holes)?;
        }
        Ok((Range { after: range.after, through: range.through.min(self.last) }, holes))
    }

    /// Reads and decodes on a thread of its own.
    pub(super) fn read(&self, range: Range, filter: TableFilter) -> Reading {
        let decoder = match &self.zone {
            Some(zone) => Decoder::typed(zone.clone()),
            None => Decoder::as_written(),
        };
        let reader = Reader { records: self.archive.records(range), decoder, filter, through: range.through };
        let (sender, receiver) = mpsc::channel(BATCHES);
        tokio::task::spawn_blocking(move || reader.run(&sender));
        Reading::of_thread(receiver, range.after)
    }
}

fn next(records: &mut Records) -> Result<Option<()>, ArchiveError> {
    records.next().map(|record| record.map(drop))
}

/// Records to events, on the reader's thread.
struct Reader {
    records: Records,
    decoder: Decoder,
    filter: TableFilter,
    through: CommitTs,
}

impl Reader {
    fn run(mut self, out: &mpsc::Sender<Parcel>) {
        loop {
            let parcel = self.batch();
            let last = parcel.as_ref().map_or(true, |batch| batch.end);
            // A receiver that is gone wants no more.
            if out.blocking_send(parcel).is_err() || last {
                break;
            }
        }
        if self.records.copies() > 0 {
            tracing::info!(records = self.records.copies(), "left out what a restarted drainer wrote again");
        }
    }

    fn batch(&mut self) -> Parcel {
        let mut batch = EventBatch::default();
        let mut bytes = 0;
        while bytes < BATCH_BYTES {
            let Some((path, record, binlog)) = self.records.next()? else {
                batch.complete_through = self.through;
                batch.end = true;
                break;
            };
            bytes += record.payload.len();
            let event = self.decoder.event(&path, &record, binlog)?;
            // Another record may share the commit_ts: it is complete once the next one is seen.
            batch.complete_through = event.commit_ts().ts().prev().into();
            match self.narrow(event) {
                Some(event) => batch.events.push(event),
                None => batch.skipped += 1,
            }
        }
        Ok(batch)
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
