//! The record's one row.

use binlog_types::CommitTs;

use crate::Error;

/// The restore that was begun last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// What was asked for.
    pub(crate) identity: String,
    /// How it stands.
    pub(crate) state: State,
    /// After which its range begins; None: an earlier version has not noted it.
    pub(crate) after: Option<CommitTs>,
    /// Where its range ends.
    pub(crate) through: CommitTs,
    /// Its first event, if that matters for where it stops and it has come so far.
    pub(crate) first: Option<CommitTs>,
    /// What it and those that it goes on from had to leave out, in words.
    pub(crate) holes: Vec<String>,
}

/// How a restore stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It was asked for; progress that lies beside the record may be that of an earlier one.
    Beginning,
    /// It was begun.
    Begun,
    /// It came to its end.
    Finished,
}

impl State {
    fn number(self) -> u8 {
        match self {
            State::Begun => 0,
            State::Finished => 1,
            State::Beginning => 2,
        }
    }
}

impl Entry {
    /// What cannot be read must not pass for "nothing was begun": that would begin anew over what is there.
    pub(super) fn from_row(row: &[Option<String>]) -> Result<Self, Error> {
        Self::read(row).ok_or_else(|| Error::JournalUnreadable { row: format!("{row:?}") })
    }

    fn read(row: &[Option<String>]) -> Option<Self> {
        let (identity, finished, through, rest) = match row {
            [_, Some(identity), Some(finished), Some(through), rest @ ..] => {
                (identity, finished, through, rest)
            }
            _ => return None,
        };
        // Earlier versions kept no more than that.
        let (after, first, holes) = match rest {
            [] => (&None, &None, &None),
            [after, first, holes] => (after, first, holes),
            _ => return None,
        };
        let number = |text: &String| text.parse().ok().map(CommitTs::new);
        let optional = |text: &Option<String>| match text {
            Some(text) => number(text).map(Some),
            None => Some(None),
        };
        let state = [State::Begun, State::Finished, State::Beginning]
            .into_iter()
            .find(|state| state.number().to_string() == *finished)?;
        Some(Entry {
            identity: identity.clone(),
            state,
            after: optional(after)?,
            through: number(through)?,
            first: optional(first)?,
            holes: holes.iter().flat_map(|text| text.lines()).map(str::to_owned).collect(),
        })
    }

    /// As a row of VALUES.
    pub(super) fn to_values(&self) -> String {
        let text = |text: &str| format!("'{}'", plain(text).replace('\'', "''"));
        let number = |ts: Option<CommitTs>| ts.map_or("NULL".to_owned(), |ts| ts.to_string());
        let (after, first) = (number(self.after), number(self.first));
        let holes: Vec<String> = self.holes.iter().map(|hole| hole.replace('\n', " ")).collect();
        format!(
            "(1, {}, {}, {}, {after}, {first}, {})",
            text(&self.identity),
            self.state.number(),
            self.through,
            text(&holes.join("\n"))
        )
    }
}

/// A text that means the same to servers with and without escapes.
pub(crate) fn plain(text: &str) -> String {
    text.replace('\\', "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[Option<&str>]) -> Vec<Option<String>> {
        values.iter().map(|value| value.map(str::to_owned)).collect()
    }

    #[test]
    fn a_record_of_an_earlier_version_is_read() {
        let entry = Entry::from_row(&row(&[Some("1"), Some("a"), Some("0"), Some("7")])).unwrap();
        assert_eq!((entry.state, entry.through, entry.after), (State::Begun, CommitTs::new(7), None));
    }

    #[test]
    fn a_record_that_is_not_ours_is_an_error() {
        for bad in [None, Some("-1"), Some("")] {
            let through = row(&[Some("1"), Some("a"), Some("0"), bad]);
            assert!(matches!(Entry::from_row(&through), Err(Error::JournalUnreadable { .. })), "{bad:?}");
        }
        assert!(Entry::from_row(&row(&[Some("1"), Some("a"), Some("3"), Some("7")])).is_err());
        assert!(
            Entry::from_row(&row(&[Some("1"), Some("a"), Some("1"), Some("7"), Some("x"), None, None]))
                .is_err()
        );
        assert!(Entry::from_row(&[]).is_err());
    }
}
