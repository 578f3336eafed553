//! The pumps that a range is read from: who they are, what they hold and what they lack.

use std::sync::Arc;
use std::time::Duration;

use binlog_catalog::{Start, TableFilter, UnknownDdl};
use binlog_cli::tls::Security;
use binlog_cluster::NodeStatus;
use binlog_pull::{
    Dial, EventStream, KnownHoles, Member, PemFiles, PumpClient, SchemaSource, StreamOptions, TikvSchema,
};
use binlog_types::{ClusterId, CommitTs, NodeId, Range, SystemClock, Ts};
use tokio::time::Instant;

use super::asking::{Answer, Said, ask, describe, gone, list, original, original_pd, unreachable};
use super::missing::{Finding, Survey, absent, missing, purged, unknown};
use super::{Hole, Reading, Stores};
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
    /// It took its first binlog after that; 0: not known.
    pub begins: CommitTs,
    /// What it knows to be missing, and why.
    pub gaps: Vec<(Range, String)>,
    /// It is the original's, which serves binlogs and tells nothing of them. Its watermark is PD's time, its safe point not known.
    pub original: bool,
    /// To ask again; none of the original's.
    pub(super) client: Option<PumpClient>,
}

/// All pumps of one cluster.
#[derive(Debug)]
pub struct Pumps {
    /// The cluster's id.
    pub cluster: ClusterId,
    /// Who is read from; none where all have their directories `beside`.
    pub pumps: Vec<PumpInfo>,
    /// Pumps that the registry calls offline, and when each was last heard of (0: not known): what only they hold is not in the range.
    pub offline: Vec<(NodeId, Ts)>,
    /// Pumps that should be there and do not answer, and need not, with `-allow-gaps`.
    pub unreachable: Vec<Unreachable>,
    /// Directories of pumps that do not run, read beside the others.
    pub beside: Option<Stores>,
    /// Whether a registry says that these are all. Otherwise it is up to who named them.
    pub registered: bool,
    /// What becomes of DDLs of kinds that are not known.
    pub unknown_ddl: UnknownDdl,
    /// How they are dialed.
    dial: Dial,
    /// Of a cluster where some are the original's.
    schema: Option<Arc<dyn SchemaSource>>,
}

/// A pump that does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// `host:port`.
    pub host: String,
    /// Why.
    pub message: String,
}

impl Unreachable {
    fn finding(&self, range: Range) -> Finding {
        let Unreachable { host, message } = self.clone();
        let hole =
            Hole { holder: format!("pump {host}"), range, reason: format!("cannot be asked: {message}") };
        Finding { hole, refusal: self.error() }
    }

