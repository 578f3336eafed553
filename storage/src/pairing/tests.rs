//! The pairing state against an honest cluster that is simulated beside it, and its answers to dishonest ones.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use binlog_types::{Gap, GapReason};
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::ErrorKind;

const PLACE: Place = Place::Pieces(1);

fn start(raw: u64) -> StartTs {
    StartTs::new(raw)
}

fn commit(raw: u64) -> CommitTs {
    CommitTs::new(raw)
}

fn body(of: u64) -> Body {
    let payload = Bytes::from(of.to_string());
    Body {
        schema_version: SchemaVersion(1),
        ddl: false,
        place: PLACE,
        bytes: payload.len() as u64,
        check: of as u32,
        held: Some(payload),
    }
}

fn pairing() -> Pairing {
    Pairing::new(CommitTs::ZERO, 100)
}

fn p(pairing: &mut Pairing, ts: u64) -> Result<PrewriteStep, Error> {
    pairing.prewrite(start(ts), Bytes::new(), body(ts), Duration::ZERO)
}

fn c(pairing: &mut Pairing, ts: u64, at: u64) -> Result<CommitStep, Error> {
    pairing.commit(start(ts), commit(at), Bytes::new(), Mark::Key)
}

/// Advances to the end: the records' commit_ts and W.
fn settle(pairing: &mut Pairing) -> (Vec<u64>, u64) {
    let mut seen = Vec::new();
    while let Some(advance) = pairing.advance(10) {
        seen.extend(advance.ready.iter().map(|ready| ready.commit_ts.raw()));
    }
    (seen, pairing.watermark().raw())
}

#[test]
fn an_older_prewrite_holds_the_watermark() {
    let mut state = pairing();
    p(&mut state, 10).unwrap();
    p(&mut state, 11).unwrap();
    c(&mut state, 11, 20).unwrap();
    assert_eq!(settle(&mut state), (vec![], 0));
    p(&mut state, 21).unwrap();
    c(&mut state, 10, 15).unwrap();
    // 21 came after both commits, so it holds neither.
    assert_eq!(settle(&mut state), (vec![15, 20], 20));
    assert_eq!(state.pending_count(), 1);
}

#[test]
fn a_stuck_watermark_keeps_few_candidates_and_still_gets_to_the_end() {
    let mut state = pairing();
    p(&mut state, 1).unwrap();
    let last = MAX_CANDIDATES as u64 + 5000;
    for ts in 2..last {
        p(&mut state, 10 * ts).unwrap();
        c(&mut state, 10 * ts, 10 * ts + 5).unwrap();
        assert!(state.candidates.len() <= MAX_CANDIDATES);
    }
    assert_eq!(settle(&mut state), (vec![], 0));
    // One in front of the last quarter: what is left of the candidates must not jump over it.
    let open = 10 * last;
    p(&mut state, open).unwrap();
    for ts in last + 1..last + 1000 {
        p(&mut state, 10 * ts).unwrap();
        c(&mut state, 10 * ts, 10 * ts + 5).unwrap();
    }
    state.rollback(start(1)).unwrap();
    let reached = settle(&mut state).1;
    assert!(reached <= 10 * (last - 1) + 5, "{reached} is past an undecided prewrite");
    state.rollback(start(open)).unwrap();
    assert_eq!(settle(&mut state).1, 10 * (last + 999) + 5);
}

#[test]
fn a_rollback_settles() {
    let mut state = pairing();
    p(&mut state, 10).unwrap();
    p(&mut state, 11).unwrap();
    c(&mut state, 11, 20).unwrap();
    assert_eq!(state.rollback(start(10)), Ok(RollbackStep::Delete(PLACE)));
    assert_eq!(settle(&mut state), (vec![20], 20));
    assert_eq!(state.rollback(start(10)), Ok(RollbackStep::Unknown));
    assert_eq!(state.rollback(start(11)).unwrap_err().kind(), ErrorKind::Corrupted);
}

