//! What the text of a DDL is about.

use crate::tokens::{Token, tokens};

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
    Tables(Vec<(Option<String>, String)>),
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

struct Parser<'a> {
    words: &'a [Token],
    at: usize,
}

impl Parser<'_> {
    fn next_is(&mut self, word: &str) -> bool {
        let is = self.words.get(self.at).is_some_and(|t| t.is_word(word));
        self.at += usize::from(is);
        is
    }

    fn any_of(&mut self, words: &[&str]) -> bool {
        words.iter().any(|word| self.next_is(word))
    }

    fn if_exists(&mut self) {
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
        let end = self.words.len().min(self.at + LONGEST_PREFIX);
        while self.at < end {
            if self.any_of(&["database", "schema"]) {
                return self.database(verb == "drop");
            }
            if self.any_of(&["table", "view", "sequence"]) {
                return if verb == "drop" { self.tables() } else { self.first_table() };
            }
            if self.next_is("index") {
                return self.indexed();
            }
            // PLACEMENT POLICY, USER, ROLE, BINDING, … are about no table.
            if self.any_of(&["placement", "user", "role", "binding", "resource"]) {
                return Subject::Other;
            }
            self.at += 1;
        }
        Subject::Other
    }

    fn database(&mut self, drop: bool) -> Subject {
        self.if_exists();
        match self.words.get(self.at).and_then(Token::name) {
            Some(name) => Subject::Database { name: name.to_owned(), drop },
            None => Subject::Other,
        }
    }

    /// `a`, `b`.`c`
    fn table(&mut self) -> Option<(Option<String>, String)> {
        let first = self.words.get(self.at)?.name()?.to_owned();
        self.at += 1;
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

    fn tables(&mut self) -> Subject {
        self.if_exists();
        let mut tables = Vec::new();
        while let Some(table) = self.table() {
            tables.push(table);
            if self.words.get(self.at) != Some(&Token::Mark(',')) {
                break;
            }
            self.at += 1;
        }
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
    fn indexed(&mut self) -> Subject {
        while self.at < self.words.len() {
            if self.next_is("on") {
                return self.first_table();
            }
            self.at += 1;
        }
        Subject::Other
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
