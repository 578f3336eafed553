//! Schema objects from all pumps, united.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use binlog_catalog::{object_key, same_object};
use binlog_proto::store::{ObjectKind, SchemaObject};
use binlog_types::{ClusterId, CommitTs, JobId, SchemaVersion};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::{Instant, timeout, timeout_at};

use crate::{Dial, Error, Member, PumpClient};

/// How much longer the other pumps may take once one has answered: their histories are compared, but a dead one does not hold anybody up.
const GRACE: Duration = Duration::from_millis(300);

/// What lies so far behind a reader that only the state it led to matters: of each object the newest version of it, without dropped
/// objects and jobs. Zero: nothing does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchemaBase {
    /// Versions at or below it.
    pub version: SchemaVersion,
    /// Objects that were made at or before it.
    pub ts: CommitTs,
}

/// Where the schema history comes from if no pump serves it: all of them are original ones.
pub trait SchemaSource: std::fmt::Debug + Send + Sync {
    /// As [`SchemaFetcher::versions`].
    fn versions(
        &self,
        after: SchemaVersion,
        need: SchemaVersion,
        base: SchemaBase,
        wait: Duration,
    ) -> BoxFuture<'_, Result<(Vec<SchemaObject>, SchemaVersion), Error>>;

    /// As [`SchemaFetcher::job`].
    fn job(&self, job: JobId, wait: Duration) -> BoxFuture<'_, Result<Option<Vec<SchemaObject>>, Error>>;
}

/// Fetches schema history from the pumps.
#[derive(Debug)]
pub struct SchemaFetcher {
    cluster: ClusterId,
    members: Vec<Member>,
    clients: BTreeMap<String, PumpClient>,
    dial: Dial,
    base: SchemaBase,
    source: Option<Arc<dyn SchemaSource>>,
    /// The source was used: it is from now on, for it has what the pumps' later answers would have.
    without_pumps: bool,
}

/// What is asked of every pump.
#[derive(Clone, Copy)]
enum Question {
    Versions { after: SchemaVersion, need: SchemaVersion, base: SchemaBase },
    Job(JobId),
}

type Answer = (Vec<SchemaObject>, SchemaVersion);

impl SchemaFetcher {
    /// A fetcher; nothing is connected yet.
    pub fn new(cluster: ClusterId, members: Vec<Member>) -> Self {
        SchemaFetcher {
            cluster,
            members,
            clients: BTreeMap::new(),
            dial: Dial::default(),
            base: SchemaBase::default(),
            source: None,
            without_pumps: false,
        }
    }

    /// The same, with all that differs from a plain reader of everything.
    #[must_use]
    pub fn with(mut self, dial: Dial, base: SchemaBase, source: Option<Arc<dyn SchemaSource>>) -> Self {
        (self.dial, self.base, self.source) = (dial, base, source);
        self
    }

    /// Changes who is asked.
    pub fn set_members(&mut self, members: Vec<Member>) {
        self.clients.retain(|host, _| members.iter().any(|m| m.host == *host));
        self.members = members;
    }

    /// Objects of versions above `after`, once some pump's history reaches `need` (waits up to `wait`), and the version up to which they are complete.
    /// `SchemaVersion(-1)` for all.
    ///
    /// # Errors
    /// [`Error::SchemaNotYet`] when the wait was in vain; [`Error::SchemaConflict`]; [`Error::NoSchema`] where all pumps are original ones.
    pub async fn versions(
        &mut self,
        after: SchemaVersion,
        need: SchemaVersion,
        wait: Duration,
    ) -> Result<(Vec<SchemaObject>, SchemaVersion), Error> {
        match self.pumps_or_source(Question::Versions { after, need, base: self.base }, wait).await? {
            Ok(answer) => Ok(answer),
            Err(source) => source.versions(after, need, self.base, wait).await,
        }
    }

