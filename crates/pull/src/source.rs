//! The task that pulls from one pump into its inbox, whatever happens to the connection.

use std::sync::Arc;
use std::time::Duration;

use binlog_catalog::Blob as _;
use binlog_types::{ClusterId, CommitTs, NodeId};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::assemble::Assembler;
use crate::budget::{Permit, Share};
use crate::feed::{Feed, pour};
use crate::ledger::{Hole, PumpLedger};
use crate::progress::MemberProgress;
use crate::record::{Held, RECORD_OVERHEAD};
use crate::spool::{ASIDE, LARGE, Spool, SpoolDir};
use crate::{Arrivals, Dial, Error, Identity, Member, PumpClient, legacy};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// A failing pump is logged when the failure changes, and again this often.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Where a pump's records lie until the merge takes them.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) member: Member,
    state: Mutex<State>,
    /// The stream's: rung when there is something new.
    bell: Arc<Notify>,
}

#[derive(Debug)]
struct State {
    records: Vec<Held>,
    complete: CommitTs,
    identity: Option<Identity>,
    failed: Option<Error>,
    doing: String,
    connected: bool,
    /// Since when no connection stands.
    apart: Option<Instant>,
}

impl Inbox {
    pub(crate) fn new(
        member: Member,
        after: CommitTs,
        identity: Option<Identity>,
        bell: Arc<Notify>,
    ) -> Self {
        let doing = "connecting".to_owned();
        let state = State {
            records: Vec::new(),
            complete: after,
            identity,
            failed: None,
            doing,
            connected: false,
            apart: Some(Instant::now()),
        };
        Inbox { member, state: Mutex::new(state), bell }
    }

    /// What came since the last call, and how far it is complete.
    ///
    /// # Errors
    /// Why the task stopped.
    pub(crate) fn drain(&self) -> Result<(Vec<Held>, CommitTs), Error> {
        let mut state = self.state.lock();
        // What came before the failure is handed out first.
        if state.records.is_empty()
            && let Some(error) = state.failed.take()
        {
            return Err(error);
        }
        Ok((std::mem::take(&mut state.records), state.complete))
    }

    /// Whether a failure waits behind the records.
    pub(crate) fn has_failed(&self) -> bool {
        self.state.lock().failed.is_some()
    }

    pub(crate) fn position(&self) -> CommitTs {
        self.state.lock().complete
    }

    pub(crate) fn identity(&self) -> Option<Identity> {
        self.state.lock().identity
    }

    pub(crate) fn progress(&self) -> MemberProgress {
        let state = self.state.lock();
        MemberProgress {
            id: self.member.id.clone(),
            host: self.member.host.clone(),
            complete_through: state.complete,
            doing: state.doing.clone(),
            connected: state.connected,
            apart: state.apart.map(|since| since.elapsed()),
        }
    }

    pub(crate) fn put(&self, held: Held) {
        let mut state = self.state.lock();
        state.complete = state.complete.max(held.record.commit_ts);
        state.records.push(held);
    }

    /// Everything at or below `complete` has come.
    pub(crate) fn advance(&self, complete: CommitTs) {
        let mut state = self.state.lock();
        state.complete = state.complete.max(complete);
        drop(state);
        self.bell.notify_one();
    }

    pub(crate) fn says(&self, doing: impl Into<String>, connected: bool) {
        let mut state = self.state.lock();
        state.doing = doing.into();
        state.connected = connected;
        state.apart = if connected { None } else { state.apart.or_else(|| Some(Instant::now())) };
    }

    fn fail(&self, error: Error) {
        let mut state = self.state.lock();
        state.doing = error.to_string();
        state.connected = false;
        state.failed = Some(error);
        drop(state);
        self.bell.notify_one();
    }
}

