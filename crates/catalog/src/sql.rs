//! Just enough of SQL's surface to find names and words in a statement: comments, quotes and identifiers are told apart.

/// One token; what lies between is blank or comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A bare word: keyword, name or number.
    Word(String),
    /// A name in backquotes, without them.
    Quoted(String),
    /// A string in single or double quotes, without them, escapes as they stand.
    Text(String),
    /// Anything else, one character.
    Symbol(char),
}

impl Token {
    /// Whether it is this keyword.
    pub fn is_word(&self, word: &str) -> bool {
        matches!(self, Token::Word(w) if w.eq_ignore_ascii_case(word))
    }

    /// The name that it may stand for.
    pub fn name(&self) -> Option<&str> {
        match self {
            Token::Word(name) | Token::Quoted(name) => Some(name),
            Token::Text(_) | Token::Symbol(_) => None,
        }
    }
}

/// The tokens of a statement. The insides of `/*! … */` and `/*T! … */` comments count as text of the statement. Never fails: what
/// is not closed ends with the text.
pub fn tokens(sql: &str) -> Vec<Token> {
    let mut out = Vec::new();
    let mut rest = sql;
    while let Some(c) = rest.chars().next() {
        rest = match c {
            c if c.is_whitespace() => rest.trim_start(),
            '#' => after(rest, "\n"),
            '-' if rest.starts_with("-- ") || rest.starts_with("--\n") || rest == "--" => after(rest, "\n"),
            '/' if rest.starts_with("/*!") => rest[3..].trim_start_matches(|c: char| c.is_ascii_digit()),
            '/' if rest.starts_with("/*T!") => {
                let inside = &rest[4..];
                // A feature's name may stand first: /*T![clustered_index] … */
                if inside.starts_with('[') { after(inside, "]") } else { inside }
            }
            '/' if rest.starts_with("/*") => after(&rest[2..], "*/"),
            '*' if rest.starts_with("*/") => &rest[2..],
            '`' | '\'' | '"' => {
                let (text, tail) = quoted(rest, c);
                out.push(if c == '`' { Token::Quoted(text) } else { Token::Text(text) });
                tail
            }
            c if is_name(c) => {
                let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
                out.push(Token::Word(rest[..end].to_owned()));
                &rest[end..]
            }
            c => {
                out.push(Token::Symbol(c));
                &rest[c.len_utf8()..]
            }
        };
    }
    out
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$' || c == '@'
}

fn after<'a>(text: &'a str, end: &str) -> &'a str {
    text.find(end).map_or("", |at| &text[at + end.len()..])
}

/// What stands between quotes, and what follows. A doubled quote is one; a backslash takes the next character with it.
fn quoted(text: &str, quote: char) -> (String, &str) {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if quote != '`' => {
                out.push(c);
                out.extend(chars.next().map(|(_, c)| c));
            }
            c if c == quote => match chars.peek() {
                Some((_, next)) if *next == quote => {
                    out.push(c);
                    chars.next();
                }
                _ => return (out, &text[at + c.len_utf8()..]),
            },
            c => out.push(c),
        }
    }
    (out, "")
}

/// One `[db.]a TO [db.]b` of a RENAME TABLE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rename {
    /// The database of the old name, where one is named.
    pub(crate) from_database: Option<String>,
    /// The database of the new name, where one is named.
    pub(crate) to_database: Option<String>,
    /// The new name.
    pub(crate) to: String,
}

/// What `RENAME TABLE a TO [db.]b, …` renames, in order.
pub(crate) fn renames(sql: &str) -> Vec<Rename> {
    let tokens = tokens(sql);
    let name = |i: usize| tokens.get(i).and_then(Token::name).map(str::to_owned);
    let dot = |i: usize| tokens.get(i) == Some(&Token::Symbol('.'));
    let mut out = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        if !token.is_word("to") {
            continue;
        }
        let from_database = if i >= 3 && dot(i - 2) { name(i - 3) } else { None };
        match (name(i + 1), name(i + 3)) {
            (to_database, Some(to)) if dot(i + 2) => out.push(Rename { from_database, to_database, to }),
            (Some(to), _) => out.push(Rename { from_database, to_database: None, to }),
            (None, _) => {}
        }
    }
    out
}

/// `SELECT SETVAL(…)`: a sequence's value, which TiDB logs as a DDL without a job.
pub(crate) fn is_setval(sql: &str) -> bool {
    let tokens = tokens(sql);
    matches!(tokens.as_slice(), [first, second, ..] if first.is_word("select") && second.is_word("setval"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renames_find_their_targets() {
        let sql =
            "RENAME TABLE `s1` TO `s_tmp`, /* to nowhere */ d1.s2 to d2.`s``1` -- to x\n, a TO `d 3` . b;";
        let rename = |from: Option<&str>, db: Option<&str>, to: &str| Rename {
            from_database: from.map(str::to_owned),
            to_database: db.map(str::to_owned),
            to: to.to_owned(),
        };
        assert_eq!(
            renames(sql),
            [
                rename(None, None, "s_tmp"),
                rename(Some("d1"), Some("d2"), "s`1"),
                rename(None, Some("d 3"), "b")
            ]
        );
    }

    #[test]
    fn setval_is_found_whatever_the_case() {
        assert!(is_setval("SELECT SETVAL(`d1`.`seq1`, 23);"));
        assert!(is_setval("/* x */ select setval (s, 1)"));
        assert!(!is_setval("CREATE TABLE setval (a int)"));
    }

    #[test]
    fn odd_texts_end() {
        for sql in ["'", "`a", "/*", "\"\\", "/*T![", "--", "é'é''é'é", "/*!50001 a */", ""] {
            tokens(sql);
        }
        assert_eq!(tokens("/*T![x] a */ 'b''c'"), [Token::Word("a".into()), Token::Text("b'c".into())]);
    }
}
