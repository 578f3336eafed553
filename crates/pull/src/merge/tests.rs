//! The merge against a naive model: sort everything that was sent, drop duplicates.

use std::collections::BTreeSet;

use binlog_types::{SchemaVersion, StartTs};
use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::Record;
use crate::budget::Permit;

fn node(n: usize) -> NodeId {
    NodeId::new(&format!("p{n}")).unwrap()
}

fn held(commit_ts: u64) -> Held {
    of(commit_ts - 1, commit_ts, b"payload")
}

fn of(start_ts: u64, commit_ts: u64, payload: &'static [u8]) -> Held {
    let record = Record {
        start_ts: StartTs::new(start_ts),
        commit_ts: CommitTs::new(commit_ts),
        schema_version: SchemaVersion(1),
        extra: Bytes::new(),
        payload: Bytes::from_static(payload),
    };
    Held::new(record, Permit::default())
}

fn ts(raw: u64) -> CommitTs {
    CommitTs::new(raw)
}

fn commits(batch: &Batch) -> Vec<u64> {
    batch.records.iter().map(|r| r.commit_ts.raw()).collect()
}

#[test]
fn nothing_passes_the_slowest_member() {
    let mut merge = Merge::new(ts(5), None);
    assert!(merge.pop(1000).unwrap().is_none(), "no members");
    assert_eq!(merge.join(&node(1)), ts(5));
    merge.join(&node(2));
    merge.feed(&node(1), [held(10), held(20)], ts(25)).unwrap();
    assert!(merge.pop(1000).unwrap().is_none(), "p2 has said nothing");
    merge.feed(&node(2), [held(15)], ts(15)).unwrap();
    let batch = merge.pop(1000).unwrap().unwrap();
    assert_eq!((commits(&batch), batch.complete_through), (vec![10, 15], ts(15)));
    merge.leave(&node(2));
    let batch = merge.pop(1000).unwrap().unwrap();
    assert_eq!((commits(&batch), batch.complete_through), (vec![20], ts(25)));
    assert!(merge.pop(1000).unwrap().is_none(), "nothing new");
}

#[test]
fn a_range_ends_where_all_are_complete() {
    let mut merge = Merge::new(ts(0), Some(ts(20)));
    merge.join(&node(1));
    merge.feed(&node(1), [held(10), held(30)], ts(40)).unwrap();
    let batch = merge.pop(1000).unwrap().unwrap();
    assert_eq!((commits(&batch), batch.complete_through, batch.end), (vec![10], ts(20), true));
}

#[test]
fn duplicates_are_one_and_differences_are_conflicts() {
    let pair = |a: Held, b: Held| {
        let mut merge = Merge::new(ts(0), None);
        merge.join(&node(1));
        merge.join(&node(2));
        merge.feed(&node(1), [a], ts(100)).unwrap();
        merge.feed(&node(2), [b], ts(100)).unwrap();
        merge.pop(1000)
    };
    assert_eq!(commits(&pair(held(10), held(10)).unwrap().unwrap()), [10]);
    for other in [of(9, 10, b"other"), of(8, 10, b"payload")] {
        assert!(matches!(pair(held(10), other), Err(Error::Conflict { .. })));
    }
}

#[test]
fn late_records_stop_the_stream() {
    let mut merge = Merge::new(ts(0), None);
    merge.join(&node(1));
    merge.feed(&node(1), [held(10)], ts(20)).unwrap();
    merge.pop(1000).unwrap();
    assert!(matches!(merge.feed(&node(1), [held(20)], ts(30)), Err(Error::Late { .. })));
    merge.join(&node(2));
    merge.feed(&node(2), [held(40), held(50)], ts(60)).unwrap();
    assert!(matches!(merge.feed(&node(2), [held(60)], ts(70)), Err(Error::Corrupt { .. })));
}

#[test]
fn a_member_that_comes_back_is_read_from_where_it_was() {
    let mut merge = Merge::new(ts(0), None);
    merge.join(&node(1));
    merge.join(&node(2));
    merge.feed(&node(1), [], ts(10)).unwrap();
    merge.feed(&node(2), [], ts(50)).unwrap();
    merge.leave(&node(1));
    assert_eq!(merge.pop(1000).unwrap().unwrap().complete_through, ts(50));
    assert_eq!(merge.join(&node(1)), ts(10));
    assert!(merge.pop(1000).unwrap().is_none());
    assert!(matches!(merge.feed(&node(1), [held(30)], ts(30)), Err(Error::Late { .. })));
}

