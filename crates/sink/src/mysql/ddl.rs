//! Runs a DDL, statement by statement, each recorded.

use binlog_catalog::Ddl;
use binlog_types::CommitTs;

use super::MySqlSink;
use super::state::Intent;
use crate::Error;
use crate::ddl::{self, Step, recycle};
use crate::error::{Class, class_of, server_code};
use crate::mysql::connection::{Connection, Pause};
use crate::names::mysql_table;
use crate::position::Position;

impl MySqlSink {
    /// Applies a DDL once: what an earlier run ended of it is left out, and the one statement that it may have ended without
    /// recording it is taken as done if the server says that it is.
    pub(super) async fn schema_change(&mut self, ddl: &Ddl, at: Position) -> Result<(), Error> {
        let before = self.state.as_ref().and_then(|s| s.intent()).filter(|i| i.at == at);
        if before.is_some_and(|i| i.done) {
            return Ok(());
        }
        self.drop_expired(ddl.commit_ts).await?;
        let again = before.is_some();
        let steps = ddl::plan(&self.server.dialect, ddl, &self.bin, again, &mut self.notices)?;
        let ended = before.map_or(0, |i| i.step);
        let mut intent = Intent { at, step: ended, done: false };
        let query = ddl.query.as_str();
        if before.is_none()
            && !steps.is_empty()
            && let Some(state) = &mut self.state
        {
            state.intend(&mut self.main, intent, ddl.job_id.0, query).await?;
        }
        for (number, step) in (0u64..).zip(&steps) {
            if number < ended {
                continue;
            }
            let in_doubt = before.is_some() && number == ended;
            run_step(&mut self.main, step, in_doubt, ddl).await?;
            intent.step = number + 1;
            intent.done = number + 1 == steps.len() as u64;
            if let Some(state) = &mut self.state {
                state.intend(&mut self.main, intent, ddl.job_id.0, query).await?;
            }
        }
        ddl.changes.iter().for_each(|change| self.bin.applied(change, ddl.commit_ts));
        Ok(())
    }

    /// Empties the recycle bin of what was kept long enough.
    async fn drop_expired(&mut self, now: CommitTs) -> Result<(), Error> {
        for (id, name) in self.bin.expired(now) {
            let sql = format!("DROP TABLE IF EXISTS {}", mysql_table(recycle::SCHEMA, &name));
            self.main.execute(&sql).await.map_err(super::bookkeeping("empty the recycle bin"))?;
            self.bin.forget(id);
        }
        Ok(())
    }
}

/// Says that what was to be made is there, or what was to be dropped is gone.
pub(crate) const ALREADY: [u32; 8] = [1007, 1008, 1050, 1051, 1060, 1061, 1068, 1091];
/// Says that what was to be changed is not there (any more): it was changed already, if the statement may have run before.
pub(crate) const MISSING: [u32; 4] = [1049, 1054, 1146, 1176];

async fn run_step(
    connection: &mut Connection,
    step: &Step,
    mut in_doubt: bool,
    ddl: &Ddl,
) -> Result<(), Error> {
    let failed = |source| Error::statement(&step.place, &step.sql, source);
    let mut pause = Pause::default();
    loop {
        let mut result = Ok(0);
        if let Some(schema) = &step.default_schema {
            result = connection.execute(&format!("USE {}", crate::names::backtick(schema))).await;
        }
        if result.is_ok() {
            result = connection.execute_once(&step.sql).await;
        }
        let Err(error) = result else { return Ok(()) };
        let code = server_code(&error);
        let code_in = |codes: &[u32]| code.is_some_and(|c| codes.contains(&c));
        if code_in(&ALREADY) || ((in_doubt || step.if_there.is_some()) && code_in(&MISSING)) {
            tracing::warn!(place = %step.place, statement = step.sql, %error, "the change is there already");
            return Ok(());
        }
        if class_of(&error) == Class::Permanent {
            if step.best_effort {
                tracing::warn!(place = %step.place, statement = ddl.query, %error, "left out: the server does not take it");
                return Ok(());
            }
            return Err(failed(error));
        }
        in_doubt |= class_of(&error) == Class::Lost;
        if !pause.wait(&error).await {
            return Err(failed(error));
        }
    }
}
