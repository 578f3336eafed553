//! One piece of work of a connection.

use std::sync::Arc;

use super::books::Books;
use super::connection::Connection;
use super::ddl::Change;
use super::lane::Lane;
use crate::error::server_code;
use crate::{Error, Place};

/// Each may run again after a failure that left it in doubt.
#[derive(Debug)]
pub(super) enum Job {
    /// Nothing: what it claims is put in order.
    Fence,
    /// Rows of a table with a key.
    Rows(Statement),
    /// Changes that must not be folded, one by one.
    Steps(Vec<StepSql>),
    /// One transaction of rows without a key, or of everything.
    Lane(Lane),
    /// A DDL.
    Ddl(Change),
}

/// A statement that may run twice.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) sql: Arc<String>,
    pub(super) place: Place,
    pub(super) duplicate: Duplicate,
}

/// What becomes of an INSERT of rows that the target should not have, where it has one: after a crash, or while the older state of
/// another row stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Duplicate {
    /// It is no such INSERT.
    Error,
    /// A REPLACE does it.
    Replace,
    /// The same with this at its end does it: the target's own columns stay.
    Update(Arc<str>),
}

/// A change by itself.
#[derive(Debug)]
pub(super) struct StepSql {
    pub(super) sql: Arc<String>,
    pub(super) place: Place,
    /// What to do if it hit no row.
    pub(super) otherwise: Option<Arc<String>>,
    /// What makes room for it, where later states of other rows stand in the way: they will come again.
    pub(super) clear: Option<Arc<String>>,
}

pub(super) const DUPLICATE_KEY: u32 = 1062;

impl Job {
    pub(super) async fn run(self, connection: &mut Connection, books: Option<&Books>) -> Result<(), Error> {
        match self {
            Job::Fence => Ok(()),
            Job::Rows(statement) => statement.run(connection).await,
            Job::Steps(steps) => {
                for step in steps {
                    step.run(connection).await?;
                }
                Ok(())
            }
            Job::Lane(lane) => lane.run(connection, books).await,
            Job::Ddl(change) => change.run(connection, books).await,
        }
    }
}

impl Statement {
    pub(super) async fn run(self, connection: &mut Connection) -> Result<(), Error> {
        let failed = |sql: &str, source| Error::statement(&self.place, sql, source);
        let source = match connection.execute_rows(&self.sql).await {
            Ok(_) => return Ok(()),
            Err(source) => source,
        };
        match self.over_duplicates() {
            Some(sql) if server_code(&source) == Some(DUPLICATE_KEY) => {
                connection.execute_rows(&sql).await.map(drop).map_err(|source| failed(&sql, source))
            }
            _ => Err(failed(&self.sql, source)),
        }
    }

    /// The same where rows are there already; `None`: then it is an error.
    pub(super) fn over_duplicates(&self) -> Option<Arc<String>> {
        match &self.duplicate {
            Duplicate::Error => None,
            Duplicate::Replace => {
                let rest = self.sql.strip_prefix("INSERT").unwrap_or(&self.sql);
                Some(Arc::new(format!("REPLACE{rest}")))
            }
            Duplicate::Update(tail) => Some(Arc::new(format!("{}{tail}", self.sql))),
        }
    }
}

impl StepSql {
    async fn run(self, connection: &mut Connection) -> Result<(), Error> {
        self.apply(connection, false)
            .await
            .map_err(|(sql, source)| Error::statement(&self.place, &sql, source))
    }

    /// Applies it, `within` a transaction or as several of their own. An error comes with its statement.
    pub(super) async fn apply(
        &self,
        connection: &mut Connection,
        within: bool,
    ) -> Result<(), (Arc<String>, sqlx::Error)> {
        if self.one(connection, within, &self.sql).await? == 0
            && let Some(sql) = &self.otherwise
        {
            self.one(connection, within, sql).await?;
        }
        Ok(())
    }

    async fn one(
        &self,
        connection: &mut Connection,
        within: bool,
        sql: &Arc<String>,
    ) -> Result<u64, (Arc<String>, sqlx::Error)> {
        let result = connection.step(sql, within).await;
        match &self.clear {
            Some(clear) if result.as_ref().is_err_and(|e| server_code(e) == Some(DUPLICATE_KEY)) => {
                connection.step(clear, within).await.map_err(|e| (Arc::clone(clear), e))?;
                connection.step(sql, within).await.map_err(|e| (Arc::clone(sql), e))
            }
            _ => result.map_err(|e| (Arc::clone(sql), e)),
        }
    }
}

/// Refuses a statement that the server would not take.
pub(super) fn fits(sql: &str, place: &Place, limit: usize) -> Result<(), Error> {
    // The packet has a byte for the command, and INSERT may become REPLACE.
    let bytes = sql.len() + 8;
    if bytes > limit {
        return Err(Error::RowTooLarge { place: place.clone(), bytes, limit });
    }
    Ok(())
}
