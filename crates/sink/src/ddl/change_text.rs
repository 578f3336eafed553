//! The little that is read from a DDL's text: names that are in no object.
//!
//! Where a type change rewrites the rows, TiDB gives the column a new id; if it is renamed in the same clause, nothing in the
//! objects says which column became which.

/// Pairs of old and new names, unquoted.
pub(super) fn changed_columns(query: &str) -> Vec<(String, String)> {
    let words = words(query);
    let mut pairs = Vec::new();
    for (at, word) in words.iter().enumerate() {
        if !word.is("change") {
            continue;
        }
        let rest = words.get(at + 1..).unwrap_or_default();
        let rest = match rest.first() {
            Some(word) if word.is("column") => rest.get(1..).unwrap_or_default(),
            _ => rest,
        };
        if let [old, new, ..] = rest {
            pairs.push((old.text.clone(), new.text.clone()));
        }
    }
    pairs
}

/// A name or keyword.
#[derive(Debug)]
pub(super) struct Word {
    pub(super) text: String,
    /// It stood in backticks, so it is no keyword.
    quoted: bool,
}

impl Word {
    /// Whether it is this keyword.
    pub(super) fn is(&self, keyword: &str) -> bool {
        !self.quoted && self.text.eq_ignore_ascii_case(keyword)
    }
}

/// Names and keywords, quotes taken off; strings, comments and punctuation part them.
pub(super) fn words(query: &str) -> Vec<Word> {
    let tokens = tokens(query).into_iter();
    tokens.filter_map(|t| Some(Word { text: t.name(query)?, quoted: t.kind == TokenKind::Quoted })).collect()
}

/// What a piece of a statement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A keyword, a name or a number.
    Bare,
    /// A name in backticks.
    Quoted,
    /// A string.
    Text,
    /// Anything else.
    Symbol(char),
}

/// A piece of a statement, at bytes from `start` to `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Token {
    /// Whether it is this keyword of `query`.
    pub(super) fn is(&self, query: &str, keyword: &str) -> bool {
        self.kind == TokenKind::Bare
            && query.get(self.start..self.end).is_some_and(|text| text.eq_ignore_ascii_case(keyword))
    }

    /// The name or keyword in `query` that it is, without quotes.
    pub(super) fn name(&self, query: &str) -> Option<String> {
        match self.kind {
            TokenKind::Bare => Some(query.get(self.start..self.end)?.to_owned()),
            TokenKind::Quoted => {
                let inner = query.get(self.start + 1..self.end)?;
                Some(inner.strip_suffix('`').unwrap_or(inner).replace("``", "`"))
            }
            TokenKind::Text | TokenKind::Symbol(_) => None,
        }
    }
}

/// The pieces of a statement, without spaces and comments; what stands in comments that TiDB reads (`/*T! … */`, `/*! … */`) is
/// part of it.
pub(super) fn tokens(query: &str) -> Vec<Token> {
    let is_bare = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(rest) = query.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(first) = rest.chars().next() else { break };
        let (kind, length) = match first {
            '`' | '\'' | '"' => {
                let kind = if first == '`' { TokenKind::Quoted } else { TokenKind::Text };
                (Some(kind), quoted_length(rest, first))
            }
            _ if rest.starts_with("/*T!") => {
                // The feature's name is no part of the statement.
                let feature = rest.get(4..).filter(|r| r.starts_with('[')).and_then(|r| r.find(']'));
                (None, 4 + feature.map_or(0, |end| end + 1))
            }
            _ if rest.starts_with("/*!") => {
                let version = rest.get(3..).unwrap_or_default();
                (None, 3 + version.bytes().take_while(u8::is_ascii_digit).count())
            }
            _ if rest.starts_with("/*") => (None, rest.find("*/").map_or(rest.len(), |end| end + 2)),
            _ if rest.starts_with("*/") => (None, 2),
            c if is_bare(c) => (Some(TokenKind::Bare), rest.find(|c| !is_bare(c)).unwrap_or(rest.len())),
            c if c.is_whitespace() => (None, c.len_utf8()),
            c => (Some(TokenKind::Symbol(c)), c.len_utf8()),
        };
        tokens.extend(kind.map(|kind| Token { kind, start: at, end: at + length }));
        at += length;
    }
    tokens
}

/// Bytes of a string or name that begins with `quote`, with both quotes.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && quote != '`' {
            chars.next();
        } else if c == quote && chars.next_if(|(_, next)| *next == quote).is_none() {
            return at + quote.len_utf8();
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_behind_quotes_and_comments() {
        let pairs = changed_columns(
            "alter table `change` /* change x y */ CHANGE COLUMN `a``b` 列 int, change c d int comment 'change e f'",
        );
        assert_eq!(pairs, [("a`b".to_owned(), "列".to_owned()), ("c".to_owned(), "d".to_owned())]);
        assert!(changed_columns("alter table t add column c int").is_empty());
        assert!(changed_columns("alter table t change").is_empty());
    }
}
