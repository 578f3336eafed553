//! `store.v1.Store`: our own service.

use binlog_proto::store as wire;
use binlog_proto::store::store_server::Store as Service;
use binlog_types::SchemaVersion;
use futures::stream::{self, try_unfold};
use tonic::{Code, Request, Response, Status};

use super::pump::Responses;
use super::scan::ScanStream;
use super::{reader, schema, status};
use crate::context::Shared;

const PROTOCOL: u32 = 1;
const FEATURES: [&str; 3] = ["scan", "schema", "table-patterns"];
/// How many open transactions `Stats` names.
const MAX_PENDING_NAMED: usize = 1000;

/// The service; the same in every runtime.
#[derive(Clone, Debug)]
pub(crate) struct StoreService {
    context: Shared,
}

impl StoreService {
    /// The service of a pump.
    pub(crate) fn new(context: Shared) -> Self {
        StoreService { context }
    }

    /// Zero is a client that does not know its cluster yet.
    fn check_cluster(&self, requested: u64) -> Result<(), Status> {
        if requested == 0 || requested == self.context.cluster.0 {
            Ok(())
        } else {
            Err(status::wrong_cluster(requested, self.context.cluster, Code::FailedPrecondition))
        }
    }

    fn check_embedded(&self) -> Result<(), Status> {
        if self.context.embedded {
            Ok(())
        } else {
            Err(Status::failed_precondition(
                "this pump belongs to a cluster with PD: its schema and timestamps come from there",
            ))
        }
    }
}

#[tonic::async_trait]
impl Service for StoreService {
    async fn hello(
        &self,
        request: Request<wire::HelloRequest>,
    ) -> Result<Response<wire::HelloResponse>, Status> {
        self.check_cluster(request.into_inner().cluster_id)?;
        let store = &self.context.store;
        Ok(Response::new(wire::HelloResponse {
            cluster_id: self.context.cluster.0,
            node_id: self.context.node.id().to_string(),
            store_uuid: store.uuid().0.to_vec().into(),
            incarnation: store.incarnation(),
            protocol: PROTOCOL,
            features: FEATURES.map(str::to_owned).to_vec(),
            watermark: store.watermark().raw(),
            safe_point: store.safe_point().raw(),
            state: self.context.node.state().to_string(),
            registration_ts: self.context.registration_ts().raw(),
        }))
    }

    type ScanStream = Responses<wire::ScanResponse>;

    async fn scan(&self, request: Request<wire::ScanRequest>) -> Result<Response<Self::ScanStream>, Status> {
        let request = request.into_inner();
        self.check_cluster(request.cluster_id)?;
        let own = self.context.store.uuid();
        if !request.store_uuid.is_empty() && request.store_uuid != own.0[..] {
            return Err(status::wrong_store(&request.store_uuid, own));
        }
        let scan = ScanStream::new(self.context.clone(), &request)?;
        let responses = try_unfold(scan, |mut scan| async move {
            Ok::<_, Status>(scan.next().await?.map(|response| (response, scan)))
        });
        Ok(Response::new(Box::pin(responses)))
    }

    type SchemaStream = Responses<wire::SchemaResponse>;

    async fn schema(
        &self,
        request: Request<wire::SchemaRequest>,
    ) -> Result<Response<Self::SchemaStream>, Status> {
        let request = request.into_inner();
        self.check_cluster(request.cluster_id)?;
        let responses = schema::read(&self.context, &request).await?;
        Ok(Response::new(Box::pin(stream::iter(responses.into_iter().map(Ok)))))
    }

    async fn stats(
        &self,
        request: Request<wire::StatsRequest>,
    ) -> Result<Response<wire::StatsResponse>, Status> {
        self.check_cluster(request.into_inner().cluster_id)?;
        let store = self.context.store.clone();
        let response = reader::blocking(move || {
            let open = store.unresolved(MAX_PENDING_NAMED);
            let mut pending_start_ts: Vec<u64> = open.iter().map(|p| p.start_ts.raw()).collect();
            pending_start_ts.sort_unstable();
            wire::StatsResponse {
                watermark: store.watermark().raw(),
                safe_point: store.safe_point().raw(),
                pending: store.pending_count() as u64,
                oldest_pending_ts: pending_start_ts.first().copied().unwrap_or(0),
                pending_start_ts,
                gaps: store.gaps().iter().map(status::gap_info).collect(),
                schema_version: store.schema_version().0,
                max_commit_ts: store.max_commit_ts().raw(),
                poisoned: store.poisoned().unwrap_or_default(),
                numbers: store.numbers().into_iter().collect(),
            }
        })
        .await
        .map_err(|e| e.into_status())?;
        Ok(Response::new(response))
    }

    async fn put_schema(
        &self,
        request: Request<wire::PutSchemaRequest>,
    ) -> Result<Response<wire::PutSchemaResponse>, Status> {
        let request = request.into_inner();
        self.check_cluster(request.cluster_id)?;
        self.check_embedded()?;
        let entries = request
            .objects
            .iter()
            .map(schema::entry_of)
            .collect::<Result<Vec<_>, _>>()
            .map_err(Status::invalid_argument)?;
        let (store, complete) = (self.context.store.clone(), SchemaVersion(request.complete_version));
        reader::blocking(move || store.put_schema(entries, complete))
            .await
            .map_err(|e| e.into_status())?
            .map_err(|e| status::of_store(&e))?;
        self.context.schema.grown(&self.context.store);
        Ok(Response::new(wire::PutSchemaResponse {}))
    }

    async fn tso(&self, request: Request<wire::TsoRequest>) -> Result<Response<wire::TsoResponse>, Status> {
        let request = request.into_inner();
        self.check_cluster(request.cluster_id)?;
        self.check_embedded()?;
        let Some(oracle) = self.context.time.own() else {
            return Err(Status::failed_precondition("this pump is not the cluster's oracle; another one is"));
        };
        let count = request.count.max(1);
        match oracle.take(count).await {
            Ok(last) => Ok(Response::new(wire::TsoResponse { last: last.raw(), count })),
            Err(error @ crate::oracle::OracleError::TooMany(_)) => {
                Err(Status::invalid_argument(error.to_string()))
            }
            Err(error) => Err(Status::unavailable(error.to_string())),
        }
    }
}
