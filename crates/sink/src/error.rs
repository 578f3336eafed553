//! What can go wrong in a sink.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use binlog_types::CommitTs;

/// What was being written when something went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Database and table; a database alone where it is not about a table.
    pub schema: Arc<str>,
    /// Table; empty where it is about the database.
    pub table: String,
    /// Position in the stream.
    pub commit_ts: CommitTs,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.table.is_empty() {
            write!(f, "database `{}`, commit_ts {}", self.schema, self.commit_ts)
        } else {
            write!(f, "table `{}`.`{}`, commit_ts {}", self.schema, self.table, self.commit_ts)
        }
    }
}

/// An error of a sink. Names table, commit_ts and statement where there are.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database cannot be reached or refuses the session.
    #[error("cannot open {target}: {source}")]
    Connect {
        /// Server or file.
        target: String,
        /// Why.
        source: sqlx::Error,
    },
    /// A statement failed.
    #[error("{place}: {source}; statement: {statement}")]
    Statement {
        /// Table and position.
        place: Place,
        /// Its first characters.
        statement: String,
        /// Why.
        source: sqlx::Error,
    },
    /// A statement on the sink's own tables failed.
    #[error("cannot {what}: {source}")]
    Bookkeeping {
        /// What was tried.
        what: &'static str,
        /// Why.
        source: sqlx::Error,
    },
    /// A statement beside the stream of events failed.
    #[error("{source}; statement: {statement}")]
    Query {
        /// Its first characters.
        statement: String,
        /// Why.
        source: sqlx::Error,
    },
    /// A row of a table without a key that should be changed or deleted is not there (or was there and is another).
    #[error(
        "{place}: of a row to {action} in a table without a key, {found} copies were found, not {wanted}: the downstream differs \
         from the upstream; compare the table, then copy it anew or set the checkpoint; statement: {statement}"
    )]
    RowNotFound {
        /// Table and position.
        place: Place,
        /// `update` or `delete`.
        action: &'static str,
        /// Copies of the row that the upstream had.
        wanted: u64,
        /// Rows that the statement hit.
        found: u64,
        /// Its first characters.
        statement: String,
    },
    /// The connection broke during a COMMIT of rows without a key, and no progress is kept that would say whether it took effect.
    #[error(
        "{place}: the connection broke during COMMIT of rows of a table without a key, and without a checkpoint nobody knows \
         whether it took effect; restore again into an empty database"
    )]
    OutcomeUnknown {
        /// Table and position of the last row.
        place: Place,
        /// Why.
        source: sqlx::Error,
    },
    /// The target cannot do what the DDL did.
    #[error("{place}: {what} cannot be applied to {dialect}: {advice}; statement: {query}")]
    Unsupported {
        /// Table and position.
        place: Place,
        /// The kind of change.
        what: &'static str,
        /// The target.
        dialect: &'static str,
        /// What to do.
        advice: &'static str,
        /// The DDL's text.
        query: String,
    },
    /// A value does not fit the type that its column is given.
    #[error(
        "{place}: {source}: the source has changed the column's type, so the value differs from the source's; correct it in the target and start again"
    )]
    Unfitting {
        /// Table and position.
        place: Place,
        /// Column and value.
        source: Box<binlog_catalog::Error>,
    },
    /// A row's statement is longer than the server takes.
    #[error(
        "{place}: a row needs a statement of {bytes} bytes, and the server takes {limit}: raise its max_allowed_packet and start again"
    )]
    RowTooLarge {
        /// Table and position.
        place: Place,
        /// Length of the statement.
        bytes: usize,
        /// `max_allowed_packet`.
        limit: usize,
    },
    /// The sink failed before.
    #[error("the sink has stopped after an earlier error")]
    Stopped,
    /// A row has not one value per column of its table.
    #[error("{place}: a row has {found} values for {columns} columns")]
    RowShape {
        /// Table and position.
        place: Place,
        /// Values of the row.
        found: usize,
        /// Columns of the table.
        columns: usize,
    },
    /// The checkpoint table holds something else than a checkpoint.
    #[error("the checkpoint of cluster {cluster} is not readable ({why}): {text}")]
    BadCheckpoint {
        /// Cluster id.
        cluster: u64,
        /// What is wrong.
        why: String,
        /// What is there.
        text: String,
    },
    /// The checkpoint row is not what this sink wrote last.
    #[error(
        "{table}: the checkpoint of cluster {cluster} was changed by somebody else: it is {found:?}, this drainer wrote {ours:?}; \
         two drainers of one cluster need a checkpoint schema each ([syncer.to.checkpoint] schema); if it was set on purpose, restart"
    )]
    CheckpointTaken {
        /// Cluster id.
        cluster: u64,
        /// The table.
        table: String,
        /// What was saved last; empty: nothing.
        ours: String,
        /// What is there; empty: nothing.
        found: String,
    },
    /// A savepoint file cannot be read or written.
    #[error("savepoint {path}: {source}")]
    SavepointIo {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A savepoint file holds something else than a savepoint.
    #[error("savepoint {path}, line {line}: {why}")]
    BadSavepoint {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        why: &'static str,
    },
}

