//! DDL jobs that somebody needs, by their ids.
//!
//! TiDB's ids of jobs come from the counter that tables, partitions and sequences use too, so that a job that ran long may be filed
//! away far below those that a round looks at.

use std::collections::BTreeMap;
use std::time::Duration;

use binlog_types::{ClockHandle, JobId};
use parking_lot::Mutex;

/// How long a job is looked for after it was last asked for. TiDB files a job away when no transaction uses the old schema any more.
const LIMIT: Duration = Duration::from_secs(3600);
/// Between the first two looks; each later pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Jobs that are looked for at a time. What has a binlog and never a job (`SETVAL`) must not add up.
const MOST: usize = 4096;

/// Jobs that a [`SchemaFollower`](super::SchemaFollower) looks for.
#[derive(Debug)]
pub struct JobRequests {
    clock: ClockHandle,
    requests: Mutex<BTreeMap<JobId, Request>>,
}

#[derive(Debug)]
struct Request {
    next: Duration,
    pause: Duration,
    until: Duration,
}

impl JobRequests {
    /// None so far.
    pub fn new(clock: ClockHandle) -> Self {
        JobRequests { clock, requests: Mutex::default() }
    }

    /// The job is looked for in the next round, and from then on ever more rarely until it is found or an hour is over.
    pub fn want(&self, job: JobId) {
        let now = self.clock.monotonic();
        let mut requests = self.requests.lock();
        if requests.len() >= MOST
            && !requests.contains_key(&job)
            && let Some(oldest) = requests.iter().min_by_key(|(_, r)| r.until).map(|(id, _)| *id)
        {
            requests.remove(&oldest);
        }
        requests.insert(job, Request { next: now, pause: FIRST_PAUSE, until: now + LIMIT });
    }

    /// What is to be looked for now.
    pub(super) fn due(&self) -> Vec<JobId> {
        let now = self.clock.monotonic();
        let mut requests = self.requests.lock();
        requests.retain(|_, request| request.until > now);
        let due = requests.iter_mut().filter(|(_, request)| request.next <= now);
        due.map(|(job, request)| {
            request.next = now + request.pause;
            request.pause *= 2;
            *job
        })
        .collect()
    }

    /// The job is there.
    pub(super) fn found(&self, job: JobId) {
        self.requests.lock().remove(&job);
    }
}

#[cfg(test)]
mod tests {
    use binlog_types::ManualClock;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_wanted_is_looked_for_ever_more_rarely_and_not_for_ever() {
        let clock = ManualClock::new(0);
        let requests = JobRequests::new(clock.clone());
        requests.want(JobId(7));
        let mut looks = Vec::new();
        for second in 0..8000 {
            looks.extend(requests.due().iter().map(|_| second));
            clock.advance(SECOND);
        }
        assert_eq!(looks[..5], [0, 1, 3, 7, 15]);
        assert!(looks.len() < 14 && looks.last() < Some(&3600), "{looks:?}");

        requests.want(JobId(7));
        requests.want(JobId(8));
        assert_eq!(requests.due(), [JobId(7), JobId(8)]);
        assert_eq!(requests.due(), []);
        requests.found(JobId(7));
        requests.want(JobId(8));
        assert_eq!(requests.due(), [JobId(8)], "asked for again");
    }

    #[test]
    fn the_oldest_request_gives_way() {
        let clock = ManualClock::new(0);
        let requests = JobRequests::new(clock.clone());
        for id in 0..=MOST as i64 {
            requests.want(JobId(id));
            clock.advance(Duration::from_millis(1));
        }
        let due = requests.due();
        assert_eq!((due.len(), due[0]), (MOST, JobId(1)));
    }
}