    /// The objects of one DDL job, once a pump knows it; None where none does within `wait`.
    ///
    /// # Errors
    /// As [`SchemaFetcher::versions`], and what a pump answers when none could be asked.
    pub async fn job(&mut self, job: JobId, wait: Duration) -> Result<Option<Vec<SchemaObject>>, Error> {
        match self.pumps_or_source(Question::Job(job), wait).await {
            Ok(Ok((objects, _))) if objects.is_empty() => Ok(None),
            Ok(Ok((objects, _))) => Ok(Some(objects)),
            Ok(Err(source)) => source.job(job, wait).await,
            Err(Error::SchemaNotYet { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What the pumps say, or who is to be asked instead.
    async fn pumps_or_source(
        &mut self,
        question: Question,
        wait: Duration,
    ) -> Result<Result<Answer, Arc<dyn SchemaSource>>, Error> {
        if let Some(source) = self.source.clone().filter(|_| self.without_pumps) {
            return Ok(Err(source));
        }
        match (self.ask(question, wait).await, &self.source) {
            (Err(Error::NoSchema { pumps }), Some(source)) => {
                tracing::info!(pumps, "no pump serves the schema history: it is read from TiKV");
                self.without_pumps = true;
                Ok(Err(Arc::clone(source)))
            }
            (answer, _) => answer.map(Ok),
        }
    }

    /// Asks all pumps at once and unites what those say that can answer.
    async fn ask(&mut self, question: Question, wait: Duration) -> Result<Answer, Error> {
        let cluster = self.cluster;
        let mut calls: FuturesUnordered<_> = self
            .members
            .iter()
            .map(|member| {
                let client = self.clients.get(&member.host).cloned();
                let dial = &self.dial;
                async move { (member, ask_one(cluster, member, client, dial, question, wait).await) }
            })
            .collect();
        // A pump that neither answers nor refuses is given up some time after its wait.
        let mut deadline = Instant::now() + wait + Duration::from_secs(5);
        let mut answers: Vec<Answer> = Vec::new();
        let mut failure: Option<Error> = None;
        let mut connected = Vec::new();
        let mut broken = Vec::new();
        let mut original = 0;
        while let Ok(Some((member, outcome))) = timeout_at(deadline, calls.next()).await {
            match outcome {
                Ok((client, answer)) => {
                    if !answer.0.is_empty() || matches!(question, Question::Versions { .. }) {
                        deadline = deadline.min(Instant::now() + GRACE);
                    }
                    connected.push((member.host.clone(), client));
                    answers.push(answer);
                }
                Err(error) => {
                    if error.is_unimplemented() {
                        original += 1;
                    } else if !matches!(error, Error::SchemaNotYet { .. }) {
                        tracing::debug!(pump = %member.id, %error, "no schema from this pump");
                        broken.push(member.host.clone());
                    }
                    // "Not yet" says most: somebody is there and works on it.
                    if failure.is_none() || matches!(error, Error::SchemaNotYet { .. }) {
                        failure = Some(error);
                    }
                }
            }
        }
        drop(calls);
        self.clients.extend(connected);
        for host in broken {
            self.clients.remove(&host);
        }
        if answers.is_empty() {
            return Err(match failure {
                // A pump that cannot be reached may be one of ours; where another way is open, nobody waits for it.
                Some(error)
                    if original == 0
                        || (original < self.members.len() && self.source.is_none())
                        || matches!(error, Error::SchemaNotYet { .. }) =>
                {
                    error
                }
                _ => Error::NoSchema {
                    pumps: self.members.iter().map(|m| m.id.as_str()).collect::<Vec<_>>().join(", "),
                },
            });
        }
        unite(answers)
    }
}

async fn ask_one(
    cluster: ClusterId,
    member: &Member,
    client: Option<PumpClient>,
    dial: &Dial,
    question: Question,
    wait: Duration,
) -> Result<(PumpClient, Answer), Error> {
    let client = match client {
        Some(client) => client,
        None => PumpClient::dial(&member.id, &member.host, cluster, dial).await?,
    };
    let answer = match question {
        Question::Versions { after, need, base } => client.schema(after, need, base, wait).await?,
        Question::Job(job) => (client.schema_of_job(job, wait).await?, SchemaVersion(0)),
    };
    Ok((client, answer))
}

/// One history from several, in order of version, kind and id.
fn unite(answers: Vec<Answer>) -> Result<Answer, Error> {
    let mut united: BTreeMap<_, SchemaObject> = BTreeMap::new();
    let mut complete = SchemaVersion(0);
    for (objects, version) in answers {
        complete = complete.max(version);
        for object in objects {
            let key = object_key(&object);
            match united.get_mut(&key) {
                None => {
                    united.insert(key, object);
                }
                Some(known) if same_object(known, &object) => {
                    if known.parent_id == 0 {
                        known.parent_id = object.parent_id;
                    }
                }
                // Snapshots of two moments: the history takes the one that was written first.
                Some(known) if object.schema_version == 0 => {
                    let order = |o: &SchemaObject| (o.finished_ts, o.json.clone());
                    if order(&object) < order(known) {
                        united.insert(key, object);
                    }
                }
                Some(_) => {
                    let kind = ObjectKind::try_from(object.kind).map_or("unknown", |k| k.as_str_name());
                    return Err(Error::SchemaConflict {
                        object: format!("{} {}", kind.to_ascii_lowercase(), object.id),
                        version: SchemaVersion(object.schema_version),
                    });
                }
            }
        }
    }
    Ok((united.into_values().collect(), complete))
}

/// Waits a little between two questions that were answered at once with "not yet".
pub(crate) async fn pause() {
    let _ = timeout(Duration::from_millis(200), std::future::pending::<()>()).await;
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn table(version: i64, json: &'static str) -> SchemaObject {
        SchemaObject {
            kind: ObjectKind::Table as i32,
            id: 7,
            schema_version: version,
            json: Bytes::from_static(json.as_bytes()),
            ..SchemaObject::default()
        }
    }

    #[test]
    fn histories_unite_in_order() {
        let a = (vec![table(1, "{}"), table(3, "{3}")], SchemaVersion(3));
        let b = (vec![table(1, "{}"), table(2, "{2}")], SchemaVersion(2));
        let (objects, complete) = unite(vec![a, b]).unwrap();
        assert_eq!(objects.iter().map(|o| o.schema_version).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(complete, SchemaVersion(3));
    }

    #[test]
    fn of_two_snapshots_the_older_one_is_taken() {
        let at = |stamp, json| SchemaObject { finished_ts: stamp, ..table(0, json) };
        for answers in
            [[at(2, "{2}"), at(1, "{1}")], [at(1, "{1}"), at(2, "{2}")], [at(1, "{3}"), at(1, "{1}")]]
        {
            let (objects, _) = unite(answers.map(|o| (vec![o], SchemaVersion(1))).to_vec()).unwrap();
            assert_eq!(objects, [at(1, "{1}")]);
        }
    }

    #[test]
    fn steps_are_read_while_they_go_on() {
        let at = |version, json| SchemaObject { kind: ObjectKind::Step as i32, ..table(version, json) };
        let (a, b, later) = (at(3, "{a}"), at(3, "{b}"), at(4, "{b}"));
        let answers = vec![
            (vec![b.clone()], SchemaVersion(3)),
            (vec![a.clone(), b.clone(), later.clone()], SchemaVersion(4)),
        ];
        assert_eq!(unite(answers).unwrap().0, [a, b, later], "each counts");
    }

    #[test]
    fn bytes_that_differ_are_an_error() {
        let answers =
            vec![(vec![table(1, "{}")], SchemaVersion(1)), (vec![table(1, "{1}")], SchemaVersion(1))];
        assert!(matches!(unite(answers), Err(Error::SchemaConflict { .. })));
    }
}
