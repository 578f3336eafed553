//! This node in the registry: registration, heartbeat, and the end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use binlog_cli::tls::{self, Security};
use binlog_cluster::{NodeKind, NodeState, NodeStatus};
use binlog_proto::binlog::NotifyReq;
use binlog_proto::binlog::cistern_client::CisternClient;
use binlog_types::{CommitTs, Ts};
use futures::future::join_all;
use tokio::time::{sleep, timeout};
use tonic::transport::Endpoint;

use crate::context::Shared;
use crate::error::{Error, START_REGISTER};
use crate::{idle, serve};

const REGISTRATION: &str = "registration-ts";
/// For all drainers together.
const NOTIFY_DEADLINE: Duration = Duration::from_secs(10);
const NOTIFY_TRIES: u32 = 3;
const DRAIN_POLL: Duration = Duration::from_secs(1);
/// How many polls pass between two words about who blocks.
const DRAIN_LOG_EVERY: u32 = 10;

/// Registers the node and brings it online. A node that is new, or was offline, first shows itself as `paused` and tells
/// every drainer, so that none can miss its first binlog; a node that was there before is a source of theirs already.
///
/// # Errors
/// When the registry cannot be written.
pub(crate) async fn register(context: &Shared, now: Ts) -> Result<(), Error> {
    let known = context.node.state() != NodeState::Offline;
    let registered = if known { read_registration(context).unwrap_or(now) } else { now };
    write_registration(context, registered).await?;
    if !known {
        context.node.enter(NodeState::Paused);
        publish(context, now).await?;
        notify_drainers(context).await;
    }
    context.node.enter(NodeState::Online);
    publish(context, now).await
}

fn read_registration(context: &Shared) -> Option<Ts> {
    let bytes = context.store.get_meta(REGISTRATION).ok().flatten()?;
    Some(Ts::new(u64::from_be_bytes(bytes.as_ref().try_into().ok()?)))
}

async fn write_registration(context: &Shared, ts: Ts) -> Result<(), Error> {
    let store = context.store.clone();
    tokio::task::spawn_blocking(move || store.put_meta(REGISTRATION, &ts.raw().to_be_bytes()))
        .await
        .map_err(|e| Error::system("store the time of registration")(std::io::Error::other(e)))?
        .map_err(Error::store("store the time of registration"))?;
    context.registration_ts.store(ts.raw(), Ordering::Relaxed);
    Ok(())
}

/// Writes the node's present state into the registry.
pub(crate) async fn publish(context: &Shared, now: Ts) -> Result<(), Error> {
    let status = NodeStatus {
        node_id: context.node.id().clone(),
        host: context.node.host().to_owned(),
        state: context.node.state(),
        is_alive: false,
        score: 0,
        label: None,
        max_commit_ts: context.store.watermark().as_i64(),
        update_ts: now.as_i64(),
    };
    context.registry.put(NodeKind::Pump, &status).await.map_err(Error::cluster(START_REGISTER))
}

/// Rewrites the registry entry every interval, and at once when the state changes, until the pump stops.
pub(crate) async fn heartbeat(context: Shared, mut now: Ts) {
    let mut changes = context.node.changes();
    loop {
        tokio::select! {
            () = context.stop.cancelled() => return,
            _ = changes.changed() => {}
            () = sleep(context.settings.heartbeat) => {}
        }
        now = context.time.now().await.unwrap_or(now);
        if let Err(error) = publish(&context, now).await {
            tracing::error!(%error, "send heartbeat failed");
        }
    }
}

async fn notify_drainers(context: &Shared) {
    let drainers = match context.registry.list(NodeKind::Drainer).await {
        Ok(drainers) => drainers,
        Err(error) => {
            tracing::warn!(%error, "the drainers are not known, so none is told of this pump");
            return;
        }
    };
    let online = drainers.into_iter().filter(|node| node.state == NodeState::Online);
    let calls = online.map(|drainer| {
        let security = &context.settings.security;
        async move {
            let told = timeout(NOTIFY_DEADLINE, notify(security, &drainer.host)).await;
            let error = match told {
                Ok(Ok(())) => return tracing::info!(drainer = %drainer.node_id, "notify drainer success"),
                Ok(Err(error)) => error,
                Err(_) => format!("no answer within {NOTIFY_DEADLINE:?}"),
            };
            // The original gives up here, so that a dead drainer keeps new pumps from starting. A living drainer that was
            // not told finds this pump by itself when it next lists the registry.
            tracing::warn!(drainer = %drainer.node_id, host = drainer.host, error, "fail to notify drainer; if it is gone, set its state to paused or offline");
        }
    });
    join_all(calls).await;
}

async fn notify(security: &Security, host: &str) -> Result<(), String> {
    let mut delay = Duration::from_secs(1);
    let mut tries = 1;
    loop {
        match notify_once(security, host).await {
            Ok(()) => return Ok(()),
            Err(error) if tries >= NOTIFY_TRIES => return Err(error),
            Err(_) => sleep(delay).await,
        }
        tries += 1;
        delay *= 2;
    }
}

async fn notify_once(security: &Security, host: &str) -> Result<(), String> {
    let text = |error: tonic::transport::Error| serve::with_causes(&error);
    let scheme = if security.ssl_ca.is_empty() { "http" } else { "https" };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{host}"))
        .map_err(text)?
        .connect_timeout(NOTIFY_DEADLINE / 3);
    if let Some(tls) = tls::client(security).map_err(|e| e.to_string())? {
        endpoint = endpoint.tls_config(tls).map_err(text)?;
    }
    let channel = endpoint.connect().await.map_err(text)?;
    CisternClient::new(channel)
        .notify(NotifyReq {})
        .await
        .map(|_| ())
        .map_err(|status| status.message().to_owned())
}

/// Waits until every transaction here has ended and every drainer that is not offline has read all of it.
pub(crate) async fn drained(context: &Shared) {
    let last = settled(context).await;
    for poll in 0_u32.. {
        match context.registry.list(NodeKind::Drainer).await {
            Ok(drainers) => {
                let behind: Vec<_> = drainers
                    .iter()
                    .filter(|node| node.state != NodeState::Offline && node.max_commit_ts < last.as_i64())
                    .collect();
                if behind.is_empty() {
                    return;
                }
                if poll.is_multiple_of(DRAIN_LOG_EVERY) {
                    for node in behind {
                        let checkpoint = Ts::new(u64::try_from(node.max_commit_ts).unwrap_or(0));
                        let behind_ms = last.ts().physical().saturating_sub(checkpoint.physical());
                        tracing::info!(drainer = %node.node_id, ?node.state, %checkpoint, until = %last, behind_ms, "Waiting for drainer to consume binlog");
                    }
                }
            }
            Err(error) => {
                tracing::error!(%error, "the drainers' checkpoints are not known, so this pump waits")
            }
        }
        sleep(DRAIN_POLL).await;
    }
}

/// Waits until the watermark has passed the moment of the call and no transaction is open; gives the watermark then.
async fn settled(context: &Shared) -> CommitTs {
    let mut until = None;
    loop {
        let offered = idle::offer(context).await;
        until = until.or(offered);
        let watermark = context.store.watermark();
        if until.is_some_and(|until| watermark >= until) && context.store.pending_count() == 0 {
            return watermark;
        }
        sleep(DRAIN_POLL / 10).await;
    }
}
