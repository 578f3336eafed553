//! A member of the stream whose records are read elsewhere: from the directory of a pump that does not run.

use std::sync::Arc;

use binlog_types::CommitTs;
use tokio::sync::mpsc;

use crate::budget::{Permit, Share};
use crate::record::Held;
use crate::source::Inbox;
use crate::{Error, Record};

/// Records in order of commit_ts, and None behind the last one of the range; or why they cannot be read.
pub type Feed = mpsc::Receiver<Result<Option<Record>, String>>;

/// Takes over what comes, within the budget. With the end, everything through `through` is there.
pub(crate) async fn pour(
    inbox: &Inbox,
    share: &Arc<Share>,
    mut feed: Feed,
    through: CommitTs,
) -> Result<(), Error> {
    inbox.says("reading its directory", true);
    loop {
        match feed.recv().await {
            Some(Ok(Some(record))) => {
                let (commit_ts, mut permit) = (record.commit_ts, Permit::default());
                if !record.is_fake() {
                    share.admit(&mut permit, record.cost()).await;
                    inbox.put(Held::new(record, permit));
                }
                inbox.advance(commit_ts);
            }
            Some(Ok(None)) => {
                inbox.advance(through);
                return Ok(());
            }
            Some(Err(what)) => {
                let (pump, after) = (inbox.member.id.clone(), inbox.position());
                return Err(Error::Corrupt { pump, after, what });
            }
            None => return Err(Error::TaskDied { pump: inbox.member.id.clone() }),
        }
    }
}
