//! This node in the registry: registration, heartbeat, and the end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use binlog_cli::tls::{self, Security};
use binlog_cluster::{Life, LifeMark, NodeKind, NodeState, NodeStatus};
use binlog_proto::binlog::NotifyReq;
use binlog_proto::binlog::cistern_client::CisternClient;
use binlog_types::{REGISTRATION_META, Ts};
use futures::future::join_all;
use tokio::time::{sleep, timeout};
use tonic::transport::Endpoint;

use crate::context::Shared;
use crate::error::{Error, START_REGISTER};
use crate::serve;

/// For all drainers together.
const NOTIFY_DEADLINE: Duration = Duration::from_secs(10);
const NOTIFY_TRIES: u32 = 3;
/// Drainers look at the registry by themselves at least so often: who could not be told finds this pump then.
const DRAINERS_LOOK_EVERY: Duration = Duration::from_secs(12);
/// Without a sign for so long, a node does not live.
const LIFE: Duration = Duration::from_secs(10);

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
        if !notify_drainers(context).await {
            sleep(DRAINERS_LOOK_EVERY).await;
        }
    }
    context.node.enter(NodeState::Online);
    publish(context, now).await
}

fn read_registration(context: &Shared) -> Option<Ts> {
    let bytes = context.store.get_meta(REGISTRATION_META).ok().flatten()?;
    Some(Ts::new(u64::from_be_bytes(bytes.as_ref().try_into().ok()?)))
}

async fn write_registration(context: &Shared, ts: Ts) -> Result<(), Error> {
    let store = context.store.clone();
    tokio::task::spawn_blocking(move || store.put_meta(REGISTRATION_META, &ts.raw().to_be_bytes()))
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

/// Takes this node's name: two pumps of one name would overwrite each other's entry, and TiDB would know one of them at most.
/// A mark or entry that a dead process left is waited out.
///
/// # Errors
/// When another process has the name.
pub(crate) async fn claim_name(context: &Shared) -> Result<LifeMark, Error> {
    let ttl = LIFE.max(context.settings.heartbeat * 5);
    let deadline = context.clock.monotonic() + ttl + Duration::from_secs(3);
    let mut said = false;
    loop {
        let error = match claim_once(context, ttl).await {
            Ok(mark) => return Ok(mark),
            Err(error) => error,
        };
        // The locks of a directory leave nothing behind.
        let taken = matches!(error, binlog_cluster::Error::Taken { .. }) && !context.embedded;
        if !taken || context.clock.monotonic() >= deadline {
            return Err(Error::cluster(START_REGISTER)(error));
        }
        if !said {
            tracing::warn!(%error, "waiting whether the other process still lives");
            said = true;
        }
        sleep(Duration::from_secs(1)).await;
    }
}

async fn claim_once(context: &Shared, ttl: Duration) -> Result<LifeMark, binlog_cluster::Error> {
    // The original has no mark: a heartbeat that is fresh, from another address, says as much.
    if let Some(entry) = context.registry.get(NodeKind::Pump, context.node.id()).await? {
        let lives = matches!(entry.state, NodeState::Online | NodeState::Pausing | NodeState::Closing);
        if lives && entry.host != context.node.host() {
            let now = context.time.now().await.unwrap_or(Ts::MAX);
            let last = Ts::new(u64::try_from(entry.update_ts).unwrap_or(0));
            if now.physical().saturating_sub(last.physical()) < LIFE.as_millis() as u64 {
                return Err(binlog_cluster::Error::Taken { node: entry.node_id, host: entry.host });
            }
        }
    }
    let life = Life {
        node_id: context.node.id().clone(),
        host: context.node.host().to_owned(),
        owner: context.store.uuid().to_string(),
        incarnation: context.store.incarnation(),
    };
    context.registry.claim_life(NodeKind::Pump, life, ttl).await
}

/// Renews the mark until the pump stops; then gives it back, so that the end can free the name.
pub(crate) async fn keep_name(context: Shared, mut mark: LifeMark) {
    loop {
        tokio::select! {
            () = context.stop.cancelled() => break,
            () = sleep(mark.ttl() / 3) => {}
        }
        if let Err(error) = mark.renew().await {
            tracing::error!(%error, "this pump cannot show that it lives");
        }
    }
    if let Err(error) = mark.release().await {
        tracing::debug!(%error, "the mark of this pump ends by itself");
    }
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

/// Tells all drainers that are online; false if one could not be told.
async fn notify_drainers(context: &Shared) -> bool {
    let drainers = match context.registry.listing(NodeKind::Drainer).await {
        Ok(drainers) => drainers,
        Err(error) => {
            tracing::warn!(%error, "the drainers are not known, so none is told of this pump");
            return false;
        }
    };
    for (key, why) in &drainers.malformed {
        tracing::warn!(key, why, "a drainer that cannot be made out is not told of this pump");
    }
    let online = drainers.nodes.into_iter().filter(|node| node.state == NodeState::Online);
    let calls = online.map(|drainer| {
        let security = &context.settings.security;
        async move {
            let told = timeout(NOTIFY_DEADLINE, notify(security, &drainer.host)).await;
            let error = match told {
                Ok(Ok(())) => {
                    tracing::info!(drainer = %drainer.node_id, "notify drainer success");
                    return true;
                }
                Ok(Err(error)) => error,
                Err(_) => format!("no answer within {NOTIFY_DEADLINE:?}"),
            };
            // The original gives up here, so that a dead drainer keeps new pumps from starting. A living drainer that was
            // not told finds this pump by itself when it next lists the registry.
            tracing::warn!(drainer = %drainer.node_id, host = drainer.host, error, "fail to notify drainer; if it is gone, set its state to paused or offline");
            false
        }
    });
    join_all(calls).await.into_iter().all(|told| told) && drainers.malformed.is_empty()
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