/// What a source needs to know.
#[derive(Clone, Debug)]
pub(crate) struct SourceOptions {
    pub(crate) dial: Dial,
    pub(crate) ledger: Arc<dyn PumpLedger>,
    pub(crate) cluster: ClusterId,
    pub(crate) through: Option<CommitTs>,
    pub(crate) patterns: Vec<String>,
    pub(crate) arrivals: Option<Arc<dyn Arrivals>>,
    /// Where large transactions are put aside; None: they stay in memory.
    pub(crate) spool: Option<SpoolDir>,
    /// Whose large message is in memory: where whole messages are the protocol, one over all pumps is taken in at a time.
    pub(crate) turn: Arc<Semaphore>,
}

/// A running task; aborted on drop.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) share: Arc<Share>,
    task: JoinHandle<()>,
}

impl Source {
    pub(crate) fn spawn(inbox: Inbox, share: Arc<Share>, options: SourceOptions) -> Self {
        let inbox = Arc::new(inbox);
        let span = tracing::info_span!("pull", pump = %inbox.member.id);
        let aside = Share::new(ASIDE);
        let run = Run {
            inbox: Arc::clone(&inbox),
            share: Arc::clone(&share),
            options,
            aside,
            passed: Mutex::default(),
        };
        let task = tokio::spawn(run.run().instrument(span));
        Source { inbox, share, task }
    }
}

impl Source {
    /// Takes records that are read elsewhere.
    pub(crate) fn fed(inbox: Inbox, share: Arc<Share>, feed: Feed, through: CommitTs) -> Self {
        let inbox = Arc::new(inbox);
        let (target, budget) = (Arc::clone(&inbox), Arc::clone(&share));
        let task = tokio::spawn(async move {
            let _note = DeathNote(Arc::clone(&target));
            match pour(&target, &budget, feed, through).await {
                Ok(()) => target.says("done", true),
                Err(error) => target.fail(error),
            }
        });
        Source { inbox, share, task }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The state of the task.
pub(crate) struct Run {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) share: Arc<Share>,
    pub(crate) options: SourceOptions,
    /// What lies on the disk of this pump's transactions.
    aside: Arc<Share>,
    /// Gaps that are read over: their neighbours inside the same stretch come all the same.
    passed: Mutex<Vec<Hole>>,
}

/// Tells the stream when the task ends in a panic, which would otherwise hold the stream back for ever.
struct DeathNote(Arc<Inbox>);

impl Drop for DeathNote {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(Error::TaskDied { pump: self.0.member.id.clone() });
        }
    }
}

