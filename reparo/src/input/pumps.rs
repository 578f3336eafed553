//! The pumps that a range is read from: who they are, what they hold and what they lack.

use std::time::Duration;

use binlog_catalog::{Start, TableFilter, UnknownDdl};
use binlog_cli::tls::Security;
use binlog_cluster::{EmbeddedCluster, NodeKind, NodeState, NodeStatus, Registry, TlsFiles};
use binlog_proto::store::{HelloResponse, StatsResponse};
use binlog_pull::{Dial, EventStream, Member, PemFiles, PumpClient, StreamOptions};
use binlog_types::{ClusterId, CommitTs, NodeId, Range};
use tokio::time::Instant;

use super::{Hole, Reading};
use crate::{Config, Error, Origin, utc};

/// Bytes of payload in flight over all pumps.
const BUDGET: usize = 256 << 20;

/// How long a pump may take to be complete through the end of the range: it hears of time passing every few seconds.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(200);

/// One pump, as it describes itself.
#[derive(Clone, Debug)]
pub struct PumpInfo {
    /// Its name and address.
    pub member: Member,
    /// What it is complete through.
    pub watermark: CommitTs,
    /// Binlogs at or below it may be gone.
    pub safe_point: CommitTs,
    /// What it knows to be missing, and why.
    pub gaps: Vec<(Range, String)>,
    /// To ask again; none in tests.
    client: Option<PumpClient>,
}

/// All pumps of one cluster.
#[derive(Clone, Debug)]
pub struct Pumps {
    /// The cluster's id.
    pub cluster: ClusterId,
    /// Who is read from.
    pub pumps: Vec<PumpInfo>,
    /// Pumps that the registry calls offline: what only they hold is not in the range.
    pub offline: Vec<NodeId>,
    /// Whether a registry says that these are all. Otherwise it is up to who named them.
    pub registered: bool,
    /// What becomes of DDLs of kinds that are not known.
    pub unknown_ddl: UnknownDdl,
    /// How they are dialed.
    dial: Dial,
}

/// TLS where the configuration names an authority.
fn dial(security: &Security) -> Dial {
    let tls = (!security.ssl_ca.is_empty()).then(|| PemFiles {
        ca: security.ssl_ca.clone(),
        cert: security.ssl_cert.clone(),
        key: security.ssl_key.clone(),
    });
    Dial { tls, ..Dial::default() }
}

impl Pumps {
    /// Finds the pumps and asks each what it holds.
    ///
    /// # Errors
    /// When the registry cannot be read, or one of the pumps does not answer: a range without one of them would have holes.
    pub async fn connect(from: &Origin, config: &Config) -> Result<Self, Error> {
        let dial = dial(&config.security);
        match from {
            Origin::Registry => {
                let (nodes, offline) = list(config).await?;
                let hosts = nodes.into_iter().map(|node| node.host).collect();
                Self::ask(hosts, offline, true, dial).await
            }
            Origin::Addresses(hosts) if config.has_registry() => {
                let (nodes, offline) = list(config).await?;
                let source = Self::ask(hosts.clone(), offline, true, dial).await?;
                let named = |node: &NodeStatus| source.pumps.iter().any(|p| p.member.id == node.node_id);
                match nodes.iter().find(|node| !named(node)) {
                    Some(node) => {
                        Err(Error::NotNamed { pump: node.node_id.clone(), host: node.host.clone() })
                    }
                    None => Ok(source),
                }
            }
            Origin::Addresses(hosts) => Self::ask(hosts.clone(), Vec::new(), false, dial).await,
            Origin::Stores(_) | Origin::Files(_) => Err(Error::NoPump),
        }
    }

    /// Asks each of `hosts` what it holds.
    async fn ask(
        hosts: Vec<String>,
        offline: Vec<NodeId>,
        registered: bool,
        dial: Dial,
    ) -> Result<Self, Error> {
        let mut cluster: Option<ClusterId> = None;
        let mut pumps: Vec<PumpInfo> = Vec::with_capacity(hosts.len());
        for host in hosts {
            let (client, hello, stats) = hello(&host, &dial).await?;
            let expected = *cluster.get_or_insert(ClusterId(hello.cluster_id));
            if expected.0 != hello.cluster_id {
                return Err(Error::MixedClusters { host, cluster: hello.cluster_id, expected: expected.0 });
            }
            let info = describe(client, host, &hello, &stats)?;
            if !pumps.iter().any(|p| p.member.id == info.member.id) {
                pumps.push(info);
            }
        }
        match cluster {
            Some(cluster) => {
                Ok(Pumps { cluster, pumps, offline, registered, unknown_ddl: UnknownDdl::default(), dial })
            }
            None => Err(Error::NoPump),
        }
    }