const MEMBERS: usize = 4;

#[derive(Clone, Debug)]
enum Act {
    Feed { member: usize, records: usize, idle: bool },
    Pop { bytes: usize },
    Join(usize),
    Leave(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..MEMBERS, 0..6usize, any::<bool>()).prop_map(|(member, records, idle)| Act::Feed { member, records, idle }),
        3 => (1..800usize).prop_map(|bytes| Act::Pop { bytes }),
        1 => (0..MEMBERS).prop_map(Act::Join),
        1 => (1..MEMBERS).prop_map(Act::Leave),
    ]
}

/// A member as the model sees it: what it will send, and how far it is.
#[derive(Default)]
struct Sender {
    plan: VecDeque<u64>,
    joined: bool,
    left: bool,
}

proptest! {
    /// `owners[i]` are the pumps that hold transaction i, as bits.
    #[test]
    fn equals_sorting(owners in proptest::collection::vec(1u8..16, 1..60), acts in proptest::collection::vec(act(), 0..120)) {
        let mut merge = Merge::new(ts(0), None);
        let mut senders: Vec<Sender> = (0..MEMBERS)
            .map(|m| Sender {
                plan: owners.iter().enumerate().filter(|(_, o)| **o & (1 << m) != 0).map(|(i, _)| 10 * (i as u64 + 1)).collect(),
                ..Sender::default()
            })
            .collect();
        let end = 10 * (owners.len() as u64 + 2);
        let mut sent = BTreeSet::new();
        let mut got: Vec<u64> = Vec::new();
        let mut reached = ts(0);

        let mut step = |act: Act, senders: &mut Vec<Sender>, got: &mut Vec<u64>, merge: &mut Merge| -> Result<bool, TestCaseError> {
            match act {
                Act::Join(m) if !senders[m].joined => {
                    senders[m].joined = true;
                    let after = merge.join(&node(m)).raw();
                    // A new pump holds nothing at or below what was handed out.
                    senders[m].plan.retain(|c| *c > after);
                }
                Act::Leave(m) if senders[m].joined => {
                    senders[m].left = true;
                    merge.leave(&node(m));
                }
                Act::Feed { member, records, idle } if senders[member].joined && !senders[member].left => {
                    let n = records.min(senders[member].plan.len());
                    let now: Vec<u64> = senders[member].plan.drain(..n).collect();
                    let next = senders[member].plan.front().copied().unwrap_or(end);
                    let complete = if idle { next - 1 } else { now.last().copied().unwrap_or(0) };
                    sent.extend(now.iter().copied());
                    merge.feed(&node(member), now.into_iter().map(held), ts(complete)).unwrap();
                }
                Act::Pop { bytes } => {
                    let Some(batch) = merge.pop(bytes).unwrap() else { return Ok(false) };
                    got.extend(commits(&batch));
                    prop_assert!(batch.complete_through > reached);
                    reached = batch.complete_through;
                    prop_assert_eq!(reached, merge.emitted());
                    prop_assert!(got.last().is_none_or(|last| ts(*last) <= reached));
                    let owed: Vec<u64> = sent.iter().copied().filter(|c| ts(*c) <= reached).collect();
                    prop_assert_eq!(&owed, &*got);
                    for sender in senders.iter().filter(|s| s.joined && !s.left) {
                        prop_assert!(sender.plan.front().is_none_or(|c| ts(*c) > reached));
                    }
                    return Ok(true);
                }
                Act::Join(_) | Act::Leave(_) | Act::Feed { .. } => {}
            }
            Ok(false)
        };

        step(Act::Join(0), &mut senders, &mut got, &mut merge)?;
        for act in acts {
            step(act, &mut senders, &mut got, &mut merge)?;
        }
        for member in 0..MEMBERS {
            step(Act::Feed { member, records: usize::MAX, idle: true }, &mut senders, &mut got, &mut merge)?;
        }
        while step(Act::Pop { bytes: 500 }, &mut senders, &mut got, &mut merge)? {}
        prop_assert_eq!(got.len(), sent.len());
    }
}
