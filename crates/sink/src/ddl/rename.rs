//! Several renames at once: an order in which no name is taken twice.

use std::sync::Arc;

use binlog_catalog::{Table, TableRef};

/// Database and table name.
pub(super) type Name = (Arc<str>, String);

/// One rename.
#[derive(Clone, Debug)]
pub(super) struct Rename {
    pub(super) table: Arc<Table>,
    pub(super) from: Name,
    pub(super) to: Name,
}

fn name(table: &TableRef) -> Name {
    (table.schema.clone(), table.table.name.clone())
}

/// Renames that a job did, in an order that works one by one: a table whose new name is still taken waits; in a circle, one table
/// goes by a name of its own first. Renames of one table in sequence become one.
pub(super) fn order(renames: &[(&TableRef, &TableRef)]) -> Vec<Rename> {
    let mut waiting: Vec<Rename> = Vec::new();
    for (before, after) in renames {
        match waiting.iter_mut().find(|r| r.table.id == after.table.id) {
            Some(same) => {
                same.to = name(after);
                same.table = after.table.clone();
            }
            None => waiting.push(Rename { table: after.table.clone(), from: name(before), to: name(after) }),
        }
    }
    waiting.retain(|r| r.from != r.to);
    let mut ordered = Vec::new();
    while !waiting.is_empty() {
        let free = (0..waiting.len())
            .find(|at| waiting.get(*at).is_some_and(|r| !waiting.iter().any(|other| other.from == r.to)));
        match free {
            Some(at) => ordered.push(waiting.remove(at)),
            None => {
                let Some(first) = waiting.first_mut() else { break };
                let parked: Name = (first.from.0.clone(), format!("_binlog_rename_{}", first.table.id));
                ordered.push(Rename {
                    table: first.table.clone(),
                    from: first.from.clone(),
                    to: parked.clone(),
                });
                first.from = parked;
            }
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use binlog_types::TableId;

    use super::*;

    fn table(id: i64, name: &str) -> TableRef {
        let table = Table { id: TableId(id), name: name.into(), ..Table::default() };
        TableRef { schema: "d".into(), table: Arc::new(table) }
    }

    fn moves(renames: &[(TableRef, TableRef)]) -> Vec<String> {
        let renames: Vec<_> = renames.iter().map(|(a, b)| (a, b)).collect();
        order(&renames).iter().map(|r| format!("{}>{}", r.from.1, r.to.1)).collect()
    }

    #[test]
    fn a_swap_goes_by_a_third_name() {
        let swap = [(table(1, "a"), table(1, "b")), (table(2, "b"), table(2, "a"))];
        assert_eq!(moves(&swap), ["a>_binlog_rename_1", "b>a", "_binlog_rename_1>b"]);
    }

    #[test]
    fn a_chain_of_the_same_table_is_one_move() {
        let chain =
            [(table(1, "a"), table(1, "t")), (table(2, "b"), table(2, "a")), (table(1, "t"), table(1, "b"))];
        assert_eq!(moves(&chain), ["a>_binlog_rename_1", "b>a", "_binlog_rename_1>b"]);
        let shift = [(table(1, "a"), table(1, "b")), (table(2, "b"), table(2, "c"))];
        assert_eq!(moves(&shift), ["b>c", "a>b"]);
    }
}
