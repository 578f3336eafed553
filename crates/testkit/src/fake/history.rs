//! A capture's key-value store by time. The capture holds its end; this finds out when each schema version became visible, and
//! gives every object the versions that its DDL jobs left behind, so that a follower does not see the future.

use std::collections::BTreeMap;

use anyhow::Context as _;
use binlog_proto::binlog::{Binlog, BinlogType, PrewriteValue};
use binlog_types::Ts;
use bytes::Bytes;
use prost::Message as _;
use serde_json::Value;

use super::keys::{self, MetaKey};
use crate::fixtures::{self, WriteFrame};

/// DDL jobs that drop what they are about: schema, table, view, sequence.
const DROP_SCHEMA: i64 = 2;
const DROPS: [i64; 3] = [4, 24, 36];

/// Keys with the timestamp from which on they hold a value, or (`None`) no value.
pub(crate) type Versions = BTreeMap<(Bytes, Ts), Option<Bytes>>;

/// When what became visible.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// By schema version.
    versions: BTreeMap<i64, Ts>,
}

impl History {
    /// Up to where the store must be visible before a binlog can be written: a DDL was committed before its commit binlog, and a
    /// writer knew the schema version of its prewrite.
    pub(crate) fn needed_before(&self, binlog: &Binlog) -> Option<Ts> {
        match binlog.tp() {
            BinlogType::Commit if binlog.ddl_job_id > 0 => Some(Ts::new(binlog.commit_ts as u64)),
            BinlogType::Prewrite => {
                let version = schema_version(binlog)?;
                self.versions.range(..=version).next_back().map(|(_, ts)| *ts)
            }
            _ => None,
        }
    }
}

/// The schema version that a prewrite names.
fn schema_version(binlog: &Binlog) -> Option<i64> {
    PrewriteValue::decode(binlog.prewrite_value.clone()?).ok().map(|value| value.schema_version)
}

struct Job {
    version: i64,
    visible: Ts,
    key: Bytes,
    value: Bytes,
    json: Value,
}

/// The history of a capture, and its store by time.
pub(crate) fn load(name: &str) -> anyhow::Result<(History, Versions)> {
    let frames = fixtures::writes(name)?;
    let end: BTreeMap<Bytes, Bytes> = fixtures::meta(name)?.into_iter().collect();
    let jobs = jobs(&end, &committed_jobs(&frames)?)?;
    let diffs = diffs(&end)?;
    let history = History { versions: version_times(&jobs, &diffs, &frames)? };
    let first = history.versions.values().min().copied().unwrap_or(Ts::ZERO);

    let mut versions = Versions::new();
    for job in &jobs {
        versions.insert((job.key.clone(), job.visible), Some(job.value.clone()));
    }
    for (version, visible) in &history.versions {
        let key = keys::text("SchemaVersionKey").into();
        versions.insert((key, *visible), Some(version.to_string().into()));
        let key: Bytes = keys::text(&format!("Diff:{version}")).into();
        if let Some(diff) = end.get(&key) {
            versions.insert((key, *visible), Some(diff.clone()));
        }
    }
    let mut objects = Objects { history: &history, diffs: &diffs, first, versions: BTreeMap::new() };
    for job in &jobs {
        objects.apply(job);
    }
    objects.finish(&end);
    for (key, at) in objects.versions {
        versions.extend(at.into_iter().map(|(ts, value)| ((key.clone(), ts), value)));
    }
    // Counters and settings change nothing about schemas: they are there as they stood at the end.
    for (key, value) in end {
        let by_time = match keys::parse(&key) {
            MetaKey::Text(name) => name == "SchemaVersionKey" || name.starts_with("Diff:"),
            MetaKey::Field(name, field) => name == "DDLJobHistory" || is_object(&name, &field),
            MetaKey::Other => false,
        };
        if !by_time {
            versions.insert((key, first), Some(value));
        }
    }
    Ok((history, versions))
}

fn is_object(name: &str, field: &[u8]) -> bool {
    name == "DBs" || (name.starts_with("DB:") && field.starts_with(b"Table:"))
}

