//! Looks for pumps in the registry: at intervals, and when a pump that is about to go online calls.

use std::sync::Arc;
use std::time::Duration;

use binlog_cluster::{NodeKind, NodeState};
use binlog_pull::Member;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::context::{Asked, Context, NewMembers};

/// A pump that was not there for so long is named in the log …
const DEAD_AFTER: Duration = Duration::from_secs(10);
/// … this often.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// Runs until stopped. Members go to the task that fetches, which says when it has taken them.
pub(crate) async fn run(
    context: Arc<Context>,
    mut asked: mpsc::Receiver<Asked>,
    members: mpsc::Sender<NewMembers>,
) {
    let mut ticks = interval(context.settings.detect_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut current: Option<Vec<Member>> = None;
    let mut told: Option<Instant> = None;
    loop {
        let answer = tokio::select! {
            () = context.stop.cancelled() => return,
            _ = ticks.tick() => None,
            request = asked.recv() => request,
        };
        let outcome = look(&context, &mut current, &members).await;
        if let Err(why) = &outcome {
            tracing::warn!(%why, "looking for pumps failed");
        }
        if let Some(answer) = answer {
            // Whoever asked may have gone.
            let _ = answer.send(outcome);
        }
        position_metrics(&context);
        tell_of_the_dead(&context, &mut told);
    }
}

async fn look(
    context: &Context,
    current: &mut Option<Vec<Member>>,
    members: &mpsc::Sender<NewMembers>,
) -> Result<(), String> {
    let listing = context.cluster.registry.listing(NodeKind::Pump).await.map_err(|e| e.to_string())?;
    // A pump that cannot be read may hold what comes next.
    if let Some((key, why)) = listing.malformed.first() {
        return Err(format!("{key} in the registry is no node status: {why}; correct or delete it"));
    }
    // So may a paused one: only an offline one is known to hold nothing more.
    let (gone, here): (Vec<_>, Vec<_>) =
        listing.nodes.into_iter().partition(|node| node.state == NodeState::Offline);
    for node in &gone {
        context.ledger.forget(&node.node_id);
    }
    let mut found: Vec<Member> =
        here.into_iter().map(|node| Member { id: node.node_id, host: node.host }).collect();
    // As the original: who vanishes from the registry without having gone offline is still read.
    for member in current.iter().flatten() {
        let known =
            found.iter().any(|m| m.id == member.id) || gone.iter().any(|node| node.node_id == member.id);
        if !known {
            tracing::warn!(pump = %member.id, host = member.host, "a pump vanished from the registry without going offline; it is still pulled from");
            found.push(member.clone());
        }
    }
    found.sort_by(|a, b| a.id.cmp(&b.id));
    if current.as_ref() == Some(&found) {
        return Ok(());
    }
    let (done, taken) = oneshot::channel();
    let ended = |_| "drainer is stopping".to_owned();
    members
        .send(NewMembers { members: found.clone(), done })
        .await
        .map_err(|_| "drainer is stopping".to_owned())?;
    taken.await.map_err(ended)?;
    *current = Some(found);
    Ok(())
}

/// Names a pump that cannot be reached, with what it holds back.
fn tell_of_the_dead(context: &Context, told: &mut Option<Instant>) {
    let Some(progress) = context.progress() else { return };
    let dead = progress.members().into_iter().filter(|m| m.apart.is_some_and(|apart| apart >= DEAD_AFTER));
    let Some(worst) = dead.min_by_key(|m| m.complete_through) else { return };
    if told.is_some_and(|at| at.elapsed() < TELL_EVERY) {
        return;
    }
    *told = Some(Instant::now());
    tracing::warn!(
        pump = %worst.id,
        host = worst.host,
        unreachable_s = worst.apart.unwrap_or_default().as_secs(),
        complete_through = %worst.complete_through,
        why = worst.doing,
        "a pump cannot be reached: nothing after its position can be replicated; bring it back, or take it offline with binlogctl if its data is lost"
    );
}

fn position_metrics(context: &Context) {
    let Some(progress) = context.progress() else { return };
    for member in progress.members() {
        let physical = member.complete_through.ts().physical();
        context.metrics.pump_position.with_label_values(&[member.id.as_str()]).set(physical as f64);
    }
}
