//! What a reader remembers of pumps beyond its own life, and which holes its operator has accepted.

use std::fmt;

use binlog_proto::store::GapInfo;
use binlog_types::{CommitTs, NodeId, StoreUuid};

use crate::Identity;

/// A stretch of a pump's stream that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// Whose stream.
    pub pump: NodeId,
    /// Exclusive.
    pub after: CommitTs,
    /// Inclusive.
    pub through: CommitTs,
}

impl Hole {
    pub(crate) fn on_the_wire(&self) -> GapInfo {
        GapInfo { after: self.after.raw(), through: self.through.raw(), reason: String::new() }
    }

    fn covers(&self, other: &Hole) -> bool {
        self.pump == other.pump && self.after <= other.after && self.through >= other.through
    }
}

impl fmt::Display for Hole {
    /// As `accept-gap` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}-{}", self.pump, self.after, self.through)
    }
}

/// Kept by a program that reads the same pumps for years. All calls are rare: one a connection, or one a stop.
pub trait PumpLedger: fmt::Debug + Send + Sync {
    /// The store that this pump had when it was read last.
    fn known(&self, pump: &NodeId) -> Option<Identity>;

    /// The store that it has now; remembered before anything of it is read.
    ///
    /// # Errors
    /// A text for people.
    fn met(&self, pump: &NodeId, identity: Identity) -> Result<(), String>;

    /// Whether the operator accepts that the pump's store is this one from now on.
    fn accepts_store(&self, pump: &NodeId, uuid: StoreUuid) -> bool;

    /// Whether the operator accepts the hole; if so, that is on record when this returns.
    ///
    /// # Errors
    /// A text for people, where it cannot be recorded.
    fn accepts(&self, hole: &Hole, reason: &str) -> Result<bool, String>;
}

/// Of one-shot readers that have asked the pumps for their gaps before, and read over these: nothing else is accepted.
#[derive(Clone, Debug, Default)]
pub struct KnownHoles(pub Vec<Hole>);

impl PumpLedger for KnownHoles {
    fn known(&self, _: &NodeId) -> Option<Identity> {
        None
    }

    fn met(&self, _: &NodeId, _: Identity) -> Result<(), String> {
        Ok(())
    }

    fn accepts_store(&self, _: &NodeId, _: StoreUuid) -> bool {
        false
    }

    fn accepts(&self, hole: &Hole, _: &str) -> Result<bool, String> {
        Ok(self.0.iter().any(|known| known.covers(hole)))
    }
}
