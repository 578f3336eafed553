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
    let mut words = Vec::new();
    let mut word = String::new();
    let mut chars = query.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '`' => {
                let mut quoted = String::new();
                while let Some(c) = chars.next() {
                    if c == '`' && chars.next_if_eq(&'`').is_none() {
                        break;
                    }
                    quoted.push(c);
                }
                words.push(Word { text: quoted, quoted: true });
            }
            '\'' | '"' => {
                while let Some(inner) = chars.next() {
                    if inner == '\\' {
                        chars.next();
                    } else if inner == c {
                        break;
                    }
                }
            }
            '/' if chars.peek() == Some(&'*') => {
                let mut last = ' ';
                for c in chars.by_ref() {
                    if last == '*' && c == '/' {
                        break;
                    }
                    last = c;
                }
            }
            c if c.is_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii() => word.push(c),
            _ => {}
        }
        let joined =
            chars.peek().is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii());
        if !word.is_empty() && !joined {
            words.push(Word { text: std::mem::take(&mut word), quoted: false });
        }
    }
    words
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
