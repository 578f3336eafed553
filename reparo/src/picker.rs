//! Which changes are meant: `-txn` and `-where`.

use std::collections::HashMap;

use binlog_catalog::{RowChange, Transaction};

use crate::fold::{VersionId, Versions};
use crate::{BoundCondition, Condition, Config, Error};

/// Picks changes.
#[derive(Debug, Default)]
pub(crate) struct Picker {
    transaction: Option<u64>,
    condition: Option<Condition>,
    versions: Versions,
    bound: HashMap<VersionId, BoundCondition>,
}

impl Picker {
    /// Changes of this transaction (start_ts or commit_ts), that fulfil this condition.
    pub(crate) fn new(transaction: Option<u64>, condition: Option<Condition>) -> Self {
        Picker { transaction, condition, ..Picker::default() }
    }

    /// What `-txn` and `-where` say.
    pub(crate) fn of(config: &Config) -> Result<Self, Error> {
        let transaction = match u64::try_from(config.txn) {
            Ok(ts) => Some(ts).filter(|ts| *ts > 0),
            Err(_) => return Err(Error::Config("-txn must not be negative".to_owned())),
        };
        let condition = match config.condition.as_str() {
            "" => None,
            text => Some(Condition::parse(text)?),
        };
        Ok(Picker::new(transaction, condition))
    }

    /// Whether everything is meant.
    pub(crate) fn takes_all(&self) -> bool {
        self.transaction.is_none() && self.condition.is_none()
    }

    /// Whether a change is meant.
    ///
    /// # Errors
    /// When the condition names a column that the table lacks.
    pub(crate) fn picks(&mut self, txn: &Transaction, change: &RowChange) -> Result<bool, Error> {
        if self.transaction.is_some_and(|ts| ts != txn.start_ts.raw() && ts != txn.commit_ts.raw()) {
            return Ok(false);
        }
        let Some(condition) = &self.condition else { return Ok(true) };
        let table = &change.table;
        let version = self.versions.number(table);
        if let Some(bound) = self.bound.get(&version) {
            return Ok(bound.matches(&table.table, &change.kind));
        }
        let bound = condition.bind(&table.schema, &table.table)?;
        let matches = bound.matches(&table.table, &change.kind);
        self.bound.insert(version, bound);
        Ok(matches)
    }
}
