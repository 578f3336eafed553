//! Looks for pumps in the registry: at intervals, and when a pump that is about to go online calls.

use std::sync::Arc;

use binlog_cluster::{NodeKind, NodeState};
use binlog_pull::Member;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

use crate::context::{Asked, Context, NewMembers};

/// Runs until stopped. Members go to the task that fetches, which says when it has taken them.
pub(crate) async fn run(
    context: Arc<Context>,
    mut asked: mpsc::Receiver<Asked>,
    members: mpsc::Sender<NewMembers>,
) {
    let mut ticks = interval(context.settings.detect_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut current: Option<Vec<Member>> = None;
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
    }
}

async fn look(
    context: &Context,
    current: &mut Option<Vec<Member>>,
    members: &mpsc::Sender<NewMembers>,
) -> Result<(), String> {
    let nodes = context.cluster.registry.list(NodeKind::Pump).await.map_err(|e| e.to_string())?;
    // A paused pump may hold what comes next: only an offline one is known to hold nothing more.
    let mut found: Vec<Member> = nodes
        .into_iter()
        .filter(|node| node.state != NodeState::Offline)
        .map(|node| Member { id: node.node_id, host: node.host })
        .collect();
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

fn position_metrics(context: &Context) {
    let Some(progress) = context.progress() else { return };
    for member in progress.members() {
        let physical = member.complete_through.ts().physical();
        context.metrics.pump_position.with_label_values(&[member.id.as_str()]).set(physical as f64);
    }
}