#[test]
fn an_offer_counts_from_when_it_was_made() {
    let mut state = pairing();
    state.offer(commit(5));
    assert_eq!(settle(&mut state), (vec![], 5));
    p(&mut state, 6).unwrap();
    state.offer(commit(7));
    assert_eq!(settle(&mut state), (vec![], 5));
    p(&mut state, 8).unwrap();
    state.rollback(start(6)).unwrap();
    assert_eq!(settle(&mut state), (vec![], 7));
    state.offer(commit(3));
    assert_eq!(settle(&mut state), (vec![], 7));
}

#[test]
fn the_same_again_is_harmless_and_another_is_a_conflict() {
    let mut state = pairing();
    p(&mut state, 10).unwrap();
    assert_eq!(p(&mut state, 10), Ok(PrewriteStep::Duplicate));
    let other = state.prewrite(start(10), Bytes::new(), body(99), Duration::ZERO);
    assert_eq!(other.unwrap_err().kind(), ErrorKind::Corrupted);
    c(&mut state, 10, 20).unwrap();
    for _ in 0..2 {
        assert_eq!(p(&mut state, 10), Ok(PrewriteStep::Duplicate));
        assert_eq!(c(&mut state, 10, 20), Ok(CommitStep::Duplicate));
        assert!(matches!(c(&mut state, 10, 21), Err(Error::Conflict { .. })));
        settle(&mut state);
    }
    p(&mut state, 22).unwrap();
    c(&mut state, 22, 30).unwrap();
    p(&mut state, 23).unwrap();
    assert!(matches!(c(&mut state, 23, 30), Err(Error::Conflict { .. })), "two transactions at one place");
}

#[test]
fn duplicates_are_known_over_two_rotations_and_asked_for_later() {
    let mut state = pairing();
    p(&mut state, 10).unwrap();
    c(&mut state, 10, 20).unwrap();
    settle(&mut state);
    state.rotate();
    assert_eq!(p(&mut state, 10), Ok(PrewriteStep::Duplicate));
    state.rotate();
    assert_eq!(p(&mut state, 10), Ok(PrewriteStep::Store), "forgotten: an undecided prewrite");
    assert_eq!(c(&mut state, 10, 20), Ok(CommitStep::AskLog));
    assert_eq!(
        state.commit_below(start(10), commit(20), &Bytes::new(), true),
        BelowStep::Known { forget: Some(PLACE) }
    );
    assert_eq!((state.pending_count(), state.held_bytes()), (0, 0));
    assert!(state.gaps().is_empty());
}

#[test]
fn a_commit_without_prewrite_is_a_gap_unless_it_comes_in_time() {
    let mut state = pairing();
    p(&mut state, 1).unwrap();
    c(&mut state, 10, 20).unwrap();
    c(&mut state, 11, 21).unwrap();
    assert_eq!(p(&mut state, 10), Ok(PrewriteStep::Store), "in time");
    state.rollback(start(1)).unwrap();
    assert_eq!(settle(&mut state), (vec![20, 21], 21));
    let gaps = state.gaps();
    assert_eq!(gaps.len(), 1);
    assert_eq!(gaps[0].range, Range { after: commit(20), through: commit(21) });
    assert_eq!(gaps[0].reason, GapReason::MissingPrewrite);
    assert!(matches!(p(&mut state, 11), Err(Error::Late { .. })), "too late");
    assert_eq!(c(&mut state, 11, 21), Ok(CommitStep::Duplicate));
    assert_eq!(state.orphans_through(commit(20)), vec![]);
    assert_eq!(
        state.orphans_through(commit(21)),
        vec![Forgotten { start_ts: start(11), place: Place::NONE }]
    );
    assert!(state.gaps().is_empty());
}

#[test]
fn neighbouring_gaps_are_one() {
    let mut state = pairing();
    state.offer(commit(100));
    settle(&mut state);
    for (ts, at) in [(10, 21), (11, 20), (12, 22), (13, 24)] {
        c(&mut state, ts, at).unwrap();
        assert_eq!(state.commit_below(start(ts), commit(at), &Bytes::new(), false), BelowStep::Late);
    }
    let ranges: Vec<_> =
        state.gaps().iter().map(|gap| (gap.range.after.raw(), gap.range.through.raw())).collect();
    assert_eq!(ranges, [(19, 22), (23, 24)]);
    assert_eq!(state.gap_count(), 4);
}

