//! What many changes did to one row.

use binlog_catalog::Row;
use binlog_types::CommitTs;

/// Number of a table version inside one [`Fold`](super::Fold).
pub(crate) type VersionId = u32;

/// A row under the table version that it was written for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Image {
    pub(crate) version: VersionId,
    pub(crate) row: Row,
}

/// Changes that were not selected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Others {
    pub(crate) count: u64,
    /// Copies of a row without a key that they added, less those that they removed.
    pub(crate) copies: i64,
    pub(crate) first: CommitTs,
    pub(crate) last: CommitTs,
}

impl Others {
    fn add(&mut self, later: &Others) {
        if self.count == 0 {
            *self = *later;
        } else if later.count > 0 {
            self.count += later.count;
            self.copies += later.copies;
            self.last = later.last;
        }
    }
}

/// The net effect on what lies under one key. For tables without a key the row itself is the key, and copies are counted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Net {
    /// As it was before the first selected change; `None`: not there.
    pub(crate) before: Option<Image>,
    /// As it is after the last change of all; `None`: not there. Without a key: the row that is counted.
    pub(crate) now: Option<Image>,
    /// Selected changes; 0: it is only here because a selected one may have come earlier.
    pub(crate) selected: u64,
    /// Copies that the selected changes added, less those that they removed.
    pub(crate) copies: i64,
    /// Of the first and last selected change.
    pub(crate) first: CommitTs,
    pub(crate) last: CommitTs,
    /// Changes by others before the first selected one, as far as it is known.
    pub(crate) prior: Others,
    /// Changes by others after the first selected one.
    pub(crate) others: Others,
}

impl Net {
    /// One change, which adds so many copies.
    pub(crate) fn one(
        before: Option<Image>,
        now: Option<Image>,
        copies: i64,
        at: CommitTs,
        selected: bool,
    ) -> Self {
        let other = Others { count: 1, copies, first: at, last: at };
        let prior = if selected { Others::default() } else { other };
        let others = Others::default();
        let (first, last) = if selected { (at, at) } else { Default::default() };
        let copies = if selected { copies } else { 0 };
        Net { before, now, selected: u64::from(selected), copies, first, last, prior, others }
    }

    /// Adds what came later.
    pub(crate) fn then(&mut self, later: Net) {
        if self.selected == 0 {
            // What others did before the first selected change matters to nobody but an earlier part of the same row.
            let mut prior = self.prior;
            prior.add(&later.prior);
            *self = Net { prior, ..later };
            return;
        }
        self.now = later.now;
        self.others.add(&later.prior);
        self.others.add(&later.others);
        self.copies += later.copies;
        if later.selected > 0 {
            self.selected += later.selected;
            self.last = later.last;
        }
    }
}

#[cfg(test)]
mod tests {
    use binlog_catalog::Value;
    use proptest::prelude::*;

    use super::*;

    fn image(v: Option<u8>) -> Option<Image> {
        v.map(|v| Image { version: 0, row: vec![Some(Value::Int(v.into()))] })
    }

    fn fold(nets: &[Net]) -> Option<Net> {
        let (first, rest) = nets.split_first()?;
        let mut net = first.clone();
        rest.iter().for_each(|later| net.then(later.clone()));
        Some(net)
    }

    proptest! {
        /// Wherever a history is cut, the parts together say what the whole does.
        #[test]
        fn cutting_changes_nothing(
            states in proptest::collection::vec((proptest::option::of(0u8..4), any::<bool>()), 2..12),
            cut in 1usize..11,
        ) {
            let steps: Vec<Net> = states.windows(2).zip(1u64..).map(|(pair, at)| {
                let copies = i64::from(pair[1].0.is_some()) - i64::from(pair[0].0.is_some());
                Net::one(image(pair[0].0), image(pair[1].0), copies, CommitTs::new(at), pair[1].1)
            }).collect();
            let cut = cut.min(steps.len());
            let (early, late) = steps.split_at(cut);
            let parts: Vec<Net> = [fold(early), fold(late)].into_iter().flatten().collect();
            prop_assert_eq!(fold(&parts), fold(&steps));
            let whole = fold(&steps).unwrap();
            let first = states.iter().skip(1).position(|(_, selected)| *selected);
            if let Some(first) = first {
                prop_assert_eq!(&whole.before, &image(states[first].0));
                prop_assert_eq!(&whole.now, &image(states[states.len() - 1].0));
                let others = states.iter().skip(first + 2).filter(|(_, selected)| !selected).count();
                prop_assert_eq!(whole.others.count, others as u64);
            } else {
                prop_assert_eq!(whole.selected, 0);
            }
        }
    }
}
