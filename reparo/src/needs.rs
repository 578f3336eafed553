//! What a range needs of a database that it goes into: tables that must be there before, and privileges. Asked by a plan; nothing is changed.

use std::collections::{BTreeMap, BTreeSet};

use binlog_archive::{Statement, Subject};
use binlog_catalog::{Ddl, SchemaChange, TableRef, Transaction};
use binlog_sink::{Session, Target};
use binlog_types::CommitTs;

use crate::Error;
use crate::journal::SCHEMA;

/// What a restore does there.
const PRIVILEGES: [&str; 8] = ["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER", "INDEX"];

/// Collected from the events of a range, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Needs {
    /// Tables of which rows come before any DDL of the range names them, and where.
    before: BTreeMap<(String, String), CommitTs>,
    /// Tables that a DDL of the range has named.
    named: BTreeSet<(String, String)>,
}

impl Needs {
    pub(crate) fn transaction(&mut self, txn: &Transaction) {
        for change in &txn.changes {
            let name = name(&change.table);
            if !self.named.contains(&name) {
                self.before.entry(name).or_insert(txn.commit_ts);
            }
        }
    }

    pub(crate) fn ddl(&mut self, ddl: &Ddl) {
        if ddl.ahead {
            // As rows of these tables do.
            for change in &ddl.changes {
                if let SchemaChange::AlterTable { before, .. } = change
                    && !self.named.contains(&name(before))
                {
                    self.before.entry(name(before)).or_insert(ddl.commit_ts);
                }
            }
            return;
        }
        for change in &ddl.changes {
            let tables = match change {
                SchemaChange::CreateDatabase(_) | SchemaChange::AlterDatabase { .. } => Vec::new(),
                SchemaChange::DropDatabase { tables, .. } => tables.iter().collect(),
                SchemaChange::CreateTable(table)
                | SchemaChange::DropTable(table)
                | SchemaChange::RecoverTable(table) => vec![table],
                SchemaChange::AlterTable { before, after }
                | SchemaChange::RenameTable { before, after }
                | SchemaChange::TruncateTable { before, after }
                | SchemaChange::DropPartitions { before, after } => vec![before, after],
                SchemaChange::ExchangePartition { partitioned, plain } => vec![partitioned, plain],
            };
            self.named.extend(tables.into_iter().map(name));
        }
        // Of binlog files there is no more than the text.
        if ddl.changes.is_empty()
            && let Subject::Tables(tables) = Statement::parse(&ddl.query).subject
        {
            let tables = tables.into_iter();
            self.named.extend(tables.map(|(db, table)| (db.unwrap_or_else(|| ddl.schema.clone()), table)));
        }
    }

    /// Why a restore into `target` would fail, and what may be in its way.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub(crate) async fn ask(&self, target: &Target) -> Result<(Vec<Error>, Vec<String>), Error> {
        let missing = |there: &BTreeSet<String>| {
            let lacking = self
                .before
                .iter()
                .filter(|((schema, table), _)| !there.contains(&format!("{schema}.{table}").to_lowercase()));
            let error = |((schema, table), commit_ts): (&(String, String), &CommitTs)| {
                let (table, commit_ts) = (format!("{schema}.{table}"), *commit_ts);
                Error::NoTable { table, commit_ts }
            };
            lacking.map(error).collect::<Vec<_>>()
        };
        if let Target::Sqlite(path) = target
            && !path.exists()
        {
            return Ok((missing(&BTreeSet::new()), Vec::new()));
        }
        let failed = |source| Error::Journal { source };
        let mut session = Session::open(target).await.map_err(failed)?;
        let sql = if session.is_sqlite() {
            "SELECT name FROM sqlite_master WHERE type = 'table'"
        } else {
            "SELECT CONCAT(table_schema, '.', table_name) FROM information_schema.tables"
        };
        let rows = session.texts(sql).await.map_err(failed)?;
        let there = rows.into_iter().flatten().flatten().map(|name| name.to_lowercase()).collect();
        let mut notes = Vec::new();
        if !session.is_sqlite() {
            let rows = session.texts("SHOW GRANTS").await.map_err(failed)?;
            let grants: Vec<String> = rows.into_iter().flatten().flatten().collect();
            notes = self.lacking(&grants);
        }
        session.close().await;
        Ok((missing(&there), notes))
    }

    /// Privileges that `SHOW GRANTS` does not name. They may come by a role.
    fn lacking(&self, grants: &[String]) -> Vec<String> {
        let tables = self.before.keys().chain(&self.named);
        let schemas: BTreeSet<&str> = tables.map(|(schema, _)| schema.as_str()).chain([SCHEMA]).collect();
        let one = |schema: &str| {
            let granted: Vec<&str> = grants.iter().filter_map(|grant| privileges(grant, schema)).collect();
            let has = |wanted: &str| {
                let each = granted.iter().flat_map(|list| list.split(',')).map(str::trim);
                each.into_iter().any(|given| given == wanted || given.starts_with("ALL"))
            };
            let lacking: Vec<&str> = PRIVILEGES.into_iter().filter(|wanted| !has(wanted)).collect();
            (!lacking.is_empty()).then(|| {
                format!(
                    "note: the account may not {} in database {schema}, as SHOW GRANTS has it",
                    lacking.join(", ")
                )
            })
        };
        schemas.into_iter().filter_map(one).collect()
    }
}