#[test]
fn what_waits_is_remembered_however_often_files_are_made() {
    let mut state = pairing();
    p(&mut state, 1).unwrap();
    p(&mut state, 10).unwrap();
    c(&mut state, 10, 20).unwrap();
    for _ in 0..3 {
        state.rotate();
        assert_eq!(p(&mut state, 10), Ok(PrewriteStep::Duplicate));
        assert_eq!(c(&mut state, 10, 20), Ok(CommitStep::Duplicate));
        assert!(state.decided.is_empty() && state.decided_before.is_empty(), "nothing is copied");
    }
    assert_eq!(state.oldest_undecided(), Some(start(1)));
    state.rollback(start(1)).unwrap();
    assert_eq!(settle(&mut state), (vec![20], 20));
    state.rotate();
    assert_eq!(c(&mut state, 10, 20), Ok(CommitStep::Duplicate), "two rotations from when it was passed");
    assert_eq!(state.oldest_undecided(), None);
}

#[test]
fn a_late_commit_is_refused_and_stays_as_a_gap() {
    let mut state = pairing();
    state.offer(commit(100));
    settle(&mut state);
    p(&mut state, 10).unwrap();
    assert_eq!(c(&mut state, 10, 20), Ok(CommitStep::AskLog));
    assert_eq!(state.commit_below(start(10), commit(20), &Bytes::new(), false), BelowStep::Late);
    assert_eq!(state.gaps()[0].reason, GapReason::LateCommit);
    assert_eq!(state.pending_count(), 0, "it must not hold the watermark for ever");
    assert!(matches!(c(&mut state, 10, 20), Err(Error::Late { .. })));
    assert_eq!(state.orphans_through(commit(50)), vec![Forgotten { start_ts: start(10), place: PLACE }]);
}

#[test]
fn a_lost_outcome_is_a_gap_until_it_is_found() {
    let gap = |after, through| Gap {
        range: Range { after: commit(after), through: commit(through) },
        reason: GapReason::LostOutcome,
    };
    let mut state = pairing();
    for ts in [10, 11, 12, 13] {
        p(&mut state, ts).unwrap();
    }
    p(&mut state, 40).unwrap();
    c(&mut state, 40, 50).unwrap();
    let held = state.held_bytes();
    for ts in [10, 11, 12, 13] {
        let range = Range { after: commit(ts), through: commit(30) };
        assert_eq!(state.lose(start(ts), commit(30)), LoseStep::Store(range));
    }
    assert!(state.held_bytes() < held);
    assert_eq!(state.lose(start(10), commit(30)), LoseStep::Unknown);
    assert_eq!(state.gaps(), [gap(10, 30), gap(11, 30), gap(12, 30), gap(13, 30)]);
    // A repetition changes nothing; an outcome that comes in time fills the gap.
    assert_eq!(p(&mut state, 10), Ok(PrewriteStep::Duplicate));
    assert_eq!(state.rollback(start(11)), Ok(RollbackStep::Find(PLACE)));
    assert_eq!(c(&mut state, 12, 20), Ok(CommitStep::Store { lost: true }));
    assert_eq!(settle(&mut state), (vec![20, 50], 50), "the watermark waits for none of them");
    assert_eq!(state.gaps(), [gap(10, 30), gap(13, 30)]);
    // One that comes late says where.
    assert_eq!(c(&mut state, 13, 25), Ok(CommitStep::AskLog));
    assert_eq!(state.commit_below(start(13), commit(25), &Bytes::new(), false), BelowStep::Late);
    assert_eq!(state.gaps()[1].range, Range { after: commit(24), through: commit(25) });
    let gone = [start(13), start(10)].map(|start_ts| Forgotten { start_ts, place: PLACE });
    assert_eq!(state.orphans_through(commit(30)), gone);
    assert!(state.gaps().is_empty());
}