    fn error(&self) -> Error {
        Error::Unreachable { host: self.host.clone(), message: self.message.clone() }
    }
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
    /// Finds the pumps and asks each what it holds; those whose directories are given are read there. With `-allow-gaps`, one that does not answer
    /// is a hole in every range.
    ///
    /// # Errors
    /// When the registry cannot be read, there is nobody to read from, or a pump does not answer and must: a range without it would have holes.
    pub async fn connect(from: &Origin, config: &Config) -> Result<Self, Error> {
        let mut beside = match config.from_store.as_slice() {
            [] => None,
            dirs => Some(Stores::open(dirs, config.allow_gaps).await?),
        };
        if let Some(stores) = &mut beside {
            stores.unknown_ddl = config.unknown_ddl()?;
        }
        let here = |id: &NodeId| beside.as_ref().is_some_and(|stores| stores.holds(id));
        let registry = match from {
            Origin::Registry | Origin::Addresses(_) if config.has_registry() => Some(list(config).await?),
            _ => None,
        };
        let registered = registry.is_some();
        let (mut nodes, mut offline) = registry.unwrap_or_default();
        nodes.retain(|node| !here(&node.node_id));
        offline.retain(|(id, _)| !here(id));
        let hosts: Vec<String> = match from {
            Origin::Registry => nodes.iter().map(|node| node.host.clone()).collect(),
            Origin::Addresses(hosts) => hosts.clone(),
            Origin::Stores(_) | Origin::Files(_) => return Err(Error::NoPump),
        };
        let dial = dial(&config.security);
        let (answers, unreachable) = ask(hosts, &dial).await;
        let mut cluster = None;
        let mut pumps: Vec<PumpInfo> = Vec::with_capacity(answers.len());
        let mut schema = None;
        for (host, answer) in answers {
            let (info, of) = match answer {
                Answer::Ours(said) => {
                    let Said { client, hello, stats } = *said;
                    let info = describe(client, host.clone(), &hello, &stats).await?;
                    (info, ClusterId(hello.cluster_id))
                }
                Answer::Original => {
                    let id = nodes.iter().find(|node| node.host == host).map(|node| node.node_id.clone());
                    let pd = original_pd(config, &host).await?;
                    let info = original(id, host.clone(), &pd).await?;
                    let of = pd.cluster_id();
                    schema.get_or_insert_with(|| TikvSchema::new(pd, SystemClock::handle()));
                    (info, of)
                }
            };
            let expected = *cluster.get_or_insert(of);
            if expected != of {
                return Err(Error::MixedClusters { host, cluster: of.0, expected: expected.0 });
            }
            if !pumps.iter().any(|p| p.member.id == info.member.id) {
                pumps.push(info);
            }
        }
        // The stores may be all that is left.
        let Some(cluster) = cluster.or(beside.as_ref().map(Stores::cluster)) else {
            return Err(unreachable.first().map_or(Error::NoPump, Unreachable::error));
        };
        let source = Pumps {
            cluster,
            pumps,
            offline,
            unreachable,
            beside: None,
            registered,
            unknown_ddl: UnknownDdl::default(),
            dial,
            schema: schema.map(|schema| Arc::new(schema) as Arc<dyn SchemaSource>),
        };
        let named = |node: &NodeStatus| {
            source.pumps.iter().any(|p| p.member.id == node.node_id)
                || source.unreachable.iter().any(|lost| lost.host == node.host)
        };
        if let Some(node) = nodes.iter().find(|node| !named(node)) {
            return Err(Error::NotNamed { pump: node.node_id.clone(), host: node.host.clone() });
        }
        if let Some(stores) = &beside
            && stores.cluster() != source.cluster
        {
            let (ours, theirs) = (stores.cluster(), source.cluster);
            return Err(Error::Config(format!(
                "-from-store is of cluster {ours}, the pumps are of {theirs}"
            )));
        }
        match source.unreachable.first() {
            Some(lost) if !config.allow_gaps => Err(lost.error()),
            _ => Ok(Pumps { beside, ..source }),
        }
    }

    /// The stores, where no pump runs beside them.
    fn alone(&self) -> Option<&Stores> {
        self.beside.as_ref().filter(|_| self.pumps.is_empty())
    }

    /// For the stream.
    pub fn members(&self) -> Vec<Member> {
        self.pumps.iter().map(|p| p.member.clone()).collect()
    }

    /// Who is read, for people.
    pub(super) fn names(&self) -> Vec<String> {
        let running = self.pumps.iter().map(|p| format!("pump {}", p.member.id));
        running.chain(self.beside.iter().flat_map(Stores::names)).collect()
    }

    /// What is to be said about who is read for `range`.
    pub fn notes(&self, range: Range) -> Vec<String> {
        let offline = self.offline.iter().map(|(pump, seen)| {
            format!(
                "note: pump {pump} is offline since {} and was not asked; what only it holds is not restored",
                utc(*seen)
            )
        });
        let named = "note: these pumps were named; binlogs of others in the cluster, if there are any, are not restored";
        let named = (!self.registered).then(|| named.to_owned());
        // A range without a start is all there is.
        let started = range.after != CommitTs::ZERO;
        let late =
            self.pumps.iter().filter(move |p| started && range.after < p.begins && p.begins < range.through);
        let late = late.map(|p| {
            let (pump, at) = (&p.member.id, utc(p.begins.ts()));
            format!(
                "note: pump {pump} began at {at}, inside the range; if it took the place of another one, what that one held is not restored"
            )
        });
        let blind = self.pumps.iter().filter(|p| p.original).map(|p| {
            let pump = &p.member.id;
            format!("note: pump {pump} is an original one and does not tell whether binlogs of the range were purged")
        });
        let stores = self.alone().map(Stores::notes).unwrap_or_default();
        named.into_iter().chain(offline).chain(late).chain(blind).chain(stores).collect()
    }

