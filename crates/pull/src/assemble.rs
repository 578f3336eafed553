//! Fragments put together to whole records, sans I/O.

use binlog_proto::store::Fragment;
use binlog_types::{CommitTs, SchemaVersion, StartTs, Ts};
use bytes::{Bytes, BytesMut};

use crate::Record;

/// The transaction whose fragments are coming in, if one is.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    start_ts: StartTs,
    commit_ts: CommitTs,
    schema_version: SchemaVersion,
    extra: Bytes,
    pieces: Vec<Bytes>,
    next: u32,
}

impl Assembler {
    /// Takes the next fragment; the record when it was the last one. `after` is the position of the last whole record.
    ///
    /// # Errors
    /// A text that says how the fragment breaks the protocol.
    pub(crate) fn push(&mut self, fragment: Fragment, after: CommitTs) -> Result<Option<Record>, String> {
        let (start_ts, commit_ts) = (StartTs::new(fragment.start_ts), CommitTs::new(fragment.commit_ts));
        let sequence = fragment.sequence;
        let mut open = match self.open.take() {
            None => {
                if sequence != 0 {
                    return Err(format!("transaction {start_ts} begins with fragment {sequence}"));
                }
                if commit_ts <= after || commit_ts > CommitTs::MAX {
                    return Err(format!("commit_ts {commit_ts} does not follow"));
                }
                if start_ts.ts() > commit_ts.ts() || start_ts.ts() == Ts::ZERO {
                    return Err(format!("start_ts {start_ts} of commit_ts {commit_ts} cannot be"));
                }
                let (schema_version, extra) = (SchemaVersion(fragment.schema_version), fragment.extra);
                Open { start_ts, commit_ts, schema_version, extra, pieces: Vec::new(), next: 0 }
            }
            Some(open) => {
                if (open.start_ts, open.commit_ts, open.next) != (start_ts, commit_ts, sequence) {
                    return Err(format!(
                        "fragment {} of transaction {} was expected, fragment {sequence} of transaction {start_ts} came",
                        open.next, open.start_ts
                    ));
                }
                open
            }
        };
        open.pieces.push(fragment.payload);
        open.next = open.next.checked_add(1).ok_or("too many fragments")?;
        if !fragment.last {
            self.open = Some(open);
            return Ok(None);
        }
        Ok(Some(Record {
            start_ts: open.start_ts,
            commit_ts: open.commit_ts,
            schema_version: open.schema_version,
            extra: open.extra,
            payload: join(open.pieces),
        }))
    }

    /// Bytes of payload that are here of a transaction that is half received.
    pub(crate) fn buffered(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.pieces.iter().map(Bytes::len).sum())
    }

    /// Takes them away: the record will come without them.
    pub(crate) fn take(&mut self) -> Vec<Bytes> {
        self.open.as_mut().map(|open| std::mem::take(&mut open.pieces)).unwrap_or_default()
    }

    /// Whether a transaction is half received.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }
}

fn join(mut pieces: Vec<Bytes>) -> Bytes {
    if pieces.len() == 1 {
        return pieces.remove(0);
    }
    let mut whole = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    for piece in pieces {
        whole.extend_from_slice(&piece);
    }
    whole.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(commit_ts: u64, sequence: u32, last: bool, payload: &'static [u8]) -> Fragment {
        Fragment {
            commit_ts,
            start_ts: commit_ts - 1,
            sequence,
            last,
            payload: Bytes::from_static(payload),
            ..Fragment::default()
        }
    }

    #[test]
    fn pieces_become_one_payload() {
        let mut assembler = Assembler::default();
        let after = CommitTs::new(5);
        assert!(assembler.push(fragment(7, 0, false, b"ab"), after).unwrap().is_none());
        assert!(assembler.is_open());
        assert!(assembler.push(fragment(7, 1, false, b""), after).unwrap().is_none());
        let record = assembler.push(fragment(7, 2, true, b"cd"), after).unwrap().unwrap();
        assert_eq!((&record.payload[..], record.commit_ts.raw()), (&b"abcd"[..], 7));
        assert!(!assembler.is_open());
    }

    #[test]
    fn holes_and_mixtures_are_errors() {
        let after = CommitTs::new(5);
        let first = || fragment(7, 0, false, b"ab");
        for second in [fragment(7, 2, true, b""), fragment(8, 1, true, b""), fragment(7, 0, true, b"")] {
            let mut assembler = Assembler::default();
            assembler.push(first(), after).unwrap();
            assert!(assembler.push(second, after).is_err());
        }
        for bad in [
            fragment(7, 1, true, b""),
            fragment(5, 0, true, b""),
            fragment(1, 0, true, b""),
            fragment(u64::MAX, 0, true, b""),
        ] {
            assert!(Assembler::default().push(bad, after).is_err());
        }
    }
}
