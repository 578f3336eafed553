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
        config.origin()?;
        let filter = config.filter()?;
        let bounds = Bounds::resolve(config, &TimeZone::system())?;
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
        let (range, holes) = input.check(asked, config.allow_gaps)?;
        if range.is_empty() {
            tracing::warn!("nothing lies in {range}");
        } else {
            input.wait(range.through).await?;
        }
        Ok(Selection { input, range, asked, stop: bounds.through, holes, filter })
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
