//! What was asked for, resolved: the source, the range, and what of it is missing.

use std::future::Future;

use binlog_catalog::{Event, TableFilter};
use binlog_types::{CommitTs, Range};
use jiff::tz::TimeZone;

use crate::progress::Progress;
use crate::{Bounds, Config, Counts, Error, Hole, Input, Reading, utc};

/// A checked range of an open source.
#[derive(Debug)]
pub struct Selection {
    /// Where it is read from.
    pub input: Input,
    /// What is read.
    pub range: Range,
    /// What was asked for, before anything was found to be missing.
    pub asked: Range,
    /// The end that was asked for; None: what there is.
    pub stop: Option<CommitTs>,
    /// What is missing in it and was allowed to be.
    pub holes: Vec<Hole>,
    filter: TableFilter,
}

impl Selection {
    /// Opens the source that `config` names, echoes the range that it means, and waits until it is there.
    ///
    /// # Errors
    /// For contradictions, sources that cannot be read, and ranges that are not all there.
    pub async fn open(config: &Config) -> Result<Self, Error> {
        if config.go_on {
            return Err(Error::OfRestore("-continue"));
        }
        let mut selection = Self::find(config, None).await?;
        selection.check(selection.asked.after, config.allow_gaps).await?;
        Ok(selection)
    }

    /// Opens the source that `config` names and echoes the range that it means, from `start` on if that is given. Whether it is all there is not
    /// checked yet.
    pub(crate) async fn find(config: &Config, start: Option<CommitTs>) -> Result<Self, Error> {
        config.origin()?;
        let filter = config.filter()?;
        let mut asked = config.clone();
        if let Some(start) = start {
            asked.after_tso = start.as_i64();
        }
        let bounds = Bounds::resolve(&asked, &TimeZone::system())?;
        for note in &bounds.notes {
            tracing::info!("{note}");
        }
        let input = Input::open(config).await?;
        let cluster = input.cluster();
        if let Some(backup) = bounds.cluster.filter(|backup| cluster.0 != 0 && *backup != cluster) {
            let text = format!("the backup is of cluster {backup}, the binlogs are of {cluster}");
            return Err(Error::Config(text));
        }
        let through = bounds.through.unwrap_or_else(|| {
            let newest = input.newest();
            tracing::info!("no stop was given: what there is now, through {newest} ({})", utc(newest.ts()));
            newest
        });
        let asked = Range { after: bounds.after, through };
        Ok(Selection { input, range: asked, asked, stop: bounds.through, holes: Vec::new(), filter })
    }

    /// Checks that all of it above `after` is there, and waits until it is.
    ///
    /// # Errors
    /// Where something is missing, unless `allow`.
    pub(crate) async fn check(&mut self, after: CommitTs, allow: bool) -> Result<(), Error> {
        let range = Range { after, through: self.asked.through };
        if range.is_empty() {
            self.range = Range { after: range.through, through: range.through };
            return Ok(());
        }
        (self.range, self.holes) = self.input.check(range, allow)?;
        if self.range.is_empty() {
            tracing::warn!("nothing lies in {}", self.range);
            return Ok(());
        }
        self.input.wait(self.range.through).await
    }

    /// Finds all that is missing of it above `after`, and takes what is there. Returns why a restore that is not told to do without it would not
    /// begin.
    ///
    /// # Errors
    /// When the source cannot be asked.
    pub(crate) async fn survey(&mut self, after: CommitTs) -> Result<Vec<Error>, Error> {
        let range = Range { after: after.min(self.asked.through), through: self.asked.through };
        let (kept, findings) = self.input.survey(range);
        let mut refusals = Vec::with_capacity(findings.len());
        for finding in findings {
            self.holes.push(finding.hole);
            refusals.push(finding.refusal);
        }
        self.range = kept;
        if kept.is_empty() {
            return Ok(refusals);
        }
        match self.input.wait(kept.through).await {
            Ok(()) => {}
            Err(Error::NotYet { holder, watermark, through }) => {
                let range = Range { after: watermark.max(kept.after), through };
                self.holes.push(Hole { holder: holder.clone(), range, reason: "not there yet".to_owned() });
                self.range.through = range.after;
                refusals.push(Error::NotYet { holder, watermark, through });
            }
            Err(error) => return Err(error),
        }
        Ok(refusals)
    }

    /// Starts reading the range.
    ///
    /// # Errors
    /// When it cannot begin.
    pub async fn read(&self) -> Result<Reading, Error> {
        self.input.read(self.range, self.filter.clone()).await
    }

    /// Reads to the end, or until `each` says that it has enough (false); returns how many records were left out.
    ///
    /// # Errors
    /// Those of reading and of `each`, and [`Error::Interrupted`] when `shutdown` ends.
    pub(crate) async fn each(
        &self,
        reading: &mut Reading,
        doing: &'static str,
        shutdown: impl Future<Output = ()>,
        mut each: impl FnMut(&Event) -> Result<bool, Error>,
    ) -> Result<u64, Error> {
        let mut progress = Progress::new(self.range, doing);
        let mut counts = Counts::default();
        let mut first = None;
        tokio::pin!(shutdown);
        loop {
            let batch = tokio::select! {
                () = &mut shutdown => {
                    return Err(Error::Interrupted { position: reading.position(), through: self.range.through });
                }
                batch = reading.next() => batch?,
            };
            first = first.or_else(|| batch.events.first().map(Event::commit_ts));
            for event in &batch.events {
                counts.add(event);
                if !each(event)? {
                    progress.finish();
                    return Ok(counts.skipped);
                }
            }
            counts.skipped += batch.skipped;
            progress.update(&counts, first, reading.position());
            if batch.end {
                progress.finish();
                return Ok(counts.skipped);
            }
        }
    }
}