impl Run {
    async fn run(self) {
        let _note = DeathNote(Arc::clone(&self.inbox));
        let mut pause = FIRST_PAUSE;
        let mut last_log: Option<(String, Instant)> = None;
        loop {
            let before = self.inbox.position();
            let error = match self.pull().await {
                Ok(()) => {
                    self.inbox.says("done", true);
                    return;
                }
                Err(error) if error.is_retryable() => error,
                Err(error) => match self.pass(error) {
                    Ok(()) => continue,
                    Err(error) => return self.inbox.fail(error),
                },
            };
            if self.inbox.position() > before {
                pause = FIRST_PAUSE;
            }
            let text = error.to_string();
            if last_log.as_ref().is_none_or(|(was, at)| *was != text || at.elapsed() >= LOG_EVERY) {
                tracing::warn!(host = self.inbox.member.host, position = %self.inbox.position(), error = text, "pulling failed, trying again");
                last_log = Some((text.clone(), Instant::now()));
            }
            self.inbox.says(text, false);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Goes on behind a hole that the operator has accepted; gives back every other error.
    fn pass(&self, error: Error) -> Result<(), Error> {
        let pump = self.pump();
        let (hole, reason) = match &error {
            Error::Purged { safe_point, .. } => {
                let after = self.inbox.position();
                (Hole { pump: pump.clone(), after, through: *safe_point }, "purged")
            }
            Error::Gap { after, through, reason, .. } => {
                let hole = Hole { pump: pump.clone(), after: *after, through: *through };
                if self.passed.lock().contains(&hole) {
                    return Err(self.corrupt(format!("it reports {hole} again, which was accepted")));
                }
                (hole, reason.as_str())
            }
            _ => return Err(error),
        };
        match self.options.ledger.accepts(&hole, reason) {
            Ok(true) => {
                tracing::warn!(%hole, reason, "binlogs are missing, and are left out as accept-gap says");
                match error {
                    Error::Purged { .. } => self.inbox.advance(hole.through),
                    _ => self.passed.lock().push(hole),
                }
                Ok(())
            }
            Ok(false) => Err(error),
            Err(why) => Err(Error::Ledger { pump: pump.clone(), why }),
        }
    }

    pub(crate) fn pump(&self) -> &NodeId {
        &self.inbox.member.id
    }

    /// Pulls over one connection. Ok: the range is done.
    async fn pull(&self) -> Result<(), Error> {
        let (dial, ledger) = (&self.options.dial, &self.options.ledger);
        let client =
            PumpClient::dial(self.pump(), &self.inbox.member.host, self.options.cluster, dial).await?;
        let known = self.inbox.identity().or_else(|| ledger.known(self.pump()));
        if let Some(identity) = known {
            client.remember(identity);
        }
        match client.hello().await {
            Ok(_) => {}
            Err(error) if error.is_unimplemented() => {
                return legacy::pull(self).await;
            }
            Err(error @ Error::WrongStore { .. }) => {
                client.forget();
                client.hello().await?;
                if !client.identity().is_some_and(|now| ledger.accepts_store(self.pump(), now.uuid)) {
                    return Err(error);
                }
                tracing::warn!(%error, "the store is taken as it is, as accept-store says");
            }
            Err(error) => return Err(error),
        }
        let identity = client.identity();
        if let Some(identity) = identity
            && known != Some(identity)
        {
            let failed = |why| Error::Ledger { pump: self.pump().clone(), why };
            ledger.met(self.pump(), identity).map_err(failed)?;
        }
        self.inbox.state.lock().identity = identity;
        self.scan(&client, identity.map_or(CommitTs::ZERO, |i| i.watermark)).await
    }

    async fn scan(&self, client: &PumpClient, watermark: CommitTs) -> Result<(), Error> {
        // A bounded range that is not complete yet is followed up to its end, so that what there is comes at once.
        let through = self.options.through.filter(|through| *through <= watermark);
        let batch_bytes = (self.share.limit() / 4).clamp(64 << 10, 4 << 20);
        let after = self.inbox.position();
        let passed = self.passed.lock().clone();
        let patterns = &self.options.patterns;
        let mut stream =
            client.scan_with(after, through, patterns, batch_bytes, Duration::ZERO, &passed).await?;
        self.inbox.says("connected, waiting for its watermark", true);
        let mut intake = Intake::new(self);
        loop {
            let Some(response) = stream.next().await? else {
                return Err(Error::Ended { pump: self.pump().clone(), host: client.host.clone() });
            };
            let complete = CommitTs::new(response.complete_through);
            for fragment in response.fragments {
                intake.take(fragment).await?;
            }
            if intake.assembler.is_open() && complete > self.inbox.position() {
                return Err(
                    self.corrupt(format!("complete through {complete} in the middle of a transaction"))
                );
            }
            self.inbox.advance(complete);
            if response.end || self.is_done() {
                return if self.is_done() {
                    Ok(())
                } else {
                    Err(self.corrupt(format!("the range ended at {}", self.inbox.position())))
                };
            }
        }
    }

    /// Hands a record over.
    pub(crate) fn put(&self, held: Held) {
        if let Some(arrivals) = &self.options.arrivals {
            arrivals.arrived(self.pump(), held.record.commit_ts, held.payload_len());
        }
        self.inbox.put(held);
    }

    /// Whether a bounded range was received to its end.
    pub(crate) fn is_done(&self) -> bool {
        self.options.through.is_some_and(|through| self.inbox.position() >= through)
    }

    pub(crate) fn corrupt(&self, what: String) -> Error {
        Error::Corrupt { pump: self.pump().clone(), after: self.inbox.position(), what }
    }

    /// Waits for `bytes` of the share. What was put into the inbox is announced first: it may be what has to be freed.
    pub(crate) async fn admit(&self, permit: &mut Permit, bytes: usize) {
        if self.share.try_admit(permit, bytes) {
            return;
        }
        self.inbox.bell.notify_one();
        self.inbox.says("waiting for room in the byte budget", true);
        self.share.admit(permit, bytes).await;
        self.inbox.says("connected, receiving", true);
    }
}

impl Run {
    /// Waits until `bytes` more may be put aside.
    pub(crate) async fn admit_aside(&self, permit: &mut Permit, bytes: usize) {
        if self.aside.try_admit(permit, bytes) {
            return;
        }
        self.inbox.bell.notify_one();
        self.inbox.says("waiting until large transactions before this one are applied", true);
        self.aside.admit(permit, bytes).await;
        self.inbox.says("connected, receiving a large transaction", true);
    }
}

/// Fragments on their way to the inbox, with the bytes they hold.
struct Intake<'a> {
    run: &'a Run,
    assembler: Assembler,
    permit: Permit,
    oversize: bool,
    /// Where the transaction goes, once it is known to be large, and what it takes there.
    spool: Option<Spool>,
    aside: Permit,
}

impl<'a> Intake<'a> {
    fn new(run: &'a Run) -> Self {
        Intake {
            run,
            assembler: Assembler::default(),
            permit: Permit::default(),
            oversize: false,
            spool: None,
            aside: Permit::default(),
        }
    }

