//! The statement's own text, for TiDB: it says more than the objects do (partitions, options, attributes).
//!
//! Four things are changed in it. Indexes that went ahead of the DDL are not dropped again, for a statement that drops what is gone fails as a
//! whole. TTL jobs would delete rows of which the source tells its own deletes, so TTL stays off. Names of jobs are
//! other ones in the target. And a batch of CREATE TABLEs is taken apart, for some of them may have been left out.

use binlog_catalog::{Column, Ddl, SchemaChange, TableRef, tp};
use binlog_types::Zone;

use super::change_text::{Token, TokenKind, tokens, words};
use super::gone::without_gone;
use super::{Planner, Step};
use crate::names::mysql_table;

/// TiDB's number of a batch of CREATE TABLEs, as BR restores them.
const CREATE_TABLES: u8 = 60;
/// TiDB's number of `SET TIFLASH REPLICA`, which fails where the target has too few TiFlash nodes: then it does without.
const SET_TIFLASH_REPLICA: u8 = 30;

impl Planner<'_> {
    /// Plans the text of a DDL that wants it.
    pub(super) fn own_text(&mut self) {
        let ddl = self.ddl;
        let zone = self.zone();
        if ddl.job_type != CREATE_TABLES {
            // The database that comes back is not there yet.
            let makes_database = ddl.changes.iter().any(|c| matches!(c, SchemaChange::CreateDatabase(_)));
            let named = !ddl.schema.is_empty() && !makes_database;
            let default_schema = named.then(|| ddl.schema.clone());
            let Some(text) = text(ddl) else { return };
            let step = self.step(&ddl.schema.as_str().into(), "", text);
            let best_effort = ddl.job_type == SET_TIFLASH_REPLICA;
            return self.steps.push(Step { default_schema, zone, best_effort, ..step });
        }
        let texts = statements(&ddl.query);
        for change in &ddl.changes {
            let SchemaChange::CreateTable(table) = change else { continue };
            let own = texts.iter().find(|text| creates(text).is_some_and(|name| is_name(&name, table)));
            let Some(own) = own else {
                self.create(table);
                continue;
            };
            let default_schema = Some(table.schema.to_string());
            let step = self.step(&table.schema, &table.table.name, without_ttl(own));
            self.steps.push(Step { default_schema, zone: zone.clone(), ..step });
        }
    }

    /// The zone in which the text was read: as its job says, as its literals show, or as the target is set to have it.
    fn zone(&self) -> Option<Zone> {
        let known = self.ddl.zone.clone().filter(Zone::is_known);
        known.or_else(|| match offset_of(self.ddl) {
            Some(offset) => Zone::of_location("", offset),
            None => self.dialect.source_zone.clone(),
        })
    }
}

fn is_name(name: &str, table: &TableRef) -> bool {
    name.to_lowercase() == table.table.name.to_lowercase()
}

/// The statement, unless it names a job; None: nothing of it is left to do.
fn text(ddl: &Ddl) -> Option<String> {
    let words = words(&ddl.query);
    match (words.as_slice(), ddl.changes.as_slice()) {
        ([recover, _, by, job, ..], [SchemaChange::RecoverTable(table)])
            if recover.is("recover") && by.is("by") && job.is("job") =>
        {
            Some(format!("RECOVER TABLE {}", mysql_table(&table.schema, &table.table.name)))
        }
        (_, [SchemaChange::AlterTable { before, .. }]) => {
            without_gone(&ddl.query, &before.table).map(|text| without_ttl(&text))
        }
        _ => Some(without_ttl(&ddl.query)),
    }
}

/// Statements parted by `;`.
fn statements(text: &str) -> Vec<&str> {
    let ends = tokens(text).into_iter().filter(|t| t.kind == TokenKind::Symbol(';'));
    let mut from = 0;
    let mut found = Vec::new();
    for (start, end) in ends.map(|t| (t.start, t.end)).chain([(text.len(), text.len())]) {
        found.push(text.get(from..start).unwrap_or_default().trim());
        from = end;
    }
    found.retain(|text| !text.is_empty());
    found
}

/// The name of the table, without its database, that a CREATE TABLE makes.
fn creates(statement: &str) -> Option<String> {
    let tokens = tokens(statement);
    let name = |token: &Token| token.name(statement);
    let mut rest = tokens.as_slice();
    for keyword in ["create", "table", "if", "not", "exists"] {
        match rest.split_first() {
            Some((first, after)) if first.is(statement, keyword) => rest = after,
            _ if keyword == "if" => break,
            _ => return None,
        }
    }
    match rest {
        [_, dot, table, ..] if dot.kind == TokenKind::Symbol('.') => name(table),
        [table, ..] => name(table),
        [] => None,
    }
}

