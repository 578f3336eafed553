//! Which schema versions are known to the end, without I/O.
//!
//! A job runs through several versions (a column is added in four steps); only the last is the job's own. TiDB moves a
//! finished job into the history a little after its last version. So a version without a job is one of three:
//!
//! - an intermediate step: a later job on the same table is finished. Rows of it decode by the version before;
//! - the end of a job that is about to enter the history: it is waited for;
//! - without a job for ever: taken as such when none turned up for a while.
//!
//! The newest version may be without anything at all, for TiDB raises it before it makes it. Then it is waited for as well.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use binlog_catalog::meta::{Job, SchemaDiff, job_type, may_take_indexes, step_object};
use binlog_proto::store::{ObjectKind, SchemaObject};
use binlog_types::{SchemaVersion, TableId, Ts};

/// How long the job of a version is waited for.
const GRACE: Duration = Duration::from_secs(5);

/// What is known of the versions above the complete one.
#[derive(Debug)]
pub(super) struct Ledger {
    complete: SchemaVersion,
    open: BTreeMap<SchemaVersion, OpenVersion>,
    seen_jobs: BTreeSet<i64>,
    /// The last version of a finished job on each table (or database, by its negated id).
    finished: HashMap<i64, SchemaVersion>,
    settled: bool,
    /// Of versions up to here, what their jobs carry is enough for whoever reads the history.
    behind: SchemaVersion,
}

#[derive(Debug, Default)]
struct OpenVersion {
    /// None: not read yet. Some(None): there is none.
    diff: Option<Option<SchemaDiff>>,
    job: Option<JobVersion>,
    /// A job on this table that was rolled back ended with it: the table is what it was before the job.
    rolled_back: Option<i64>,
    /// Its job does not carry all that it changed.
    exchange: bool,
    first_seen: Option<Duration>,
    /// It came behind this moment; zero: not known.
    behind: Ts,
}

#[derive(Debug)]
struct JobVersion {
    tables: BTreeSet<i64>,
    /// Of a job that may have taken unique indexes away, as steps: what it left of its tables'.
    left: HashMap<i64, SchemaObject>,
    /// When the transaction that made the version began.
    started: Ts,
}

/// A table that a version touched and that no job of the version carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Uncovered {
    pub(super) database: i64,
    pub(super) table: TableId,
    pub(super) version: SchemaVersion,
    /// When the next version that touches it began to be made; None: none has since.
    pub(super) before: Option<Ts>,
    /// Whether the version names it as an old id, which it took away.
    pub(super) old: bool,
}

impl OpenVersion {
    /// Whether a job on the table ended with it, and what that left of its unique indexes, if it may have taken some.
    fn ends(&self, table: i64) -> Option<Option<&SchemaObject>> {
        let job = self.job.as_ref().filter(|job| job.tables.contains(&table));
        let done = job.map(|job| job.left.get(&table));
        done.or_else(|| (self.rolled_back == Some(table)).then_some(None))
    }
}

impl Uncovered {
    /// Whether the version dropped it, if it is not there.
    pub(super) fn gone(&self) -> bool {
        self.old && self.before.is_none()
    }

    /// The object that says that it is dropped.
    pub(super) fn dropped(&self) -> SchemaObject {
        SchemaObject {
            kind: ObjectKind::Table as i32,
            id: self.table.0,
            schema_version: self.version.0,
            dropped: true,
            parent_id: self.database,
            ..SchemaObject::default()
        }
    }
}

/// A table that a DDL is at work on which may take unique indexes from it, at a version that is a step of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AtWork {
    pub(super) database: i64,
    pub(super) table: TableId,
    pub(super) version: SchemaVersion,
    /// The version came behind this moment; zero: not known.
    pub(super) behind: Ts,
}

impl AtWork {
    /// The step as an object of its version.
    pub(super) fn step(&self, left: SchemaObject) -> SchemaObject {
        let finished_ts = if self.behind == Ts::ZERO { left.finished_ts } else { self.behind.raw() };
        SchemaObject { schema_version: self.version.0, finished_ts, ..left }
    }
}

impl Ledger {
    /// Nothing known above `complete`.
    pub(super) fn new(complete: SchemaVersion) -> Self {
        Ledger {
            complete,
            open: BTreeMap::new(),
            seen_jobs: BTreeSet::new(),
            finished: HashMap::new(),
            settled: true,
            behind: SchemaVersion(0),
        }
    }

