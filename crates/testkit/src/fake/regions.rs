//! The fake cluster's regions: real bounds and epochs, checked as TiKV checks them.

use binlog_proto::errorpb::{self, EpochNotMatch, KeyNotInRegion, NotLeader, RegionNotFound, ServerIsBusy};
use binlog_proto::kvrpcpb::Context;
use binlog_proto::metapb::{Peer, Region, RegionEpoch};

use super::keys;

/// The stores that hold a peer of every region.
pub(super) const STORES: [u64; 2] = [1, 4];

/// An error that a store answers although nothing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionFault {
    /// `NotLeader`, with the leader's name or without.
    NotLeader {
        /// Whether the answer names it.
        hint: bool,
    },
    /// `EpochNotMatch`.
    EpochNotMatch,
    /// `RegionNotFound`.
    RegionNotFound,
    /// `ServerIsBusy`.
    ServerIsBusy,
    /// An error of a kind that the client does not know.
    Unknown,
    /// The call fails with gRPC's `Unavailable`.
    Unavailable,
}

#[derive(Debug, Default)]
pub(super) struct Regions {
    /// Plain keys where a region ends and the next one begins, in order.
    cuts: Vec<Vec<u8>>,
    /// Rises with every cut: part of ids and epochs.
    generation: u64,
    /// Index of the store that leads.
    leader: usize,
}

impl Regions {
    pub(super) fn cut(&mut self, mut cuts: Vec<Vec<u8>>) {
        cuts.retain(|key| !key.is_empty());
        cuts.sort();
        cuts.dedup();
        self.cuts = cuts;
        self.generation += 1;
    }

    pub(super) fn move_leaders(&mut self) {
        self.leader = (self.leader + 1) % STORES.len();
    }

    pub(super) fn leader_store(&self) -> u64 {
        STORES[self.leader]
    }

    fn bounds(&self, index: usize) -> (&[u8], &[u8]) {
        let start = index.checked_sub(1).map_or(&[][..], |before| &self.cuts[before]);
        (start, self.cuts.get(index).map_or(&[], Vec::as_slice))
    }

    fn id(&self, index: usize) -> u64 {
        1000 * (self.generation + 1) + 10 * index as u64
    }

    fn index_of(&self, plain: &[u8]) -> usize {
        self.cuts.partition_point(|cut| cut.as_slice() <= plain)
    }

    fn peer(&self, index: usize, store: usize) -> Peer {
        Peer { id: self.id(index) + 1 + store as u64, store_id: STORES[store] }
    }

    /// As PD describes the region of an encoded key.
    pub(super) fn describe(&self, encoded: &[u8]) -> Result<(Region, Peer), String> {
        let plain = match keys::decode(encoded) {
            _ if encoded.is_empty() => Vec::new(),
            Some((plain, [])) => plain,
            _ => return Err(format!("{encoded:?} is not memcomparable")),
        };
        let index = self.index_of(&plain);
        Ok((self.region(index), self.peer(index, self.leader)))
    }

    fn region(&self, index: usize) -> Region {
        let (start, end) = self.bounds(index);
        let bound = |key: &[u8]| if key.is_empty() { Vec::new() } else { keys::encode(key) };
        Region {
            id: self.id(index),
            start_key: bound(start).into(),
            end_key: bound(end).into(),
            region_epoch: Some(self.epoch()),
            peers: (0..STORES.len()).map(|store| self.peer(index, store)).collect(),
        }
    }

    fn epoch(&self) -> RegionEpoch {
        RegionEpoch { conf_ver: 4, version: self.generation + 1 }
    }

    /// What TiKV would complain about in a request for a plain key; the region's plain end otherwise.
    pub(super) fn check(
        &self,
        context: Option<&Context>,
        key: &[u8],
    ) -> Result<Vec<u8>, Box<errorpb::Error>> {
        let context = context.cloned().unwrap_or_default();
        let id = context.region_id;
        let Some(index) = (0..=self.cuts.len()).find(|index| self.id(*index) == id) else {
            return Err(self.fault(RegionFault::RegionNotFound, key));
        };
        if context.peer.is_none_or(|peer| peer.store_id != self.leader_store()) {
            return Err(self.fault(RegionFault::NotLeader { hint: true }, key));
        }
        if context.region_epoch != Some(self.epoch()) {
            return Err(self.fault(RegionFault::EpochNotMatch, key));
        }
        if self.index_of(key) != index {
            let key_not_in_region = Some(KeyNotInRegion { key: key.to_vec().into(), region_id: id });
            return Err(Box::new(errorpb::Error {
                message: "key not in region".to_owned(),
                key_not_in_region,
                ..Default::default()
            }));
        }
        Ok(self.bounds(index).1.to_vec())
    }

    /// The error of a fault.
    pub(super) fn fault(&self, fault: RegionFault, key: &[u8]) -> Box<errorpb::Error> {
        let index = self.index_of(key);
        let region_id = self.id(index);
        let mut error = errorpb::Error { message: format!("{fault:?}"), ..Default::default() };
        match fault {
            RegionFault::NotLeader { hint } => {
                let leader = hint.then(|| self.peer(index, self.leader));
                error.not_leader = Some(NotLeader { region_id, leader });
            }
            RegionFault::EpochNotMatch => {
                error.epoch_not_match = Some(EpochNotMatch { current_regions: vec![self.region(index)] });
            }
            RegionFault::RegionNotFound => error.region_not_found = Some(RegionNotFound { region_id }),
            RegionFault::ServerIsBusy => {
                error.server_is_busy = Some(ServerIsBusy { reason: "test".to_owned(), backoff_ms: 20 });
            }
            RegionFault::Unknown | RegionFault::Unavailable => {}
        }
        Box::new(error)
    }
}
