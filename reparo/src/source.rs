//! The pumps that a range is read from: who they are, what they hold and what they lack.

use std::time::Duration;

use binlog_cluster::{EmbeddedCluster, NodeKind, NodeState, Registry};
use binlog_proto::store::store_client::StoreClient;
use binlog_proto::store::{HelloRequest, HelloResponse, StatsRequest, StatsResponse};
use binlog_pull::Member;
use binlog_types::{ClusterId, CommitTs, Gap, GapReason, NodeId, Range};
use tonic::transport::Endpoint;
use tonic::{Code, Status};

use crate::{Config, Error, FromPump};

const TIMEOUT: Duration = Duration::from_secs(10);

/// One pump, as it describes itself.
#[derive(Clone, Debug)]
pub struct PumpInfo {
    /// Its name and address.
    pub member: Member,
    /// What it is complete through.
    pub watermark: CommitTs,
    /// Binlogs at or below it may be gone.
    pub safe_point: CommitTs,
    /// What it knows to be missing.
    pub gaps: Vec<Gap>,
}

/// All pumps of one cluster.
#[derive(Clone, Debug)]
pub struct Source {
    /// The cluster's id.
    pub cluster: ClusterId,
    /// Who is read from.
    pub pumps: Vec<PumpInfo>,
    /// Pumps that the registry calls offline: what only they hold is not in the range.
    pub offline: Vec<NodeId>,
}

impl Source {
    /// Finds the pumps and asks each what it holds.
    ///
    /// # Errors
    /// When the registry cannot be read, or one of the pumps does not answer: a range without one of them would have holes.
    pub async fn connect(from: &FromPump, config: &Config) -> Result<Self, Error> {
        let (hosts, offline) = match from {
            FromPump::Addresses(hosts) => (hosts.clone(), Vec::new()),
            FromPump::Registry => list(config).await?,
        };
        Self::ask(hosts, offline).await
    }

    /// Asks each of `hosts` what it holds.
    ///
    /// # Errors
    /// As [`Source::connect`].
    pub async fn ask(hosts: Vec<String>, offline: Vec<NodeId>) -> Result<Self, Error> {
        let mut cluster: Option<ClusterId> = None;
        let mut pumps: Vec<PumpInfo> = Vec::with_capacity(hosts.len());
        for host in hosts {
            let (hello, stats) = hello(&host).await?;
            let expected = *cluster.get_or_insert(ClusterId(hello.cluster_id));
            if expected.0 != hello.cluster_id {
                return Err(Error::MixedClusters { host, cluster: hello.cluster_id, expected: expected.0 });
            }
            let info = describe(host, hello, stats)?;
            if !pumps.iter().any(|p| p.member.id == info.member.id) {
                pumps.push(info);
            }
        }
        match cluster {
            Some(cluster) => Ok(Source { cluster, pumps, offline }),
            None => Err(Error::NoPump),
        }
    }

    /// For the stream.
    pub fn members(&self) -> Vec<Member> {
        self.pumps.iter().map(|p| p.member.clone()).collect()
    }

    /// The last position that some pump is complete through: where a range without a stop ends. The other pumps reach it in a moment.
    pub fn newest(&self) -> CommitTs {
        self.pumps.iter().map(|p| p.watermark).max().unwrap_or_default()
    }

    /// Checks that all pumps hold all of `range`. With `allow`, the range shrinks to what is there, and the holes are returned.
    ///
    /// # Errors
    /// [`Error::Purged`] and [`Error::Missing`], unless allowed.
    pub fn check(&self, range: Range, allow: bool) -> Result<(Range, Vec<(NodeId, Gap)>), Error> {
        let mut holes = Vec::new();
        let mut after = range.after;
        for pump in &self.pumps {
            let id = &pump.member.id;
            if pump.safe_point > range.after {
                let (safe_point, pump) = (pump.safe_point, id.clone());
                if !allow {
                    return Err(Error::Purged { pump, after: range.after, safe_point });
                }
                let hole = Range { after: range.after, through: safe_point.min(range.through) };
                holes.push((pump, Gap { range: hole, reason: GapReason::Purged }));
                after = after.max(safe_point);
            }
            for gap in &pump.gaps {
                let (low, high) = (gap.range.after.max(range.after), gap.range.through.min(range.through));
                if low >= high || gap.range.through <= pump.safe_point {
                    continue;
                }
                if !allow {
                    return Err(Error::Missing { pump: id.clone(), gap: gap.clone() });
                }
                holes.push((id.clone(), gap.clone()));
            }
        }
        Ok((Range { after, through: range.through }, holes))
    }
}

