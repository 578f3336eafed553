//! Runs a DDL, statement by statement, each recorded.

use super::books::{Books, Intent};
use crate::ddl::Step;
use crate::error::{Class, class_of, head, server_code};
use crate::mysql::connection::{Connection, Pause};
use crate::position::Position;
use crate::{Error, LeftOut};

/// A DDL to be applied once: what an earlier run ended of it is left out, and the one statement that it may have ended without
/// recording it is taken as done if the server says that it is.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) at: Position,
    pub(super) job: i64,
    pub(super) query: String,
    pub(super) steps: Vec<Step>,
    /// What it touches, as the intent row holds it.
    pub(super) scope: String,
    /// How far an earlier run came.
    pub(super) before: Option<Intent>,
    /// A drainer that keeps no intents may have applied it.
    pub(super) in_doubt: bool,
    /// See [`crate::SinkOptions::lenient_ddl`].
    pub(super) lenient: bool,
}

impl Change {
    pub(super) async fn run(self, connection: &mut Connection, books: Option<&Books>) -> Result<(), Error> {
        let ended = self.before.map_or(0, |i| i.step);
        let mut intent = Intent { at: self.at, step: ended, done: false };
        if self.before.is_none()
            && let Some(books) = books
        {
            books.intend(connection, intent, self.job, &self.query, &self.scope).await?;
        }
        for (number, step) in (0u64..).zip(&self.steps) {
            if number < ended {
                continue;
            }
            let in_doubt = self.in_doubt || (self.before.is_some() && number == ended);
            let ran = self.step(connection, step, in_doubt).await;
            if step.zone.is_some() {
                connection.renew().await;
            }
            ran?;
            intent.step = number + 1;
            intent.done = number + 1 == self.steps.len() as u64;
            if let Some(books) = books {
                books.intend(connection, intent, self.job, &self.query, &self.scope).await?;
            }
        }
        Ok(())
    }

    async fn step(&self, connection: &mut Connection, step: &Step, mut in_doubt: bool) -> Result<(), Error> {
        let failed = |source| Error::statement(&step.place, &step.sql, source);
        let mut pause = Pause::default();
        loop {
            let mut result = match &step.zone {
                Some(zone) => connection.enter_zone(zone).await,
                None => Ok(0),
            };
            if let Some(schema) = step.default_schema.as_ref().filter(|_| result.is_ok()) {
                result = connection.execute(&format!("USE {}", crate::names::backtick(schema))).await;
            }
            if result.is_ok() {
                result = connection.execute_long(&step.sql).await;
            }
            let Err(error) = result else { return Ok(()) };
            let code = server_code(&error);
            let code_in = |codes: &[u32]| code.is_some_and(|c| codes.contains(&c));
            if code_in(&ALREADY) || ((in_doubt || step.if_there.is_some()) && code_in(&MISSING)) {
                tracing::warn!(place = %step.place, statement = step.sql, %error, "the change is there already");
                return Ok(());
            }
            if self.lenient && code_in(&MISSING) {
                tracing::warn!(place = %step.place, statement = step.sql, %error, "left out: the target does not have what the DDL changes");
                connection.left_out(LeftOut::Ddl);
                return Ok(());
            }
            if class_of(&error) == Class::Permanent {
                if step.best_effort {
                    tracing::warn!(place = %step.place, statement = self.query, %error, "left out: the server does not take it");
                    return Ok(());
                }
                if code == Some(UNKNOWN_ZONE) {
                    return Err(Error::Unsupported {
                        place: step.place.clone(),
                        what: "showing TIMESTAMPs in the time zone of the statement's session, which the server does not know,",
                        dialect: "this server",
                        advice: "load its time zone tables (mysql_tzinfo_to_sql) and start again",
                        query: head(&self.query),
                    });
                }
                return Err(failed(error));
            }
            in_doubt |= class_of(&error) == Class::Lost;
            if !pause.wait(&error).await {
                return Err(failed(error));
            }
        }
    }
}

/// Says that what was to be made is there, or what was to be dropped is gone.
pub(crate) const ALREADY: [u32; 9] = [1007, 1008, 1050, 1051, 1060, 1061, 1068, 1091, 1831];
/// Says that what was to be changed is not there (any more): it was changed already, if the statement may have run before.
pub(crate) const MISSING: [u32; 4] = [1049, 1054, 1146, 1176];

/// `Unknown or incorrect time zone`.
const UNKNOWN_ZONE: u32 = 1298;
