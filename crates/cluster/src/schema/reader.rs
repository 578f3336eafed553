//! TiDB's schema in TiKV, read page by page.

use crate::{KeyValue, TikvClient};
use binlog_catalog::meta::{self, SchemaDiff};
use binlog_proto::store::SchemaObject;
use binlog_types::{JobId, SchemaVersion, TableId, Ts};
use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::FollowError;

/// Jobs and tables carry whole objects, so that a page may be megabytes.
const PAGE: u32 = 256;
const PARALLEL: usize = 16;

/// Reads at a timestamp that the caller gives.
#[derive(Debug)]
pub(super) struct MetaReader {
    tikv: TikvClient,
}

/// A finished job as it is stored.
#[derive(Debug)]
pub(super) struct RawJob {
    pub(super) id: i64,
    pub(super) json: Bytes,
}

impl MetaReader {
    /// A reader of a cluster.
    pub(super) fn new(tikv: TikvClient) -> Self {
        MetaReader { tikv }
    }

    /// The schema version; None in a cluster that has none yet.
    pub(super) async fn version(&self, at: Ts) -> Result<Option<SchemaVersion>, FollowError> {
        let Some(value) = self.tikv.get(&meta::schema_version_key(), at).await? else { return Ok(None) };
        let version = std::str::from_utf8(&value).ok().and_then(|text| text.trim().parse().ok());
        version.map(|version| Some(SchemaVersion(version))).ok_or_else(|| bad("schema version", &value))
    }

    /// The diffs of versions; some versions have none.
    pub(super) async fn diffs(
        &self,
        versions: Vec<SchemaVersion>,
        at: Ts,
    ) -> Result<Vec<(SchemaVersion, Option<SchemaDiff>)>, FollowError> {
        let read = |version: SchemaVersion| async move {
            let value = self.tikv.get(&meta::diff_key(version), at).await?;
            let diff = value.map(|value| {
                meta::parse_diff(&value)
                    .map_err(|cause| FollowError::Meta { what: format!("schema diff {version}"), cause })
            });
            Ok::<_, FollowError>((version, diff.transpose()?))
        };
        stream::iter(versions).map(read).buffered(PARALLEL).try_collect().await
    }

    /// A page of jobs with ids from `from` on; empty: there are no more.
    pub(super) async fn jobs(&self, from: i64, at: Ts) -> Result<Vec<RawJob>, FollowError> {
        let (_, end) = meta::job_history_range();
        let pairs = self.tikv.scan(&meta::job_key(JobId(from)), &end, PAGE, at).await?;
        pairs.into_iter().map(raw_job).collect()
    }

    /// One job; None where it is not in the history.
    pub(super) async fn job(&self, id: JobId, at: Ts) -> Result<Option<RawJob>, FollowError> {
        let key = meta::job_key(id);
        let value = self.tikv.get(&key, at).await?;
        value.map(|value| raw_job(KeyValue { key, value })).transpose()
    }

    /// All databases, as version 0.
    pub(super) async fn databases(&self, at: Ts) -> Result<Vec<SchemaObject>, FollowError> {
        let (mut start, end) = meta::databases_range();
        let mut databases = Vec::new();
        loop {
            let pairs = self.tikv.scan(&start, &end, PAGE, at).await?;
            for pair in &pairs {
                let database = meta::database_object(&pair.value, SchemaVersion(0))
                    .map_err(|cause| FollowError::Meta { what: "a database".to_owned(), cause })?;
                databases.push(database);
            }
            match following(&pairs) {
                Some(next) => start = next,
                None => return Ok(databases),
            }
        }
    }

    /// A page of a database's tables, as version 0, and where the next page begins.
    pub(super) async fn tables(
        &self,
        database: i64,
        from: Option<Bytes>,
        at: Ts,
    ) -> Result<(Vec<SchemaObject>, Option<Bytes>), FollowError> {
        let (start, end) = meta::tables_range(database);
        let pairs = self.tikv.scan(&from.unwrap_or(start), &end, PAGE, at).await?;
        let mut tables = Vec::new();
        for pair in &pairs {
            let table =
                meta::table_object(&pair.key, database, &pair.value, SchemaVersion(0)).map_err(|cause| {
                    FollowError::Meta { what: format!("a table of database {database}"), cause }
                })?;
            tables.extend(table);
        }
        Ok((tables, following(&pairs)))
    }

    /// One table as it stands at `at`, as an object of `version`; None where it is not there.
    pub(super) async fn table(
        &self,
        database: i64,
        table: TableId,
        version: SchemaVersion,
        at: Ts,
    ) -> Result<Option<SchemaObject>, FollowError> {
        let key = meta::table_key(database, table);
        let Some(value) = self.tikv.get(&key, at).await? else { return Ok(None) };
        meta::table_object(&key, database, &value, version).map_err(|cause| FollowError::Meta {
            what: format!("table {table} of database {database}"),
            cause,
        })
    }
}

/// Where the page after `pairs` begins; None when they were the last.
fn following(pairs: &[KeyValue]) -> Option<Bytes> {
    let full = pairs.len() >= PAGE as usize;
    let last = pairs.last().filter(|_| full)?;
    let mut next = last.key.to_vec();
    next.push(0);
    Some(next.into())
}

fn raw_job(pair: KeyValue) -> Result<RawJob, FollowError> {
    let id = meta::job_of_key(&pair.key).ok_or_else(|| bad("key of a DDL job", &pair.key))?;
    Ok(RawJob { id: id.0, json: pair.value })
}

fn bad(what: &str, value: &[u8]) -> FollowError {
    let head: String = String::from_utf8_lossy(value).chars().take(80).collect();
    FollowError::Malformed(format!("{what} in TiKV is not what TiDB writes: {head:?}"))
}
