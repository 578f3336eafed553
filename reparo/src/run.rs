//! From the source to the destination.

use std::future::Future;

use binlog_catalog::Event;
use binlog_pull::EventBatch;
use binlog_types::{CommitTs, Range};
use tokio::time::Instant;

use crate::destination::Destination;
use crate::progress::Progress;
use crate::{Config, Counts, Error, Reading, Selection, Summary, database};

/// Restores what `config` asks for. Ends early, with an error, when `shutdown` does.
///
/// # Errors
/// [`Error`]; each says up to where the destination has everything.
pub async fn run(config: &Config, shutdown: impl Future<Output = ()>) -> Result<Summary, Error> {
    let started = Instant::now();
    config.validate()?;
    let mut config = config.clone();
    if config.go_on {
        config.after_tso = database::last_end(&config).await?.as_i64();
    }
    let mut selection = Selection::open(&config).await?;
    let mut summary = Summary::new(&selection);
    if selection.range.is_empty() {
        return Ok(summary);
    }
    let (mut destination, after) = Destination::open(&config, &selection).await?;
    selection.range.after = after.min(selection.range.through);
    let range = selection.range;
    summary.resumed = (after > summary.range.after).then_some(after);
    let mut mover = Mover {
        until_ddl: config.until_next_ddl,
        range,
        first: None,
        counts: &mut summary.counts,
        next_ddl: None,
    };
    let moved = if range.is_empty() {
        Ok(range.through)
    } else {
        let mut reading = selection.read().await?;
        let mut progress = Progress::new(range, "restoring");
        let moved = mover.run(&mut reading, &mut destination, &mut progress, shutdown).await;
        progress.finish();
        summary.holes.extend_from_slice(reading.holes());
        moved
    };
    summary.next_ddl = mover.next_ddl;
    match moved {
        Ok(position) => {
            destination.finish(position).await?;
            summary.range.through = position;
        }
        Err(error) => {
            // What came through stays; the first error is the one to tell.
            destination.abandon().await;
            return Err(error);
        }
    }
    summary.elapsed = started.elapsed();
    Ok(summary)
}

/// Moves batches.
struct Mover<'a> {
    until_ddl: bool,
    range: Range,
    first: Option<CommitTs>,
    counts: &'a mut Counts,
    /// The DDL before which it stopped.
    next_ddl: Option<(CommitTs, String)>,
}

impl Mover<'_> {
    /// Moves until the range ends, or the next DDL comes; returns the position reached.
    async fn run(
        &mut self,
        reading: &mut Reading,
        destination: &mut Destination,
        progress: &mut Progress,
        shutdown: impl Future<Output = ()>,
    ) -> Result<CommitTs, Error> {
        tokio::pin!(shutdown);
        loop {
            let before = reading.position();
            let mut batch = tokio::select! {
                () = &mut shutdown => return Err(Error::Interrupted { position: before, through: self.range.through }),
                batch = reading.next() => batch?,
            };
            let mut position = reading.position();
            let stop = self.cut(&mut batch);
            if let Some(stop) = stop {
                position = stop;
            }
            self.first = self.first.or_else(|| batch.events.first().map(Event::commit_ts));
            batch.events.iter().for_each(|event| self.counts.add(event));
            self.counts.skipped += batch.skipped;
            let end = batch.end;
            destination.expect_back(std::mem::take(&mut batch.recovered));
            destination.apply(batch, position).await?;
            progress.update(self.counts, self.first, position);
            if end || stop.is_some() {
                return Ok(position);
            }
        }
    }

    /// Takes away what lies at and behind the next DDL; one that nothing came before is the step itself. Returns where to stop.
    fn cut(&mut self, batch: &mut EventBatch) -> Option<CommitTs> {
        if !self.until_ddl {
            return None;
        }
        let begun = self.first.is_some();
        let at = batch.events.iter().enumerate().find_map(|(at, event)| match event {
            Event::Ddl(ddl) if begun || at > 0 => Some((at, ddl.commit_ts, ddl.query.clone())),
            _ => None,
        });
        let (at, commit_ts, query) = at?;
        batch.events.truncate(at);
        self.next_ddl = Some((commit_ts, query));
        Some(commit_ts.ts().prev().into())
    }
}
