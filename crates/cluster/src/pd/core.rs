//! Members, leader, and calls that survive an election.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use binlog_proto::pdpb;
use binlog_proto::pdpb::{ErrorType, GetMembersRequest, GetMembersResponse, RequestHeader, ResponseHeader};
use binlog_types::ClusterId;
use parking_lot::Mutex;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};
use tracing::{debug, info};

use crate::Error;
use crate::backoff::Backoff;
use crate::endpoint::{Tls, TlsFiles, channel, normalize, normalize_all};

pub(super) type Grpc = pdpb::pd_client::PdClient<Channel>;

/// For one call at one member.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(3);
/// For one call with all its repetitions.
const LIMIT: Duration = Duration::from_secs(10);

/// What to wait between attempts at PD.
pub(super) fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(50), Duration::from_secs(1), LIMIT)
}

/// The member that answers.
#[derive(Clone)]
pub(super) struct Leader {
    pub(super) url: String,
    pub(super) grpc: Grpc,
}

/// What all clones of a client share.
pub(crate) struct Core {
    cluster_id: ClusterId,
    tls: Option<Arc<Tls>>,
    members: Mutex<Vec<String>>,
    /// Held while looking for the leader, so that one caller looks and the others wait.
    leader: tokio::sync::Mutex<Option<Leader>>,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("cluster_id", &self.cluster_id).field("members", &self.members).finish()
    }
}

impl Core {
    pub(super) async fn connect(urls: &[String], tls: Option<&TlsFiles>) -> Result<Self, Error> {
        let tls = tls.map(TlsFiles::load).transpose()?.flatten();
        let mut members = normalize_all(urls, tls.is_some())?;
        let mut backoff = backoff();
        loop {
            match find_leader(&mut members, tls.as_deref(), None).await {
                Ok((cluster_id, leader)) => {
                    info!(%cluster_id, leader = %leader.url, members = ?members, "found PD");
                    return Ok(Core {
                        cluster_id,
                        tls,
                        members: Mutex::new(members),
                        leader: tokio::sync::Mutex::new(Some(leader)),
                    });
                }
                Err(error) if !backoff.wait(Duration::ZERO).await => return Err(error),
                Err(error) => debug!(%error, "looking for PD's leader"),
            }
        }
    }

    pub(super) fn cluster_id(&self) -> ClusterId {
        self.cluster_id
    }

    pub(super) fn tls(&self) -> Option<&Tls> {
        self.tls.as_deref()
    }

    pub(super) fn header(&self) -> RequestHeader {
        RequestHeader { cluster_id: self.cluster_id.0, sender_id: 0 }
    }

    pub(super) fn member_urls(&self) -> Vec<String> {
        self.members.lock().clone()
    }

    /// The leader; looks once through all members if it is not known.
    pub(super) async fn leader(&self) -> Result<Leader, Error> {
        let mut slot = self.leader.lock().await;
        if let Some(leader) = slot.as_ref() {
            return Ok(leader.clone());
        }
        let mut members = self.member_urls();
        let found = find_leader(&mut members, self.tls.as_deref(), Some(self.cluster_id)).await;
        *self.members.lock() = members;
        let (_, leader) = found?;
        info!(leader = %leader.url, "PD has a leader again");
        *slot = Some(leader.clone());
        Ok(leader)
    }

    /// The next call looks for the leader, unless somebody already found another one than `url`.
    pub(super) async fn forget(&self, url: &str) {
        let mut slot = self.leader.lock().await;
        if slot.as_ref().is_some_and(|leader| leader.url == url) {
            *slot = None;
        }
    }