/// The registry's pumps: addresses of those to read, names of those that are offline.
async fn list(config: &Config) -> Result<(Vec<String>, Vec<NodeId>), Error> {
    let registry = if config.cluster_dir.as_os_str().is_empty() {
        Registry::etcd(&config.pd_urls, None).await?
    } else {
        EmbeddedCluster::open(&config.cluster_dir)?.registry()
    };
    let (mut hosts, mut offline) = (Vec::new(), Vec::new());
    for node in registry.list(NodeKind::Pump).await? {
        if node.state == NodeState::Offline {
            offline.push(node.node_id);
        } else {
            hosts.push(node.host);
        }
    }
    Ok((hosts, offline))
}

async fn hello(host: &str) -> Result<(HelloResponse, StatsResponse), Error> {
    let unreachable = |message: String| Error::Unreachable { host: host.to_owned(), message };
    let endpoint = Endpoint::from_shared(format!("http://{host}")).map_err(|e| unreachable(e.to_string()))?;
    let channel = endpoint.connect_timeout(TIMEOUT).timeout(TIMEOUT).connect().await;
    let channel = channel.map_err(|e| unreachable(format!("cannot connect: {}", chain(&e))))?;
    let mut client = StoreClient::new(channel);
    let refused = |status: Status| {
        unreachable(match status.code() {
            Code::Unimplemented => {
                "it is a pump of the original, which keeps no schema history and no range service".to_owned()
            }
            _ => status.message().to_owned(),
        })
    };
    let hello = client.hello(HelloRequest { cluster_id: 0 }).await.map_err(refused)?.into_inner();
    let stats =
        client.stats(StatsRequest { cluster_id: hello.cluster_id }).await.map_err(refused)?.into_inner();
    Ok((hello, stats))
}

/// An error with what lies beneath it: transport errors say little by themselves.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn describe(host: String, hello: HelloResponse, stats: StatsResponse) -> Result<PumpInfo, Error> {
    let id = NodeId::new(&hello.node_id)
        .map_err(|e| Error::Unreachable { host: host.clone(), message: e.to_string() })?;
    let gap = |gap: &binlog_proto::store::GapInfo| Gap {
        range: Range { after: CommitTs::new(gap.after), through: CommitTs::new(gap.through) },
        reason: reason(&gap.reason),
    };
    Ok(PumpInfo {
        member: Member { id, host },
        watermark: CommitTs::new(hello.watermark),
        safe_point: CommitTs::new(hello.safe_point),
        gaps: stats.gaps.iter().map(gap).collect(),
    })
}

/// Reasons travel as their text; one that this version does not know is a reason to be careful.
fn reason(text: &str) -> GapReason {
    let known = [GapReason::Purged, GapReason::MissingPrewrite, GapReason::Corrupt];
    known.into_iter().find(|r| r.to_string() == text).unwrap_or(GapReason::Corrupt)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(after: u64, through: u64) -> Range {
        Range { after: CommitTs::new(after), through: CommitTs::new(through) }
    }

    fn source(safe_point: u64, gaps: &[(u64, u64)]) -> Source {
        let pump = |name: &str, safe_point, gaps: &[(u64, u64)]| PumpInfo {
            member: Member { id: NodeId::new(name).unwrap(), host: "h:1".into() },
            watermark: CommitTs::new(1000),
            safe_point: CommitTs::new(safe_point),
            gaps: gaps
                .iter()
                .map(|(a, t)| Gap { range: range(*a, *t), reason: GapReason::MissingPrewrite })
                .collect(),
        };
        Source {
            cluster: ClusterId(1),
            pumps: vec![pump("a", 0, &[]), pump("b", safe_point, gaps)],
            offline: vec![],
        }
    }

    #[test]
    fn a_range_that_crosses_purged_binlogs_is_refused() {
        let error = source(50, &[]).check(range(49, 100), false).unwrap_err();
        assert!(matches!(&error, Error::Purged { pump, .. } if pump.as_str() == "b"), "{error}");
        assert!(error.to_string().contains("-after-tso=50"), "{error}");
        assert!(source(50, &[]).check(range(50, 100), false).is_ok());
        let (kept, holes) = source(50, &[]).check(range(10, 100), true).unwrap();
        assert_eq!((kept, holes.len()), (range(50, 100), 1));
    }

    #[test]
    fn gaps_inside_the_range_are_refused() {
        assert!(matches!(source(0, &[(59, 60)]).check(range(0, 100), false), Err(Error::Missing { .. })));
        assert!(source(0, &[(59, 60)]).check(range(60, 100), false).is_ok());
        assert!(source(0, &[(59, 60)]).check(range(0, 59), false).is_ok());
        let (kept, holes) = source(0, &[(59, 60)]).check(range(0, 100), true).unwrap();
        assert_eq!((kept, holes.len()), (range(0, 100), 1));
    }
}
