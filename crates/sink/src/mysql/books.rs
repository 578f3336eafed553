//! The sink's own tables, as the jobs write them.

use std::sync::atomic::{AtomicU64, Ordering};

use binlog_types::{ClusterId, CommitTs, StartTs};
use sqlx::Row as _;

use super::bookkeeping;
use super::connection::Connection;
use crate::Error;
use crate::literal;
use crate::names::mysql_table;
use crate::position::{Position, Progress};

/// Where they are, and the checkpoint that stands while they are written.
#[derive(Debug)]
pub(super) struct Books {
    /// Quoted, with the schema.
    pub(super) progress: String,
    /// Likewise.
    pub(super) intents: String,
    pub(super) cluster: ClusterId,
    mark: String,
    base: AtomicU64,
}

/// How far a DDL is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Intent {
    pub(super) at: Position,
    /// Statements of it that ended; the next one may have taken effect too.
    pub(super) step: u64,
    /// All of them ended.
    pub(super) done: bool,
}

impl Books {
    /// `owner` names the checkpoint where it is not the usual one: each has books of its own, for drainers of one cluster may share a
    /// target.
    pub(super) fn new(schema: &str, cluster: ClusterId, owner: &str) -> Self {
        let suffix = if owner.is_empty() { String::new() } else { format!("_{owner}") };
        let known_by: String = schema.chars().filter(|c| c.is_alphanumeric() || *c == '_').collect();
        Books {
            progress: mysql_table(schema, &format!("progress{suffix}")),
            intents: mysql_table(schema, &format!("ddl_intent{suffix}")),
            cluster,
            mark: format!("/*tidb-binlog {cluster} {known_by}{suffix}*/"),
            base: AtomicU64::new(0),
        }
    }

    /// A comment by which statements of this drainer are known to later runs.
    pub(super) fn mark(&self) -> &str {
        &self.mark
    }

    pub(super) fn base(&self) -> u64 {
        self.base.load(Ordering::SeqCst)
    }

    pub(super) fn set_base(&self, checkpoint: CommitTs) {
        self.base.store(checkpoint.raw(), Ordering::SeqCst);
    }

    /// To be run in the transaction of the rows.
    pub(super) fn progress_sql(&self, to: Progress) -> String {
        format!(
            "replace into {} values({}, {}, {}, {}, {})",
            self.progress,
            self.cluster,
            to.at.commit_ts,
            to.at.start_ts,
            to.sequence,
            self.base()
        )
    }

    /// The progress, and the checkpoint that stood when it was written; waits for a transaction that is writing it.
    pub(super) async fn read_progress(&self, connection: &mut Connection) -> Result<(Progress, u64), Error> {
        let failed = bookkeeping("read the progress of tables without a key");
        let sql = format!(
            "select commit_ts, start_ts, sequence, checkpoint_ts from {} where clusterID = {} for update",
            self.progress, self.cluster
        );
        let rows = connection.fetch(&sql).await.map_err(&failed)?;
        let Some(row) = rows.first() else { return Ok(Default::default()) };
        let field = |at: usize| row.try_get::<u64, _>(at).map_err(&failed);
        let at = Position { commit_ts: CommitTs::new(field(0)?), start_ts: StartTs::new(field(1)?) };
        Ok((Progress { at, sequence: field(2)? }, field(3)?))
    }

    /// Records that a DDL is begun, has ended `step` statements, or is done. `scope` is what it touches, for a later run.
    pub(super) async fn intend(
        &self,
        connection: &mut Connection,
        intent: Intent,
        job: i64,
        query: &str,
        scope: &str,
    ) -> Result<(), Error> {
        let sql = format!(
            "replace into {} values({}, {}, {}, {job}, {}, {}, {}, {}, {})",
            self.intents,
            self.cluster,
            intent.at.commit_ts,
            intent.at.start_ts,
            intent.step,
            u8::from(intent.done),
            self.base(),
            literal::text(query),
            literal::text(scope)
        );
        connection.execute(&sql).await.map(drop).map_err(bookkeeping("record the DDL"))
    }
}
