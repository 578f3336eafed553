//! The recycle bin: dropped and truncated tables kept aside, because RECOVER and FLASHBACK bring back rows that no binlog carries.
//!
//! A kept table is moved, not copied, to the schema [`SCHEMA`] as `tID_COMMIT_TS`: the table's id, which a recovery names, and when it
//! went. So the target itself says what is kept, and nothing is written beside it. Steps do not depend on what is in the bin, but for
//! whether a recovery finds its table there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use binlog_catalog::{SchemaChange, TableKind, TableRef};
use binlog_types::{CommitTs, TableId};

use super::rename::{Name, Rename};

/// Schema of kept tables.
pub(crate) const SCHEMA: &str = "tidb_binlog_recycle_bin";

/// Which dropped and truncated tables are kept aside, so that RECOVER and FLASHBACK can bring them back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RecycleBin {
    /// None: bringing a table back is a typed stop.
    #[default]
    Off,
    /// All, for so long in time of the stream.
    For(Duration),
    /// Those that are known to come back: what a reader of a bounded range finds by looking ahead.
    Tables(BTreeSet<TableId>),
}

/// The policy, and what is kept.
#[derive(Debug, Default)]
pub(crate) struct Bin {
    policy: RecycleBin,
    kept: BTreeMap<TableId, CommitTs>,
}

impl Bin {
    /// With the names of the tables that lie in [`SCHEMA`]; names that are not ours are left alone.
    pub(crate) fn new<'a>(policy: RecycleBin, names: impl IntoIterator<Item = &'a str>) -> Self {
        Bin { policy, kept: names.into_iter().filter_map(parse).collect() }
    }

    /// More tables that are known to come back.
    pub(crate) fn expect(&mut self, tables: impl IntoIterator<Item = TableId>) {
        match &mut self.policy {
            RecycleBin::Tables(known) => known.extend(tables),
            RecycleBin::Off | RecycleBin::For(_) => {}
        }
    }

    pub(super) fn keeps(&self, table: &TableRef) -> bool {
        table.table.kind == TableKind::Table
            && match &self.policy {
                RecycleBin::Off => false,
                RecycleBin::For(_) => true,
                RecycleBin::Tables(ids) => ids.contains(&table.table.id),
            }
    }

    pub(super) fn is_on(&self) -> bool {
        self.policy != RecycleBin::Off
    }

    /// The move of a table out of the bin; None: it is not there.
    pub(super) fn back(&self, table: &TableRef) -> Option<Rename> {
        let at = self.kept.get(&table.table.id)?;
        let to: Name = (table.schema.clone(), table.table.name.clone());
        Some(Rename { table: table.table.clone(), from: place(table.table.id, *at), to })
    }

    /// The names of tables whose time is over at `now`.
    pub(crate) fn expired(&self, now: CommitTs) -> Vec<(TableId, String)> {
        let RecycleBin::For(time) = self.policy else { return Vec::new() };
        let over =
            |at: CommitTs| u128::from((now.raw() >> 18).saturating_sub(at.raw() >> 18)) > time.as_millis();
        self.kept.iter().filter(|(_, at)| over(**at)).map(|(id, at)| (*id, place(*id, *at).1)).collect()
    }

    /// A kept table is gone.
    pub(crate) fn forget(&mut self, table: TableId) {
        self.kept.remove(&table);
    }

    /// Takes note of a change whose steps are planned; the names under which the bin keeps what goes by it.
    pub(crate) fn applied(&mut self, change: &SchemaChange, at: CommitTs) -> Vec<String> {
        let gone: &[TableRef] = match change {
            SchemaChange::DropDatabase { tables, .. } => tables,
            SchemaChange::DropTable(table) | SchemaChange::TruncateTable { before: table, .. } => {
                std::slice::from_ref(table)
            }
            SchemaChange::RecoverTable(table) => {
                self.forget(table.table.id);
                return Vec::new();
            }
            SchemaChange::CreateDatabase(_)
            | SchemaChange::AlterDatabase { .. }
            | SchemaChange::CreateTable(_)
            | SchemaChange::AlterTable { .. }
            | SchemaChange::RenameTable { .. }
            | SchemaChange::DropPartitions { .. }
            | SchemaChange::ExchangePartition { .. } => return Vec::new(),
        };
        let kept: Vec<TableId> = gone.iter().filter(|t| self.keeps(t)).map(|t| t.table.id).collect();
        self.kept.extend(kept.iter().map(|id| (*id, at)));
        kept.into_iter().map(|id| place(id, at).1).collect()
    }
}

/// The move of a table into the bin.
pub(super) fn aside(table: &TableRef, at: CommitTs) -> Rename {
    let from: Name = (table.schema.clone(), table.table.name.clone());
    Rename { table: table.table.clone(), from, to: place(table.table.id, at) }
}

fn place(table: TableId, at: CommitTs) -> Name {
    (Arc::from(SCHEMA), format!("t{table}_{}", at.raw()))
}

fn parse(name: &str) -> Option<(TableId, CommitTs)> {
    let (id, at) = name.strip_prefix('t')?.split_once('_')?;
    Some((TableId(id.parse().ok()?), CommitTs::new(at.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use binlog_catalog::Table;

    use super::*;

    fn table(id: i64) -> TableRef {
        let table = Table { id: TableId(id), name: "t".into(), ..Table::default() };
        TableRef { schema: "d".into(), table: Arc::new(table) }
    }

    #[test]
    fn names_say_what_is_kept_and_for_how_long() {
        let minute = CommitTs::new(60_000 << 18);
        let (_, name) = aside(&table(7), minute).to;
        let policy = RecycleBin::For(Duration::from_secs(60));
        let mut bin = Bin::new(policy, [name.as_str(), "t8_x", "other", "t9"]);
        assert_eq!(bin.back(&table(7)).unwrap().from.1, name);
        assert!(bin.back(&table(8)).is_none());
        assert!(bin.expired(CommitTs::new(120_000 << 18)).is_empty());
        assert_eq!(bin.expired(CommitTs::new(120_001 << 18)), [(TableId(7), name)]);
        bin.applied(&SchemaChange::RecoverTable(table(7)), minute);
        assert!(bin.back(&table(7)).is_none());
    }

    #[test]
    fn only_what_comes_back_is_kept() {
        let mut bin = Bin::new(RecycleBin::Tables(BTreeSet::new()), []);
        assert!(!bin.keeps(&table(7)));
        bin.expect([TableId(7)]);
        assert!(bin.keeps(&table(7)) && !bin.keeps(&table(8)));
        assert!(!Bin::default().keeps(&table(7)));
    }
}