    /// For the stream.
    pub fn members(&self) -> Vec<Member> {
        self.pumps.iter().map(|p| p.member.clone()).collect()
    }

    /// What is to be said about who is read.
    pub fn notes(&self) -> Vec<String> {
        let offline = self.offline.iter().map(|pump| {
            format!("note: pump {pump} is offline and was not asked; what only it holds is not restored")
        });
        let named = "note: these pumps were named; binlogs of others in the cluster, if there are any, are not restored";
        let named = (!self.registered).then(|| named.to_owned());
        named.into_iter().chain(offline).collect()
    }

    /// Starts pulling a range.
    pub(crate) async fn read(&self, range: Range, filter: TableFilter) -> Result<Reading, Error> {
        let options = StreamOptions {
            cluster: self.cluster,
            after: range.after,
            through: Some(range.through),
            budget: BUDGET,
            unknown_ddl: self.unknown_ddl,
            dial: self.dial.clone(),
            ..StreamOptions::default()
        };
        let stream = EventStream::open(options, self.members(), Start::At(range.after), filter).await;
        let stream = stream.map_err(|source| Error::Pull { position: range.after, source })?;
        Ok(Reading::of_stream(stream, range.after))
    }

    /// The last position that some pump is complete through: where a range without a stop ends. The other pumps reach it in a moment.
    pub fn newest(&self) -> CommitTs {
        self.pumps.iter().map(|p| p.watermark).max().unwrap_or_default()
    }

