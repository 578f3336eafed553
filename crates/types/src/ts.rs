//! Timestamps of the oracle, one type per meaning.

use std::fmt;

use serde::{Deserialize, Serialize};

const LOGICAL_BITS: u32 = 18;

/// A timestamp of the cluster's oracle: `physical milliseconds since 1970 UTC << 18 | logical counter`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ts(u64);

impl Ts {
    /// Before every transaction.
    pub const ZERO: Ts = Ts(0);
    /// After every transaction. Oracles never hand it out, since etcd, MySQL and Go clients hold a TSO as `i64`.
    pub const MAX: Ts = Ts(i64::MAX as u64);

    /// A timestamp as it stands on the wire.
    pub const fn new(raw: u64) -> Self {
        Ts(raw)
    }

    /// Puts a timestamp together. `logical` is cut to its 18 bits.
    pub const fn compose(physical_ms: u64, logical: u64) -> Self {
        Ts(physical_ms << LOGICAL_BITS | (logical & ((1 << LOGICAL_BITS) - 1)))
    }

    /// The 64 bits that travel on the wire.
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// The 64 bits as Go programs, etcd JSON and protobuf's `int64` hold them.
    pub const fn as_i64(self) -> i64 {
        self.0 as i64
    }

    /// Milliseconds since 1970 UTC.
    pub const fn physical(self) -> u64 {
        self.0 >> LOGICAL_BITS
    }

    /// The counter inside the millisecond.
    pub const fn logical(self) -> u64 {
        self.0 & ((1 << LOGICAL_BITS) - 1)
    }

    /// The next timestamp; saturates at [`Ts::MAX`].
    pub const fn next(self) -> Self {
        if self.0 >= Self::MAX.0 { Self::MAX } else { Ts(self.0 + 1) }
    }

    /// The previous timestamp; saturates at zero.
    pub const fn prev(self) -> Self {
        Ts(self.0.saturating_sub(1))
    }

    /// This timestamp moved back by `ms` milliseconds; saturates at zero.
    pub const fn minus_millis(self, ms: u64) -> Self {
        Ts(self.0.saturating_sub(ms << LOGICAL_BITS))
    }
}

impl fmt::Display for Ts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u64> for Ts {
    fn from(raw: u64) -> Self {
        Ts(raw)
    }
}

macro_rules! position {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Ts);

        impl $name {
            /// Before every transaction.
            pub const ZERO: $name = $name(Ts::ZERO);
            /// After every transaction.
            pub const MAX: $name = $name(Ts::MAX);

            /// The position as it stands on the wire.
            pub const fn new(raw: u64) -> Self {
                $name(Ts::new(raw))
            }

            /// The timestamp itself.
            pub const fn ts(self) -> Ts {
                self.0
            }

            /// The 64 bits that travel on the wire.
            pub const fn raw(self) -> u64 {
                self.0.raw()
            }

            /// The 64 bits as protobuf's `int64`.
            pub const fn as_i64(self) -> i64 {
                self.0.as_i64()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<Ts> for $name {
            fn from(ts: Ts) -> Self {
                $name(ts)
            }
        }
    };
}

position! {
    /// When a transaction began: its identity, and what joins its P and C.
    StartTs
}
position! {
    /// When a transaction committed: its place in the stream.
    CommitTs
}

/// A stretch of the stream, `(after, through]`: exclusive below, inclusive above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Range {
    /// Exclusive lower bound.
    pub after: CommitTs,
    /// Inclusive upper bound.
    pub through: CommitTs,
}

impl Range {
    /// Whether `ts` lies in the range.
    pub fn contains(&self, ts: CommitTs) -> bool {
        self.after < ts && ts <= self.through
    }

    /// Whether nothing can lie in the range.
    pub fn is_empty(&self) -> bool {
        self.through <= self.after
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {}]", self.after, self.through)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_go_together_again() {
        let ts = Ts::new(454_044_713_247_703_041);
        assert_eq!(Ts::compose(ts.physical(), ts.logical()), ts);
        assert_eq!(Ts::compose(1_700_000_000_000, 100).raw(), 445_644_800_000_000_100);
    }

    #[test]
    fn a_range_excludes_its_lower_bound() {
        let range = Range { after: CommitTs::new(5), through: CommitTs::new(7) };
        assert!(!range.contains(CommitTs::new(5)));
        assert!(range.contains(CommitTs::new(6)) && range.contains(CommitTs::new(7)));
        assert!(!range.contains(CommitTs::new(8)));
    }

    #[test]
    fn the_ends_saturate() {
        assert_eq!(Ts::MAX.next(), Ts::MAX);
        assert_eq!(Ts::ZERO.prev(), Ts::ZERO);
        assert_eq!(Ts::new(5).minus_millis(1), Ts::ZERO);
    }
}
