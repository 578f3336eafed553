//! Who the pumps are and what each says of itself.

use std::time::Duration;

use binlog_cli::tls::Security;
use binlog_cluster::{EmbeddedCluster, NodeKind, NodeState, NodeStatus, PdClient, Registry, TlsFiles};
use binlog_proto::store::{HelloResponse, StatsResponse};
use binlog_pull::{Dial, Hole, Member, PumpClient};
use binlog_types::{ClusterId, CommitTs, NodeId, Range, Ts};

use super::pumps::{PumpInfo, Unreachable};
use crate::{Config, Error};

/// TLS with PD, where the configuration names an authority.
fn tls_files(security: &Security) -> Option<TlsFiles> {
    (!security.ssl_ca.is_empty()).then(|| TlsFiles {
        ca: security.ssl_ca.clone(),
        cert: security.ssl_cert.clone(),
        key: security.ssl_key.clone(),
    })
}

/// The registry's pumps: those to read, and names of those that are offline, with the time when each said so last.
pub(super) async fn list(config: &Config) -> Result<(Vec<NodeStatus>, Vec<(NodeId, Ts)>), Error> {
    let registry = if config.cluster_dir.as_os_str().is_empty() {
        Registry::etcd(&config.pd_urls, tls_files(&config.security).as_ref()).await?
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
            offline.push((node.node_id, Ts::new(u64::try_from(node.update_ts).unwrap_or_default())));
        } else {
            nodes.push(node);
        }
    }
    Ok((nodes, offline))
}

pub(super) fn unreachable(host: &str, error: &binlog_pull::Error) -> Error {
    Error::Unreachable { host: host.to_owned(), message: error.to_string() }
}

/// What a pump says of itself.
pub(super) enum Answer {
    Ours(Box<Said>),
    /// Nothing: it is the original's.
    Original,
}

/// What one of ours says.
pub(super) struct Said {
    pub(super) client: PumpClient,
    pub(super) hello: HelloResponse,
    pub(super) stats: StatsResponse,
}

/// Asks each of `hosts`.
pub(super) async fn ask(hosts: Vec<String>, dial: &Dial) -> (Vec<(String, Answer)>, Vec<Unreachable>) {
    let (mut answers, mut unreachable) = (Vec::with_capacity(hosts.len()), Vec::new());
    for host in hosts {
        match hello(&host, dial).await {
            Ok(answer) => answers.push((host, answer)),
            Err(message) => unreachable.push(Unreachable { host, message }),
        }
    }
    (answers, unreachable)
}

/// Asks one pump; or says why it does not answer.
async fn hello(host: &str, dial: &Dial) -> Result<Answer, String> {
    let text = |error: binlog_pull::Error| error.to_string();
    let name = NodeId::new(host).map_err(|e| e.to_string())?;
    let client = PumpClient::dial(&name, host, ClusterId(0), dial).await.map_err(text)?;
    let hello = match client.hello().await {
        Err(error) if error.is_unimplemented() => return Ok(Answer::Original),
        hello => hello.map_err(text)?,
    };
    let stats = client.stats().await.map_err(text)?;
    Ok(Answer::Ours(Box::new(Said { client, hello, stats })))
}

/// PD, which tells what a pump of the original's does not: the cluster, the time, and where the schema history is.
pub(super) async fn original_pd(config: &Config, host: &str) -> Result<PdClient, Error> {
    if config.pd_urls.is_empty() {
        let text =
            format!("pump {host} is an original one: -pd-urls is needed, for its cluster's id and schema");
        return Err(Error::Config(text));
    }
    Ok(PdClient::connect(&config.pd_urls, tls_files(&config.security).as_ref()).await?)
}

pub(super) async fn original(id: Option<NodeId>, host: String, pd: &PdClient) -> Result<PumpInfo, Error> {
    let id = match id {
        Some(id) => id,
        None => NodeId::new(&host)
            .map_err(|e| Error::Unreachable { host: host.clone(), message: e.to_string() })?,
    };
    let watermark = pd.ts().await?.into();
    Ok(PumpInfo {
        member: Member { id, host },
        watermark,
        safe_point: CommitTs::ZERO,
        begins: CommitTs::ZERO,
        gaps: Vec::new(),
        original: true,
        client: None,
    })
}

/// After which position a pump took its first binlog: it was registered then. One that was offline for a while is registered again, and older
/// binlogs are in its store then, as they are in one that was filled from elsewhere.
async fn begins(
    client: &PumpClient,
    hello: &HelloResponse,
    gaps: &[Hole],
) -> Result<CommitTs, binlog_pull::Error> {
    let registered = CommitTs::new(hello.registration_ts);
    let (after, through) = (CommitTs::new(hello.safe_point), registered.min(CommitTs::new(hello.watermark)));
    if after >= through {
        return Ok(registered);
    }
    let mut scan = client.scan_with(after, Some(through), &[], 1, Duration::ZERO, gaps).await?;
    while let Some(response) = scan.next().await? {
        if let Some(first) = response.fragments.first() {
            return Ok(CommitTs::from(CommitTs::new(first.commit_ts).ts().prev()).min(registered));
        }
    }
    Ok(registered)
}

/// A gap of a pump as readers of its stream know it.
pub(super) fn gone(pump: &NodeId, gap: Range) -> Hole {
    Hole { pump: pump.clone(), after: gap.after, through: gap.through }
}

pub(super) async fn describe(
    client: PumpClient,
    host: String,
    hello: &HelloResponse,
    stats: &StatsResponse,
) -> Result<PumpInfo, Error> {
    let id = NodeId::new(&hello.node_id)
        .map_err(|e| Error::Unreachable { host: host.clone(), message: e.to_string() })?;
    let range = |after, through| Range { after: CommitTs::new(after), through: CommitTs::new(through) };
    let gaps: Vec<(Range, String)> =
        stats.gaps.iter().map(|g| (range(g.after, g.through), g.reason.clone())).collect();
    let holes: Vec<Hole> = gaps.iter().map(|(gap, _)| gone(&id, *gap)).collect();
    let begins = begins(&client, hello, &holes).await.map_err(|error| unreachable(&host, &error))?;
    Ok(PumpInfo {
        member: Member { id, host },
        watermark: CommitTs::new(hello.watermark),
        safe_point: CommitTs::new(hello.safe_point),
        begins,
        gaps,
        original: false,
        client: Some(client),
    })
}