    /// What the pumps said to be missing: whoever reads has judged it, so it is read over, and anything else is an error.
    pub fn known_holes(&self) -> Arc<KnownHoles> {
        let of = |pump: &PumpInfo| {
            pump.gaps.iter().map(|(gap, _)| gone(&pump.member.id, *gap)).collect::<Vec<_>>()
        };
        Arc::new(KnownHoles(self.pumps.iter().flat_map(of).collect()))
    }

    /// Starts pulling a range.
    pub(crate) async fn read(&self, range: Range, filter: TableFilter) -> Result<Reading, Error> {
        if let Some(stores) = self.alone() {
            return stores.read(range, filter);
        }
        let options = StreamOptions {
            cluster: self.cluster,
            after: range.after,
            through: Some(range.through),
            budget: BUDGET,
            unknown_ddl: self.unknown_ddl,
            dial: self.dial.clone(),
            ledger: self.known_holes(),
            schema: self.schema.clone(),
            ..StreamOptions::default()
        };
        let stream = EventStream::open(options, self.members(), Start::At(range.after), filter).await;
        let mut stream = stream.map_err(|source| Error::Pull { position: range.after, source })?;
        for (id, feed) in self.beside.iter().flat_map(|stores| stores.feeds(range)) {
            stream.add_feed(id, feed, range.through);
        }
        Ok(Reading::of_stream(stream, range.after))
    }

    /// The last position that some pump is complete through: where a range without a stop ends. The other pumps reach it in a moment.
    pub fn newest(&self) -> CommitTs {
        if let Some(stores) = self.alone() {
            return stores.newest();
        }
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
            if pump.original {
                let (holder, watermark) = (format!("pump {}", member.id), pump.watermark);
                return Err(Error::NotYet { holder, watermark, through });
            }
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

    /// What of `range` all pumps together hold, and all that is missing.
    pub(crate) fn survey(&self, range: Range) -> Survey {
        let mut findings = Vec::new();
        let mut after = range.after;
        for pump in &self.pumps {
            let holder = format!("pump {}", pump.member.id);
            if let Some(finding) = purged(&holder, range, pump.safe_point) {
                after = after.max(pump.safe_point);
                findings.push(finding);
            }
            let gaps = pump.gaps.iter();
            findings.extend(
                gaps.filter_map(|(gap, reason)| missing(&holder, range, pump.safe_point, (*gap, reason))),
            );
        }
        let absent = |(pump, seen): &(NodeId, Ts)| absent("the registry", pump, *seen, range);
        findings.extend(self.offline.iter().filter_map(absent));
        findings.extend(self.unreachable.iter().map(|lost| lost.finding(range)));
        let mut begins: Vec<CommitTs> = self.pumps.iter().map(|p| p.begins).collect();
        if let Some(stores) = &self.beside {
            let running = |id: &NodeId| self.pumps.iter().any(|p| p.member.id == *id);
            let (kept, more) = stores.survey_beside(range, running);
            after = after.max(kept.after);
            findings.extend(more);
            begins.extend(stores.begins());
        }
        findings.extend(unknown(begins.into_iter(), range));
        (Range { after, through: range.through }, findings)
    }
}

#[cfg(test)]
mod tests {
    use super::super::missing::judge;
    use super::*;

    fn range(after: u64, through: u64) -> Range {
        Range { after: CommitTs::new(after), through: CommitTs::new(through) }
    }