/// The commit_ts of each DDL job that has a binlog.
fn committed_jobs(frames: &[WriteFrame]) -> anyhow::Result<BTreeMap<i64, Ts>> {
    let mut committed = BTreeMap::new();
    for frame in frames {
        let binlog = Binlog::decode(frame.payload.clone())?;
        if binlog.tp() == BinlogType::Commit && binlog.ddl_job_id > 0 {
            committed.insert(binlog.ddl_job_id, Ts::new(binlog.commit_ts as u64));
        }
    }
    Ok(committed)
}

/// All finished jobs, by schema version.
fn jobs(end: &BTreeMap<Bytes, Bytes>, committed: &BTreeMap<i64, Ts>) -> anyhow::Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for (key, value) in end {
        if !matches!(keys::parse(key), MetaKey::Field(name, _) if name == "DDLJobHistory") {
            continue;
        }
        let json: Value = serde_json::from_slice(value).context("a DDL job that is no JSON")?;
        let id = json["id"].as_i64().context("a DDL job without id")?;
        let finished = json["binlog"]["FinishedTS"].as_u64().filter(|ts| *ts > 0);
        let started = json["real_start_ts"].as_u64().or(json["start_ts"].as_u64());
        let visible = match committed.get(&id) {
            Some(ts) => *ts,
            None => Ts::new(finished.or(started).with_context(|| format!("DDL job {id} has no time"))?),
        };
        let version = json["binlog"]["SchemaVersion"].as_i64().unwrap_or(0);
        jobs.push(Job { version, visible, key: key.clone(), value: value.clone(), json });
    }
    jobs.sort_by_key(|job| (job.version, job.visible));
    Ok(jobs)
}

fn diffs(end: &BTreeMap<Bytes, Bytes>) -> anyhow::Result<BTreeMap<i64, Value>> {
    let mut diffs = BTreeMap::new();
    for (key, value) in end {
        if let MetaKey::Text(name) = keys::parse(key)
            && let Some(version) = name.strip_prefix("Diff:")
        {
            diffs.insert(version.parse()?, serde_json::from_slice(value)?);
        }
    }
    Ok(diffs)
}

/// A version with a job is visible with the job. One between (a DDL of several steps) is visible with the first transaction that
/// used it, or else with the next job.
fn version_times(
    jobs: &[Job],
    diffs: &BTreeMap<i64, Value>,
    frames: &[WriteFrame],
) -> anyhow::Result<BTreeMap<i64, Ts>> {
    let mut times: BTreeMap<i64, Ts> = BTreeMap::new();
    for job in jobs.iter().filter(|job| job.version > 0) {
        let time = times.entry(job.version).or_insert(job.visible);
        *time = job.visible.min(*time);
    }
    let mut used: BTreeMap<i64, Ts> = BTreeMap::new();
    for frame in frames {
        let binlog = Binlog::decode(frame.payload.clone())?;
        if let (BinlogType::Prewrite, Some(version)) = (binlog.tp(), schema_version(&binlog)) {
            let start_ts = Ts::new(binlog.start_ts as u64);
            let time = used.entry(version).or_insert(start_ts);
            *time = start_ts.min(*time);
        }
    }
    let with_job = times.clone();
    for version in diffs.keys().filter(|version| !with_job.contains_key(version)) {
        let next_job = with_job.range(version..).next().map(|(_, ts)| *ts);
        let first_use = used.range(version..).map(|(_, ts)| *ts).min();
        let before = with_job.range(..version).next_back().map_or(Ts::ZERO, |(_, ts)| *ts);
        let time = next_job.into_iter().chain(first_use).min().unwrap_or(before);
        times.insert(*version, time.max(before));
    }
    // A later version is not visible before an earlier one.
    let mut latest = Ts::ZERO;
    for time in times.values_mut() {
        latest = latest.max(*time);
        *time = latest;
    }
    Ok(times)
}

/// Databases and tables, key by key.
struct Objects<'a> {
    history: &'a History,
    diffs: &'a BTreeMap<i64, Value>,
    first: Ts,
    versions: BTreeMap<Bytes, BTreeMap<Ts, Option<Bytes>>>,
}

