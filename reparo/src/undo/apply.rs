//! The reverse of a range, done in the database: all of it, or nothing.

use binlog_sink::{Session, Target};
use tokio::sync::mpsc;

use super::rows::Statements;
use super::{UndoReport, Undone};
use crate::Error;

/// Statements that wait for the server.
const AHEAD: usize = 256;

/// Runs everything in one transaction. Each statement names the row that it expects; if one is not there, nothing is changed.
pub(super) async fn apply(
    undone: Undone,
    target: &Target,
    leave_conflicts: bool,
) -> Result<UndoReport, Error> {
    let report = undone.report().clone();
    if report.conflict_count > 0 && !leave_conflicts {
        return Err(Error::Conflicts { report: Box::new(report) });
    }
    let position = report.seen_through;
    let failed = |source| Error::Sink { position, source };
    let mut session = Session::open(target).await.map_err(failed)?;
    let (sender, receiver) = mpsc::channel(AHEAD);
    let reader = tokio::task::spawn_blocking(move || {
        let mut undone = undone;
        // A receiver that is gone has met an error of its own.
        let sent =
            undone.statements(|statements| sender.blocking_send(Ok(statements)).map_err(|_| Error::NoPump));
        if let Err(error) = sent {
            let _ = sender.blocking_send(Err(error));
        }
    });
    let done = run(&mut session, receiver).await;
    let ended = match &done {
        Ok(()) => session.execute("COMMIT").await,
        Err(_) => session.execute("ROLLBACK").await,
    };
    session.close().await;
    let read = reader.await;
    done?;
    ended.map_err(failed)?;
    read.map_err(|_| Error::ReaderDied { position })?;
    Ok(report)
}

async fn run(
    session: &mut Session,
    mut statements: mpsc::Receiver<Result<Statements, Error>>,
) -> Result<(), Error> {
    let failed = |source| Error::Undo { source };
    session.execute("START TRANSACTION").await.map_err(failed)?;
    while let Some(next) = statements.recv().await {
        let next = next?;
        let mut found = 0;
        for sql in &next.sql {
            found += session.execute(sql).await.map_err(failed)?;
        }
        if found != next.hits {
            let statement = next.sql.join(" ");
            return Err(Error::NotAsExpected { statement, expected: next.hits, found });
        }
    }
    Ok(())
}
