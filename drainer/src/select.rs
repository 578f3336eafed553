//! Which events take part: before the tables' names, a transaction's time and its loopback mark; after them, the event rules.
//!
//! A DDL of a table that takes part is never left out without a trace: what it did upstream, somebody else may do to the target, so the
//! sink gets it without its changes, and looks at the target's tables anew.

use std::collections::HashSet;

use binlog_catalog::{ChangeKind, Ddl, Event, TableFilter, Transaction, Value};
use binlog_pull::{Selector, narrow};
use binlog_sink::{MARK_SCHEMA, MARK_TABLE};
use binlog_types::CommitTs;

use crate::event_rules::EventRules;

/// The settings that decide it.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    pub(crate) ignored: HashSet<CommitTs>,
    /// Loopback control: transactions with this channel's mark came from the downstream.
    pub(crate) own_channel: Option<i64>,
    pub(crate) tables: TableFilter,
    pub(crate) rules: EventRules,
    pub(crate) sync_ddl: bool,
}

impl Selection {
    pub(crate) fn selector(self) -> Selector {
        let own_channel = self.own_channel;
        let tables = self.tables.clone();
        // The mark may lie in a table that does not take part.
        let wanted = move |schema: &str, table: &str| {
            tables.allows(schema, table) || (own_channel.is_some() && is_mark(schema, table))
        };
        let selector = Selector::new(move |event| self.select(event)).with_tables(wanted);
        match own_channel {
            // One row tells of its whole transaction.
            Some(own) => selector.with_veto(move |txn| is_marked(txn, own)),
            None => selector,
        }
    }

    fn select(&self, event: Event) -> Option<Event> {
        if let Event::Ddl(ddl) = &event
            && ddl.ahead
        {
            // The DDL that it goes ahead of is not applied either, or not left out with the record that comes behind.
            return narrow(event, &self.tables).filter(|_| self.sync_ddl).and_then(|e| self.rules.select(e));
        }
        let commit_ts = event.commit_ts();
        let ignored = self.ignored.contains(&commit_ts);
        if ignored {
            tracing::warn!(%commit_ts, "left out, as ignore-txn-commit-ts asks");
        }
        // Before the filter, which may leave out the mark.
        if let Event::Transaction(txn) = &event
            && self.own_channel.is_some_and(|own| is_marked(txn, own))
        {
            tracing::debug!(%commit_ts, "left out: it came from the downstream");
            return None;
        }
        match narrow(event, &self.tables)? {
            Event::Transaction(_) if ignored => None,
            Event::Ddl(ddl) if ignored => Some(without_effect(ddl)),
            Event::Ddl(ddl) if !self.sync_ddl => {
                tracing::info!(%commit_ts, query = ddl.query, "left out, as sync-ddl is off");
                Some(without_effect(ddl))
            }
            event => self.rules.select(event),
        }
    }
}

/// What is told of a DDL that is left out.
pub(crate) fn without_effect(ddl: Ddl) -> Event {
    Event::Ddl(Ddl { changes: Vec::new(), ..ddl })
}

fn is_mark(schema: &str, table: &str) -> bool {
    schema.eq_ignore_ascii_case(MARK_SCHEMA) && table.eq_ignore_ascii_case(MARK_TABLE)
}