impl Objects<'_> {
    fn set(&mut self, key: Vec<u8>, at: Ts, value: Option<&Value>) {
        let value = value.map(|json| Bytes::from(json.to_string()));
        self.versions.entry(key.into()).or_default().insert(at, value);
    }

    fn apply(&mut self, job: &Job) {
        let diffs = self.diffs;
        let Some(at) = self.history.versions.get(&job.version).copied() else {
            return;
        };
        let kind = job.json["type"].as_i64().unwrap_or(0);
        let database = job.json["schema_id"].as_i64().unwrap_or(0);
        let info = &job.json["binlog"];
        let moves = diffs.get(&job.version).map(moves).unwrap_or_default();
        if kind == DROP_SCHEMA {
            self.set(database_key(database), at, None);
            let prefix = table_prefix(database);
            let tables: Vec<Bytes> =
                self.versions.keys().filter(|key| key.starts_with(&prefix)).cloned().collect();
            for table in tables {
                self.set(table.to_vec(), at, None);
            }
            return;
        }
        if let Some(id) = info["DBInfo"]["id"].as_i64() {
            self.set(database_key(id), at, Some(&info["DBInfo"]));
        }
        for change in &moves {
            let gone = change.old_table != 0
                && (change.old_database, change.old_table) != (change.database, change.table);
            if gone {
                let old = if change.old_database == 0 { change.database } else { change.old_database };
                self.set(table_key(old, change.old_table), at, None);
            } else if change.old_database != 0 && change.old_database != change.database {
                self.set(table_key(change.old_database, change.table), at, None);
            }
        }
        if DROPS.contains(&kind) {
            self.set(table_key(database, job.json["table_id"].as_i64().unwrap_or(0)), at, None);
            return;
        }
        let several = info["MultipleTableInfos"].as_array().map(Vec::as_slice).unwrap_or_default();
        for table in several.iter().chain([&info["TableInfo"]]) {
            let Some(id) = table["id"].as_i64() else { continue };
            let moved_to = moves.iter().find(|change| change.table == id && change.database != 0);
            self.set(table_key(moved_to.map_or(database, |change| change.database), id), at, Some(table));
        }
    }

    /// What the jobs did not tell is taken from the end, from the last version that mentions it.
    fn finish(&mut self, end: &BTreeMap<Bytes, Bytes>) {
        let objects: BTreeMap<&Bytes, &Bytes> = end
            .iter()
            .filter(|(key, _)| matches!(keys::parse(key), MetaKey::Field(name, field) if is_object(&name, &field)))
            .collect();
        for (key, value) in &objects {
            let mentioned = self.last_mention(key);
            let versions = self.versions.entry((*key).clone()).or_default();
            let same = |json: &Bytes| {
                serde_json::from_slice::<Value>(json).ok() == serde_json::from_slice::<Value>(value).ok()
            };
            match versions.iter_mut().next_back() {
                Some((_, last)) if last.as_ref().is_some_and(same) => *last = Some((*value).clone()),
                Some((at, last)) if *at >= mentioned => *last = Some((*value).clone()),
                _ => {
                    versions.insert(mentioned, Some((*value).clone()));
                }
            }
        }
        let gone: Vec<Bytes> =
            self.versions.keys().filter(|key| !objects.contains_key(key)).cloned().collect();
        for key in gone {
            let mentioned = self.last_mention(&key);
            let versions = self.versions.entry(key).or_default();
            let (last, there) =
                versions.iter().next_back().map_or((Ts::ZERO, false), |(ts, v)| (*ts, v.is_some()));
            if there {
                versions.insert(mentioned.max(last.next()), None);
            }
        }
    }

    fn last_mention(&self, key: &[u8]) -> Ts {
        let MetaKey::Field(_, field) = keys::parse(key) else { return self.first };
        let text = String::from_utf8_lossy(&field).into_owned();
        let (is_table, id) = match text.split_once(':') {
            Some((kind, id)) => (kind == "Table", id.parse().unwrap_or(0)),
            None => return self.first,
        };
        let mentions = |diff: &&Value| {
            moves(diff).iter().any(|change| {
                if is_table {
                    change.table == id || change.old_table == id
                } else {
                    change.is_about_database(id)
                }
            })
        };
        let version = self.diffs.iter().rev().find(|(_, diff)| mentions(diff)).map(|(version, _)| *version);
        version.and_then(|version| self.history.versions.get(&version).copied()).unwrap_or(self.first)
    }
}

/// One line of a schema diff.
#[derive(Debug, PartialEq)]
struct Change {
    database: i64,
    table: i64,
    old_database: i64,
    old_table: i64,
}

impl Change {
    fn is_about_database(&self, id: i64) -> bool {
        self.table == 0 && self.database == id
    }
}