/// The text with `TTL_ENABLE = 'OFF'` wherever it sets a TTL. TiDB writes keywords bare and names in backticks.
fn without_ttl(text: &str) -> String {
    let tokens = tokens(text);
    let mut edits: Vec<(usize, usize, &str)> = Vec::new();
    let equals = |at: usize| tokens.get(at).is_some_and(|t| t.kind == TokenKind::Symbol('='));
    for (at, token) in tokens.iter().enumerate() {
        if !token.is(text, "ttl_enable") {
            continue;
        }
        let value = if equals(at + 1) { at + 2 } else { at + 1 };
        if let Some(value) = tokens.get(value).filter(|t| t.kind == TokenKind::Text) {
            edits.push((value.start, value.end, "'OFF'"));
        }
    }
    if edits.is_empty() {
        let ttl = tokens.iter().enumerate().find(|(at, token)| token.is(text, "ttl") && equals(at + 1));
        edits.extend(ttl.map(|(_, token)| (token.start, token.start, "TTL_ENABLE = 'OFF' ")));
    }
    let (mut out, mut from) = (String::with_capacity(text.len()), 0);
    for (start, end, new) in edits {
        out.push_str(text.get(from..start).unwrap_or_default());
        out.push_str(new);
        from = end;
    }
    out + text.get(from..).unwrap_or_default()
}

/// How many seconds east of UTC the literals of a DDL were read. What TiDB made of a TIMESTAMP's default is in UTC, so where the text has
/// exactly one literal that lies a zone's offset from it, that was the offset.
fn offset_of(ddl: &Ddl) -> Option<i32> {
    let literals: Vec<i64> = tokens(&ddl.query)
        .iter()
        .filter(|t| t.kind == TokenKind::Text)
        .filter_map(|t| seconds(ddl.query.get(t.start + 1..t.end - 1)?))
        .collect();
    let mut offsets: Option<Vec<i64>> = None;
    for default in ddl.changes.iter().flat_map(timestamps) {
        let mut possible: Vec<i64> = literals.iter().map(|l| l - default).filter(|o| is_offset(*o)).collect();
        possible.retain(|offset| offsets.as_ref().is_none_or(|known| known.contains(offset)));
        possible.sort_unstable();
        possible.dedup();
        offsets = Some(possible);
    }
    match offsets.as_deref() {
        Some([offset]) => i32::try_from(*offset).ok(),
        _ => None,
    }
}

/// Constant defaults of new TIMESTAMP columns, and of those that have another one now.
fn timestamps(change: &SchemaChange) -> Vec<i64> {
    let (before, after) = match change {
        SchemaChange::CreateTable(table) => (None, table),
        SchemaChange::AlterTable { before, after } => (Some(before), after),
        _ => return Vec::new(),
    };
    let is_new = |column: &&Column| {
        let old = before.and_then(|table| table.table.columns.iter().find(|c| c.id == column.id));
        column.ty.tp == tp::TIMESTAMP && old.is_none_or(|old| old.default != column.default)
    };
    let default = |column: &Column| seconds(std::str::from_utf8(column.default.as_ref()?).ok()?);
    after.table.columns.iter().filter(is_new).filter_map(default).collect()
}

/// Zones lie quarters of an hour apart.
fn is_offset(seconds: i64) -> bool {
    seconds % 900 == 0 && (-12 * 3600 - 59 * 60..=14 * 3600).contains(&seconds)
}