#[test]
fn what_cannot_have_committed_is_not_lost() {
    let mut state = pairing();
    state.offer(commit(100));
    settle(&mut state);
    p(&mut state, 90).unwrap();
    assert_eq!(
        state.lose(start(90), commit(100)),
        LoseStep::Delete(PLACE),
        "it would be above the watermark"
    );
    p(&mut state, 110).unwrap();
    assert_eq!(state.lose(start(110), commit(110)), LoseStep::Delete(PLACE), "it would be above its start");
    assert!(state.gaps().is_empty());
}

#[test]
fn payloads_are_held_within_the_budget() {
    let mut state = Pairing::new(CommitTs::ZERO, 5);
    for ts in 100..104 {
        p(&mut state, ts).unwrap();
    }
    assert_eq!(state.held_bytes(), 3, "one of three bytes fits");
    for ts in 100..104 {
        c(&mut state, ts, ts + 100).unwrap();
    }
    settle(&mut state);
    assert_eq!(state.held_bytes(), 0);
}

/// What happens next in the simulated cluster. Indexes choose among what is possible then.
#[derive(Clone, Debug)]
enum Event {
    Begin,
    SendPrewrite(Index),
    TakeCommitTs(Index),
    SendCommit(Index),
    Rollback(Index),
    Repeat(Index),
    FetchTs,
    OfferTs(Index),
    SendFake(Index),
    Sync,
    Rotate,
}

fn event() -> impl Strategy<Value = Event> {
    let at = any::<Index>;
    prop_oneof![
        3 => Just(Event::Begin),
        3 => at().prop_map(Event::SendPrewrite),
        3 => at().prop_map(Event::TakeCommitTs),
        3 => at().prop_map(Event::SendCommit),
        1 => at().prop_map(Event::Rollback),
        2 => at().prop_map(Event::Repeat),
        1 => Just(Event::FetchTs),
        1 => at().prop_map(Event::OfferTs),
        1 => at().prop_map(Event::SendFake),
        3 => Just(Event::Sync),
        1 => Just(Event::Rotate),
    ]
}

/// The cluster, and the watermark computed the slow way from the whole history.
#[derive(Default)]
struct Cluster {
    tso: u64,
    begun: Vec<u64>,
    prewritten: Vec<u64>,
    /// start_ts → commit_ts, taken but not sent.
    committing: BTreeMap<u64, u64>,
    fetched: Vec<u64>,
    /// Every prewrite and candidate in order of arrival.
    history: Vec<Arrival>,
    settled: BTreeSet<u64>,
    sent: Vec<(u64, Option<u64>)>,
    /// commit_ts → start_ts of all that was taken, sent or not.
    taken: BTreeMap<u64, u64>,
    emitted: BTreeSet<u64>,
}

enum Arrival {
    Prewrite(u64),
    Candidate(u64),
}

impl Cluster {
    fn next_ts(&mut self) -> u64 {
        self.tso += 1;
        self.tso
    }

    fn watermark(&self) -> u64 {
        let mut best = 0;
        for arrival in &self.history {
            match arrival {
                Arrival::Prewrite(ts) if !self.settled.contains(ts) => break,
                Arrival::Prewrite(_) => {}
                Arrival::Candidate(ts) => best = best.max(*ts),
            }
        }
        best
    }
}

fn take(list: &mut Vec<u64>, at: &Index) -> Option<u64> {
    (!list.is_empty()).then(|| list.remove(at.index(list.len())))
}

