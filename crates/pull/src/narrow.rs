//! What a table filter leaves of an event.

use binlog_catalog::{Event, SchemaChange, TableFilter, TableRef};

/// The part of `event` that takes part; None where nothing is left. A DDL without changes of its own is left out, too: it does nothing to a sink.
pub fn narrow(event: Event, filter: &TableFilter) -> Option<Event> {
    match event {
        Event::Transaction(mut txn) => {
            txn.changes.retain(|change| allows(filter, &change.table));
            (!txn.changes.is_empty()).then_some(Event::Transaction(txn))
        }
        Event::Ddl(mut ddl) => {
            let before = std::mem::take(&mut ddl.changes);
            ddl.changes = before.into_iter().flat_map(|change| narrow_change(change, filter)).collect();
            (!ddl.changes.is_empty()).then_some(Event::Ddl(ddl))
        }
    }
}

fn allows(filter: &TableFilter, table: &TableRef) -> bool {
    filter.allows(&table.schema, &table.table.name)
}

fn narrow_change(change: SchemaChange, filter: &TableFilter) -> Vec<SchemaChange> {
    let keep = |yes: bool, change: SchemaChange| if yes { vec![change] } else { Vec::new() };
    match change {
        SchemaChange::CreateDatabase(ref database) => keep(filter.needs_database(&database.name), change),
        SchemaChange::AlterDatabase { ref after, .. } => keep(filter.needs_database(&after.name), change),
        SchemaChange::DropDatabase { database, tables } => {
            let tables: Vec<TableRef> = tables.into_iter().filter(|table| allows(filter, table)).collect();
            if filter.allows(&database.name, "") {
                vec![SchemaChange::DropDatabase { database, tables }]
            } else {
                // The database itself does not take part, but these of its tables do, and they are gone.
                tables.into_iter().map(SchemaChange::DropTable).collect()
            }
        }
        SchemaChange::CreateTable(ref table)
        | SchemaChange::DropTable(ref table)
        | SchemaChange::RecoverTable(ref table) => keep(allows(filter, table), change),
        SchemaChange::AlterTable { ref after, .. }
        | SchemaChange::TruncateTable { ref after, .. }
        | SchemaChange::DropPartitions { ref after, .. } => keep(allows(filter, after), change),
        SchemaChange::RenameTable { ref before, ref after } => {
            match (allows(filter, before), allows(filter, after)) {
                (true, true) => vec![change],
                (false, false) => Vec::new(),
                (true, false) => {
                    tracing::warn!(from = %name(before), to = %name(after), "a table was renamed to a name that the filter leaves out: it is kept as it is and gets no more changes");
                    Vec::new()
                }
                (false, true) => {
                    tracing::warn!(from = %name(before), to = %name(after), "a table was renamed from a name that the filter leaves out: it starts without the rows it had");
                    vec![SchemaChange::CreateTable(after.clone())]
                }
            }
        }
        SchemaChange::ExchangePartition { ref partitioned, ref plain } => {
            keep(allows(filter, partitioned) || allows(filter, plain), change)
        }
    }
}

fn name(table: &TableRef) -> String {
    format!("{}.{}", table.schema, table.table.name)
}
