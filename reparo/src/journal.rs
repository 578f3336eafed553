//! What a destination database knows of the restores into it: which one was begun last, and whether it came to its end.
//!
//! It lies in a schema of its own, beside which the sink keeps how far it is; so a restore that was cut off goes on where it was.

use binlog_sink::{Session, Target};
use binlog_types::CommitTs;

use crate::Error;

/// Schema of all that a restore keeps in its destination.
pub(crate) const SCHEMA: &str = "tidb_binlog_reparo";
const TABLE: &str = "restore";
/// How long the lock of a restore that was killed may outlive it.
const LOCK_SECONDS: u32 = 10;

/// The restore that was begun last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// What was asked for.
    pub(crate) identity: String,
    /// It came to its end.
    pub(crate) finished: bool,
    /// Where its range ends.
    pub(crate) through: CommitTs,
}

/// The record of restores, open for as long as one runs.
#[derive(Debug)]
pub(crate) struct Journal {
    session: Session,
    table: String,
}

fn failed(source: binlog_sink::Error) -> Error {
    Error::Journal { source }
}

impl Journal {
    /// Opens it, and makes sure that no other restore is at work there.
    pub(crate) async fn open(target: &Target) -> Result<Self, Error> {
        let session = Session::open(target).await.map_err(failed)?;
        let table = session.table(SCHEMA, TABLE);
        let mut journal = Journal { session, table };
        journal.make().await?;
        if !journal.session.is_sqlite() {
            let sql = format!("SELECT GET_LOCK('{SCHEMA}', {LOCK_SECONDS})");
            match journal.session.number(&sql).await {
                Ok(0) => return Err(Error::Busy),
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "the server has no such locks"),
            }
        }
        Ok(journal)
    }

    async fn make(&mut self) -> Result<(), Error> {
        if !self.session.is_sqlite() {
            self.run(&format!("CREATE DATABASE IF NOT EXISTS `{SCHEMA}`")).await?;
        }
        let sql = format!(
            "CREATE TABLE IF NOT EXISTS {} (id INT PRIMARY KEY, identity TEXT NOT NULL, finished INT NOT NULL, through_ts BIGINT NOT NULL)",
            self.table
        );
        self.run(&sql).await
    }

    async fn run(&mut self, sql: &str) -> Result<(), Error> {
        self.session.execute(sql).await.map(drop).map_err(failed)
    }

    /// The restore that was begun last.
    pub(crate) async fn last(&mut self) -> Result<Option<Entry>, Error> {
        let sql = format!("SELECT identity, finished, through_ts FROM {} WHERE id = 1", self.table);
        let rows = self.session.texts(&sql).await.map_err(failed)?;
        rows.first().map(|row| entry_of(row)).transpose()
    }

    /// A restore begins anew: what earlier ones have noted of their progress is forgotten.
    pub(crate) async fn begin(&mut self, entry: &Entry) -> Result<(), Error> {
        if self.session.is_sqlite() {
            let sql =
                format!("SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE '{SCHEMA}.%'");
            for row in self.session.texts(&sql).await.map_err(failed)? {
                if let Some(Some(name)) = row.first() {
                    self.run(&format!("DROP TABLE \"{}\"", name.replace('"', "\"\""))).await?;
                }
            }
        } else {
            self.run(&format!("DROP DATABASE IF EXISTS `{SCHEMA}`")).await?;
        }
        self.make().await?;
        self.write(entry).await
    }

    /// Notes what is being restored, or that it is done.
    pub(crate) async fn write(&mut self, entry: &Entry) -> Result<(), Error> {
        let sql = format!(
            "REPLACE INTO {} VALUES (1, '{}', {}, {})",
            self.table,
            entry.identity.replace('\\', "/").replace('\'', "''"),
            u8::from(entry.finished),
            entry.through
        );
        self.run(&sql).await
    }

    pub(crate) async fn close(self) {
        self.session.close().await;
    }
}

/// What cannot be read must not pass for "nothing was begun": that would begin anew over what is there.
fn entry_of(row: &[Option<String>]) -> Result<Entry, Error> {
    let entry = match row {
        [Some(identity), Some(finished), Some(through)] => through.parse().ok().map(|through| Entry {
            identity: identity.clone(),
            finished: finished == "1",
            through: CommitTs::new(through),
        }),
        _ => None,
    };
    entry.ok_or_else(|| Error::JournalUnreadable { row: format!("{row:?}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_is_not_ours_is_an_error() {
        let row = |through: Option<&str>| {
            entry_of(&[Some("a".to_owned()), Some("0".to_owned()), through.map(str::to_owned)])
        };
        assert_eq!(row(Some("7")).unwrap().through, CommitTs::new(7));
        for bad in [None, Some("-1"), Some("")] {
            assert!(matches!(row(bad), Err(Error::JournalUnreadable { .. })), "{bad:?}");
        }
        assert!(entry_of(&[]).is_err());
    }
}
