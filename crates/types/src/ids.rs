//! Identities: clusters, nodes, stores, schema objects.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// The cluster id that PD hands out; every request carries it.
    ClusterId(u64)
}
number! {
    /// TiDB's schema version: rises by one with every schema change of the cluster.
    SchemaVersion(i64)
}
number! {
    /// TiDB's id of a table (also of a view or sequence). A truncated table has a new one.
    TableId(i64)
}
number! {
    /// TiDB's id of a DDL job.
    JobId(i64)
}

/// Made once when a store is created: two stores that say the same uuid are copies of one another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreUuid(pub [u8; 16]);

impl fmt::Display for StoreUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// The name of a pump or drainer in the registry; part of etcd keys and URLs, so it holds no `/` and no blanks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(String);

/// Why a text is no node id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid node id {text:?}: {why}")]
pub struct ParseNodeIdError {
    text: String,
    why: &'static str,
}

impl NodeId {
    /// Checks and takes a node id; outer blanks are trimmed.
    ///
    /// # Errors
    /// When it is empty, `.` or `..`, or holds `/`, blanks or control characters.
    pub fn new(text: &str) -> Result<Self, ParseNodeIdError> {
        let trimmed = text.trim();
        let why = if trimmed.is_empty() {
            "it is empty"
        } else if trimmed == "." || trimmed == ".." {
            "it would be a path of its own"
        } else if trimmed.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control()) {
            "it must not hold '/', blanks or control characters"
        } else {
            return Ok(NodeId(trimmed.to_owned()));
        };
        Err(ParseNodeIdError { text: text.to_owned(), why })
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_ids_are_path_segments() {
        assert_eq!(NodeId::new(" pump:8250\n").unwrap().as_str(), "pump:8250");
        for bad in ["", "  ", "a/b", "..", "a b", "a\u{7}"] {
            assert!(NodeId::new(bad).is_err(), "{bad:?}");
        }
    }
}
