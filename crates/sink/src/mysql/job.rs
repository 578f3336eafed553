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
    /// It is an INSERT of rows that the target should not have. Where it has one (after a crash, or while the older state of another
    /// row stands in the way), a REPLACE does it.
    pub(super) insert: bool,
}

/// A change by itself.
#[derive(Debug)]
pub(super) struct StepSql {
    pub(super) sql: Arc<String>,
    pub(super) place: Place,
    /// What to do if it hit no row.
    pub(super) otherwise: Option<Arc<String>>,
}

const DUPLICATE_KEY: u32 = 1062;

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
        match connection.execute_rows(&self.sql).await {
            Ok(_) => Ok(()),
            Err(error) if self.insert && server_code(&error) == Some(DUPLICATE_KEY) => {
                let sql = self.replacing();
                connection.execute_rows(&sql).await.map(drop).map_err(|source| failed(&sql, source))
            }
            Err(source) => Err(failed(&self.sql, source)),
        }
    }

    /// The same as REPLACE.
    pub(super) fn replacing(&self) -> Arc<String> {
        let rest = self.sql.strip_prefix("INSERT").unwrap_or(&self.sql);
        Arc::new(format!("REPLACE{rest}"))
    }
}

impl StepSql {
    async fn run(self, connection: &mut Connection) -> Result<(), Error> {
        let failed = |sql: &str, source| Error::statement(&self.place, sql, source);
        let found = connection.execute_rows(&self.sql).await.map_err(|e| failed(&self.sql, e))?;
        if let Some(sql) = &self.otherwise
            && found == 0
        {
            connection.execute_rows(sql).await.map_err(|e| failed(sql, e))?;
        }
        Ok(())
    }
}