    /// Up to here everything is stored.
    pub(super) fn complete(&self) -> SchemaVersion {
        self.complete
    }

    /// Whether the last look left nothing open.
    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }

    /// Whether a job was taken before.
    pub(super) fn knows_job(&self, id: i64) -> bool {
        self.seen_jobs.contains(&id)
    }

    /// Takes a job of the history and what it made.
    pub(super) fn job(&mut self, job: &Job, objects: &[SchemaObject]) {
        self.seen_jobs.insert(job.id);
        if !job.effective {
            if job.version.0 > 0 {
                self.note_finished(job, []);
                if job.version > self.complete {
                    self.open.entry(job.version).or_default().rolled_back = Some(job.table_id);
                }
            }
            return;
        }
        let is_table = |o: &&SchemaObject| o.kind == ObjectKind::Table as i32;
        let mut tables: BTreeSet<i64> = objects.iter().filter(is_table).map(|o| o.id).collect();
        let started = objects.iter().map(|o| o.finished_ts).max().unwrap_or(0);
        self.note_finished(job, tables.iter().copied());
        if job.version > self.complete {
            let open = self.open.entry(job.version).or_default();
            let mut left = HashMap::new();
            if let Some(earlier) = open.job.take() {
                tables.extend(earlier.tables);
                left.extend(earlier.left);
            }
            if may_take_indexes(job.job_type) {
                let there = objects.iter().filter(is_table).filter(|o| !o.dropped);
                left.extend(there.filter_map(|o| Some((o.id, step_object(o).ok()?))));
            }
            open.exchange |= job.job_type == job_type::EXCHANGE_TABLE_PARTITION;
            open.job = Some(JobVersion { tables, left, started: Ts::new(started) });
        }
    }

    fn note_finished(&mut self, job: &Job, tables: impl IntoIterator<Item = i64>) {
        for key in tables.into_iter().chain([job.table_id, -job.schema_id]) {
            let last = self.finished.entry(key).or_insert(job.version);
            *last = job.version.max(*last);
        }
    }

    /// Takes note of a job that cannot be read; its version settles by its diff.
    pub(super) fn unreadable_job(&mut self, id: i64) {
        self.seen_jobs.insert(id);
    }

    /// Whoever reads the history begins behind `version`, or behind the jobs that were finished by `ts`: the steps up to there are of no
    /// use. To be called when all jobs were taken.
    pub(super) fn begin_behind(&mut self, version: SchemaVersion, ts: Ts) {
        let finished = |open: &OpenVersion| open.job.as_ref().is_some_and(|job| job.started <= ts);
        let last = self.open.iter().rev().find(|(_, open)| finished(open)).map(|(version, _)| *version);
        self.behind = last.map_or(version, |last| last.max(version));
    }

    /// The versions up to `through` that are open and whose diff is not read yet, as far as it may tell something.
    pub(super) fn without_diff(&self, through: SchemaVersion) -> Vec<SchemaVersion> {
        // The last one says that there is a history at all.
        let behind = self.behind.0.min(through.0 - 1);
        let exchanges = self.open.range(..=SchemaVersion(behind)).filter(|(_, open)| open.exchange);
        let exchanges = exchanges.filter(|(_, open)| open.diff.is_none()).map(|(version, _)| *version);
        let unread = |version: &SchemaVersion| self.open.get(version).is_none_or(|open| open.diff.is_none());
        let rest = (self.complete.0.max(behind).max(0) + 1..=through.0).map(SchemaVersion).filter(unread);
        exchanges.chain(rest).collect()
    }

    /// Takes the diff of a version that was not there at `behind`; zero: that is not known.
    pub(super) fn diff(&mut self, version: SchemaVersion, diff: Option<SchemaDiff>, behind: Ts) {
        let open = self.open.entry(version).or_default();
        (open.diff, open.behind) = (Some(diff), behind);
    }

    /// A version of which nothing is there yet; it may turn out that nothing ever comes.
    pub(super) fn expect(&mut self, version: SchemaVersion) {
        self.open.entry(version).or_default();
    }

    /// The version up to which everything at or below `version` is settled at `now`.
    pub(super) fn settle(&mut self, version: SchemaVersion, now: Duration) -> SchemaVersion {
        let finished = &self.finished;
        let mut settled = self.complete;
        let mut complete = true;
        // All are waited for at once, so that many versions without a job take no longer than one.
        for (&open_version, open) in self.open.range_mut(..=version) {
            let first_seen = *open.first_seen.get_or_insert(now);
            let known = open.job.is_some()
                || open.rolled_back.is_some()
                || match &open.diff {
                    None => false,
                    Some(None) => true,
                    Some(Some(diff)) => is_step(finished, open_version, diff),
                };
            complete &= known || now.saturating_sub(first_seen) >= GRACE;
            if complete {
                settled = open_version;
            }
        }
        self.settled = settled >= version;
        settled
    }

    /// Tables that versions up to `settled` touched without a job that carries them. Versions without a job at all are
    /// steps or have nothing to tell, unless they are the last to touch the table.
    pub(super) fn uncovered(&self, settled: SchemaVersion, version: SchemaVersion) -> Vec<Uncovered> {
        let mut found = Vec::new();
        for (&open_version, open) in self.open.range(..=settled) {
            let Some(Some(diff)) = &open.diff else { continue };
            for (database, table, old) in tables_of(diff) {
                let covered = open.job.as_ref().is_some_and(|job| job.tables.contains(&table));
                let next = self.next_touch(table, open_version, version);
                let wanted = match (&open.job, &next) {
                    (Some(_), _) => !covered,
                    (None, None) => {
                        open.rolled_back.is_none() && !is_step(&self.finished, open_version, diff)
                    }
                    (None, Some(_)) => false,
                };
                let before = match next {
                    None => None,
                    // Without the moment of the next change, this one cannot be told from it.
                    Some(None) => continue,
                    Some(Some(started)) => Some(started),
                };
                if wanted {
                    let (table, version) = (TableId(table), open_version);
                    found.push(Uncovered { database, table, version, before, old });
                }
            }
        }
        found
    }

    /// Steps, up to `settled`, of DDLs that may take unique indexes away: of those that have ended, what they left is known from the
    /// first step on. Of the others, the table is to be read.
    pub(super) fn steps(&self, settled: SchemaVersion) -> (Vec<SchemaObject>, Vec<AtWork>) {
        use std::ops::Bound::{Excluded, Unbounded};
        let (mut known, mut at_work) = (Vec::new(), Vec::new());
        for (&version, open) in self.open.range(..=settled) {
            let Some(Some(diff)) = &open.diff else { continue };
            let (database, table) = (diff.schema_id, diff.table_id);
            // The job's own version is none.
            if !may_take_indexes(diff.action) || table.0 == 0 || open.ends(table.0).is_some() {
                continue;
            }
            let step = AtWork { database, table, version, behind: open.behind };
            let mut later = self.open.range((Excluded(version), Unbounded));
            match later.find_map(|(_, open)| open.ends(table.0)) {
                Some(left) => known.extend(left.map(|left| step.step(left.clone()))),
                None => at_work.push(step),
            }
        }
        (known, at_work)
    }

    /// When the next version above `after` that touches the table began; None: none does; Some(None): not known.
    fn next_touch(&self, table: i64, after: SchemaVersion, through: SchemaVersion) -> Option<Option<Ts>> {
        use std::ops::Bound::{Excluded, Included};
        let (_, next) = self.open.range((Excluded(after), Included(through))).find(|(_, open)| {
            let by_diff =
                open.diff.iter().flatten().any(|diff| tables_of(diff).iter().any(|(_, id, _)| *id == table));
            by_diff || open.job.as_ref().is_some_and(|job| job.tables.contains(&table))
        })?;
        Some(next.job.as_ref().map(|job| job.started).filter(|started| *started > Ts::ZERO))
    }

    /// Everything up to `version` is stored.
    pub(super) fn advance(&mut self, version: SchemaVersion) {
        self.complete = version;
        self.open = self.open.split_off(&SchemaVersion(version.0 + 1));
        self.finished.retain(|_, last| *last > version);
    }

    /// Jobs below this id are not looked at again, unless somebody asks for one.
    pub(super) fn forget_jobs(&mut self, below: i64) {
        self.seen_jobs = self.seen_jobs.split_off(&below);
    }
}

