//! The service `pdpb.PD`.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use binlog_proto::metapb::Store;
use binlog_proto::pdpb;
use binlog_proto::pdpb::pd_server::Pd;
use binlog_proto::pdpb::{
    GetGcSafePointRequest, GetGcSafePointResponse, GetMembersRequest, GetMembersResponse, GetRegionRequest,
    GetRegionResponse, GetStoreRequest, GetStoreResponse, Member, RequestHeader, ResponseHeader, Timestamp,
    TsoRequest, TsoResponse, UpdateServiceGcSafePointRequest, UpdateServiceGcSafePointResponse,
};
use binlog_types::Ts;
use futures::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use super::State;
use super::regions::STORES;

pub(super) struct PdService {
    pub(super) state: Arc<State>,
    /// The client URL of this member.
    pub(super) own: String,
}

impl PdService {
    /// What a real PD refuses: another cluster, or not being the leader.
    fn header(&self, request: Option<&RequestHeader>) -> Result<Option<ResponseHeader>, Status> {
        let own = self.state.cluster_id.0;
        let asked = request.map_or(0, |header| header.cluster_id);
        if asked != own {
            return Err(Status::failed_precondition(format!(
                "mismatch cluster id, need {own} but got {asked}"
            )));
        }
        if *self.state.leader.lock() != self.own || self.state.faults.lock().take_pd() {
            return Err(Status::unavailable("not leader"));
        }
        Ok(self.ok())
    }

    fn ok(&self) -> Option<ResponseHeader> {
        Some(ResponseHeader { cluster_id: self.state.cluster_id.0, error: None })
    }
}

#[tonic::async_trait]
impl Pd for PdService {
    async fn get_members(
        &self,
        _: Request<GetMembersRequest>,
    ) -> Result<Response<GetMembersResponse>, Status> {
        self.state.count("GetMembers");
        let member = |name: &str, id: u64, url: &str| Member {
            name: name.to_owned(),
            member_id: id,
            peer_urls: vec![url.to_owned()],
            client_urls: vec![url.to_owned()],
        };
        let mut members = vec![member("pd1", 1, &self.state.url)];
        for (n, url) in self.state.other_members.lock().iter().enumerate() {
            members.push(member(&format!("pd{}", n + 2), n as u64 + 2, url));
        }
        let leading = self.state.leader.lock().clone();
        let leader = members.iter().find(|member| member.client_urls.contains(&leading)).cloned();
        Ok(Response::new(GetMembersResponse {
            header: self.ok(),
            members,
            etcd_leader: leader.clone(),
            leader,
        }))
    }

    type TsoStream = Pin<Box<dyn Stream<Item = Result<TsoResponse, Status>> + Send>>;

    async fn tso(
        &self,
        request: Request<Streaming<TsoRequest>>,
    ) -> Result<Response<Self::TsoStream>, Status> {
        self.state.count("Tso streams");
        let service = PdService { state: Arc::clone(&self.state), own: self.own.clone() };
        let answers = request.into_inner().map(move |request| {
            let request = request?;
            service.state.count("Tso");
            let header = service.header(request.header.as_ref())?;
            let last = service.state.oracle.take(request.count);
            let timestamp = Some(Timestamp {
                physical: last.physical() as i64,
                logical: last.logical() as i64,
                suffix_bits: 0,
            });
            Ok(TsoResponse { header, count: request.count, timestamp })
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn get_region(
        &self,
        request: Request<GetRegionRequest>,
    ) -> Result<Response<GetRegionResponse>, Status> {
        self.state.count("GetRegion");
        let request = request.into_inner();
        let header = self.header(request.header.as_ref())?;
        let found = self.state.regions.lock().describe(&request.region_key);
        let (region, leader) = found.map_err(Status::invalid_argument)?;
        Ok(Response::new(GetRegionResponse { header, region: Some(region), leader: Some(leader) }))
    }

    async fn get_store(
        &self,
        request: Request<GetStoreRequest>,
    ) -> Result<Response<GetStoreResponse>, Status> {
        self.state.count("GetStore");
        let request = request.into_inner();
        let header = self.header(request.header.as_ref())?;
        if !STORES.contains(&request.store_id) {
            let message = format!("invalid store ID {}, not found", request.store_id);
            let error = Some(pdpb::Error { r#type: pdpb::ErrorType::Unknown as i32, message });
            let header = Some(ResponseHeader { cluster_id: self.state.cluster_id.0, error });
            return Ok(Response::new(GetStoreResponse { header, store: None }));
        }
        let address = self.state.url.split_once("://").map_or("", |(_, address)| address).to_owned();
        let store = Some(Store { id: request.store_id, address, state: 0 });
        Ok(Response::new(GetStoreResponse { header, store }))
    }

    async fn get_gc_safe_point(
        &self,
        request: Request<GetGcSafePointRequest>,
    ) -> Result<Response<GetGcSafePointResponse>, Status> {
        self.state.count("GetGCSafePoint");
        let header = self.header(request.into_inner().header.as_ref())?;
        let safe_point = self.state.gc_safe_point.load(Ordering::Relaxed);
        Ok(Response::new(GetGcSafePointResponse { header, safe_point }))
    }

    async fn update_service_gc_safe_point(
        &self,
        request: Request<UpdateServiceGcSafePointRequest>,
    ) -> Result<Response<UpdateServiceGcSafePointResponse>, Status> {
        self.state.count("UpdateServiceGCSafePoint");
        let request = request.into_inner();
        let header = self.header(request.header.as_ref())?;
        let service = String::from_utf8_lossy(&request.service_id).into_owned();
        let mut points = self.state.safe_points.lock();
        let smallest = points.values().min().copied();
        if request.ttl <= 0 {
            points.remove(&service);
        } else if smallest.is_none_or(|smallest| request.safe_point >= smallest.raw())
            || points.contains_key(&service)
        {
            points.insert(service, Ts::new(request.safe_point));
        }
        let min_safe_point = points.values().min().map_or(0, |ts| ts.raw());
        let (service_id, ttl) = (request.service_id, request.ttl);
        Ok(Response::new(UpdateServiceGcSafePointResponse { header, service_id, ttl, min_safe_point }))
    }
}