/// `2020-01-31 08:30:00` as seconds since some day; the fraction does not matter.
fn seconds(text: &str) -> Option<i64> {
    let (date, time) = text.trim().split_once([' ', 'T']).unwrap_or((text.trim(), "0:0:0"));
    let number = |text: Option<&str>| text.and_then(|t| t.parse::<i64>().ok());
    let mut date = date.splitn(3, '-');
    let (year, month, day) = (number(date.next())?, number(date.next())?, number(date.next())?);
    let mut time = time.split('.').next()?.splitn(3, ':');
    let (hour, minute, second) = (number(time.next())?, number(time.next())?, number(time.next())?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // The year begins in March, so that the leap day is its last.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use binlog_catalog::{ColumnType, TableBuilder};
    use binlog_types::{CommitTs, JobId, SchemaVersion, StartTs, TableId};

    use super::*;
    use crate::ddl::dialect::{Dialect, Kind};
    use crate::ddl::plan;
    use crate::ddl::recycle::Bin;
    use crate::notices::Notices;

    fn planned(job_type: u8, query: &str, changes: Vec<SchemaChange>) -> Vec<Step> {
        let ddl = Ddl {
            start_ts: StartTs::new(1),
            commit_ts: CommitTs::new(2),
            job_id: JobId(1),
            job_type,
            schema: "d".into(),
            schema_version: SchemaVersion(2),
            query: query.into(),
            typed: query.into(),
            zone: None,
            changes,
            ahead: false,
        };
        let mut dialect = Dialect::new(Kind::TiDb, Default::default());
        dialect.source_zone = Zone::of_location("", 3600);
        plan(&dialect, &ddl, &Bin::default(), false, &mut Notices::default()).unwrap()
    }

    fn table(name: &str, default: &str) -> TableRef {
        let mut table = TableBuilder::new(TableId(1), name, SchemaVersion(1))
            .column("id", ColumnType::int())
            .column("at", ColumnType::datetime(0))
            .default_value(default)
            .primary_key(&["id"])
            .build();
        table.columns[1].ty.tp = tp::TIMESTAMP;
        TableRef { schema: "d".into(), table: Arc::new(table) }
    }

    #[test]
    fn ttl_stays_off() {
        for (text, expected) in [
            (
                "CREATE TABLE `t` (`ttl` DATETIME) /*T![ttl] TTL = `ttl` + INTERVAL 1 DAY */ /*T![ttl] TTL_ENABLE = 'ON' */;",
                "CREATE TABLE `t` (`ttl` DATETIME) /*T![ttl] TTL = `ttl` + INTERVAL 1 DAY */ /*T![ttl] TTL_ENABLE = 'OFF' */;",
            ),
            (
                "ALTER TABLE `t` /*T![ttl] TTL = `c` + INTERVAL 1 DAY */",
                "ALTER TABLE `t` /*T![ttl] TTL_ENABLE = 'OFF' TTL = `c` + INTERVAL 1 DAY */",
            ),
            ("ALTER TABLE `t` TTL_ENABLE='ON'", "ALTER TABLE `t` TTL_ENABLE='OFF'"),
            ("ALTER TABLE `t` /*T![ttl] REMOVE TTL */", "ALTER TABLE `t` /*T![ttl] REMOVE TTL */"),
            (
                "ALTER TABLE `t` COMMENT 'TTL = 1 TTL_ENABLE = ''ON''' /* TTL = x */",
                "ALTER TABLE `t` COMMENT 'TTL = 1 TTL_ENABLE = ''ON''' /* TTL = x */",
            ),
        ] {
            assert_eq!(without_ttl(text), expected);
        }
    }

    #[test]
    fn the_zone_is_that_in_which_the_default_was_typed() {
        let zone = |query: &str, default: &str| {
            let step = planned(3, query, vec![SchemaChange::CreateTable(table("t", default))]).remove(0);
            step.zone.map(|zone| zone.name().to_owned())
        };
        let set = Some("+01:00".to_owned());
        let text = "CREATE TABLE t (at TIMESTAMP DEFAULT '2020-01-01 00:00:00')";
        assert_eq!(zone(text, "2019-12-31 16:00:00"), Some("+08:00".to_owned()));
        assert_eq!(zone(text, "2020-01-01 03:30:00"), Some("-03:30".to_owned()));
        assert_eq!(zone(text, "2020-01-01 00:00:00"), None);
        assert_eq!(zone(text, "CURRENT_TIMESTAMP"), set);
        let two = "CREATE TABLE t (a DATETIME DEFAULT '2020-01-01 01:00:00', at TIMESTAMP DEFAULT '2020-01-01 00:00:00')";
        assert_eq!(zone(two, "2019-12-31 16:00:00"), set, "either of them");
    }

    #[test]
    fn a_batch_of_tables_is_taken_apart() {
        let query = "CREATE TABLE `a` (`x;` INT COMMENT ';') PARTITION BY HASH (`x;`);CREATE TABLE IF NOT EXISTS `d`.`B` (`id` INT);";
        let changes = ["b", "a", "c"].map(|name| SchemaChange::CreateTable(table(name, "CURRENT_TIMESTAMP")));
        let steps = planned(CREATE_TABLES, query, changes.to_vec());
        let texts: Vec<&str> = steps.iter().map(|s| s.sql.as_str()).collect();
        assert_eq!(texts[0], "CREATE TABLE IF NOT EXISTS `d`.`B` (`id` INT)");
        assert_eq!(texts[1], "CREATE TABLE `a` (`x;` INT COMMENT ';') PARTITION BY HASH (`x;`)");
        assert!(texts[2].starts_with("CREATE TABLE IF NOT EXISTS `d`.`c` (`id` INT"), "{texts:?}");
        assert_eq!(steps[2].zone, None, "its literals are ours");
        assert_eq!(planned(CREATE_TABLES, "", changes[..1].to_vec()).len(), 1);
    }
}
