//! The words of a statement: as much of SQL's grammar as is needed to see what a DDL is about.

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A bare word.
    Word(String),
    /// A name in back quotes.
    Name(String),
    /// A string.
    Text,
    /// Any other character.
    Mark(char),
}

impl Token {
    pub(crate) fn is_word(&self, text: &str) -> bool {
        matches!(self, Token::Word(word) if word.eq_ignore_ascii_case(text))
    }

    /// What it is as a name.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Token::Word(text) | Token::Name(text) => Some(text),
            Token::Text | Token::Mark(_) => None,
        }
    }
}

/// The tokens of `text`, each with the offset behind it. Comments are passed over, executable ones (`/*T! … */`) too: none of them holds what a statement
/// is about.
pub(crate) fn tokens(text: &str) -> impl Iterator<Item = (Token, usize)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = text.get(at..)?;
            let first = rest.chars().next()?;
            if first.is_whitespace() {
                at += first.len_utf8();
            } else if rest.starts_with("/*") {
                at += rest.find("*/").map_or(rest.len(), |end| end + 2);
            } else if rest.starts_with("-- ") || first == '#' {
                at += rest.find('\n').unwrap_or(rest.len());
            } else {
                let (token, len) = token(rest, first);
                at += len;
                return Some((token, at));
            }
        }
    })
}

fn token(rest: &str, first: char) -> (Token, usize) {
    match first {
        '`' => {
            let (name, len) = quoted(rest, '`', false);
            (Token::Name(name), len)
        }
        '\'' | '"' => (Token::Text, quoted(rest, first, true).1),
        c if is_word(c) => {
            let len = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            (Token::Word(rest.get(..len).unwrap_or(rest).to_owned()), len)
        }
        c => (Token::Mark(c), c.len_utf8()),
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// A quoted text and its length with the quotes; a doubled quote stands for one.
fn quoted(rest: &str, quote: char, escapes: bool) -> (String, usize) {
    let mut out = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && escapes {
            chars.next();
        } else if c != quote {
            out.push(c);
        } else if chars.next_if(|(_, next)| *next == quote).is_some() {
            out.push(quote);
        } else {
            return (out, at + 1);
        }
    }
    (out, rest.len())
}
