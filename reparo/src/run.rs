//! From the pumps to the destination.

use std::future::Future;
use std::time::Duration;

use binlog_catalog::Start;
use binlog_pull::{EventStream, StreamOptions};
use binlog_types::{CommitTs, Range};
use jiff::tz::TimeZone;
use tokio::time::Instant;

use crate::destination::{CLOSE_TIMEOUT, Destination};
use crate::progress::Progress;
use crate::{Bounds, Config, Counts, Error, Source, Summary, utc};

/// Bytes of payload in flight over all pumps.
const BUDGET: usize = 256 << 20;
const IDLE_LOG: Duration = Duration::from_secs(10);
const IDLE_LIMIT: Duration = Duration::from_secs(120);

/// Restores what `config` asks for. Ends early, with an error, when `shutdown` does.
///
/// # Errors
/// [`Error`]; each says up to where the destination has everything.
pub async fn run(config: &Config, shutdown: impl Future<Output = ()>) -> Result<Summary, Error> {
    let started = Instant::now();
    let from = config.validate()?;
    let bounds = Bounds::resolve(config, &TimeZone::system())?;
    for note in &bounds.notes {
        tracing::info!("{note}");
    }
    let source = Source::connect(&from, config).await?;
    let through = bounds.through.unwrap_or_else(|| {
        let newest = source.newest();
        tracing::info!("no stop was given: what the pumps hold now, through {newest} ({})", utc(newest.ts()));
        newest
    });
    let asked = Range { after: bounds.after, through };
    let (range, holes) = source.check(asked, config.allow_gaps)?;
    let pumps: Vec<_> = source.members().into_iter().map(|m| m.id).collect();
    let mut summary = Summary {
        range,
        pumps,
        offline: source.offline.clone(),
        registered: source.registered,
        holes,
        counts: Counts::default(),
        elapsed: started.elapsed(),
    };
    if range.is_empty() {
        tracing::warn!("nothing lies in {range}");
        return Ok(summary);
    }
    source.wait(range.through).await?;

    let options = StreamOptions {
        cluster: source.cluster,
        after: range.after,
        through: Some(range.through),
        budget: BUDGET,
        ..StreamOptions::default()
    };
    let pull = |source| Error::Pull { position: range.after, source };
    let stream = EventStream::open(options, source.members(), Start::At(range.after), config.filter()?).await;
    let mut stream = stream.map_err(pull)?;
    let mut destination = Destination::open(config, source.cluster, range).await?;
    let mut progress = Progress::new(range);
    let moved =
        pump(&mut stream, &mut destination, range, &mut summary.counts, &mut progress, shutdown).await;
    progress.finish();
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
    stream: &mut EventStream,
    destination: &mut Destination,
    range: Range,
    counts: &mut Counts,
    progress: &mut Progress,
    shutdown: impl Future<Output = ()>,
) -> Result<CommitTs, Error> {
    let mut position = range.after;
    let mut first = None;
    tokio::pin!(shutdown);
    let mut idle = 0;
    loop {
        let batch = tokio::select! {
            () = &mut shutdown => return Err(Error::Interrupted { position, through: range.through }),
            batch = stream.next() => batch.map_err(|source| Error::Pull { position, source })?,
            () = tokio::time::sleep(IDLE_LOG) => {
                // The stream goes on trying for ever; a restore must end.
                idle += IDLE_LOG.as_secs();
                let waits_for = stream.stream().waits_for();
                tracing::warn!(position = position.raw(), idle_seconds = idle, waits_for, "nothing comes");
                if idle >= IDLE_LIMIT.as_secs() {
                    return Err(Error::Stalled { position, seconds: idle, waits_for });
                }
                continue;
            }
        };
        idle = 0;
        first = first.or_else(|| batch.events.first().map(|e| e.commit_ts()));
        batch.events.iter().for_each(|event| counts.add(event));
        counts.skipped += batch.skipped;
        destination.apply(batch.events, position).await?;
        position = position.max(batch.complete_through);
        progress.update(counts, first, position);
        if batch.end {
            return Ok(position);
        }
    }
}
