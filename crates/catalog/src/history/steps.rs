//! Steps of DDLs that take unique indexes away.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound::{Excluded, Unbounded};

use binlog_proto::store::SchemaObject;
use binlog_types::{SchemaVersion, TableId};

use crate::meta::Enforced;
use crate::{Error, Table};

/// By table and the version from which they hold. Ids of indexes do not come twice, so that a step holds until the table has a later version.
#[derive(Debug, Default)]
pub(super) struct Steps(HashMap<TableId, BTreeMap<SchemaVersion, Vec<Step>>>);

#[derive(Debug)]
struct Step {
    enforced: Enforced,
    /// Before or when it became visible; 0: unknown.
    finished_ts: u64,
}

impl Steps {
    /// Takes a step; several of one version all count.
    pub(super) fn insert(&mut self, object: &SchemaObject) -> Result<(), Error> {
        let step = Step { enforced: Enforced::parse(&object.json)?, finished_ts: object.finished_ts };
        let version = SchemaVersion(object.schema_version);
        let steps = self.0.entry(TableId(object.id)).or_default().entry(version).or_default();
        if !steps.iter().any(|known| known.enforced == step.enforced) {
            steps.push(step);
        }
        Ok(())
    }

    pub(super) fn unenforced(
        &self,
        table: &Table,
        holds: impl Fn(SchemaVersion, u64) -> bool,
    ) -> Option<(SchemaVersion, Vec<i64>)> {
        // What was made before the table's version is in that version.
        let later = self.0.get(&table.id)?.range((Excluded(table.version), Unbounded));
        let holding: Vec<(SchemaVersion, &Step)> = later
            .flat_map(|(version, steps)| steps.iter().map(|step| (*version, step)))
            .filter(|(version, step)| holds(*version, step.finished_ts))
            .collect();
        let (last, _) = holding.last()?;
        let unique = table.indexes.iter().filter(|index| index.unique && index.public);
        let gone: Vec<i64> = unique
            .filter(|index| holding.iter().any(|(_, step)| !step.enforced.holds(index)))
            .map(|index| index.id)
            .collect();
        (!gone.is_empty()).then_some((*last, gone))
    }

    /// Lets go of what lies behind the newest step at or below `below`, and of tables that are not there.
    pub(super) fn forget(&mut self, below: SchemaVersion, is_there: impl Fn(TableId) -> bool) {
        self.0.retain(|id, steps| {
            if let Some((&newest, _)) = steps.range(..=below).next_back() {
                *steps = steps.split_off(&newest);
            }
            is_there(*id)
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }
}
