//! What the text of a DDL is about.

use crate::tokens::{Token, tokens};

/// A table's name, with its database where that is known.
pub type Name = (Option<String>, String);

/// What a statement changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A database, and whether it goes.
    Database {
        /// Its name.
        name: String,
        /// DROP.
        drop: bool,
    },
    /// Tables, views or sequences, each with its database where the text has it or a USE before it says so.
    Tables(Vec<Name>),
    /// Something else, or nothing that is understood.
    Other,
}

/// A DDL as the drainer writes it: ``use `db`; STATEMENT;``.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement<'a> {
    /// What unqualified names mean.
    pub database: Option<String>,
    /// The statement without USE and without semicolons behind it.
    pub text: &'a str,
    /// What it changes.
    pub subject: Subject,
}

/// Tokens of a CREATE before the word that says what is created: `OR REPLACE ALGORITHM = … DEFINER = … SQL SECURITY …`.
const LONGEST_PREFIX: usize = 40;

impl<'a> Statement<'a> {
    /// Reads a text. Semicolons inside of names and strings part nothing.
    pub fn parse(query: &'a str) -> Self {
        let mut database = None;
        let mut text = query;
        let head: Vec<(Token, usize)> = tokens(query).take(3).collect();
        if let [(first, _), (name, _), (Token::Mark(';'), end)] = head.as_slice()
            && first.is_word("use")
            && let Some(name) = name.name()
        {
            database = Some(name.to_owned());
            text = query.get(*end..).unwrap_or_default();
        }
        let text = text.trim().trim_end_matches(|c: char| c == ';' || c.is_whitespace());
        let words: Vec<Token> = tokens(text).map(|(token, _)| token).collect();
        let mut subject = Parser { words: &words, at: 0 }.subject();
        if let Subject::Tables(tables) = &mut subject {
            for (db, _) in tables {
                *db = db.take().or_else(|| database.clone());
            }
        }
        Statement { database, text, subject }
    }
}

/// Reads words one after the other.
pub(crate) struct Parser<'a> {
    pub(crate) words: &'a [Token],
    pub(crate) at: usize,
}

impl<'a> Parser<'a> {
    pub(crate) fn next_is(&mut self, word: &str) -> bool {
        let is = self.words.get(self.at).is_some_and(|t| t.is_word(word));
        self.at += usize::from(is);
        is
    }

    pub(crate) fn next_mark(&mut self, mark: char) -> bool {
        let is = self.words.get(self.at) == Some(&Token::Mark(mark));
        self.at += usize::from(is);
        is
    }

