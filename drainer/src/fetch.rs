//! Pulls, merges and decodes ahead of the sink.

use std::sync::Arc;
use std::time::Duration;

use binlog_catalog::Start;
use binlog_pull::{Dial, EventBatch, EventStream, Member, PemFiles, StreamOptions};
use binlog_sink::Checkpoint;
use binlog_types::{CommitTs, SchemaVersion};
use tokio::sync::mpsc;

use crate::Error;
use crate::context::{Context, NewMembers};
use crate::ledger::FileLedger;

/// Runs until stopped, or until the stream stops. Dropping the sender tells the applying task that no more will come.
pub(crate) async fn run(
    context: Arc<Context>,
    checkpoint: Option<Checkpoint>,
    mut changes: mpsc::Receiver<NewMembers>,
    batches: mpsc::Sender<EventBatch>,
) -> Result<(), Error> {
    let stop = context.stop.clone();
    tokio::select! {
        // First: the task that detects pumps ends at the same signal, and its end is no failure then.
        biased;
        () = stop.cancelled() => Ok(()),
        result = fetch(&context, checkpoint, &mut changes, &batches) => result,
    }
}

async fn fetch(
    context: &Context,
    checkpoint: Option<Checkpoint>,
    changes: &mut mpsc::Receiver<NewMembers>,
    batches: &mpsc::Sender<EventBatch>,
) -> Result<(), Error> {
    let mut members: Vec<Member> = Vec::new();
    let (after, start) = {
        let found = position(context, checkpoint);
        tokio::pin!(found);
        loop {
            tokio::select! {
                position = &mut found => break position?,
                change = changes.recv() => members = taken(change)?,
            }
        }
    };
    context.set_begun(after);
    while members.is_empty() {
        context.set_waiting("no pump is registered");
        tracing::info!("no pump is registered yet: waiting for one");
        members = taken(changes.recv().await)?;
    }
    tracing::info!(%after, ?start, pumps = members.len(), "replicating");
    let settings = &context.settings;
    let security = &settings.security;
    let tls = (!security.ssl_ca.is_empty()).then(|| PemFiles {
        ca: security.ssl_ca.clone(),
        cert: security.ssl_cert.clone(),
        key: security.ssl_key.clone(),
    });
    let options = StreamOptions {
        dial: Dial { tls, gzip: settings.gzip },
        ledger: Arc::<FileLedger>::clone(&context.ledger),
        schema: context.cluster.schema.clone(),
        cluster: context.cluster.id,
        after,
        budget: settings.budget,
        unknown_ddl: settings.unknown_ddl,
        arrivals: Some(context.metrics.arrivals()),
        skips: context.skips.clone(),
        // Where upstream transactions are kept whole, they are in memory as a whole.
        put_aside: (settings.workers > 1).then(|| settings.data_dir.clone()),
        ..StreamOptions::default()
    };
    let select = settings.selection.clone().selector();
    let mut stream = EventStream::open_with(options, members, start, select).await?;
    context.set_progress(stream.progress());
    let mut ready: Option<EventBatch> = None;
    loop {
        // All three may be cancelled; a batch that waits for the sink must not keep new pumps waiting.
        tokio::select! {
            biased;
            change = changes.recv() => {
                let change = change.ok_or(Error::TaskDied("detect"))?;
                stream.set_members(change.members);
                let _ = change.done.send(());
            }
            slot = batches.reserve(), if ready.is_some() => {
                let Ok(slot) = slot else { return Ok(()) };
                if let Some(batch) = ready.take() {
                    slot.send(batch);
                }
            }
            batch = stream.next(), if ready.is_none() => ready = Some(batch?),
        }
    }
}

/// Before there is a stream, new members are just noted.
fn taken(change: Option<NewMembers>) -> Result<Vec<Member>, Error> {
    let change = change.ok_or(Error::TaskDied("detect"))?;
    let _ = change.done.send(());
    Ok(change.members)
}

/// Where to begin: the checkpoint, else the configured position, else now.
async fn position(context: &Context, checkpoint: Option<Checkpoint>) -> Result<(CommitTs, Start), Error> {
    if let Some(checkpoint) = checkpoint.filter(|c| c.commit_ts > CommitTs::ZERO) {
        // No DDL was met before it: what the schema was then is known by the time only.
        let start = match checkpoint.schema_version {
            SchemaVersion(0) => Start::At(checkpoint.commit_ts),
            version => Start::Version(version),
        };
        return Ok((checkpoint.commit_ts, start));
    }
    let after = match context.settings.initial {
        Some(ts) => ts,
        None => now(context).await?,
    };
    Ok((after, Start::At(after)))
}

async fn now(context: &Context) -> Result<CommitTs, Error> {
    let mut logged = false;
    loop {
        match context.cluster.oracle.now().await {
            Ok(ts) => return Ok(CommitTs::from(ts)),
            Err(error) if error.is_retryable() => {
                context.set_waiting(format!("a timestamp to begin at: {error}"));
                if !logged {
                    tracing::info!(%error, "waiting for a timestamp to begin at");
                    logged = true;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(source) => return Err(Error::Cluster { what: "ask for a timestamp to begin at", source }),
        }
    }
}
