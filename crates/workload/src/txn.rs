//! Transactions on their way to a pump: prewrite, then the outcome, as TiDB sends them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use binlog_catalog::encode::{self, Mutation};
use binlog_cluster::Oracle;
use binlog_proto::binlog::{Binlog, BinlogType};
use binlog_types::{CommitTs, SchemaVersion};
use bytes::Bytes;

use crate::Error;
use crate::model::{Change, ChangeKind, Model};
use crate::pumps::Pumps;
use crate::schema::Job;

/// How a transaction is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Its rows are there.
    Commit,
    /// Nothing happened.
    Rollback,
}

/// What the sessions share.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) oracle: Oracle,
    pub(crate) pumps: Pumps,
    model: Mutex<Model>,
}

impl Engine {
    pub(crate) fn new(oracle: Oracle, pumps: Pumps) -> Self {
        Engine { oracle, pumps, model: Mutex::new(Model::default()) }
    }

    /// The model; never held across a call to a pump.
    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one transaction to its end. The caller holds the locks of every row in it, so that the model changes in the order of commit_ts.
    pub(crate) async fn execute(
        &self,
        version: SchemaVersion,
        changes: Vec<Change>,
        outcome: Outcome,
    ) -> Result<(), Error> {
        let start_ts = self.oracle.now().await?;
        let (key, value) = {
            let model = self.model();
            (primary_key(&model, &changes), prewrite_value(&model, version, &changes)?)
        };
        let mut binlog = Binlog {
            tp: BinlogType::Prewrite as i32,
            start_ts: start_ts.as_i64(),
            prewrite_key: Some(key),
            prewrite_value: Some(value),
            ..Binlog::default()
        };
        let pump = self.pumps.pick();
        pump.prewrite(&binlog).await?;
        binlog.prewrite_value = None;
        if outcome == Outcome::Commit {
            // Only after the pump acknowledged the prewrite: the watermark rests on it.
            binlog.commit_ts = self.oracle.now().await?.as_i64();
            binlog.tp = BinlogType::Commit as i32;
            self.model().apply(changes);
        } else {
            binlog.tp = BinlogType::Rollback as i32;
        }
        pump.settle(&binlog).await
    }

    /// Sends a DDL's binlogs; the schema objects are with all pumps already. Returns its commit_ts.
    pub(crate) async fn execute_ddl(
        &self,
        start_ts: u64,
        id: i64,
        job: Job,
        key: Bytes,
    ) -> Result<CommitTs, Error> {
        let mut binlog = Binlog {
            tp: BinlogType::Prewrite as i32,
            start_ts: start_ts as i64,
            commit_ts: 0,
            prewrite_key: Some(key),
            prewrite_value: None,
            ddl_query: Some(job.query.into()),
            ddl_job_id: id,
            ddl_schema_state: job.schema_state,
        };
        let pump = self.pumps.pick();
        pump.prewrite(&binlog).await?;
        let commit_ts = self.oracle.now().await?;
        binlog.tp = BinlogType::Commit as i32;
        binlog.commit_ts = commit_ts.as_i64();
        pump.settle(&binlog).await?;
        Ok(commit_ts.into())
    }
}

/// TiDB's row key of the first row: what a lock would be looked up by.
fn primary_key(model: &Model, changes: &[Change]) -> Bytes {
    let first = changes.first();
    let table = first.and_then(|c| model.tables.get(c.table)).map_or(0, |t| t.table.id.0);
    let handle = first.map_or(0, |c| c.handle);
    let mut key = vec![b't'];
    key.extend_from_slice(&comparable(table));
    key.extend_from_slice(b"_r");
    key.extend_from_slice(&comparable(handle));
    key.into()
}

/// Big-endian with the sign bit flipped, so that keys sort as numbers do.
fn comparable(number: i64) -> [u8; 8] {
    (number ^ i64::MIN).to_be_bytes()
}

fn prewrite_value(model: &Model, version: SchemaVersion, changes: &[Change]) -> Result<Bytes, Error> {
    let mut tables: BTreeMap<usize, Vec<Mutation>> = BTreeMap::new();
    for change in changes {
        let Some(table) = model.tables.get(change.table) else {
            return Err(Error::Usage("the schema is not there; call create_schema first".to_owned()));
        };
        let (table, handle) = (&table.table, change.handle);
        let mutation = match &change.kind {
            ChangeKind::Insert(row) => encode::insert_row(table, handle, row)?,
            ChangeKind::Update { before, after } => encode::update_row(table, handle, before, after)?,
            ChangeKind::Delete(row) => encode::delete_row(table, handle, row)?,
        };
        tables.entry(change.table).or_default().push(mutation);
    }
    let by_id =
        tables.into_iter().filter_map(|(at, rows)| Some((model.tables.get(at)?.table.id, rows))).collect();
    Ok(encode::prewrite_value(version, by_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_keys_sort_as_numbers() {
        let numbers = [i64::MIN, -2, -1, 0, 1, 255, 256, i64::MAX];
        assert!(numbers.windows(2).all(|w| comparable(w[0]) < comparable(w[1])));
        assert_eq!(&primary_key(&Model::default(), &[])[..], b"t\x80\0\0\0\0\0\0\0_r\x80\0\0\0\0\0\0\0");
    }
}