/// Whether a later job on the same object is finished: jobs on one object run one after the other.
fn is_step(finished: &HashMap<i64, SchemaVersion>, version: SchemaVersion, diff: &SchemaDiff) -> bool {
    let later = |key: i64| finished.get(&key).is_some_and(|last| *last > version);
    let tables = tables_of(diff);
    if tables.is_empty() { later(-diff.schema_id) } else { tables.iter().any(|(_, table, _)| later(*table)) }
}

/// (database, table) of every table that a diff names, and whether by its old id only.
fn tables_of(diff: &SchemaDiff) -> Vec<(i64, i64, bool)> {
    let own = (diff.schema_id, diff.table_id, diff.old_schema_id, diff.old_table_id);
    let all = || std::iter::once(own).chain(diff.affected.iter().copied());
    let new = all().map(|(database, table, ..)| (database, table.0, false));
    let old = all().map(|(database, _, old_database, old_table)| {
        (if old_database == 0 { database } else { old_database }, old_table.0, true)
    });
    let mut tables: Vec<(i64, i64, bool)> = Vec::new();
    for (database, table, old) in new.chain(old) {
        if table != 0 && !tables.iter().any(|(_, known, _)| *known == table) {
            tables.push((database, table, old));
        }
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v(version: i64) -> SchemaVersion {
        SchemaVersion(version)
    }

    fn diff(version: i64, table: i64) -> Option<SchemaDiff> {
        let (schema_id, table_id) = (1, TableId(table));
        Some(SchemaDiff {
            version: v(version),
            action: 5,
            schema_id,
            table_id,
            old_table_id: TableId(0),
            old_schema_id: 0,
            affected: vec![],
        })
    }

    fn job(id: i64, version: i64, table: i64) -> (Job, Vec<SchemaObject>) {
        let json = format!(
            r#"{{"id":{id},"type":5,"schema_id":1,"table_id":{table},"schema_name":"d","state":6,"err":null,"query":"",
               "binlog":{{"SchemaVersion":{version},"DBInfo":null,"TableInfo":null,"FinishedTS":{}}},"start_ts":1,"raw_args":null}}"#,
            version * 100
        );
        let job = Job::parse(json.as_bytes()).unwrap();
        let object = SchemaObject {
            kind: ObjectKind::Table as i32,
            id: table,
            schema_version: version,
            finished_ts: version as u64 * 100,
            ..SchemaObject::default()
        };
        (job, vec![object])
    }

    fn ledger(diffs: &[(i64, i64)], jobs: &[(i64, i64)]) -> Ledger {
        let mut ledger = Ledger::new(v(0));
        for &(version, table) in diffs {
            ledger.diff(v(version), diff(version, table), Ts::ZERO);
        }
        for &(version, table) in jobs {
            let (job, objects) = job(version + 1000, version, table);
            ledger.job(&job, &objects);
        }
        ledger
    }

    #[test]
    fn steps_behind_a_reader_are_not_looked_at() {
        let begun = |version: i64, ts: u64| {
            let mut ledger = ledger(&[], &[(3, 10), (6, 11), (9, 10)]);
            ledger.begin_behind(v(version), Ts::new(ts));
            ledger
        };
        let unread = |ledger: &Ledger| ledger.without_diff(v(12)).iter().map(|v| v.0).collect::<Vec<_>>();
        assert_eq!(unread(&begun(0, 0)), (1..=12).collect::<Vec<_>>());
        assert_eq!(unread(&begun(8, 0)), [9, 10, 11, 12]);
        assert_eq!(unread(&begun(0, 650)), (7..=12).collect::<Vec<_>>());
        assert_eq!(unread(&begun(20, 0)), [12], "the history ends before");
        // The other table of an exchange is in no job.
        let mut exchanged = begun(8, 0);
        exchanged.open.entry(v(6)).or_default().exchange = true;
        assert_eq!(unread(&exchanged), [6, 9, 10, 11, 12]);
        for version in unread(&exchanged) {
            exchanged.diff(v(version), None, Ts::ZERO);
        }
        assert_eq!(exchanged.settle(v(12), Duration::ZERO), v(12));
        exchanged.advance(v(12));
        assert!(exchanged.finished.is_empty() && exchanged.open.is_empty());
        exchanged.forget_jobs(1007);
        assert!(!exchanged.knows_job(1006) && exchanged.knows_job(1009));
    }

    #[test]
    fn steps_of_a_finished_job_are_settled() {
        let mut ledger = ledger(&[(1, 10), (2, 10), (3, 10)], &[(3, 10)]);
        assert_eq!(ledger.settle(v(3), Duration::ZERO), v(3));
        assert!(ledger.is_settled());
        assert!(ledger.uncovered(v(3), v(3)).is_empty());
    }

    #[test]
    fn the_end_of_a_job_waits_for_the_history() {
        let mut ledger = ledger(&[(1, 10), (2, 11)], &[(1, 10)]);
        assert_eq!(ledger.settle(v(2), Duration::ZERO), v(1));
        assert!(!ledger.is_settled());
        let (job, objects) = job(7, 2, 11);
        ledger.job(&job, &objects);
        assert!(ledger.knows_job(7));
        assert_eq!(ledger.settle(v(2), Duration::from_millis(1)), v(2));
    }

    #[test]
    fn a_version_that_never_has_a_job_is_read_from_its_table() {
        let mut ledger = ledger(&[(1, 10)], &[]);
        assert_eq!(ledger.settle(v(1), Duration::ZERO), v(0));
        assert_eq!(ledger.settle(v(1), GRACE), v(1));
        let expected = Uncovered { database: 1, table: TableId(10), version: v(1), before: None, old: false };
        assert_eq!(ledger.uncovered(v(1), v(1)), [expected]);
    }

    #[test]
    fn the_other_table_of_an_exchange_is_read_before_its_next_change() {
        let mut ledger = ledger(&[(2, 11)], &[(1, 10), (2, 11)]);
        let mut exchange = diff(1, 11).unwrap();
        exchange.affected = vec![(1, TableId(10), 0, TableId(0))];
        ledger.diff(v(1), Some(exchange), Ts::ZERO);
        assert_eq!(ledger.settle(v(2), Duration::ZERO), v(2));
        let expected = Uncovered {
            database: 1,
            table: TableId(11),
            version: v(1),
            before: Some(Ts::new(200)),
            old: false,
        };
        assert_eq!(ledger.uncovered(v(2), v(2)), [expected]);
    }

    #[test]
    fn many_versions_without_a_job_are_waited_for_at_once() {
        let mut ledger = ledger(&[(1, 10), (2, 10), (3, 11), (4, 11)], &[]);
        assert_eq!(ledger.settle(v(4), Duration::ZERO), v(0));
        assert_eq!(ledger.without_diff(v(6)), [v(5), v(6)], "what is read is not read again");
        assert_eq!(ledger.settle(v(4), GRACE - Duration::from_millis(1)), v(0));
        assert_eq!(ledger.settle(v(4), GRACE), v(4));
    }

    #[test]
    fn a_job_that_was_rolled_back_explains_its_versions() {
        let mut ledger = ledger(&[(1, 10), (2, 10), (3, 10)], &[]);
        let (mut job, _) = job(7, 3, 10);
        job.effective = false;
        ledger.job(&job, &[]);
        assert_eq!(ledger.settle(v(3), Duration::ZERO), v(3));
        assert_eq!(ledger.uncovered(v(3), v(3)), [], "the table is as it was before");
    }

    #[test]
    fn only_an_old_id_is_taken_for_dropped() {
        let mut replaced = diff(1, 11).unwrap();
        replaced.old_table_id = TableId(10);
        replaced.affected = vec![(1, TableId(10), 0, TableId(0)), (1, TableId(13), 0, TableId(12))];
        let tables = tables_of(&replaced);
        assert_eq!(tables, [(1, 11, false), (1, 10, false), (1, 13, false), (1, 12, true)]);
        let uncovered =
            |old, before| Uncovered { database: 1, table: TableId(10), version: v(1), before, old };
        assert!(uncovered(true, None).gone());
        assert!(!uncovered(false, None).gone() && !uncovered(true, Some(Ts::new(5))).gone());
    }

    #[test]
    fn a_version_without_diff_has_nothing_to_wait_for() {
        let mut ledger = Ledger::new(v(4));
        ledger.diff(v(5), None, Ts::ZERO);
        assert_eq!(ledger.settle(v(5), Duration::ZERO), v(5));
        ledger.advance(v(5));
        assert_eq!(ledger.complete(), v(5));
    }
}
