//! When to ask what about which orphan, without I/O.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use binlog_storage::Unresolved;
use binlog_types::{CommitTs, StartTs, Ts};

/// An outcome that is on its way usually comes before this.
const FIRST_AFTER: Duration = Duration::from_secs(2);
const BACKOFF: Duration = Duration::from_secs(1);
/// Where neither lock nor outcome is seen. An outcome is to be known within five seconds of its being there, whenever that is, and a lock that
/// turns up and ends between two questions takes two more: one that sees it, and a [`BACKOFF`] later one that ends it.
const MAX_BACKOFF: Duration = Duration::from_secs(2);
/// While a lock stands: one question more is enough then.
const LOCKED_BACKOFF: Duration = Duration::from_secs(3);
/// A transaction whose prewrite binlog is this old and which never locked its primary key will not do so any more.
const HOPELESS_AFTER: Duration = Duration::from_secs(600);
/// When the prewrite binlogs came that a restart found, nobody knows: their transactions began long enough ago, and TiDB gives up sooner to lock a
/// key for one of them that came last.
const RECOVERED_HOPELESS_AFTER: Duration = Duration::from_secs(60);

/// What to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// `MvccGetByKey`: changes nothing.
    Versions,
    /// `CheckTxnStatus`.
    Status {
        /// Also roll back where there is neither lock nor outcome.
        rollback_if_not_exist: bool,
    },
}

/// What TiKV said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It committed.
    Committed(CommitTs),
    /// It was rolled back.
    RolledBack,
    /// Garbage collection has passed it, and left neither lock nor outcome.
    Forgotten {
        /// If it committed, then at or below.
        through: CommitTs,
    },
    /// Its lock stands, for so long at least.
    Locked {
        /// From now.
        ends_in: Duration,
    },
    /// Neither lock nor outcome.
    NotFound,
    /// The question failed.
    Unknown,
}

/// The orphans that were asked about.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    probes: HashMap<StartTs, Probe>,
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    ask_at: Duration,
    pause: Duration,
    locked: bool,
    /// The answer is on its way.
    asked: bool,
}

impl Schedule {
    /// Those of `open`, at most `room`, that are to be asked about at `now`, which is `ts` to the oracle if that is known; each question must be
    /// [answered](Self::answered). What is no longer open is forgotten.
    pub(super) fn due(
        &mut self,
        open: &[Unresolved],
        now: Duration,
        ts: Option<Ts>,
        room: usize,
    ) -> Vec<(Unresolved, Question)> {
        if self.probes.len() > open.len() {
            let open: HashSet<StartTs> = open.iter().map(|orphan| orphan.start_ts).collect();
            self.probes.retain(|start_ts, probe| probe.asked || open.contains(start_ts));
        }
        let mut due = Vec::new();
        for orphan in open.iter().filter(|orphan| orphan.age >= FIRST_AFTER) {
            if due.len() >= room {
                break;
            }
            let probe = self.probes.entry(orphan.start_ts).or_insert(Probe {
                ask_at: now,
                pause: BACKOFF,
                locked: false,
                asked: false,
            });
            if probe.asked || probe.ask_at > now {
                continue;
            }
            probe.asked = true;
            let question = if probe.locked {
                Question::Status { rollback_if_not_exist: false }
            } else if is_hopeless(orphan, ts) {
                Question::Status { rollback_if_not_exist: true }
            } else {
                Question::Versions
            };
            due.push((orphan.clone(), question));
        }
        due
    }

    /// Takes an answer that came at `now`. It is asked again also after a verdict, since storing that may fail.
    pub(super) fn answered(&mut self, start_ts: StartTs, answer: Answer, now: Duration) {
        let Some(probe) = self.probes.get_mut(&start_ts) else { return };
        probe.asked = false;
        probe.locked = matches!(answer, Answer::Locked { .. });
        let pause = match answer {
            Answer::Locked { ends_in } => ends_in.clamp(BACKOFF, LOCKED_BACKOFF),
            _ => {
                let pause = probe.pause;
                probe.pause = (pause * 2).min(MAX_BACKOFF);
                pause
            }
        };
        probe.ask_at = now + pause;
    }
}

/// Whether [`Schedule::due`] needs to know the oracle's time.
pub(super) fn needs_time(open: &[Unresolved]) -> bool {
    let ages = RECOVERED_HOPELESS_AFTER..HOPELESS_AFTER;
    open.iter().any(|orphan| orphan.recovered && ages.contains(&orphan.age))
}

