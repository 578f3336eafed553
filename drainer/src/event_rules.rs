//! `[[syncer.table-migrate-rule]]` with `[syncer.binlog-filter-rule.NAME]`: kinds of events, and DDL by its text, that some tables leave out.

use binlog_catalog::{ChangeKind, Ddl, Event, SchemaChange, TableRef};
use regex::{Regex, RegexBuilder};

use crate::config::{FilterRule, MigrateRule};
use crate::select::without_effect;

/// All rules. The first entry of a table's list of events that says something decides, as in the original.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventRules {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    schema: Regex,
    table: Option<Regex>,
    events: Vec<String>,
    sql: Vec<Regex>,
}

const EVENTS: [&str; 29] = [
    "",
    "all",
    "all ddl",
    "all dml",
    "none",
    "none ddl",
    "none dml",
    "insert",
    "update",
    "delete",
    "create database",
    "create schema",
    "drop database",
    "drop schema",
    "alter database",
    "alter schema",
    "create table",
    "drop table",
    "truncate table",
    "rename table",
    "create index",
    "add index",
    "drop index",
    "create view",
    "drop view",
    "alter table",
    "add table partition",
    "drop table partition",
    "truncate table partition",
];

impl EventRules {
    /// # Errors
    /// A text that names the rule.
    pub(crate) fn new(
        migrate: &[MigrateRule],
        templates: &std::collections::BTreeMap<String, FilterRule>,
        case_sensitive: bool,
    ) -> Result<Self, String> {
        let mut rules = Vec::new();
        for rule in migrate {
            if rule.source.schema.is_empty() {
                return Err("table-migrate-rule: source.schema must not be empty".to_owned());
            }
            for name in &rule.binlog_filter_rule {
                let template = templates
                    .get(name)
                    .ok_or_else(|| format!("table-migrate-rule: there is no binlog-filter-rule {name:?}"))?;
                let events: Vec<String> =
                    template.ignore_event.iter().map(|e| e.trim().to_lowercase()).collect();
                if let Some(unknown) = events.iter().find(|e| !EVENTS.contains(&e.as_str())) {
                    return Err(format!("binlog-filter-rule {name}: unknown event {unknown:?}"));
                }
                let sql = template.ignore_sql.iter().map(|pattern| {
                    RegexBuilder::new(pattern).case_insensitive(true).build().map_err(|e| {
                        format!("binlog-filter-rule {name}: {pattern:?} is no regular expression: {e}")
                    })
                });
                let table = &rule.source.table;
                rules.push(Rule {
                    schema: wildcard(&rule.source.schema, case_sensitive)?,
                    table: if table.is_empty() { None } else { Some(wildcard(table, case_sensitive)?) },
                    events,
                    sql: sql.collect::<Result<_, _>>()?,
                });
            }
        }
        Ok(EventRules { rules })
    }

    /// Whether some DDL is left out, so that the downstream's tables may differ.
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What the rules leave of an event; of a DDL, that it was there.
    pub(crate) fn select(&self, event: Event) -> Option<Event> {
        if self.rules.is_empty() {
            return Some(event);
        }
        match event {
            Event::Transaction(mut txn) => {
                txn.changes.retain(|change| {
                    let kind = match change.kind {
                        ChangeKind::Insert(_) => "insert",
                        ChangeKind::Update { .. } => "update",
                        ChangeKind::Delete(_) => "delete",
                    };
                    !self.ignores(&change.table.schema, &change.table.table.name, kind, false, "")
                });
                (!txn.changes.is_empty()).then_some(Event::Transaction(txn))
            }
            Event::Ddl(mut ddl) if ddl.ahead => {
                ddl.changes.retain(|change| !self.ignores_ahead(change));
                (!ddl.changes.is_empty()).then_some(Event::Ddl(ddl))
            }
            Event::Ddl(ddl) => {
                let kind = kind_of(&ddl.query);
                let (schema, table) = place_of(&ddl);
                // Expressions are meant for what people type, not for the form that TiDB gives it.
                let text = if ddl.typed.is_empty() { &ddl.query } else { &ddl.typed };
                if self.ignores(&schema, &table, kind, true, text) {
                    tracing::info!(commit_ts = %ddl.commit_ts, query = ddl.query, "left out, as a binlog-filter-rule says");
                    return Some(without_effect(ddl));
                }
                Some(Event::Ddl(ddl))
            }
        }
    }

