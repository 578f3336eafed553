//! The way to the pumps.

use std::path::Path;

use anyhow::{Context as _, ensure};
use binlog_catalog::Table;
use binlog_catalog::meta::{JobSpec, job_json, objects_of_job, step_object, table_key, table_object};
use binlog_cluster::{EmbeddedCluster, NodeKind, NodeState, Oracle};
use binlog_proto::binlog::pump_client::PumpClient;
use binlog_proto::binlog::{Binlog, BinlogType, WriteBinlogReq};
use binlog_proto::store::store_client::StoreClient;
use binlog_proto::store::{PutSchemaRequest, SchemaObject};
use binlog_types::SchemaVersion;
use bytes::Bytes;
use futures::future::try_join_all;
use prost::Message as _;
use serde_json::{Value, json};
use tonic::transport::Channel;

use super::Job;

/// TiDB's state of a job that was rolled back.
const ROLLBACK_DONE: u8 = 3;

/// The job with what became of it, and with the zone of its session.
fn with_outcome(json: &[u8], job: &Job<'_>) -> anyhow::Result<Vec<u8>> {
    let mut value: Value = serde_json::from_slice(json)?;
    let fields = value.as_object_mut().context("a job is an object")?;
    if !job.done {
        fields.insert("state".to_owned(), ROLLBACK_DONE.into());
    }
    // With its partitions.
    if let (Some(table), Some(result)) = (job.table, fields.get_mut("binlog").and_then(Value::as_object_mut))
    {
        result.insert("TableInfo".to_owned(), serde_json::from_slice(&table.json)?);
    }
    let location = json!({ "name": "UTC", "offset": job.offset });
    fields.insert("reorg_meta".to_owned(), json!({ "location": location }));
    Ok(value.to_string().into_bytes())
}

#[derive(Debug)]
pub(super) struct Wire {
    cluster: u64,
    oracle: Oracle,
    pumps: Vec<Channel>,
    next: usize,
}

impl Wire {
    pub(super) async fn connect(directory: &Path) -> anyhow::Result<Self> {
        let cluster = EmbeddedCluster::open(directory)?;
        let mut pumps = Vec::new();
        for node in cluster.registry().list(NodeKind::Pump).await? {
            ensure!(node.state == NodeState::Online, "{} is {}", node.host, node.state);
            let host = format!("http://{}", node.host);
            pumps.push(tonic::transport::Endpoint::from_shared(host)?.connect().await?);
        }
        ensure!(!pumps.is_empty(), "no pump");
        Ok(Wire { cluster: cluster.cluster_id().0, oracle: Oracle::embedded(&cluster), pumps, next: 0 })
    }

    /// Pumps in turn.
    fn pump(&mut self) -> Option<Channel> {
        self.next += 1;
        self.pumps.get(self.next % self.pumps.len()).cloned()
    }

    async fn write(&self, pump: Channel, binlog: &Binlog) -> anyhow::Result<()> {
        let payload = Bytes::from(binlog.encode_to_vec());
        let mut client = PumpClient::new(pump).max_encoding_message_size(usize::MAX);
        let answer =
            client.write_binlog(WriteBinlogReq { cluster_id: self.cluster, payload }).await?.into_inner();
        ensure!(answer.errmsg.is_empty(), "{}", answer.errmsg);
        Ok(())
    }

    /// Sends transactions that commit in this order; the last commit_ts.
    pub(super) async fn transactions(&mut self, values: Vec<Bytes>) -> anyhow::Result<Option<u64>> {
        let mut binlogs = Vec::with_capacity(values.len());
        for value in values {
            let binlog = Binlog {
                tp: BinlogType::Prewrite as i32,
                start_ts: self.oracle.now().await?.as_i64(),
                prewrite_key: Some(Bytes::from_static(b"t")),
                prewrite_value: Some(value),
                ..Binlog::default()
            };
            binlogs.push((self.pump().context("no pump")?, binlog));
        }
        try_join_all(binlogs.iter().rev().map(|(pump, binlog)| self.write(pump.clone(), binlog))).await?;
        let mut last = None;
        for (_, binlog) in &mut binlogs {
            // Only after the pumps acknowledged the prewrites: their watermarks rest on it.
            binlog.commit_ts = self.oracle.now().await?.as_i64();
            (binlog.tp, binlog.prewrite_value) = (BinlogType::Commit as i32, None);
            last = Some(binlog.commit_ts as u64);
        }
        try_join_all(binlogs.iter().rev().map(|(pump, binlog)| self.write(pump.clone(), binlog))).await?;
        Ok(last)
    }

    /// Tells all pumps of the schema.
    async fn schema(&self, objects: Vec<SchemaObject>, version: SchemaVersion) -> anyhow::Result<()> {
        for pump in &self.pumps {
            let request = PutSchemaRequest {
                cluster_id: self.cluster,
                objects: objects.clone(),
                complete_version: version.0,
            };
            StoreClient::new(pump.clone()).put_schema(request).await?;
        }
        Ok(())
    }

    /// A DDL that is under way has made `version`, in which the table stands so.
    pub(super) async fn step(&self, database: i64, table: &Table) -> anyhow::Result<()> {
        let key = table_key(database, table.id);
        let object = table_object(&key, database, &table.json, table.version)?.context("no table")?;
        self.schema(vec![step_object(&object)?], table.version).await
    }

    /// Tells all pumps of the schema, then sends the DDL's binlogs; its commit_ts.
    pub(super) async fn ddl(
        &mut self,
        id: i64,
        version: SchemaVersion,
        job: &Job<'_>,
    ) -> anyhow::Result<u64> {
        let start_ts = self.oracle.now().await?.raw();
        let made = if job.done { version.0 } else { 0 };
        let json = job_json(&JobSpec {
            id,
            job_type: job.kind,
            schema_id: job.database.id,
            schema_name: &job.database.name,
            table_id: job.table_id.0,
            query: &job.query,
            schema_version: made,
            start_ts,
            finished_ts: start_ts,
            database: job.makes_database.then_some(job.database),
            table: job.table,
        });
        self.schema(objects_of_job(&with_outcome(&json, job)?)?, version).await?;
        let mut binlog = Binlog {
            tp: BinlogType::Prewrite as i32,
            start_ts: start_ts as i64,
            prewrite_key: Some(Bytes::from_static(b"m")),
            ddl_query: Some(Bytes::copy_from_slice(job.query.as_bytes())),
            ddl_job_id: id,
            ddl_schema_state: 5,
            ..Binlog::default()
        };
        let pump = self.pump().context("no pump")?;
        self.write(pump.clone(), &binlog).await?;
        let commit_ts = self.oracle.now().await?;
        (binlog.tp, binlog.commit_ts) = (BinlogType::Commit as i32, commit_ts.as_i64());
        self.write(pump, &binlog).await?;
        Ok(commit_ts.raw())
    }
}