fn name(table: &TableRef) -> (String, String) {
    (table.schema.to_string(), table.table.name.clone())
}

/// The privileges that a line of `SHOW GRANTS` gives on all tables of a database.
fn privileges<'a>(grant: &'a str, schema: &str) -> Option<&'a str> {
    let (list, rest) = grant.strip_prefix("GRANT ")?.split_once(" ON ")?;
    let (object, _) = rest.split_once(" TO ")?;
    let pattern = object.trim_start_matches("TABLE ").strip_suffix(".*")?.trim_matches('`');
    (pattern == "*" || like(&pattern.to_lowercase(), &schema.to_lowercase())).then_some(list)
}

/// Whether a name is like a pattern with `%`, `_` and escapes.
fn like(pattern: &str, name: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => name.is_empty(),
        Some('%') => name
            .char_indices()
            .map(|(at, _)| at)
            .chain([name.len()])
            .any(|at| like(rest.as_str(), &name[at..])),
        Some(one) => {
            let mut left = name.chars();
            let wanted = if one == '\\' { rest.next() } else { Some(one) };
            let same = left.next().is_some_and(|c| Some(c) == wanted || one == '_');
            same && like(rest.as_str(), left.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_count_where_they_hold() {
        let all = |grant: &str| {
            let mut needs = Needs::default();
            needs.named.insert(("shop_1".to_owned(), "t".to_owned()));
            needs.lacking(&[grant.to_owned()])
        };
        assert!(all("GRANT ALL PRIVILEGES ON *.* TO `a`@`%` WITH GRANT OPTION").is_empty());
        assert!(
            all("GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, INDEX, ALTER ON *.* TO 'a'@'%'")
                .is_empty()
        );
        let some = all("GRANT ALL PRIVILEGES ON `shop\\_%`.* TO `a`@`%`");
        assert_eq!(some.len(), 1, "{some:?}");
        assert!(some[0].ends_with("in database tidb_binlog_reparo, as SHOW GRANTS has it"), "{some:?}");
        let some = all("GRANT SELECT ON *.* TO `a`@`%`");
        assert!(some[0].contains("may not INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX"), "{some:?}");
        assert_eq!(all("GRANT `role`@`%` TO `a`@`%`").len(), 2);
    }

    #[test]
    fn names_are_like_patterns() {
        for (pattern, name, is) in [
            ("a_c", "abc", true),
            ("a\\_c", "abc", false),
            ("a\\_c", "a_c", true),
            ("a%", "a", true),
            ("%b%", "abc", true),
            ("a", "ab", false),
        ] {
            assert_eq!(like(pattern, name), is, "{pattern} {name}");
        }
    }
}