    /// Whether the DDL that an index goes ahead of would be left out. It is under way: that it drops the index is all that is known of it.
    fn ignores_ahead(&self, change: &SchemaChange) -> bool {
        let SchemaChange::AlterTable { before, after } = change else { return false };
        let (schema, table) = (&after.schema, &after.table.name);
        let gone = before.table.indexes.iter();
        let mut gone = gone.filter(|old| !after.table.indexes.iter().any(|new| new.id == old.id));
        gone.any(|index| {
            let name = &index.name;
            let dropped = if index.primary { "PRIMARY KEY".to_owned() } else { format!("INDEX {name}") };
            self.ignores(schema, table, "alter table", true, &format!("ALTER TABLE {table} DROP {dropped}"))
                || self.ignores(schema, table, "drop index", true, &format!("DROP INDEX {name} ON {table}"))
        })
    }

    fn ignores(&self, schema: &str, table: &str, event: &str, ddl: bool, query: &str) -> bool {
        let matching = || {
            self.rules.iter().filter(|rule| {
                rule.schema.is_match(schema) && rule.table.as_ref().is_none_or(|t| t.is_match(table))
            })
        };
        let all = if ddl { "all ddl" } else { "all dml" };
        let none = if ddl { "none ddl" } else { "none dml" };
        let synonym = match event {
            "create database" => "create schema",
            "drop database" => "drop schema",
            "alter database" => "alter schema",
            "create index" => "add index",
            other => other,
        };
        for entry in matching().flat_map(|rule| &rule.events) {
            match entry.as_str() {
                "none" => return false,
                entry if entry == none => return false,
                "all" => return true,
                entry if entry == all => return true,
                entry if !event.is_empty() && (entry == event || entry == synonym) => return true,
                _ => {}
            }
        }
        ddl && matching().flat_map(|rule| &rule.sql).any(|sql| sql.is_match(query))
    }
}

/// The original's wildcards: `*` at the end, `?`, `[a-z]` and `[!a-z]`.
fn wildcard(pattern: &str, case_sensitive: bool) -> Result<Regex, String> {
    let mut regex = String::from("^");
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' if chars.peek().is_none() => regex.push_str(".*"),
            '*' => return Err(format!("{pattern:?}: * may only be the last character")),
            '?' => regex.push('.'),
            '[' => {
                regex.push('[');
                if chars.next_if_eq(&'!').is_some() {
                    regex.push('^');
                }
                for c in chars.by_ref() {
                    match c {
                        ']' => break,
                        '-' => regex.push('-'),
                        c => regex.push_str(&regex::escape(&c.to_string())),
                    }
                }
                regex.push(']');
            }
            c => regex.push_str(&regex::escape(&c.to_string())),
        }
    }
    regex.push('$');
    RegexBuilder::new(&regex)
        .case_insensitive(!case_sensitive)
        .dot_matches_new_line(true)
        .build()
        .map_err(|e| format!("{pattern:?} is no pattern: {e}"))
}

/// The kind of a statement by its first words. TiDB writes it in binlogs with upper-case keywords; empty: none that rules can name.
fn kind_of(query: &str) -> &'static str {
    let text = query.trim_start().to_uppercase();
    let words: Vec<&str> = text
        .split_whitespace()
        .filter(|w| {
            !matches!(*w, "OR" | "REPLACE" | "UNIQUE" | "FULLTEXT" | "SPATIAL" | "TEMPORARY" | "GLOBAL")
        })
        .take(12)
        .collect();
    match words.as_slice() {
        ["CREATE", "DATABASE" | "SCHEMA", ..] => "create database",
        ["DROP", "DATABASE" | "SCHEMA", ..] => "drop database",
        ["ALTER", "DATABASE" | "SCHEMA", ..] => "alter database",
        ["CREATE", "TABLE", ..] => "create table",
        ["DROP", "TABLE" | "TABLES", ..] => "drop table",
        ["TRUNCATE", ..] => "truncate table",
        ["RENAME", "TABLE", ..] => "rename table",
        ["CREATE", "INDEX", ..] => "create index",
        ["DROP", "INDEX", ..] => "drop index",
        ["CREATE", rest @ ..] if rest.contains(&"VIEW") => "create view",
        ["DROP", "VIEW", ..] => "drop view",
        ["ALTER", "TABLE", ..] => "alter table",
        _ => "",
    }
}

