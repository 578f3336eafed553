//! From the source to the destination.

use std::future::Future;

use binlog_catalog::Event;
use binlog_pull::EventBatch;
use binlog_types::{CommitTs, Range};
use tokio::time::Instant;

use crate::destination::Destination;
use crate::progress::Progress;
use crate::standing::{Standing, Way};
use crate::{Config, Counts, Error, Reading, Selection, Summary};

/// Restores what `config` asks for. Ends early, with an error, when `shutdown` does.
///
/// # Errors
/// [`Error`]; each says up to where the destination has everything.
pub async fn run(config: &Config, shutdown: impl Future<Output = ()>) -> Result<Summary, Error> {
    let started = Instant::now();
    config.validate()?;
    let mut standing = if config.go_on { Standing::open(config).await? } else { None };
    let start = match &standing {
        Some(standing) => Some(standing.end()?),
        None if config.go_on => return Err(Error::NoDatabase),
        None => None,
    };
    let mut selection = Selection::find(config, start).await?;
    if selection.asked.is_empty() {
        tracing::warn!("nothing lies in {}", selection.asked);
        return Ok(Summary::new(&selection));
    }
    if standing.is_none() {
        standing = Standing::open(config).await?;
    }
    let database = match standing {
        Some(standing) => {
            let way = standing.way(config, &selection).await?;
            Some((standing, way))
        }
        None => None,
    };
    let way = database.as_ref().map(|(_, way)| way);
    let resumed = way.filter(|way| way.resumed).map(|way| way.after);
    let earlier = way.map(|way| way.entry.holes.clone()).unwrap_or_default();
    let under_way = way.is_some_and(Way::is_under_way);
    // What is there already need not be in the source any more.
    selection.check(resumed.unwrap_or(selection.asked.after), config.allow_gaps).await?;
    let mut summary = Summary::new(&selection);
    if resumed.is_some() {
        summary.range.after = selection.asked.after;
    }
    summary.resumed = resumed.filter(|after| *after > selection.asked.after);
    if selection.range.is_empty() && resumed.is_none() {
        return Ok(summary);
    }
    let range = selection.range;
    let mut destination = Box::pin(Destination::open(config, database, &selection)).await?;
    let mut mover = Mover {
        until_ddl: config.until_next_ddl,
        range,
        begun: under_way,
        first: None,
        counts: &mut summary.counts,
        next_ddl: None,
    };
    let moved = if range.is_empty() {
        Ok(range.through)
    } else {
        let mut reading = selection.read().await?;
        let mut progress = Progress::new(range, "restoring");
        let moved = Box::pin(mover.run(&mut reading, &mut destination, &mut progress, shutdown)).await;
        progress.finish();
        summary.holes.extend_from_slice(reading.holes());
        moved
    };
    summary.next_ddl = mover.next_ddl;
    summary.keep_earlier(earlier);
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
    /// Its first event is done, by an earlier run.
    begun: bool,
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
        let mut noted = 0;
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
            if self.first.is_none()
                && let Some(first) = batch.events.first().map(Event::commit_ts)
            {
                self.first = Some(first);
                if self.until_ddl && !self.begun {
                    destination.note_first(first).await?;
                }
            }
            if reading.holes().len() > noted {
                destination.note_holes(reading.holes()).await?;
                noted = reading.holes().len();
            }
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
        let mut begun = self.begun || self.first.is_some();
        let at = batch.events.iter().enumerate().find_map(|(at, event)| match event {
            Event::Ddl(ddl) if ddl.ahead => None,
            Event::Ddl(ddl) if begun => Some((at, ddl.commit_ts, ddl.query.clone())),
            _ => {
                begun = true;
                None
            }
        });
        let (at, commit_ts, query) = at?;
        batch.events.truncate(at);
        // It comes again with the DDL.
        while batch.events.pop_if(|event| matches!(event, Event::Ddl(ddl) if ddl.ahead)).is_some() {}
        self.next_ddl = Some((commit_ts, query));
        Some(commit_ts.ts().prev().into())
    }
}

#[cfg(test)]
mod tests {
    use binlog_catalog::{Ddl, Part, Transaction};
    use binlog_types::{JobId, SchemaVersion, StartTs};

    use super::*;

    fn ddl(commit_ts: u64, ahead: bool) -> Event {
        Event::Ddl(Ddl {
            start_ts: StartTs::new(commit_ts - 2),
            commit_ts: CommitTs::new(commit_ts),
            job_id: JobId(1),
            job_type: 8,
            schema: "d".to_owned(),
            schema_version: SchemaVersion(1),
            query: "DROP INDEX".to_owned(),
            typed: String::new(),
            zone: None,
            changes: Vec::new(),
            ahead,
        })
    }

    fn rows(commit_ts: u64) -> Event {
        Event::Transaction(Transaction {
            start_ts: StartTs::new(commit_ts - 1),
            commit_ts: CommitTs::new(commit_ts),
            schema_version: SchemaVersion(1),
            part: Part::WHOLE,
            changes: Vec::new(),
        })
    }

    /// Where it stops, and how many events come before that.
    fn cut(events: Vec<Event>) -> (Option<u64>, usize) {
        let range = Range { after: CommitTs::new(0), through: CommitTs::new(100) };
        let mut counts = Counts::default();
        let (until_ddl, begun, first, next_ddl) = (true, false, None, None);
        let mut mover = Mover { until_ddl, range, begun, first, counts: &mut counts, next_ddl };
        let mut batch = EventBatch::default();
        batch.events.extend(events);
        let stop = mover.cut(&mut batch);
        (stop.map(|at| at.raw()), batch.events.len())
    }

    #[test]
    fn what_goes_ahead_of_a_ddl_is_no_ddl_to_stop_before() {
        assert_eq!(cut(vec![rows(10), ddl(20, true), rows(20), ddl(30, false)]), (Some(29), 3));
        assert_eq!(cut(vec![ddl(20, true), rows(20)]), (None, 2));
        assert_eq!(
            cut(vec![ddl(20, true), ddl(20, false), rows(30)]),
            (None, 3),
            "the DDL is the step itself"
        );
        assert_eq!(
            cut(vec![rows(10), ddl(20, true), ddl(20, false)]),
            (Some(19), 1),
            "it comes again with it"
        );
    }
}