/// Whether a row of the mark table with this channel is in it.
fn is_marked(txn: &Transaction, channel: i64) -> bool {
    txn.changes.iter().any(|change| {
        let table = &change.table;
        if !is_mark(&table.schema, &table.table.name) {
            return false;
        }
        let at = table.table.columns.iter().position(|c| c.name.eq_ignore_ascii_case("channel_id"));
        let row = match &change.kind {
            ChangeKind::Insert(row) | ChangeKind::Delete(row) | ChangeKind::Update { after: row, .. } => row,
        };
        let value = at.and_then(|at| row.get(at)).and_then(Option::as_ref);
        matches!(value, Some(Value::Int(id)) if *id == channel)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use binlog_catalog::{ColumnType, Part, RowChange, SchemaChange, TableBuilder, TableRef};
    use binlog_types::{JobId, SchemaVersion, StartTs, TableId};

    use super::*;

    fn change(schema: &str, name: &str, channel: i64) -> RowChange {
        let table = TableBuilder::new(TableId(1), name, SchemaVersion(1))
            .column("id", ColumnType::int())
            .column("Channel_ID", ColumnType::int())
            .primary_key(&["id"])
            .build();
        let row = vec![Some(Value::Int(1)), Some(Value::Int(channel))];
        let table = TableRef { schema: schema.into(), table: Arc::new(table) };
        RowChange { table, kind: ChangeKind::Update { before: row.clone(), after: row } }
    }

    fn transaction(commit_ts: u64, changes: Vec<RowChange>) -> Event {
        Event::Transaction(Transaction {
            start_ts: StartTs::new(commit_ts - 1),
            commit_ts: CommitTs::new(commit_ts),
            schema_version: SchemaVersion(1),
            part: Part::WHOLE,
            changes,
        })
    }

    #[test]
    fn own_marks_and_ignored_times_are_left_out() {
        let selection = Selection {
            ignored: HashSet::from([CommitTs::new(5)]),
            own_channel: Some(7),
            tables: TableFilter::default(),
            rules: EventRules::default(),
            sync_ddl: true,
        };
        let marked = |channel| vec![change("RETL", "_Drainer_Repl_Mark", channel), change("d", "t", 0)];
        assert!(selection.select(transaction(9, marked(7))).is_none());
        assert!(selection.select(transaction(9, marked(8))).is_some(), "another channel's");
        assert!(selection.select(transaction(9, vec![change("d", "t", 7)])).is_some());
        assert!(selection.select(transaction(5, vec![change("d", "t", 0)])).is_none());
        let off = Selection { own_channel: None, ..selection };
        assert!(off.select(transaction(9, marked(7))).is_some());
    }

    /// What goes ahead of a DDL stands and falls with it, not with the record that it comes before.
    #[test]
    fn an_index_goes_ahead_only_where_its_ddl_would_be_applied() {
        let before = change("d", "t", 0).table;
        let mut left = binlog_catalog::Table::clone(&before.table);
        left.indexes.clear();
        let after = TableRef { table: Arc::new(left), ..before.clone() };
        let ahead = Event::Ddl(Ddl {
            start_ts: StartTs::new(3),
            commit_ts: CommitTs::new(5),
            job_id: JobId(0),
            job_type: 8,
            schema: "d".to_owned(),
            schema_version: SchemaVersion(1),
            query: "ALTER TABLE `d`.`t` DROP PRIMARY KEY".to_owned(),
            typed: String::new(),
            zone: None,
            changes: vec![SchemaChange::AlterTable { before, after }],
            ahead: true,
        });
        let mut selection = Selection {
            ignored: HashSet::from([CommitTs::new(5)]),
            own_channel: None,
            tables: TableFilter::default(),
            rules: EventRules::default(),
            sync_ddl: true,
        };
        assert!(matches!(selection.select(ahead.clone()), Some(Event::Ddl(d)) if d.changes.len() == 1));
        selection.sync_ddl = false;
        assert!(selection.select(ahead.clone()).is_none());
        selection.sync_ddl = true;
        for (events, sql, passes) in [
            (&["drop table"][..], &[][..], true),
            (&["drop index"], &[], false),
            (&["alter table"], &[], false),
            (&[], &["add +index"], true),
            (&[], &["drop +primary"], false),
        ] {
            selection.rules = EventRules::of("d", "t", events, sql);
            assert_eq!(selection.select(ahead.clone()).is_some(), passes, "{events:?} {sql:?}");
        }
        selection.rules = EventRules::default();
        selection.tables = TableFilter::new(&[], &[], &["d".to_owned()], &[]).unwrap();
        assert!(selection.select(ahead).is_none());
    }

    #[test]
    fn a_ddl_that_is_left_out_is_told_without_its_changes() {
        let ddl = |commit_ts, schema: &str| {
            Event::Ddl(Ddl {
                start_ts: StartTs::new(commit_ts - 1),
                commit_ts: CommitTs::new(commit_ts),
                job_id: JobId(1),
                job_type: 4,
                schema: schema.to_owned(),
                schema_version: SchemaVersion(1),
                query: "DROP TABLE `t`".to_owned(),
                typed: String::new(),
                zone: None,
                changes: vec![SchemaChange::DropTable(change(schema, "t", 0).table)],
                ahead: false,
            })
        };
        let changes = |selection: &Selection, event| match selection.select(event) {
            Some(Event::Ddl(ddl)) => Some(ddl.changes.len()),
            Some(Event::Transaction(_)) | None => None,
        };
        let tables = TableFilter::new(&[], &[], &["other".to_owned()], &[]).unwrap();
        let mut selection = Selection {
            ignored: HashSet::from([CommitTs::new(5)]),
            own_channel: None,
            tables,
            rules: EventRules::default(),
            sync_ddl: true,
        };
        assert_eq!(changes(&selection, ddl(9, "d")), Some(1));
        assert_eq!(changes(&selection, ddl(5, "d")), Some(0));
        selection.sync_ddl = false;
        assert_eq!(changes(&selection, ddl(9, "d")), Some(0));
        assert_eq!(changes(&selection, ddl(9, "other")), None, "nobody asks for it");
    }
}
