//! What a DDL's text does to tables and the rows in them, as far as it tells.

use crate::statement::{Name, Parser, Statement};
use crate::tokens::{Token, tokens};

/// One effect of a statement. Names have their database where the text has it or a USE before it says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A database begins, or is what it was before.
    CreateDatabase(String),
    /// A database goes with all its tables.
    DropDatabase(String),
    /// A dropped database is back with its tables; their rows are in no binlog.
    RecoverDatabase(String),
    /// A table begins, without rows.
    CreateTable(Name),
    /// A view or a sequence begins: it has no rows of its own.
    CreateOther(Name),
    /// A table, view or sequence goes.
    Drop(Name),
    /// All rows go.
    Truncate(Name),
    /// A table is called otherwise.
    Rename {
        /// Until now.
        from: Name,
        /// From now on.
        to: Name,
    },
    /// A table is back under this name; its rows are in no binlog.
    Recover(Name),
    /// Rows come or go that are in no binlog: partitions are dropped, emptied or exchanged.
    Partitions(Name),
    /// Columns go, or get another name or type: what older rows hold under these names is not what the table holds.
    Columns(Name, Vec<String>),
    /// What identifies a row may be something else from now on.
    Keys {
        /// Whose.
        table: Name,
        /// It is about the primary key.
        primary: bool,
    },
    /// Everything is set back to another time.
    FlashbackCluster,
}

impl Statement<'_> {
    /// What it does to tables and rows. What is not understood does nothing that the rows of the binlogs would not tell.
    pub fn changes(&self) -> Vec<Change> {
        let words: Vec<Token> = tokens(self.text).map(|(token, _)| token).collect();
        let mut changes = changes(&words);
        let own = |name: &mut Name| name.0 = name.0.take().or_else(|| self.database.clone());
        for change in &mut changes {
            match change {
                Change::CreateDatabase(_)
                | Change::DropDatabase(_)
                | Change::RecoverDatabase(_)
                | Change::FlashbackCluster => {}
                Change::Rename { from, to } => {
                    own(from);
                    own(to);
                }
                Change::CreateTable(name)
                | Change::CreateOther(name)
                | Change::Drop(name)
                | Change::Truncate(name)
                | Change::Recover(name)
                | Change::Partitions(name)
                | Change::Columns(name, _)
                | Change::Keys { table: name, .. } => own(name),
            }
        }
        changes
    }
}

impl Statement<'_> {
    /// The columns that a CREATE TABLE or ALTER TABLE makes generated ones, and the table whose columns it copies (LIKE).
    pub(crate) fn generated(&self) -> (Vec<String>, Option<Name>) {
        let words: Vec<Token> = tokens(self.text).map(|(token, _)| token).collect();
        let mut parser = Parser { words: &words, at: 0 };
        let verb = ["create", "alter"].into_iter().find(|verb| parser.next_is(verb));
        if verb.is_none() || parser.object_word() != Some("table") {
            return (Vec::new(), None);
        }
        parser.if_exists();
        if parser.table().is_none() {
            return (Vec::new(), None);
        }
        let create = verb == Some("create");
        let opened = create && parser.next_mark('(');
        if create && parser.next_is("like") {
            let own = |(database, table): Name| (database.or_else(|| self.database.clone()), table);
            return (Vec::new(), parser.table().map(own));
        }
        let rest = words.get(parser.at..).unwrap_or_default();
        let rest = if opened { rest.get(..closing(rest)).unwrap_or(rest) } else { rest };
        (parts(rest).into_iter().filter_map(generated_column).collect(), None)
    }
}