    /// Calls the leader, whoever it is by then, until it answers or time is up.
    pub(super) async fn call<R, Fut>(
        &self,
        what: &'static str,
        send: impl Fn(Grpc) -> Fut,
        header: fn(&R) -> Option<&ResponseHeader>,
    ) -> Result<R, Error>
    where
        Fut: Future<Output = Result<Response<R>, Status>>,
    {
        let mut backoff = backoff();
        loop {
            let error = match self.leader().await {
                Err(error) => error,
                Ok(leader) => {
                    let answer = timeout(CALL_LIMIT, send(leader.grpc.clone())).await;
                    let answer = answer.unwrap_or_else(|_| Err(no_answer())).map(Response::into_inner);
                    let error = match answer {
                        Ok(answer) => match refusal(what, &leader.url, header(&answer), self.cluster_id) {
                            None => return Ok(answer),
                            Some(error) => error,
                        },
                        Err(status) => {
                            let fatal = status.code() == Code::Unimplemented;
                            let error = call_error(what, &leader.url, backoff.elapsed(), status);
                            if fatal {
                                return Err(error);
                            }
                            error
                        }
                    };
                    self.forget(&leader.url).await;
                    error
                }
            };
            if !error.is_retryable() || !backoff.wait(Duration::ZERO).await {
                return Err(error);
            }
            debug!(%error, "calling PD again");
        }
    }
}

pub(super) fn no_answer() -> Status {
    Status::deadline_exceeded(format!("no answer within {CALL_LIMIT:?}"))
}

pub(super) fn call_error(what: &'static str, endpoint: &str, waited: Duration, status: Status) -> Error {
    Error::Call { what, endpoint: endpoint.to_owned(), waited, status: Box::new(status) }
}

/// What an answer's header complains about.
pub(super) fn refusal(
    what: &'static str,
    endpoint: &str,
    header: Option<&ResponseHeader>,
    expected: ClusterId,
) -> Option<Error> {
    let header = header?;
    let error = header.error.as_ref().filter(|error| error.r#type() != ErrorType::Ok);
    if let Some(error) = error {
        let message = format!("{}: {}", error.r#type().as_str_name(), error.message);
        return Some(Error::PdRefused { what, endpoint: endpoint.to_owned(), message });
    }
    let found = ClusterId(header.cluster_id);
    (found != expected).then(|| Error::OtherCluster { endpoint: endpoint.to_owned(), expected, found })
}

/// Asks one member after the other who leads. `members` grows by those that the answers name.
async fn find_leader(
    members: &mut Vec<String>,
    tls: Option<&Tls>,
    expected: Option<ClusterId>,
) -> Result<(ClusterId, Leader), Error> {
    let urls = members.join(",");
    let mut last = String::from("there is no address");
    for url in members.clone() {
        let (grpc, answer) = match ask_members(&url, tls).await {
            Ok(found) => found,
            Err(error) => {
                last = error.to_string();
                continue;
            }
        };
        let found = ClusterId(answer.header.as_ref().map_or(0, |header| header.cluster_id));
        if let Some(error) = refusal("GetMembers", &url, answer.header.as_ref(), expected.unwrap_or(found)) {
            if !error.is_retryable() {
                return Err(error);
            }
            last = error.to_string();
            continue;
        }
        let in_our_form = |urls: &[String]| -> Vec<String> {
            urls.iter().filter_map(|url| normalize(url, tls.is_some()).ok()).collect()
        };
        for known in answer.members.iter().flat_map(|member| in_our_form(&member.client_urls)) {
            if !members.contains(&known) {
                members.push(known);
            }
        }
        let Some(leader) = &answer.leader else {
            last = format!("{url} knows no leader");
            continue;
        };
        let leader_urls = in_our_form(&leader.client_urls);
        if leader_urls.contains(&url) {
            return Ok((found, Leader { url, grpc }));
        }
        for leader_url in leader_urls {
            // It may have died since, without the others noticing yet.
            match ask_members(&leader_url, tls).await {
                Ok((grpc, _)) => return Ok((found, Leader { url: leader_url, grpc })),
                Err(error) => last = error.to_string(),
            }
        }
    }
    Err(Error::NoPdLeader { urls, last })
}

async fn ask_members(url: &str, tls: Option<&Tls>) -> Result<(Grpc, GetMembersResponse), Error> {
    let mut grpc = Grpc::new(channel(url, tls)?);
    let call = grpc.get_members(GetMembersRequest { header: None });
    let answer = timeout(CALL_LIMIT, call)
        .await
        .unwrap_or_else(|_| Err(no_answer()))
        .map_err(|status| call_error("GetMembers", url, Duration::ZERO, status))?;
    Ok((grpc, answer.into_inner()))
}