    pub(crate) fn next_name(&mut self) -> Option<&'a str> {
        let name = self.words.get(self.at)?.name()?;
        self.at += 1;
        Some(name)
    }

    pub(crate) fn any_of(&mut self, words: &[&str]) -> bool {
        words.iter().any(|word| self.next_is(word))
    }

    pub(crate) fn if_exists(&mut self) {
        if self.next_is("if") {
            self.next_is("not");
            self.next_is("exists");
        }
    }

    fn subject(mut self) -> Subject {
        let Some(verb) = self.words.first().and_then(Token::name).map(str::to_ascii_lowercase) else {
            return Subject::Other;
        };
        self.at = 1;
        match verb.as_str() {
            "create" | "alter" | "drop" => self.object(&verb),
            "truncate" => {
                self.next_is("table");
                self.tables()
            }
            "rename" => {
                self.next_is("table");
                self.renamed()
            }
            "recover" if self.next_is("table") => self.tables(),
            "flashback" if self.next_is("table") => self.tables(),
            "flashback" if self.any_of(&["database", "schema"]) => self.database(false),
            _ => Subject::Other,
        }
    }

    fn object(&mut self, verb: &str) -> Subject {
        match self.object_word() {
            Some("database") => self.database(verb == "drop"),
            Some("index") => {
                self.indexed_table().map_or(Subject::Other, |table| Subject::Tables(vec![table]))
            }
            Some(_) if verb == "drop" => self.tables(),
            Some(_) => self.first_table(),
            None => Subject::Other,
        }
    }

    /// Behind CREATE, ALTER or DROP: the word that says what it is about.
    pub(crate) fn object_word(&mut self) -> Option<&'static str> {
        let end = self.words.len().min(self.at + LONGEST_PREFIX);
        while self.at < end {
            if self.any_of(&["database", "schema"]) {
                return Some("database");
            }
            for object in ["table", "view", "sequence", "index"] {
                if self.next_is(object) {
                    return Some(object);
                }
            }
            // PLACEMENT POLICY, USER, ROLE, BINDING, … are about no table.
            if self.any_of(&["placement", "user", "role", "binding", "resource"]) {
                return None;
            }
            self.at += 1;
        }
        None
    }

    pub(crate) fn database_name(&mut self) -> Option<String> {
        self.if_exists();
        self.next_name().map(str::to_owned)
    }

    fn database(&mut self, drop: bool) -> Subject {
        self.database_name().map_or(Subject::Other, |name| Subject::Database { name, drop })
    }

    /// `a`, `b`.`c`
    pub(crate) fn table(&mut self) -> Option<Name> {
        let first = self.next_name()?.to_owned();
        if self.words.get(self.at) != Some(&Token::Mark('.')) {
            return Some((None, first));
        }
        let second = self.words.get(self.at + 1)?.name()?.to_owned();
        self.at += 2;
        Some((Some(first), second))
    }

    fn first_table(&mut self) -> Subject {
        self.if_exists();
        self.table().map_or(Subject::Other, |table| Subject::Tables(vec![table]))
    }

    /// `a, b, c`.
    pub(crate) fn table_list(&mut self) -> Vec<Name> {
        self.if_exists();
        let mut tables = Vec::new();
        while let Some(table) = self.table() {
            tables.push(table);
            if !self.next_mark(',') {
                break;
            }
        }
        tables
    }

    fn tables(&mut self) -> Subject {
        let tables = self.table_list();
        if tables.is_empty() { Subject::Other } else { Subject::Tables(tables) }
    }

    /// `a TO b, c TO d`: all of them.
    fn renamed(&mut self) -> Subject {
        let mut tables = Vec::new();
        while let Some(table) = self.table() {
            tables.push(table);
            if !self.next_is("to") {
                if self.words.get(self.at) != Some(&Token::Mark(',')) {
                    break;
                }
                self.at += 1;
            }
        }
        if tables.is_empty() { Subject::Other } else { Subject::Tables(tables) }
    }

    /// `name … ON table`.
    pub(crate) fn indexed_table(&mut self) -> Option<Name> {
        while self.at < self.words.len() {
            if self.next_is("on") {
                self.if_exists();
                return self.table();
            }
            self.at += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(list: &[(&str, &str)]) -> Subject {
        let one =
            |(db, table): &(&str, &str)| ((!db.is_empty()).then(|| (*db).to_owned()), (*table).to_owned());
        Subject::Tables(list.iter().map(one).collect())
    }

    #[test]
    fn subjects_are_found() {
        let database = |name: &str, drop| Subject::Database { name: name.to_owned(), drop };
        for (text, expected) in [
            ("CREATE DATABASE IF NOT EXISTS `a;b`;;", database("a;b", false)),
            ("use `a`; DROP DATABASE `a`;", database("a", true)),
            ("drop schema if exists x", database("x", true)),
            ("use `d`; CREATE TABLE `d`.`t` (`on` INT);;", tables(&[("d", "t")])),
            ("use `d`; create table if not exists t like u", tables(&[("d", "t")])),
            (
                "use `d`; CREATE OR REPLACE ALGORITHM = UNDEFINED DEFINER = CURRENT_USER SQL SECURITY DEFINER VIEW `d`.`v` AS SELECT 1;;",
                tables(&[("d", "v")]),
            ),
            ("use `d`; DROP TABLE IF EXISTS a, `e`.`b`", tables(&[("d", "a"), ("e", "b")])),
            ("TRUNCATE t", tables(&[("", "t")])),
            (
                "use `d`; RENAME TABLE a TO b, `e`.c TO d.d",
                tables(&[("d", "a"), ("d", "b"), ("e", "c"), ("d", "d")]),
            ),
            ("use `d`; CREATE UNIQUE INDEX `on` USING BTREE ON `t` (a)", tables(&[("d", "t")])),
            (
                "use `d`; ALTER TABLE /*T![x] y */ `t``q` ADD COLUMN c TEXT DEFAULT 'a;b'",
                tables(&[("d", "t`q")]),
            ),
            ("use `d`; FLASHBACK TABLE t TO u", tables(&[("d", "t")])),
            ("ALTER DATABASE `d` CHARACTER SET utf8", database("d", false)),
            ("CREATE PLACEMENT POLICY p", Subject::Other),
            ("", Subject::Other),
            ("`", Subject::Other),
        ] {
            assert_eq!(Statement::parse(text).subject, expected, "{text}");
        }
    }

    #[test]
    fn use_stands_apart() {
        let statement = Statement::parse("use `a``;b`; CREATE TABLE t(c VARCHAR(1) DEFAULT ';');;");
        assert_eq!(statement.database.as_deref(), Some("a`;b"));
        assert_eq!(statement.text, "CREATE TABLE t(c VARCHAR(1) DEFAULT ';')");
    }
}