/// Measured by this machine's steady clock, where it has seen the prewrite binlog come: the oracle's may jump.
fn is_hopeless(orphan: &Unresolved, ts: Option<Ts>) -> bool {
    let began = orphan.start_ts.ts().physical();
    let since = ts.map_or(Duration::ZERO, |ts| Duration::from_millis(ts.physical().saturating_sub(began)));
    orphan.age >= HOPELESS_AFTER
        || orphan.recovered && orphan.age >= RECOVERED_HOPELESS_AFTER && since >= HOPELESS_AFTER
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: Duration = Duration::from_secs(1);
    const MS: Duration = Duration::from_millis(1);

    fn orphan(age: Duration) -> Unresolved {
        Unresolved { start_ts: StartTs::new(5), key: "k".into(), age, recovered: false }
    }

    fn question(schedule: &mut Schedule, age: Duration) -> Option<Question> {
        schedule.due(&[orphan(age)], age, Some(Ts::MAX), 8).pop().map(|(_, question)| question)
    }

    #[test]
    fn a_lock_is_asked_about_until_it_ends() {
        let mut schedule = Schedule::default();
        assert_eq!(question(&mut schedule, S), None);
        assert_eq!(question(&mut schedule, S * 2), Some(Question::Versions));
        assert_eq!(question(&mut schedule, S * 20), None, "not while it is being asked about");
        schedule.answered(StartTs::new(5), Answer::Locked { ends_in: Duration::ZERO }, S * 2);
        assert_eq!(question(&mut schedule, S * 2), None);
        assert_eq!(question(&mut schedule, S * 3), Some(Question::Status { rollback_if_not_exist: false }));
        schedule.answered(StartTs::new(5), Answer::Locked { ends_in: S * 60 }, S * 3);
        assert_eq!(question(&mut schedule, S * 5), None);
        // It may commit long before its time is over.
        assert_eq!(question(&mut schedule, S * 6), Some(Question::Status { rollback_if_not_exist: false }));
    }

    #[test]
    fn only_a_hopeless_prewrite_may_be_rolled_back_unseen() {
        let mut schedule = Schedule::default();
        for age in [2_u32, 60, 599] {
            assert_eq!(question(&mut schedule, S * age), Some(Question::Versions));
            schedule.answered(StartTs::new(5), Answer::NotFound, S * age);
        }
        assert_eq!(question(&mut schedule, S * 620), Some(Question::Status { rollback_if_not_exist: true }));
    }

    #[test]
    fn there_is_room_for_so_many_and_the_others_come_later() {
        let open: Vec<Unresolved> =
            (1..=5).map(|n| Unresolved { start_ts: StartTs::new(n), ..orphan(S * 2) }).collect();
        let mut schedule = Schedule::default();
        assert_eq!(schedule.due(&open, S, None, 3).len(), 3);
        assert_eq!(schedule.due(&open, S, None, 3).len(), 2);
        assert!(schedule.due(&open, S, None, 3).is_empty());
    }

    #[test]
    fn a_restart_makes_nobody_young_again() {
        let began = Ts::compose(5_000_000, 0);
        let later = |seconds: u64| Some(Ts::compose(5_000_000 + seconds * 1000, 0));
        let found =
            |age| Unresolved { start_ts: StartTs::from(began), key: "k".into(), age, recovered: true };
        assert!(!is_hopeless(&found(S * 59), later(3_600)), "it may have come just before the restart");
        assert!(is_hopeless(&found(S * 60), later(3_600)));
        assert!(!is_hopeless(&found(S * 60), later(599)));
        assert!(!is_hopeless(&found(S * 60), None));
        assert!(is_hopeless(&found(S * 600), None));
        for (age, needed) in [(S * 59, false), (S * 60, true), (S * 599, true), (S * 600, false)] {
            assert_eq!(needs_time(&[found(age)]), needed);
        }
        assert!(!is_hopeless(&Unresolved { recovered: false, ..found(S * 599) }, later(3_600)));
    }

    /// What TiKV knows of a transaction over time; times count from the arrival of its prewrite binlog.
    #[derive(Clone, Copy, Debug)]
    struct Fate {
        locked_from: Duration,
        /// Of the lock, from the arrival on.
        ttl: Duration,
        /// None: its TiDB died, and the lock stands until it is rolled back.
        committed_at: Option<Duration>,
    }

    impl Fate {
        fn answer(self, question: Question, now: Duration) -> Answer {
            if self.committed_at.is_some_and(|at| at <= now) {
                return Answer::Committed(CommitTs::new(9));
            }
            if now < self.locked_from {
                return Answer::NotFound;
            }
            match question {
                Question::Versions => Answer::Locked { ends_in: Duration::ZERO },
                Question::Status { .. } if now >= self.ttl => Answer::RolledBack,
                Question::Status { .. } => Answer::Locked { ends_in: self.ttl - now },
            }
        }
    }

    proptest! {
        /// An outcome is known within 5 s of its being there (or of the arrival), a dead lock within its time to live and 5 s,
        /// and a lock that lives is never rolled back.
        #[test]
        fn outcomes_are_known_in_time(
            locked_from in 0_u32..20_000,
            ttl in 0_u32..60_000,
            commits in proptest::option::of(0_u32..40_000),
            latency in 1_u32..300,
            failures in 0_u32..2,
        ) {
            let ttl = ttl.max(locked_from + 100);
            let committed_at = commits.map(|after| MS * (locked_from + after));
            // What commits does so while its lock lives.
            let ttl = committed_at.map_or(MS * ttl, |at| at.max(MS * ttl) + S);
            let fate = Fate { locked_from: MS * locked_from, ttl, committed_at };
            let mut schedule = Schedule::default();
            let (mut now, mut failures) = (Duration::ZERO, failures);
            let known_at = loop {
                now += MS * 500;
                let Some((_, question)) = schedule.due(&[orphan(now)], now, None, 8).pop() else { continue };
                let answer = if failures > 0 {
                    failures -= 1;
                    Answer::Unknown
                } else {
                    fate.answer(question, now)
                };
                let answered_at = now + MS * latency;
                match answer {
                    Answer::Committed(_) => break answered_at,
                    Answer::RolledBack => {
                        prop_assert!(now >= fate.ttl && fate.committed_at.is_none());
                        break answered_at;
                    }
                    other => schedule.answered(StartTs::new(5), other, answered_at),
                }
                prop_assert!(now < S * 300, "never known");
            };
            let due = fate.committed_at.unwrap_or(fate.ttl) + S * 5;
            prop_assert!(known_at <= due.max(S * 7), "known at {:?}, due at {:?}", known_at, due);
        }
    }
}
