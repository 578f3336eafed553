//! From the source to the destination.

use std::future::Future;

use binlog_types::{CommitTs, Range};
use tokio::time::Instant;

use crate::destination::{CLOSE_TIMEOUT, Destination};
use crate::progress::Progress;
use crate::{Config, Counts, Error, Reading, Selection, Summary};

/// Restores what `config` asks for. Ends early, with an error, when `shutdown` does.
///
/// # Errors
/// [`Error`]; each says up to where the destination has everything.
pub async fn run(config: &Config, shutdown: impl Future<Output = ()>) -> Result<Summary, Error> {
    let started = Instant::now();
    config.validate()?;
    let selection = Selection::open(config).await?;
    let range = selection.range;
    let mut summary = Summary::new(&selection);
    if range.is_empty() {
        return Ok(summary);
    }
    let mut reading = selection.read().await?;
    let mut destination = Destination::open(config, selection.input.cluster(), range).await?;
    let mut progress = Progress::new(range, "restoring");
    let moved =
        pump(&mut reading, &mut destination, range, &mut summary.counts, &mut progress, shutdown).await;
    progress.finish();
    summary.holes.extend_from_slice(reading.holes());
    match moved {
        Ok(position) => destination.finish(position).await?,
        Err(error) => {
            // What came through stays; the first error is the one to tell.
            if !matches!(error, Error::Output { .. })
                && let Ok(Err(close)) =
                    tokio::time::timeout(CLOSE_TIMEOUT, destination.finish(range.after)).await
            {
                tracing::warn!(error = %close, "closing the destination failed as well");
            }
            return Err(error);
        }
    }
    summary.elapsed = started.elapsed();
    Ok(summary)
}

/// Moves batches until the range ends; returns the position reached, which is the range's end.
async fn pump(
    reading: &mut Reading,
    destination: &mut Destination,
    range: Range,
    counts: &mut Counts,
    progress: &mut Progress,
    shutdown: impl Future<Output = ()>,
) -> Result<CommitTs, Error> {
    let mut first = None;
    tokio::pin!(shutdown);
    loop {
        let position = reading.position();
        let batch = tokio::select! {
            () = &mut shutdown => return Err(Error::Interrupted { position, through: range.through }),
            batch = reading.next() => batch?,
        };
        first = first.or_else(|| batch.events.first().map(|e| e.commit_ts()));
        batch.events.iter().for_each(|event| counts.add(event));
        counts.skipped += batch.skipped;
        let end = batch.end;
        destination.expect_back(batch.recovered);
        destination.apply(batch.events, position).await?;
        progress.update(counts, first, reading.position());
        if end {
            return Ok(reading.position());
        }
    }
}
