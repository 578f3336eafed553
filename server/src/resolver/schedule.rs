//! When to ask what about which orphan, without I/O.

use std::collections::HashMap;
use std::time::Duration;

use binlog_storage::Unresolved;
use binlog_types::{CommitTs, StartTs};

/// An outcome that is on its way usually comes before this.
const FIRST_AFTER: Duration = Duration::from_secs(2);
const BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// A transaction whose prewrite binlog is this old and which never locked its primary key will not do so any more.
const HOPELESS_AFTER: Duration = Duration::from_secs(600);

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

/// What follows from an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing yet.
    AskAgain,
    /// Store this commit.
    Commit(CommitTs),
    /// Store a rollback.
    Rollback,
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
}

impl Schedule {
    /// Those of `open` that are to be asked about at `now`. What is no longer open is forgotten.
    pub(super) fn due(&mut self, open: &[Unresolved], now: Duration) -> Vec<(Unresolved, Question)> {
        if self.probes.len() > open.len() {
            let open: std::collections::HashSet<StartTs> =
                open.iter().map(|orphan| orphan.start_ts).collect();
            self.probes.retain(|start_ts, _| open.contains(start_ts));
        }
        let mut due = Vec::new();
        for orphan in open.iter().filter(|orphan| orphan.age >= FIRST_AFTER) {
            let probe = self.probes.entry(orphan.start_ts).or_insert(Probe {
                ask_at: now,
                pause: BACKOFF,
                locked: false,
            });
            if probe.ask_at <= now {
                let question = if probe.locked {
                    Question::Status { rollback_if_not_exist: false }
                } else if orphan.age >= HOPELESS_AFTER {
                    Question::Status { rollback_if_not_exist: true }
                } else {
                    Question::Versions
                };
                due.push((orphan.clone(), question));
            }
        }
        due
    }

    /// Takes an answer that came at `now`.
    pub(super) fn answered(&mut self, start_ts: StartTs, answer: Answer, now: Duration) -> Next {
        let Some(probe) = self.probes.get_mut(&start_ts) else { return Next::AskAgain };
        probe.locked = matches!(answer, Answer::Locked { .. });
        // Asked again also after a verdict: storing it may fail.
        let pause = match answer {
            Answer::Locked { ends_in } if ends_in > BACKOFF => ends_in.min(MAX_BACKOFF),
            Answer::Locked { .. } => BACKOFF,
            _ => {
                let pause = probe.pause;
                probe.pause = (pause * 2).min(MAX_BACKOFF);
                pause
            }
        };
        probe.ask_at = now + pause;
        match answer {
            Answer::Committed(commit_ts) => Next::Commit(commit_ts),
            Answer::RolledBack => Next::Rollback,
            Answer::Locked { .. } | Answer::NotFound | Answer::Unknown => Next::AskAgain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn orphan(age: Duration) -> Unresolved {
        Unresolved { start_ts: StartTs::new(5), key: "k".into(), age }
    }

    fn question(schedule: &mut Schedule, age: Duration) -> Option<Question> {
        schedule.due(&[orphan(age)], age).first().map(|(_, question)| *question)
    }

    #[test]
    fn young_prewrites_are_left_alone() {
        let mut schedule = Schedule::default();
        assert_eq!(question(&mut schedule, S), None);
        assert_eq!(question(&mut schedule, S * 2), Some(Question::Versions));
    }

    #[test]
    fn a_lock_is_asked_about_without_killing_what_has_none() {
        let mut schedule = Schedule::default();
        question(&mut schedule, S * 2);
        let next = schedule.answered(StartTs::new(5), Answer::Locked { ends_in: Duration::ZERO }, S * 2);
        assert_eq!(next, Next::AskAgain);
        assert_eq!(question(&mut schedule, S * 2), None);
        assert_eq!(question(&mut schedule, S * 3), Some(Question::Status { rollback_if_not_exist: false }));
        schedule.answered(StartTs::new(5), Answer::Locked { ends_in: S * 4 }, S * 3);
        assert_eq!(question(&mut schedule, S * 6), None);
        assert_eq!(question(&mut schedule, S * 7), Some(Question::Status { rollback_if_not_exist: false }));
        assert_eq!(
            schedule.answered(StartTs::new(5), Answer::Committed(CommitTs::new(9)), S * 7),
            Next::Commit(CommitTs::new(9))
        );
    }

    #[test]
    fn only_a_hopeless_prewrite_may_be_rolled_back_unseen() {
        let mut schedule = Schedule::default();
        for age in [2_u32, 60, 599] {
            assert_eq!(question(&mut schedule, S * age), Some(Question::Versions));
            schedule.answered(StartTs::new(5), Answer::NotFound, S * age);
        }
        assert_eq!(question(&mut schedule, S * 620), Some(Question::Status { rollback_if_not_exist: true }));
        assert_eq!(schedule.answered(StartTs::new(5), Answer::RolledBack, S * 620), Next::Rollback);
    }

    #[test]
    fn failures_are_asked_again_at_growing_distance() {
        let mut schedule = Schedule::default();
        question(&mut schedule, S * 2);
        schedule.answered(StartTs::new(5), Answer::Unknown, S * 2);
        assert!(question(&mut schedule, S * 3).is_some());
        schedule.answered(StartTs::new(5), Answer::Unknown, S * 3);
        assert!(question(&mut schedule, S * 4).is_none());
        assert!(question(&mut schedule, S * 5).is_some());
    }
}