    fn source(safe_point: u64, gaps: &[(u64, u64)]) -> Pumps {
        let pump = |name: &str, safe_point, gaps: &[(u64, u64)]| PumpInfo {
            member: Member { id: NodeId::new(name).unwrap(), host: "h:1".into() },
            watermark: CommitTs::new(1000),
            safe_point: CommitTs::new(safe_point),
            begins: CommitTs::ZERO,
            gaps: gaps.iter().map(|(a, t)| (range(*a, *t), "commit without prewrite".to_owned())).collect(),
            original: false,
            client: None,
        };
        Pumps {
            cluster: ClusterId(1),
            pumps: vec![pump("a", 0, &[]), pump("b", safe_point, gaps)],
            offline: vec![],
            unreachable: vec![],
            beside: None,
            registered: true,
            unknown_ddl: UnknownDdl::default(),
            dial: Dial::default(),
            schema: None,
        }
    }

    impl Pumps {
        fn checked(&self, range: Range, allow: bool) -> Result<(Range, Vec<Hole>), Error> {
            judge(self.survey(range), allow)
        }
    }

    #[test]
    fn who_was_there_after_the_start_and_is_not_read_is_missed() {
        let mut pumps = source(0, &[]);
        pumps.offline = vec![(NodeId::new("gone").unwrap(), Ts::new(50))];
        let error = pumps.checked(range(49, 100), false).unwrap_err();
        assert!(matches!(&error, Error::PeerAbsent { pump, .. } if pump.as_str() == "gone"), "{error}");
        let (kept, holes) = pumps.checked(range(49, 100), true).unwrap();
        assert_eq!((kept, holes.len()), (range(49, 100), 1));
        assert!(pumps.checked(range(50, 100), false).is_ok());
        // Nobody knows when it went.
        pumps.offline = vec![(NodeId::new("gone").unwrap(), Ts::ZERO)];
        assert!(matches!(pumps.checked(range(50, 100), false), Err(Error::PeerAbsent { .. })));
        pumps.offline.clear();
        pumps.unreachable = vec![Unreachable { host: "h:2".to_owned(), message: "no".to_owned() }];
        assert!(matches!(pumps.checked(range(50, 100), false), Err(Error::Unreachable { .. })));
        assert_eq!(pumps.checked(range(50, 100), true).unwrap().1[0].holder, "pump h:2");
    }

    #[test]
    fn what_was_before_the_first_pump_is_not_known() {
        let mut pumps = source(0, &[]);
        (pumps.pumps[0].begins, pumps.pumps[1].begins) = (CommitTs::new(70), CommitTs::new(60));
        let error = pumps.checked(range(59, 100), false).unwrap_err();
        assert!(matches!(error, Error::Unknown { first, .. } if first == CommitTs::new(60)), "{error}");
        let (kept, holes) = pumps.checked(range(59, 100), true).unwrap();
        assert_eq!((kept, holes[0].range), (range(59, 100), range(59, 60)));
        // The second may have come to the first, or in the place of a third: that is said.
        assert!(pumps.checked(range(60, 100), false).is_ok());
        assert!(pumps.notes(range(60, 100)).iter().any(|note| note.contains("pump a began at")));
        assert!(pumps.notes(range(70, 100)).is_empty());
        // Who names no start wants all there is.
        assert!(pumps.checked(range(0, 100), false).is_ok());
    }

    #[test]
    fn a_range_that_crosses_purged_binlogs_is_refused() {
        let error = source(50, &[]).checked(range(49, 100), false).unwrap_err();
        assert!(matches!(&error, Error::Purged { holder, .. } if holder == "pump b"), "{error}");
        assert!(error.to_string().contains("-after-tso=50"), "{error}");
        assert!(source(50, &[]).checked(range(50, 100), false).is_ok());
        let (kept, holes) = source(50, &[]).checked(range(10, 100), true).unwrap();
        assert_eq!((kept, holes.len()), (range(50, 100), 1));
    }

    #[test]
    fn gaps_inside_the_range_are_refused() {
        assert!(matches!(source(0, &[(59, 60)]).checked(range(0, 100), false), Err(Error::Missing(_))));
        assert!(source(0, &[(59, 60)]).checked(range(60, 100), false).is_ok());
        assert!(source(0, &[(59, 60)]).checked(range(0, 59), false).is_ok());
        let (kept, holes) = source(0, &[(59, 60)]).checked(range(0, 100), true).unwrap();
        assert_eq!((kept, holes.len()), (range(0, 100), 1));
    }
}
