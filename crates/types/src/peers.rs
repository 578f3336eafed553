//! The pumps that a pump knows of: kept in its store, so that whoever reads only some of the stores of a cluster can tell.

use std::collections::BTreeMap;

use crate::{NodeId, Ts};

/// Name of the value under which a store keeps when its pump was last registered anew: a TSO, big-endian.
pub const REGISTRATION_META: &str = "registration-ts";

/// Other pumps of the cluster, and when each was last seen in the registry as one that is not offline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peers {
    seen: BTreeMap<NodeId, Ts>,
}

impl Peers {
    /// Name of the value under which a store keeps them.
    pub const META: &'static str = "peers";

    /// Notes that a pump is there at `at`.
    pub fn saw(&mut self, pump: NodeId, at: Ts) {
        let last = self.seen.entry(pump).or_insert(at);
        *last = at.max(*last);
    }

    /// Names, each with the time when it was last seen.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeId, Ts)> {
        self.seen.iter().map(|(pump, at)| (pump, *at))
    }

    /// As it is kept: a line a pump, `TSO name`.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.seen.iter().flat_map(|(pump, at)| format!("{at} {pump}\n").into_bytes()).collect()
    }

    /// Reads it back; `None` where it is something else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let one = |line: &str| {
            let (at, pump) = line.split_once(' ')?;
            Some((NodeId::new(pump).ok()?, Ts::new(at.parse().ok()?)))
        };
        Some(Peers { seen: text.lines().map(one).collect::<Option<_>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_back_as_they_were() {
        let mut peers = Peers::default();
        assert_eq!(Peers::from_bytes(b""), Some(peers.clone()));
        let node = |name: &str| NodeId::new(name).unwrap();
        peers.saw(node("b:8250"), Ts::new(7));
        peers.saw(node("a"), Ts::new(9));
        peers.saw(node("b:8250"), Ts::new(5));
        assert_eq!(
            peers.iter().map(|(p, at)| (p.as_str(), at.raw())).collect::<Vec<_>>(),
            [("a", 9), ("b:8250", 7)]
        );
        assert_eq!(Peers::from_bytes(&peers.to_bytes()), Some(peers));
        assert_eq!(Peers::from_bytes(b"x a\n"), None);
        assert_eq!(Peers::from_bytes(&[0xff]), None);
    }
}