fn moves(diff: &Value) -> Vec<Change> {
    let change = |json: &Value| {
        let number = |name: &str| json[name].as_i64().unwrap_or(0);
        Change {
            database: number("schema_id"),
            table: number("table_id"),
            old_database: number("old_schema_id"),
            old_table: number("old_table_id"),
        }
    };
    let affected = diff["affected_options"].as_array().map(Vec::as_slice).unwrap_or_default();
    [diff].into_iter().chain(affected).map(change).collect()
}

fn database_key(id: i64) -> Vec<u8> {
    keys::field("DBs", &format!("DB:{id}"))
}

fn table_key(database: i64, table: i64) -> Vec<u8> {
    keys::field(&format!("DB:{database}"), &format!("Table:{table}"))
}

fn table_prefix(database: i64) -> Vec<u8> {
    let mut key = keys::text(&format!("DB:{database}"));
    if let Some(kind) = key.last_mut() {
        *kind = b'h';
    }
    key
}

/// For each frame: up to where the store must be visible before it is sent.
pub(crate) fn schedule(history: &History, frames: &[WriteFrame]) -> anyhow::Result<Vec<Option<Ts>>> {
    frames.iter().map(|frame| Ok(history.needed_before(&Binlog::decode(frame.payload.clone())?))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn all_keys(versions: &Versions) -> BTreeSet<Bytes> {
        versions.keys().map(|(key, _)| key.clone()).collect()
    }

    fn at(versions: &Versions, key: &[u8], ts: Ts) -> Option<Bytes> {
        let key = Bytes::copy_from_slice(key);
        versions.range((key.clone(), Ts::ZERO)..=(key, ts)).next_back()?.1.clone()
    }

    #[test]
    fn the_end_of_the_history_is_the_capture() {
        for name in ["seed", "txn", "types", "ddl", "crash"] {
            let (_, versions) = load(name).unwrap();
            let end: BTreeMap<Bytes, Bytes> = fixtures::meta(name).unwrap().into_iter().collect();
            let shown: BTreeMap<Bytes, Bytes> = all_keys(&versions)
                .into_iter()
                .filter_map(|key| Some((key.clone(), at(&versions, &key, Ts::MAX)?)))
                .collect();
            assert!(shown.keys().eq(end.keys()), "{name}");
            for (key, value) in &end {
                assert_eq!(&shown[key], value, "{name} {:?}", keys::parse(key));
            }
        }
    }

    #[test]
    fn a_version_shows_its_past_and_not_its_future() {
        let (history, versions) = load("ddl").unwrap();
        let highest = *history.versions.keys().next_back().unwrap();
        for (version, ts) in history.versions.iter().filter(|(version, _)| *version % 20 == 0) {
            let shown = at(&versions, &keys::text("SchemaVersionKey"), *ts).unwrap();
            let shown: i64 = std::str::from_utf8(&shown).unwrap().parse().unwrap();
            assert!(*version <= shown && shown <= highest);
            assert!(at(&versions, &keys::text(&format!("Diff:{shown}")), *ts).is_some());
            for later in history.versions.keys().filter(|later| **later > shown) {
                assert!(at(&versions, &keys::text(&format!("Diff:{later}")), *ts).is_none());
            }
        }
        assert_eq!(at(&versions, &keys::text("SchemaVersionKey"), Ts::ZERO), None);
        // A table that the capture ends without was there once.
        let end: BTreeSet<Bytes> = fixtures::meta("ddl").unwrap().into_iter().map(|(key, _)| key).collect();
        let past = all_keys(&versions).into_iter().filter(|key| !end.contains(key)).count();
        assert!(past > 10, "{past}");
    }

    #[test]
    fn writers_knew_their_schema() {
        let (history, _) = load("txn").unwrap();
        let frames = fixtures::writes("txn").unwrap();
        let schedule = schedule(&history, &frames).unwrap();
        assert!(schedule.iter().flatten().is_sorted_by(|a, b| a.physical() <= b.physical() + 2_000));
        for (frame, needed) in frames.iter().zip(schedule) {
            let binlog = Binlog::decode(frame.payload.clone()).unwrap();
            if binlog.tp() == BinlogType::Commit {
                assert!(needed.is_none_or(|ts| ts.as_i64() == binlog.commit_ts));
            }
        }
    }
}
