//! Which region and store a key is at; what was learnt is kept until it proves wrong.

use std::collections::{BTreeMap, HashMap};

use binlog_proto::kvrpcpb::Context;
use binlog_proto::metapb::{Peer, Region, RegionEpoch, StoreState};
use binlog_proto::tikvpb::tikv_client::TikvClient as Grpc;
use parking_lot::Mutex;
use tonic::transport::Channel;

use super::codec;
use crate::endpoint::{channel, normalize};
use crate::error::hex;
use crate::{Error, PdClient};

/// A region as requests need it.
#[derive(Clone, Debug)]
pub(super) struct Located {
    id: u64,
    epoch: Option<RegionEpoch>,
    leader: Peer,
    start: Vec<u8>,
    /// Exclusive; empty: no end.
    pub(super) end: Vec<u8>,
}

impl Located {
    pub(super) fn context(&self) -> Context {
        Context { region_id: self.id, region_epoch: self.epoch, peer: Some(self.leader) }
    }

    fn holds(&self, key: &[u8]) -> bool {
        self.start.as_slice() <= key && (self.end.is_empty() || key < self.end.as_slice())
    }
}

/// A connection to a store.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) url: String,
    pub(super) grpc: Grpc<Channel>,
}

#[derive(Debug)]
pub(super) struct Regions {
    pd: PdClient,
    /// By plain start key.
    regions: Mutex<BTreeMap<Vec<u8>, Located>>,
    stores: Mutex<HashMap<u64, Connection>>,
}

impl Regions {
    pub(super) fn new(pd: PdClient) -> Self {
        Regions { pd, regions: Mutex::default(), stores: Mutex::default() }
    }

    /// The region of a plain key; `Err(Ok(why))` where PD knows none just now.
    pub(super) async fn locate(&self, key: &[u8]) -> Result<Result<Located, String>, Error> {
        if let Some(region) = self.cached(key) {
            return Ok(Ok(region));
        }
        let Some((region, leader)) = self.pd.region(&codec::encode(key)).await? else {
            return Ok(Err("PD knows no region".to_owned()));
        };
        let id = region.id;
        let Some(located) = located(region, leader).map_err(|why| bad_region(id, why))? else {
            return Ok(Err(format!("region {id} has no peers")));
        };
        if !located.holds(key) {
            return Err(bad_region(id, format!("it does not hold key {}", hex(key))));
        }
        self.regions.lock().insert(located.start.clone(), located.clone());
        Ok(Ok(located))
    }

    fn cached(&self, key: &[u8]) -> Option<Located> {
        let regions = self.regions.lock();
        let (_, region) = regions
            .range::<[u8], _>((std::ops::Bound::Unbounded, std::ops::Bound::Included(key)))
            .next_back()?;
        region.holds(key).then(|| region.clone())
    }

    /// A connection to the store of the region's leader.
    pub(super) async fn connection(&self, region: &Located) -> Result<Result<Connection, String>, Error> {
        let id = region.leader.store_id;
        if let Some(connection) = self.stores.lock().get(&id) {
            return Ok(Ok(connection.clone()));
        }
        let Some(store) = self.pd.store(id).await? else {
            return Ok(Err(format!("PD knows no store {id}")));
        };
        if store.state() == StoreState::Tombstone {
            return Ok(Err(format!("store {id} was removed")));
        }
        let url = normalize(&store.address, self.pd.tls().is_some())?;
        let grpc = Grpc::new(channel(&url, self.pd.tls())?).max_decoding_message_size(usize::MAX);
        let connection = Connection { url, grpc };
        self.stores.lock().insert(id, connection.clone());
        Ok(Ok(connection))
    }

    /// The region moved or changed: PD is asked next time.
    pub(super) fn forget(&self, region: &Located) {
        self.regions.lock().remove(&region.start);
    }

    /// The store does not answer, or is another one by now: its address is looked up next time.
    pub(super) fn forget_store(&self, region: &Located) {
        self.stores.lock().remove(&region.leader.store_id);
        self.forget(region);
    }

    /// The region named its new leader.
    pub(super) fn set_leader(&self, region: &Located, leader: Peer) {
        if let Some(known) = self.regions.lock().get_mut(&region.start)
            && known.id == region.id
        {
            known.leader = leader;
        }
    }
}

fn bad_region(id: u64, why: String) -> Error {
    Error::BadAnswer { what: "GetRegion", endpoint: "PD".to_owned(), why: format!("region {id}: {why}") }
}

fn located(region: Region, leader: Option<Peer>) -> Result<Option<Located>, String> {
    let plain = |key: &[u8]| {
        if key.is_empty() {
            return Ok(Vec::new());
        }
        codec::decode(key).ok_or_else(|| format!("its bound {} is in no form we know", hex(key)))
    };
    // During an election PD names no leader: any peer knows better soon.
    let Some(leader) = leader.filter(|peer| peer.store_id != 0).or_else(|| region.peers.first().copied())
    else {
        return Ok(None);
    };
    let (start, end) = (plain(&region.start_key)?, plain(&region.end_key)?);
    Ok(Some(Located { id: region.id, epoch: region.region_epoch, leader, start, end }))
}