/// Where the bracket that is open closes.
fn closing(words: &[Token]) -> usize {
    let mut depth = 1u32;
    let close = words.iter().position(|word| {
        match word {
            Token::Mark('(') => depth += 1,
            Token::Mark(')') => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    close.unwrap_or(words.len())
}

/// The column that a part of a CREATE or ALTER TABLE makes, if it is a generated one.
fn generated_column(part: &[Token]) -> Option<String> {
    let mut parser = Parser { words: part, at: 0 };
    if parser.any_of(&["add", "modify", "change"]) {
        let changed = part.first().is_some_and(|word| word.is_word("change"));
        parser.next_is("column");
        parser.if_exists();
        if changed {
            parser.next_name()?;
        }
        // A list of new columns: only its first one is looked at.
        parser.next_mark('(');
    }
    let mut depth = 0u32;
    let expression = part.windows(2).any(|pair| {
        match pair.first() {
            Some(Token::Mark('(')) => depth += 1,
            Some(Token::Mark(')')) => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && matches!(pair, [word, Token::Mark('(')] if word.is_word("as"))
    });
    let name = parser.next_name()?;
    expression.then(|| name.to_owned())
}

fn changes(words: &[Token]) -> Vec<Change> {
    let mut parser = Parser { words, at: 0 };
    let one = |change: Option<Change>| change.into_iter().collect();
    if parser.next_is("truncate") {
        parser.next_is("table");
        return one(parser.table().map(Change::Truncate));
    }
    if parser.next_is("rename") {
        parser.next_is("table");
        return renames(&mut parser);
    }
    if parser.next_is("recover") || parser.next_is("flashback") {
        return one(recovered(&mut parser));
    }
    let verb = ["create", "alter", "drop"].into_iter().find(|verb| parser.next_is(verb));
    let Some(verb) = verb else { return Vec::new() };
    let unique = words.get(1).is_some_and(|word| word.is_word("unique"));
    let Some(object) = parser.object_word() else { return Vec::new() };
    match (verb, object) {
        ("create", "database") => one(parser.database_name().map(Change::CreateDatabase)),
        ("drop", "database") => one(parser.database_name().map(Change::DropDatabase)),
        ("drop", "index") => one(parser.indexed_table().map(|table| Change::Keys { table, primary: false })),
        ("create", "index") if unique => {
            one(parser.indexed_table().map(|table| Change::Keys { table, primary: false }))
        }
        ("drop", _) => parser.table_list().into_iter().map(Change::Drop).collect(),
        ("create", "table") => {
            parser.if_exists();
            one(parser.table().map(Change::CreateTable))
        }
        ("create", "view" | "sequence") => {
            parser.if_exists();
            one(parser.table().map(Change::CreateOther))
        }
        ("alter", "table") => {
            parser.if_exists();
            let Some(table) = parser.table() else { return Vec::new() };
            let rest = words.get(parser.at..).unwrap_or_default();
            parts(rest).into_iter().flat_map(|part| altered(&table, part)).collect()
        }
        _ => Vec::new(),
    }
}

fn renames(parser: &mut Parser<'_>) -> Vec<Change> {
    let mut out = Vec::new();
    while let Some(from) = parser.table() {
        if !parser.next_is("to") {
            break;
        }
        let Some(to) = parser.table() else { break };
        out.push(Change::Rename { from, to });
        if !parser.next_mark(',') {
            break;
        }
    }
    out
}

/// Behind RECOVER and FLASHBACK.
fn recovered(parser: &mut Parser<'_>) -> Option<Change> {
    if parser.any_of(&["cluster"]) {
        return Some(Change::FlashbackCluster);
    }
    let database = parser.any_of(&["database", "schema"]);
    if !database && !parser.next_is("table") {
        return None;
    }
    let name = parser.table()?;
    let name = if parser.next_is("to") { parser.table()? } else { name };
    Some(if database { Change::RecoverDatabase(name.1) } else { Change::Recover(name) })
}

/// The list of an ALTER TABLE, one element a change.
fn parts(words: &[Token]) -> Vec<&[Token]> {
    let mut depth = 0u32;
    words
        .split(|word| {
            match word {
                Token::Mark('(') => depth += 1,
                Token::Mark(')') => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && *word == Token::Mark(',')
        })
        .collect()
}

fn altered(table: &Name, part: &[Token]) -> Vec<Change> {
    let mut parser = Parser { words: part, at: 0 };
    let column = |name: Option<&str>| {
        name.map(|name| Change::Columns(table.clone(), vec![name.to_owned()])).into_iter().collect()
    };
    let keys = |primary| vec![Change::Keys { table: table.clone(), primary }];
    let partitions = || vec![Change::Partitions(table.clone())];
    let has = |word: &str| part.iter().any(|token| token.is_word(word));
    if parser.next_is("add") {
        return match (has("primary"), has("unique")) {
            (false, false) => Vec::new(),
            (primary, _) => keys(primary),
        };
    }
    if parser.any_of(&["change", "modify"]) {
        parser.next_is("column");
        parser.if_exists();
        return column(parser.next_name());
    }
    if parser.next_is("rename") {
        if parser.next_is("column") {
            return column(parser.next_name());
        }
        if parser.any_of(&["index", "key"]) {
            return Vec::new();
        }
        let _ = parser.any_of(&["to", "as"]) || parser.next_mark('=');
        let to = parser.table();
        return to.map(|to| Change::Rename { from: table.clone(), to }).into_iter().collect();
    }
    if parser.next_is("exchange") {
        parser.at = part.iter().position(|token| token.is_word("table")).map_or(part.len(), |at| at + 1);
        return partitions().into_iter().chain(parser.table().map(Change::Partitions)).collect();
    }
    if parser.next_is("truncate") {
        return partitions();
    }
    if !parser.next_is("drop") {
        return Vec::new();
    }
    if parser.next_is("primary") {
        return keys(true);
    }
    if parser.any_of(&["index", "key"]) {
        return keys(false);
    }
    if parser.next_is("partition") {
        return partitions();
    }
    if parser.any_of(&["foreign", "check", "constraint"]) {
        return Vec::new();
    }
    parser.next_is("column");
    parser.if_exists();
    column(parser.next_name())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(table: &str) -> Name {
        (Some("d".to_owned()), table.to_owned())
    }

    #[test]
    fn generated_columns_are_known_by_their_expression() {
        for (text, expected) in [
            (
                "CREATE TABLE t (`as` INT, g INT AS (`as` + 1), h INT GENERATED ALWAYS AS (g * 2) STORED, d INT DEFAULT (CAST(1 AS SIGNED)), PRIMARY KEY (h)) PARTITION BY HASH (h)",
                vec!["g", "h"],
            ),
            (
                "ALTER TABLE t ADD COLUMN c INT, ADD g INT AS (c), CHANGE a b INT GENERATED ALWAYS AS (c)",
                vec!["g", "b"],
            ),
            ("ALTER TABLE t DROP COLUMN g, ADD INDEX (c)", vec![]),
            ("CREATE VIEW v AS (SELECT 1)", vec![]),
            ("CREATE TABLE t (a INT", vec![]),
        ] {
            assert_eq!(Statement::parse(text).generated().0, expected, "{text}");
        }
        let like = Statement::parse("use `d`; CREATE TABLE t LIKE u").generated();
        assert_eq!(like, (Vec::new(), Some(name("u"))));
    }

    #[test]
    fn effects_are_read_from_the_text() {
        let columns = |names: &[&str]| {
            Change::Columns(name("t"), names.iter().map(|name| (*name).to_owned()).collect())
        };
        let keys = |primary| Change::Keys { table: name("t"), primary };
        let rename = |from: &str, to: &str| Change::Rename { from: name(from), to: name(to) };
        for (text, expected) in [
            ("CREATE DATABASE d", vec![Change::CreateDatabase("d".to_owned())]),
            ("drop schema if exists `a;b`", vec![Change::DropDatabase("a;b".to_owned())]),
            ("FLASHBACK DATABASE e TO f", vec![Change::RecoverDatabase("f".to_owned())]),
            (
                "CREATE TABLE IF NOT EXISTS t (`drop` INT, PRIMARY KEY (`drop`))",
                vec![Change::CreateTable(name("t"))],
            ),
            ("CREATE OR REPLACE ALGORITHM = MERGE VIEW v AS SELECT 1", vec![Change::CreateOther(name("v"))]),
            ("DROP TABLE t, `d`.`u`", vec![Change::Drop(name("t")), Change::Drop(name("u"))]),
            ("TRUNCATE t", vec![Change::Truncate(name("t"))]),
            ("RENAME TABLE a TO b, c TO a", vec![rename("a", "b"), rename("c", "a")]),
            ("ALTER TABLE t RENAME AS u", vec![rename("t", "u")]),
            ("RECOVER TABLE t", vec![Change::Recover(name("t"))]),
            ("FLASHBACK TABLE t TO u", vec![Change::Recover(name("u"))]),
            (
                "ALTER TABLE t ADD COLUMN (a INT, b DECIMAL(10,2)), DROP c, MODIFY COLUMN e BIGINT",
                vec![columns(&["c"]), columns(&["e"])],
            ),
            (
                "ALTER TABLE t CHANGE a b INT, RENAME COLUMN c TO e, RENAME INDEX i TO j",
                vec![columns(&["a"]), columns(&["c"])],
            ),
            ("ALTER TABLE t ADD PRIMARY KEY (a)", vec![keys(true)]),
            ("ALTER TABLE t DROP PRIMARY KEY, ADD UNIQUE KEY u (a)", vec![keys(true), keys(false)]),
            ("ALTER TABLE t DROP FOREIGN KEY f, DROP CHECK c", vec![]),
            ("ALTER TABLE t ADD INDEX (a) COMMENT 'unique'", vec![]),
            ("CREATE UNIQUE INDEX u ON t (a)", vec![keys(false)]),
            ("CREATE INDEX u ON t (a)", vec![]),
            ("DROP INDEX u ON t", vec![keys(false)]),
            ("ALTER TABLE t DROP PARTITION p0", vec![Change::Partitions(name("t"))]),
            (
                "ALTER TABLE t EXCHANGE PARTITION p WITH TABLE u",
                vec![Change::Partitions(name("t")), Change::Partitions(name("u"))],
            ),
            ("ALTER TABLE t REORGANIZE PARTITION p INTO (PARTITION q VALUES LESS THAN (5))", vec![]),
            ("FLASHBACK CLUSTER TO TIMESTAMP '2026-01-01 00:00:00'", vec![Change::FlashbackCluster]),
            ("CREATE PLACEMENT POLICY p", vec![]),
            ("", vec![]),
        ] {
            let text = format!("use `d`; {text};");
            assert_eq!(Statement::parse(&text).changes(), expected, "{text}");
        }
    }
}
