//! Indexes that a statement drops and that are gone already.

use std::borrow::Cow;

use binlog_catalog::Table;

use super::change_text::{Token, TokenKind, tokens};

/// The statement without what drops indexes that the table before it does not have; None: nothing is left of it.
pub(super) fn without_gone<'a>(text: &'a str, before: &Table) -> Option<Cow<'a, str>> {
    let tokens = tokens(text);
    if tokens.first().is_some_and(|token| token.is(text, "drop")) {
        return (!drops_gone(text, &tokens, before)).then_some(Cow::Borrowed(text));
    }
    let Some(clauses) = clauses(text, &tokens) else { return Some(Cow::Borrowed(text)) };
    let kept: Vec<&Clause<'_>> =
        clauses.iter().filter(|clause| !drops_gone(text, clause.tokens, before)).collect();
    if kept.len() == clauses.len() {
        return Some(Cow::Borrowed(text));
    }
    let head = text.get(..clauses.first()?.start).unwrap_or_default();
    let kept: Vec<&str> =
        kept.iter().map(|clause| text.get(clause.start..clause.end).unwrap_or_default().trim()).collect();
    (!kept.is_empty()).then(|| Cow::Owned(format!("{head} {}", kept.join(", "))))
}

/// A part of an ALTER TABLE.
struct Clause<'t> {
    tokens: &'t [Token],
    start: usize,
    end: usize,
}

/// The parts of an ALTER TABLE, between its commas; None: it is none.
fn clauses<'t>(text: &str, tokens: &'t [Token]) -> Option<Vec<Clause<'t>>> {
    let mut at = 0;
    for (keyword, needed) in [("alter", true), ("ignore", false), ("table", true)] {
        match tokens.get(at) {
            Some(token) if token.is(text, keyword) => at += 1,
            _ if needed => return None,
            _ => {}
        }
    }
    let is_dot = |at: usize| tokens.get(at).is_some_and(|t| t.kind == TokenKind::Symbol('.'));
    let name = if is_dot(at + 1) { at + 2 } else { at };
    let mut clauses = Vec::new();
    let (mut first, mut start, mut depth) = (name + 1, tokens.get(name)?.end, 0usize);
    for (at, token) in tokens.iter().enumerate().skip(first) {
        match token.kind {
            TokenKind::Symbol('(') => depth += 1,
            TokenKind::Symbol(')') => depth = depth.saturating_sub(1),
            TokenKind::Symbol(',') if depth == 0 => {
                clauses.push(Clause { tokens: tokens.get(first..at)?, start, end: token.start });
                (first, start) = (at + 1, token.end);
            }
            _ => {}
        }
    }
    clauses.push(Clause { tokens: tokens.get(first..)?, start, end: text.len() });
    Some(clauses)
}

/// Whether it is `DROP INDEX x`, `DROP KEY x` or `DROP PRIMARY KEY`, and the table has no such index.
fn drops_gone(text: &str, tokens: &[Token], table: &Table) -> bool {
    let is = |at: usize, keyword: &str| tokens.get(at).is_some_and(|token| token.is(text, keyword));
    if !is(0, "drop") {
        return false;
    }
    if is(1, "primary") {
        return is(2, "key") && table.primary_key().is_none();
    }
    if !is(1, "index") && !is(1, "key") {
        return false;
    }
    let name = if is(2, "if") && is(3, "exists") { 4 } else { 2 };
    let name = tokens.get(name).and_then(|token| token.name(text));
    name.is_some_and(|name| !table.indexes.iter().any(|index| index.name.eq_ignore_ascii_case(&name)))
}

#[cfg(test)]
mod tests {
    use binlog_catalog::{ColumnType, TableBuilder};
    use binlog_types::{SchemaVersion, TableId};

    use super::*;

    #[test]
    fn what_is_gone_is_not_dropped_again() {
        let table = TableBuilder::new(TableId(1), "t", SchemaVersion(1))
            .column("a", ColumnType::int())
            .index("There", &["a"])
            .build();
        for (text, expected) in [
            ("ALTER TABLE `t` DROP INDEX `u`", None),
            ("ALTER TABLE t DROP PRIMARY KEY", None),
            ("DROP INDEX IF EXISTS `u` ON `t`", None),
            ("DROP INDEX `there` ON `t`", Some("DROP INDEX `there` ON `t`")),
            ("ALTER TABLE `t` DROP INDEX `there`", Some("ALTER TABLE `t` DROP INDEX `there`")),
            ("DROP TABLE `u`", Some("DROP TABLE `u`")),
            ("ALTER TABLE `t` DROP COLUMN `u`", Some("ALTER TABLE `t` DROP COLUMN `u`")),
            (
                "alter table `d`.`t` drop key u, ADD COLUMN `c` DECIMAL(5,2) COMMENT ', drop key u', DROP PRIMARY KEY;",
                Some("alter table `d`.`t` ADD COLUMN `c` DECIMAL(5,2) COMMENT ', drop key u'"),
            ),
            (
                "ALTER TABLE `t` ADD PRIMARY KEY(`a`, `b`) /*T![clustered_index] NONCLUSTERED */, DROP INDEX `u`",
                Some("ALTER TABLE `t` ADD PRIMARY KEY(`a`, `b`) /*T![clustered_index] NONCLUSTERED */"),
            ),
        ] {
            assert_eq!(without_gone(text, &table).as_deref(), expected, "{text}");
        }
    }
}