    /// Waits until all pumps are complete through `through`.
    ///
    /// # Errors
    /// [`Error::NotYet`] when one of them does not come that far in time: the range ends in the future, or the pump waits for something itself.
    pub async fn wait(&self, through: CommitTs) -> Result<(), Error> {
        let started = Instant::now();
        for pump in self.pumps.iter().filter(|p| p.watermark < through) {
            let member = &pump.member;
            while let Some(client) = &pump.client {
                let hello = client.hello().await.map_err(|e| unreachable(&member.host, &e))?;
                let watermark = CommitTs::new(hello.watermark);
                if watermark >= through {
                    break;
                }
                if started.elapsed() >= PATIENCE {
                    tracing::warn!(pump = %member.id, watermark = %utc(watermark.ts()), "the pump does not reach the end of the range");
                    let holder = format!("pump {}", member.id);
                    return Err(Error::NotYet { holder, watermark, through });
                }
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(())
    }

    /// Checks that all pumps hold all of `range`. With `allow`, the range shrinks to what is there, and the holes are returned.
    ///
    /// # Errors
    /// [`Error::Purged`] and [`Error::Missing`], unless allowed.
    pub fn check(&self, range: Range, allow: bool) -> Result<(Range, Vec<Hole>), Error> {
        let mut holes = Vec::new();
        let mut after = range.after;
        for pump in &self.pumps {
            let holder = format!("pump {}", pump.member.id);
            if pump.safe_point > range.after {
                after = after.max(purged(&holder, range, pump.safe_point, allow, &mut holes)?);
            }
            for (gap, reason) in &pump.gaps {
                missing(&holder, range, pump.safe_point, (*gap, reason), allow, &mut holes)?;
            }
        }
        Ok((Range { after, through: range.through }, holes))
    }
}

/// Deals with what a store no longer has; returns where it begins.
pub(super) fn purged(
    holder: &str,
    range: Range,
    safe_point: CommitTs,
    allow: bool,
    holes: &mut Vec<Hole>,
) -> Result<CommitTs, Error> {
    let holder = holder.to_owned();
    if !allow {
        return Err(Error::Purged { holder, after: range.after, safe_point });
    }
    let range = Range { after: range.after, through: safe_point.min(range.through) };
    holes.push(Hole { holder, range, reason: "purged by gc".to_owned() });
    Ok(safe_point)
}

/// Deals with a gap that a store knows of, if it lies in the range.
pub(super) fn missing(
    holder: &str,
    range: Range,
    safe_point: CommitTs,
    (gap, reason): (Range, &str),
    allow: bool,
    holes: &mut Vec<Hole>,
) -> Result<(), Error> {
    let (low, high) = (gap.after.max(range.after), gap.through.min(range.through));
    if low >= high || gap.through <= safe_point {
        return Ok(());
    }
    let hole = Hole { holder: holder.to_owned(), range: gap, reason: reason.to_owned() };
    if !allow {
        return Err(Error::Missing(hole));
    }
    holes.push(hole);
    Ok(())
}

/// The registry's pumps: those to read, and names of those that are offline.
async fn list(config: &Config) -> Result<(Vec<NodeStatus>, Vec<NodeId>), Error> {
    let registry = if config.cluster_dir.as_os_str().is_empty() {
        let security = &config.security;
        let tls = (!security.ssl_ca.is_empty()).then(|| TlsFiles {
            ca: security.ssl_ca.clone(),
            cert: security.ssl_cert.clone(),
            key: security.ssl_key.clone(),
        });
        Registry::etcd(&config.pd_urls, tls.as_ref()).await?
    } else {
        EmbeddedCluster::open(&config.cluster_dir)?.registry()
    };
    let (mut nodes, mut offline) = (Vec::new(), Vec::new());
    let listing = registry.listing(NodeKind::Pump).await?;
    if let Some((key, why)) = listing.malformed.first() {
        // It may be a pump whose binlogs would be missing.
        return Err(Error::Registry { key: key.clone(), why: why.to_string() });
    }
    for node in listing.nodes {
        if node.state == NodeState::Offline {
            offline.push(node.node_id);
        } else {
            nodes.push(node);
        }
    }
    Ok((nodes, offline))
}

fn unreachable(host: &str, error: &binlog_pull::Error) -> Error {
    Error::Unreachable { host: host.to_owned(), message: error.to_string() }
}

async fn hello(host: &str, dial: &Dial) -> Result<(PumpClient, HelloResponse, StatsResponse), Error> {
    let failed = |error| unreachable(host, &error);
    let name = NodeId::new(host)
        .map_err(|e| Error::Unreachable { host: host.to_owned(), message: e.to_string() })?;
    let client = PumpClient::dial(&name, host, ClusterId(0), dial).await.map_err(failed)?;
    let hello = client.hello().await.map_err(failed)?;
    let stats = client.stats().await.map_err(failed)?;
    Ok((client, hello, stats))
}

fn describe(
    client: PumpClient,
    host: String,
    hello: &HelloResponse,
    stats: &StatsResponse,
) -> Result<PumpInfo, Error> {
    let id = NodeId::new(&hello.node_id)
        .map_err(|e| Error::Unreachable { host: host.clone(), message: e.to_string() })?;
    let range = |after, through| Range { after: CommitTs::new(after), through: CommitTs::new(through) };
    Ok(PumpInfo {
        member: Member { id, host },
        watermark: CommitTs::new(hello.watermark),
        safe_point: CommitTs::new(hello.safe_point),
        gaps: stats.gaps.iter().map(|g| (range(g.after, g.through), g.reason.clone())).collect(),
        client: Some(client),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(after: u64, through: u64) -> Range {
        Range { after: CommitTs::new(after), through: CommitTs::new(through) }
    }

    fn source(safe_point: u64, gaps: &[(u64, u64)]) -> Pumps {
        let pump = |name: &str, safe_point, gaps: &[(u64, u64)]| PumpInfo {
            member: Member { id: NodeId::new(name).unwrap(), host: "h:1".into() },
            watermark: CommitTs::new(1000),
            safe_point: CommitTs::new(safe_point),
            gaps: gaps.iter().map(|(a, t)| (range(*a, *t), "commit without prewrite".to_owned())).collect(),
            client: None,
        };
        Pumps {
            cluster: ClusterId(1),
            pumps: vec![pump("a", 0, &[]), pump("b", safe_point, gaps)],
            offline: vec![],
            registered: true,
            unknown_ddl: UnknownDdl::default(),
            dial: Dial::default(),
        }
    }

    #[test]
    fn a_range_that_crosses_purged_binlogs_is_refused() {
        let error = source(50, &[]).check(range(49, 100), false).unwrap_err();
        assert!(matches!(&error, Error::Purged { holder, .. } if holder == "pump b"), "{error}");
        assert!(error.to_string().contains("-after-tso=50"), "{error}");
        assert!(source(50, &[]).check(range(50, 100), false).is_ok());
        let (kept, holes) = source(50, &[]).check(range(10, 100), true).unwrap();
        assert_eq!((kept, holes.len()), (range(50, 100), 1));
    }

    #[test]
    fn gaps_inside_the_range_are_refused() {
        assert!(matches!(source(0, &[(59, 60)]).check(range(0, 100), false), Err(Error::Missing(_))));
        assert!(source(0, &[(59, 60)]).check(range(60, 100), false).is_ok());
        assert!(source(0, &[(59, 60)]).check(range(0, 59), false).is_ok());
        let (kept, holes) = source(0, &[(59, 60)]).check(range(0, 100), true).unwrap();
        assert_eq!((kept, holes.len()), (range(0, 100), 1));
    }
}