impl Error {
    /// Whether trying again later, with nothing changed, may succeed: the server was away, busy or restarting. Such errors are
    /// retried inside with growing pauses first; one that comes out has lasted for minutes.
    pub fn retryable(&self) -> bool {
        match self {
            Error::Connect { source, .. }
            | Error::Query { source, .. }
            | Error::Statement { source, .. }
            | Error::Bookkeeping { source, .. } => class_of(source) != Class::Permanent,
            Error::OutcomeUnknown { .. }
            | Error::RowNotFound { .. }
            | Error::Unsupported { .. }
            | Error::Unfitting { .. }
            | Error::RowTooLarge { .. }
            | Error::Stopped
            | Error::RowShape { .. }
            | Error::BadCheckpoint { .. }
            | Error::CheckpointTaken { .. }
            | Error::SavepointIo { .. }
            | Error::BadSavepoint { .. } => false,
        }
    }

    /// Whether the target lacks a column that a statement names.
    pub(crate) fn is_unknown_column(&self) -> bool {
        matches!(self, Error::Statement { source, .. } if server_code(source) == Some(1054))
    }

    pub(crate) fn statement(place: &Place, sql: &str, source: sqlx::Error) -> Self {
        Error::Statement { place: place.clone(), statement: head(sql), source }
    }
}

/// The first characters of a statement, for people.
pub(crate) fn head(sql: &str) -> String {
    const CHARS: usize = 300;
    match sql.char_indices().nth(CHARS) {
        Some((at, _)) => format!("{}…", sql.get(..at).unwrap_or_default()),
        None => sql.to_owned(),
    }
}

/// What a failed statement says about the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Nothing happened (deadlock, lock wait, write conflict): try again on the same connection.
    Retry,
    /// Nothing happened, for this server does not take writes now (it became a replica, it is joining its cluster): try again on
    /// another connection, which may lead to another server.
    Elsewhere,
    /// The connection is gone; what it was doing may have happened.
    Lost,
    /// The same again would fail again.
    Permanent,
}

/// Server error number of a failed statement.
pub(crate) fn server_code(error: &sqlx::Error) -> Option<u32> {
    let sqlx::Error::Database(error) = error else { return None };
    if let Some(error) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        return Some(error.number().into());
    }
    error.code()?.parse().ok()
}

/// The one place that reads foreign error codes.
pub(crate) fn class_of(error: &sqlx::Error) -> Class {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => Class::Lost,
        sqlx::Error::Database(inner) => {
            let mysql = inner.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>().is_some();
            match (mysql, server_code(error)) {
                (false, Some(code)) if matches!(code & 0xff, SQLITE_BUSY | SQLITE_LOCKED) => Class::Retry,
                (true, Some(code)) => class_of_code(code, inner.message()),
                _ => Class::Permanent,
            }
        }
        _ => Class::Permanent,
    }
}

/// With their extended codes.
const SQLITE_BUSY: u32 = 5;
const SQLITE_LOCKED: u32 = 6;

fn class_of_code(code: u32, message: &str) -> Class {
    match code {
        // Too many connections, also of one account.
        1040 | 1203 | 1226 => Class::Retry,
        // Locks: wait, deadlock, no room for more, tables locked, too many transactions at once.
        1205 | 1206 | 1213 | 1223 | 1637 => Class::Retry,
        // The definition changed under the statement; a cluster of servers took the transaction back.
        1412 | 1615 | 3101 => Class::Retry,
        // TiDB: anything without a code of its own, which is mostly PD or TiKV being away …
        1105 => Class::Retry,
        // … time-outs, schema changed, quota exceeded, region errors, write conflict.
        8002 | 8022 | 8027 | 8028 | 8252 | 9001..=9008 | 9010 | 9011 => Class::Retry,
        // Read-only: the server, or just the transaction.
        1792 | 1836 => Class::Elsewhere,
        // `--read-only`, `--super-read-only`; the other options that forbid something do so for good.
        1290 if message.contains("read-only") || message.contains("read_only") => Class::Elsewhere,
        // Galera: "WSREP has not yet prepared node for application use".
        1047 if message.contains("WSREP") => Class::Elsewhere,
        // Shutdown, killed, interrupted, gone, packets cut; 4031: idle for too long; TiDB: nobody knows the outcome. 1153, a packet too
        // large, stays one.
        8501
        | 1053
        | 1077
        | 1152
        | 1154..=1161
        | 1184
        | 1317
        | 1927
        | 2002
        | 2003
        | 2006
        | 2013
        | 2055
        | 4031 => Class::Lost,
        _ => Class::Permanent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_told_from_what_stays() {
        for (code, message, class) in [
            (1213, "Deadlock found", Class::Retry),
            (1105, "rpc error: code = Unavailable", Class::Retry),
            (1290, "The MySQL server is running with the --read-only option", Class::Elsewhere),
            (1290, "running with the --secure-file-priv option", Class::Permanent),
            (1836, "Running in read-only mode", Class::Elsewhere),
            (1047, "WSREP has not yet prepared node for application use", Class::Elsewhere),
            (1047, "Unknown command", Class::Permanent),
            (1317, "Query execution was interrupted", Class::Lost),
            (1153, "Got a packet bigger than 'max_allowed_packet' bytes", Class::Permanent),
            (1062, "Duplicate entry", Class::Permanent),
        ] {
            assert_eq!(class_of_code(code, message), class, "{code} {message}");
        }
    }
}