fn play(events: Vec<Event>) -> Result<(), TestCaseError> {
    let mut cluster = Cluster::default();
    let mut state = Pairing::new(CommitTs::ZERO, 10);
    let mut last_w = 0;
    for event in events {
        match event {
            Event::Begin => {
                let ts = cluster.next_ts();
                cluster.begun.push(ts);
            }
            Event::SendPrewrite(at) => {
                if let Some(ts) = take(&mut cluster.begun, &at) {
                    prop_assert_eq!(p(&mut state, ts), Ok(PrewriteStep::Store));
                    cluster.history.push(Arrival::Prewrite(ts));
                    cluster.prewritten.push(ts);
                    cluster.sent.push((ts, None));
                }
            }
            Event::TakeCommitTs(at) => {
                if let Some(ts) = take(&mut cluster.prewritten, &at) {
                    let commit_ts = cluster.next_ts();
                    cluster.committing.insert(ts, commit_ts);
                    cluster.taken.insert(commit_ts, ts);
                }
            }
            Event::SendCommit(at) => {
                if !cluster.committing.is_empty() {
                    let nth = at.index(cluster.committing.len());
                    let (&ts, &at) = cluster.committing.iter().nth(nth).expect("in range");
                    cluster.committing.remove(&ts);
                    prop_assert_eq!(c(&mut state, ts, at), Ok(CommitStep::Store { lost: false }));
                    cluster.settled.insert(ts);
                    cluster.history.push(Arrival::Candidate(at));
                    cluster.sent.push((ts, Some(at)));
                }
            }
            Event::Rollback(at) => {
                if let Some(ts) = take(&mut cluster.prewritten, &at) {
                    prop_assert_eq!(state.rollback(start(ts)), Ok(RollbackStep::Delete(PLACE)));
                    cluster.settled.insert(ts);
                    cluster.sent.retain(|(sent, _)| *sent != ts);
                }
            }
            Event::Repeat(at) => {
                if !cluster.sent.is_empty() {
                    // A repeated prewrite that was forgotten stands until its outcome is repeated too.
                    let (ts, outcome) = cluster.sent[at.index(cluster.sent.len())];
                    let outcome = outcome.or_else(|| {
                        cluster.sent.iter().find_map(|(other, outcome)| outcome.filter(|_| *other == ts))
                    });
                    prop_assert!(p(&mut state, ts).is_ok());
                    if let Some(at) = outcome {
                        match c(&mut state, ts, at) {
                            Ok(CommitStep::Duplicate) => {}
                            Ok(CommitStep::AskLog) => {
                                prop_assert!(cluster.emitted.contains(&at));
                                state.commit_below(start(ts), commit(at), &Bytes::new(), true);
                            }
                            other => prop_assert!(false, "{:?}", other),
                        }
                    }
                }
            }
            Event::FetchTs => {
                let ts = cluster.next_ts();
                cluster.fetched.push(ts);
            }
            Event::OfferTs(at) => {
                if let Some(ts) = take(&mut cluster.fetched, &at) {
                    state.offer(commit(ts));
                    cluster.history.push(Arrival::Candidate(ts));
                }
            }
            Event::SendFake(at) => {
                if let Some(ts) = take(&mut cluster.fetched, &at) {
                    if state.fake(commit(ts)) == Ok(CommitStep::Store { lost: false }) {
                        cluster.taken.insert(ts, ts);
                    } else {
                        prop_assert!(ts <= state.watermark().raw());
                    }
                    cluster.history.push(Arrival::Candidate(ts));
                }
            }
            Event::Sync => {
                while let Some(advance) = state.advance(3) {
                    for ready in &advance.ready {
                        let at = ready.commit_ts.raw();
                        prop_assert!(at > last_w && at <= advance.watermark.raw());
                        prop_assert_eq!(cluster.taken.get(&at), Some(&ready.start_ts.raw()));
                        prop_assert!(!matches!(ready.outcome, Outcome::Missing));
                        prop_assert!(cluster.emitted.insert(at), "twice");
                    }
                    let ascending =
                        advance.ready.windows(2).all(|pair| pair[0].commit_ts < pair[1].commit_ts);
                    prop_assert!(ascending);
                    last_w = advance.watermark.raw();
                    // The promise: nothing at or below W is still on its way.
                    let missing =
                        cluster.taken.range(..=last_w).find(|(at, _)| !cluster.emitted.contains(at));
                    prop_assert_eq!(missing, None);
                }
                prop_assert_eq!(last_w, cluster.watermark(), "not as high as it may be, or too high");
            }
            Event::Rotate => state.rotate(),
        }
    }
    let waiting: HashMap<u64, u64> = cluster.taken.iter().map(|(at, ts)| (*at, *ts)).collect();
    prop_assert!(state.waiting_count() <= waiting.len());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn the_watermark_is_right_in_an_honest_cluster(events in proptest::collection::vec(event(), 1..200)) {
        play(events)?;
    }
}
