//! What a source lacks of a range.

use binlog_types::{CommitTs, NodeId, Range, Ts};

use super::Hole;
use crate::{Error, utc};

/// Something that a source lacks, and what a restore that is not told to do without it says.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) hole: Hole,
    pub(crate) refusal: Error,
}

/// What of a range is there, and all that is not.
pub(crate) type Survey = (Range, Vec<Finding>);

/// The first finding is an error, unless all are allowed.
pub(super) fn judge((range, findings): Survey, allow: bool) -> Result<(Range, Vec<Hole>), Error> {
    let mut holes = Vec::with_capacity(findings.len());
    for Finding { hole, refusal } in findings {
        if !allow {
            return Err(refusal);
        }
        holes.push(hole);
    }
    Ok((range, holes))
}

/// What a store no longer has.
pub(super) fn purged(holder: &str, range: Range, safe_point: CommitTs) -> Option<Finding> {
    let holder = holder.to_owned();
    let hole = Range { after: range.after, through: safe_point.min(range.through) };
    (safe_point > range.after).then(|| Finding {
        hole: Hole { holder: holder.clone(), range: hole, reason: "purged by gc".to_owned() },
        refusal: Error::Purged { holder, after: range.after, safe_point },
    })
}

/// A gap that a store knows of, if it lies in the range.
pub(super) fn missing(
    holder: &str,
    range: Range,
    safe_point: CommitTs,
    (gap, reason): (Range, &str),
) -> Option<Finding> {
    let (low, high) = (gap.after.max(range.after), gap.through.min(range.through));
    if low >= high || gap.through <= safe_point {
        return None;
    }
    let hole = Hole { holder: holder.to_owned(), range: gap, reason: reason.to_owned() };
    Some(Finding { refusal: Error::Missing(hole.clone()), hole })
}

/// A pump that `holder` knows of and that is not read. One that was gone before the range began has nothing of it; where it is not known when it
/// went (0), it may have.
pub(super) fn absent(holder: &str, pump: &NodeId, seen: Ts, range: Range) -> Option<Finding> {
    if seen <= range.after.ts() && seen != Ts::ZERO {
        return None;
    }
    let holder = holder.to_owned();
    let reason = format!("pump {pump} is not read");
    let seen =
        if seen == Ts::ZERO { "at an unknown time".to_owned() } else { format!("until {}", utc(seen)) };
    Some(Finding {
        hole: Hole { holder: holder.clone(), range, reason },
        refusal: Error::PeerAbsent { holder, pump: pump.clone(), seen },
    })
}

/// Whether the range was asked to start before any of those that are read took its first binlog: what others held then is not known. A range
/// without a start is all there is.
pub(super) fn unknown(begins: impl Iterator<Item = CommitTs>, range: Range) -> Option<Finding> {
    let first = begins.min()?;
    if range.after == CommitTs::ZERO || first <= range.after {
        return None;
    }
    let hole = Range { after: range.after, through: first.min(range.through) };
    let (holder, reason) = ("the pumps".to_owned(), "before the first of them began".to_owned());
    Some(Finding {
        hole: Hole { holder, range: hole, reason },
        refusal: Error::Unknown { after: range.after, at: utc(first.ts()), first },
    })
}