/// The table that a DDL is judged by: the one it leaves.
fn place_of(ddl: &Ddl) -> (String, String) {
    let of = |t: &TableRef| (t.schema.to_string(), t.table.name.clone());
    match ddl.changes.last() {
        Some(SchemaChange::CreateDatabase(d)) => (d.name.clone(), String::new()),
        Some(SchemaChange::AlterDatabase { after, .. }) => (after.name.clone(), String::new()),
        Some(SchemaChange::DropDatabase { database, .. }) => (database.name.clone(), String::new()),
        Some(
            SchemaChange::CreateTable(t)
            | SchemaChange::DropTable(t)
            | SchemaChange::RecoverTable(t)
            | SchemaChange::AlterTable { after: t, .. }
            | SchemaChange::RenameTable { after: t, .. }
            | SchemaChange::TruncateTable { after: t, .. }
            | SchemaChange::DropPartitions { after: t, .. }
            | SchemaChange::ExchangePartition { partitioned: t, .. },
        ) => of(t),
        None => (ddl.schema.clone(), String::new()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use binlog_catalog::Database;
    use binlog_types::{CommitTs, JobId, SchemaVersion, StartTs};

    use super::*;

    impl EventRules {
        /// One rule of one table.
        pub(crate) fn of(schema: &str, table: &str, events: &[&str], sql: &[&str]) -> Self {
            rules(schema, table, events, sql).unwrap()
        }
    }

    fn rules(schema: &str, table: &str, events: &[&str], sql: &[&str]) -> Result<EventRules, String> {
        let texts = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let rule = MigrateRule {
            binlog_filter_rule: vec!["r".to_owned()],
            source: crate::config::SourceName { schema: schema.to_owned(), table: table.to_owned() },
            ..MigrateRule::default()
        };
        let template = FilterRule { ignore_event: texts(events), ignore_sql: texts(sql) };
        EventRules::new(&[rule], &[("r".to_owned(), template)].into(), false)
    }

    #[test]
    fn events_are_ignored_by_kind_and_text() {
        let r =
            rules("shop?", "o*", &["truncate table", "Delete", "drop database"], &["^drop\\s+view"]).unwrap();
        for (schema, table, event, ddl, query, ignored) in [
            ("shop1", "orders", "delete", false, "", true),
            ("SHOP1", "ORDERS", "delete", false, "", true),
            ("shop1", "orders", "insert", false, "", false),
            ("shop", "orders", "delete", false, "", false),
            ("shop1", "x", "delete", false, "", false),
            ("shop1", "orders", "truncate table", true, "TRUNCATE TABLE `orders`", true),
            ("shop1", "o", "drop view", true, "DROP VIEW `o`", true),
        ] {
            assert_eq!(r.ignores(schema, table, event, ddl, query), ignored, "{schema}.{table} {event}");
        }
        let first = rules("s", "", &["none ddl", "all"], &[]).unwrap();
        assert!(
            first.ignores("s", "t", "insert", false, "") && !first.ignores("s", "t", "drop table", true, "")
        );
    }

    #[test]
    fn a_ddl_is_judged_by_what_was_typed() {
        let rules = rules("shop", "", &[], &["^alter +table +orders +add"]).unwrap();
        let database = Arc::new(Database {
            id: 1,
            name: "shop".into(),
            charset: "utf8mb4".into(),
            collate: "utf8mb4_bin".into(),
            version: SchemaVersion(4),
        });
        // What is left out stays in the stream, without effect.
        let applied = |typed: &str| {
            let ddl = Event::Ddl(Ddl {
                start_ts: StartTs::new(1),
                commit_ts: CommitTs::new(2),
                job_id: JobId(3),
                job_type: 5,
                schema: "shop".into(),
                schema_version: SchemaVersion(4),
                query: "ALTER TABLE `orders` ADD COLUMN `c` INT;".into(),
                typed: typed.into(),
                zone: None,
                changes: vec![SchemaChange::CreateDatabase(Arc::clone(&database))],
                ahead: false,
            });
            match rules.select(ddl) {
                Some(Event::Ddl(ddl)) => !ddl.changes.is_empty(),
                other => panic!("{other:?}"),
            }
        };
        assert!(!applied("alter  table orders add c int"));
        assert!(applied("/* later */ alter table orders add c int"));
        assert!(applied(""), "only TiDB's form is known, and the expression is not about that");
    }

    #[test]
    fn kinds_are_those_of_the_statement() {
        for (query, kind) in [
            ("CREATE DATABASE `d`", "create database"),
            ("create unique index `i` on `t`(`a`)", "create index"),
            (
                "CREATE ALGORITHM = UNDEFINED DEFINER = `r`@`%` SQL SECURITY DEFINER VIEW `v` AS SELECT 1",
                "create view",
            ),
            ("ALTER TABLE `t` ADD INDEX `i`(`a`)", "alter table"),
            ("CREATE SEQUENCE `s`", ""),
        ] {
            assert_eq!(kind_of(query), kind, "{query}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(rules("", "t", &[], &[]).is_err());
        assert!(rules("a*b", "t", &[], &[]).is_err());
        assert!(rules("s", "t", &["drop everything"], &[]).unwrap_err().contains("drop everything"));
        assert!(rules("s", "t", &[], &["("]).unwrap_err().contains("no regular expression"));
        assert!(rules("s[!x-z]", "t", &["all"], &[]).unwrap().ignores("sa", "t", "insert", false, ""));
    }
}