    /// Moves what has come of a large transaction to the disk.
    async fn put_aside(&mut self) -> Result<(), Error> {
        let Some(directory) = &self.run.options.spool else { return Ok(()) };
        let spool = match self.spool.take() {
            Some(spool) => spool,
            None if self.assembler.buffered() > LARGE => directory.create().await.map_err(Error::aside)?,
            None => return Ok(()),
        };
        self.run.admit_aside(&mut self.aside, self.assembler.buffered()).await;
        self.spool = Some(spool.append(self.assembler.take()).await.map_err(Error::aside)?);
        self.permit.keep(RECORD_OVERHEAD);
        Ok(())
    }

    async fn take(&mut self, fragment: binlog_proto::store::Fragment) -> Result<(), Error> {
        let overhead = if fragment.sequence == 0 { RECORD_OVERHEAD } else { 0 };
        let bytes = overhead + fragment.payload.len() + fragment.extra.len();
        self.run.admit(&mut self.permit, bytes).await;
        if !self.oversize && self.permit.bytes() > self.run.share.limit() {
            self.oversize = true;
            let (share, commit_ts) = (self.run.share.limit(), fragment.commit_ts);
            tracing::warn!(
                commit_ts,
                share,
                "a transaction is larger than the pump's share of the byte budget: it is taken in alone"
            );
        }
        let after = self.run.inbox.position();
        let Some(mut record) = self.assembler.push(fragment, after).map_err(|what| self.run.corrupt(what))?
        else {
            return self.put_aside().await;
        };
        let mut large = None;
        if let Some(spool) = self.spool.take() {
            let rest = std::mem::take(&mut record.payload);
            self.run.admit_aside(&mut self.aside, rest.len()).await;
            let spool = spool.append(vec![rest]).await.map_err(Error::aside)?;
            self.permit.keep(record.cost());
            self.permit.put_aside(std::mem::take(&mut self.aside));
            tracing::info!(commit_ts = %record.commit_ts, bytes = spool.len(), "a large transaction was put aside");
            large = Some(Arc::new(spool));
        }
        let permit = std::mem::take(&mut self.permit);
        self.oversize = false;
        let beyond = self.run.options.through.is_some_and(|through| record.commit_ts > through);
        if beyond || record.is_fake() {
            // Fillers only say how far the stream is complete; what lies beyond the range says the same.
            self.run.inbox.advance(record.commit_ts);
        } else {
            self.run.put(Held { large, ..Held::new(record, permit) });
        }
        Ok(())
    }
}
